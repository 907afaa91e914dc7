"""One environment and all that people and systems do to it, through the real flows, with the facts kept beside it."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bot.domain.actor import Actor
from bot.domain.events import MitigationSet
from bot.domain.gate import deploy_gate
from bot.domain.ids import SYSTEM, CheckId, ReleaseId, UserId, Version
from bot.domain.mitigation import MitigationState
from bot.domain.plan import PlanKind, StepState
from bot.domain.policy import Action, Role
from bot.domain.results import RunState
from bot.domain.signoff import Purpose, Verdict
from bot.errors import RefusedError, VendorError
from bot.flows import abort, break_glass, check, freeze, mitigation, sign, start, upkeep
from bot.flows.commit import commit_change
from bot.flows.deploying import step_clicks
from bot.flows.deploying.judge import judge_break_glass, judge_deploy
from bot.flows.deploying.prepare import prepare_deploy
from bot.flows.deploying.rollback import judge_rollback
from bot.flows.deps import locked_view
from bot.steps.sources import ResolvedSource
from bot.store import mitigations, releases, steps, work
from bot.store.pool import Store
from checks.contract import Outcome
from tests.fix_bot import World, die
from tests.fix_tags import IMAGE, Tags
from tests.property.setting import (
    BOT_CHECKS,
    COMMITS,
    GATE,
    IMAGES,
    MONDAY,
    PEOPLE,
    ROLES,
    RULES,
    lines,
    policy_of,
    roles_of,
)
from tests.property.specification import (
    CHECK_LASTS,
    FOREVER,
    WAITS_FOR,
    Answer,
    CheckRun,
    Facts,
    Rules,
    against_break_glass,
    against_deploy,
    is_closed,
    may_attest,
    may_break_glass,
    may_end,
    may_freeze,
    may_mitigate,
    may_resolve,
    may_retry,
    may_review,
    may_roll_back,
    may_run,
    may_sign,
    may_start,
    may_waive,
)
from tests.unit.factories import PAT, RITA

SAID_TOGETHER = frozenset({"signoff_missing", "people"})  # the gate says the first that holds of a role, not all
NUMBERS = count(1)
people, roles, rules_ = st.sampled_from(PEOPLE), st.sampled_from(list(Role)), st.sampled_from(RULES)
checks, bot_checks = st.sampled_from(list(GATE)), st.sampled_from(BOT_CHECKS)
commits, images = st.sampled_from(COMMITS), st.sampled_from(IMAGES)
pauses = st.sampled_from(
    [timedelta(seconds=90), timedelta(minutes=59), CHECK_LASTS, timedelta(hours=23), timedelta(days=3)]
)
TAKEN_BACK = frozenset({"ROLLING_BACK", "ROLLBACK_FAILED", "ROLLED_BACK"})
END_STATES = frozenset({"NONE", "DONE", "ROLLED_BACK", "ABORTED"})


class Stage(Enum):
    """The progress of the first release when a sequence begins."""

    OPEN = auto()
    READY = auto()
    IN_NEED = auto()  # its checks have passed; past the gate, where the policy allows it
    DEPLOYING = auto()
    TAKEN_BACK = auto()


def while_(*states: str) -> Any:
    """A precondition: the release is in one of these states."""
    return precondition(lambda self: self.facts.state in states)


class Everything(RuleBasedStateMachine):
    """Each action succeeds exactly if the specification allows it, and at the end authorised people can deploy or abort."""

    def __init__(self, world: World, tags: Tags) -> None:
        super().__init__()
        self.world, self.tags, self.version = world, tags, count(1)
        self.release = ReleaseId(0)
        self.configured = RULES[0]  # of the configuration: for what begins now
        self.facts = Facts(now=MONDAY, rules=self.configured, roles=dict(ROLES), gate=GATE)
        self.release_of_mitigation: dict[int, ReleaseId] = {}
        self.broken: tuple[ReleaseId, str] | None = None  # whose break-glass nobody has reviewed, and who broke it
        tags.reset()
        world.outside.answers = {}
        world.clock.set(seconds=(MONDAY - world.clock.now()).total_seconds())
        world.change(
            environment=f"production-{next(NUMBERS)}",
            checklist=lines(),
            policy=policy_of(self.configured),
            sources=tags.sources(),
            roles_of=lambda users: {user: roles_of(self.facts, user) for user in users},
        )
        with world.store.transaction() as tx:
            tx.execute("DELETE FROM work")  # of the sequence before

    # --- what holds at every moment

    @invariant()
    def the_rows_say_what_has_happened(self) -> None:
        """The rows are those of the facts, and the gate judges them as the specification does, for everybody."""
        if self.facts.state == "NONE":
            return
        facts, view = self.facts, self.world.view(self.release)
        assert view.release.state == facts.state
        assert view.release.is_closed == is_closed(facts, list(self.release_of_mitigation.values()).count(self.release))
        if facts.state != "OPEN":
            return
        assert (view.release.commit, view.release.digest) == (facts.commit, facts.image)
        signoffs = {(s.role, s.by, s.verdict is Verdict.APPROVE) for s in view.signoffs if s.purpose is Purpose.DEPLOY}
        assert signoffs == {(a.role, a.by, a.yes) for a in facts.answers}
        assert {
            c for c, check_view in view.checks.items() if check_view.run_state is not RunState.IDLE
        } == facts.under_way
        for who in PEOPLE:
            causes = {str(reason.cause) for reason in deploy_gate(view, who).reasons} - {"source"}
            expected = against_deploy(facts, who) - {"source", "role"}
            assert bool(causes) == bool(expected), (who, expected, causes)
            assert causes - SAID_TOGETHER == expected - SAID_TOGETHER, (who, expected, causes)

    def attempt(self, is_allowed: bool, flow: Callable[..., str], who: str, *args: Any, **kwargs: Any) -> bool:
        """Let somebody try a flow and assert that it succeeds exactly if it is allowed."""
        refusal: RefusedError | None = None
        try:
            self.world.act(flow, self.actor(who), *args, **kwargs)
        except RefusedError as error:
            refusal = error
        assert is_allowed == (refusal is None), f"{who} was refused what is allowed: {refusal}" if refusal else who
        return is_allowed

    def actor(self, who: str) -> Actor:
        """A person with the roles of this moment."""
        return Actor(UserId(who), roles_of(self.facts, who))

    # --- a release begins, waits and ends

    @initialize(rules=rules_, stage=st.sampled_from(Stage))
    def begin(self, rules: Rules, stage: Stage) -> None:
        """Start a release under some policy and bring it to some stage, which few sequences would reach by chance."""
        self.configure(rules)
        self.start(RITA, COMMITS[0], IMAGES[0], reason=False)
        if stage is Stage.IN_NEED:
            self.hurry(RITA)
        elif stage is not Stage.OPEN:
            self.agree()
        if stage in {Stage.DEPLOYING, Stage.TAKEN_BACK}:
            self.get_to_a_deploy()
        if stage is Stage.TAKEN_BACK:
            self.roll_back(PAT)

    @while_(*END_STATES)
    @rule(who=people, commit=commits, image=images, reason=st.booleans())
    def start(self, who: str, commit: str, image: str, reason: bool) -> None:
        """`/release start`."""
        facts, because = self.facts, "It was the database." if reason else ""
        version = Version.parse(f"v4.{next(self.version)}.0")
        source = ResolvedSource(commit, IMAGE, image, is_tagged=True)
        below = [*facts.below, *([facts.image] if facts.state == "DONE" else [])]
        before = replace(facts, below=below)
        is_allowed = may_start(before, who, image, reason=reason)
        if not self.attempt(is_allowed, start.open_release, who, version, "", source, because=because):
            return
        with self.world.store.transaction() as tx:
            active_release = releases.active(tx, self.world.deps.environment)
        assert active_release is not None
        self.release = active_release.id
        self.tags.reset()
        self.tags.tag, self.tags.digest = commit, image
        self.facts = Facts(
            now=facts.now, rules=self.configured, roles=facts.roles, gate=GATE, manager=who, state="OPEN", start=facts.now,
            commit=commit, image=image, true_commit=commit, true_image=image, since=facts.now,
            under_way=set(BOT_CHECKS), frozen_until=facts.frozen_until, freezes=facts.freezes, mitigations=facts.mitigations,
            taken_back=facts.taken_back,
            below=below,
            again=image if before.is_bad(image) or image == before.running else "",
        )  # fmt: skip

    @while_("OPEN")
    @rule(who=people)
    def deploy(self, who: str) -> None:
        """Press Deploy, which reads the sources first and judges the gate then."""
        facts, actor = self.facts, self.actor(who)
        if facts.has_role(who, *facts.rules.deployers):
            self.void_without_role()
        against = against_deploy(facts, who)
        refusal: RefusedError | VendorError | None = None
        try:
            findings = prepare_deploy(self.world.deps, actor, self.release)
            self.world.act(judge_deploy, actor, findings)
        except (RefusedError, VendorError) as error:
            refusal = error
        assert (refusal is None) == (not against), (who, refusal, against)
        if refusal is None:
            facts.state, facts.was_taken_back = "DEPLOYING", facts.taken_back.get(facts.image, False)
            facts.taken_back[facts.image] = False
            facts.under_way.clear()
        if against <= {"source", "four_eyes"}:
            self.has_looked()

    @while_("OPEN")
    @rule(who=people)
    def break_glass(self, who: str) -> None:
        """Type `/release deploy --break-glass`."""
        facts, actor = self.facts, self.actor(who)
        if facts.has_role(who, "release_manager"):
            self.void_without_role()
        against = against_break_glass(facts, who)
        is_allowed, stop = may_break_glass(facts, who, review_is_due=self.broken is not None), facts.stop
        refusal: RefusedError | VendorError | None = None
        try:
            findings = prepare_deploy(self.world.deps, actor, self.release, Action.BREAK_GLASS)
            self.world.act(judge_break_glass, actor, findings, "logins fail for all customers")
        except (RefusedError, VendorError) as error:
            refusal = error
        assert (refusal is None) == is_allowed, (who, refusal, against)
        if refusal is None:
            facts.state, facts.was_taken_back = "DEPLOYING", facts.taken_back.get(facts.image, False)
            facts.taken_back[facts.image], facts.let_past = False, stop
            facts.under_way.clear()
            self.broken = (self.release, who)
        if against <= {"source", "four_eyes"}:
            self.has_looked()

    @precondition(lambda self: self.facts.state == "OPEN" and self.facts.rules.glass)
    @rule(who=people)
    def hurry(self, who: str) -> None:
        """All checks pass, and somebody uses break-glass without waiting for sign-offs."""
        self.pass_all()
        self.break_glass(who)

    @precondition(lambda self: self.broken is not None)
    @rule(who=people)
    def review(self, who: str) -> None:
        """A second person reviews a break-glass of this release or of an earlier one."""
        assert self.broken is not None
        release, breaker = self.broken
        over = release != self.release or self.facts.state in {"DONE", "ROLLED_BACK", "ABORTED"}
        if self.attempt(
            may_review(self.facts, who, breaker, over=over), break_glass.review, who, release, "it was right"
        ):
            self.broken = None

    @while_("DEPLOYING", "ROLLING_BACK")
    @rule(fails=st.booleans())
    def go_on(self, fails: bool) -> None:
        """Run the steps to the end or to one that fails."""
        facts = self.facts
        self.world.outside.answers = {s: Outcome.FAIL for s in ("deploy.look", "rollback.look") if fails}
        self.world.run("advance")
        if facts.state == "DEPLOYING":
            facts.state = "DEPLOY_FAILED" if fails else "WATCHING"
        elif fails:
            facts.state = "ROLLBACK_FAILED"
        else:
            facts.state, facts.frozen_until = "ROLLED_BACK", FOREVER
            self.set()

    @while_("DEPLOY_FAILED", "ROLLBACK_FAILED")
    @rule(who=people)
    def retry(self, who: str) -> None:
        """Retry the failed step."""
        plan = PlanKind.DEPLOY if self.facts.state == "DEPLOY_FAILED" else PlanKind.ROLLBACK
        steps = self.world.view(self.release).steps
        failed_row = next(step.row for step in steps if step.plan is plan and step.state is StepState.FAILED)
        if self.attempt(may_retry(self.facts, who), step_clicks.retry, who, failed_row):
            self.facts.state = {"DEPLOY_FAILED": "DEPLOYING", "ROLLBACK_FAILED": "ROLLING_BACK"}[self.facts.state]

    @precondition(lambda self: self.facts.state not in {"NONE", "ROLLING_BACK"})
    @rule(who=people)
    def roll_back(self, who: str) -> None:
        """`/release rollback`, whatever the state."""
        if self.attempt(may_roll_back(self.facts, who), judge_rollback, who, self.release, "errors"):
            if self.facts.state in {"DEPLOYING", "DEPLOY_FAILED"}:
                self.facts.taken_back[self.facts.image] = self.facts.was_taken_back
            elif self.facts.state in {"WATCHING", "DONE"}:
                self.facts.taken_back[self.facts.image] = True
            self.facts.state = "ROLLING_BACK"

    @while_("OPEN", "DEPLOYING", "DEPLOY_FAILED", "WATCHING", "DONE")
    @rule(who=people)
    def abort(self, who: str) -> None:
        """`/release abort`, whatever the state."""
        if self.attempt(may_end(self.facts, who), abort.abort, who, self.release, "enough"):
            if self.facts.state == "DEPLOY_FAILED":
                self.facts.taken_back[self.facts.image] = self.facts.was_taken_back
            self.facts.state = "ABORTED"

    @while_("WATCHING")
    @rule()
    def watch(self) -> None:
        """Wait for the end of the watch, which is extended if nobody polled for too long."""
        self.wait(timedelta(minutes=16))
        self.world.poll()
        self.facts.state = self.world.view(self.release).release.state
        assert self.facts.state in {"WATCHING", "DONE"}

    # --- checks

    @while_("OPEN")
    @rule(failing=st.sets(bot_checks))
    def run_checks(self, failing: set[str]) -> None:
        """Run the checks that were requested."""
        self.world.outside.answers = dict.fromkeys(failing, Outcome.FAIL)
        self.world.run("check")
        for name in self.facts.under_way:
            self.facts.runs[name] = CheckRun(name not in failing, self.facts.now, self.facts.now)
        self.facts.under_way.clear()

    @while_("OPEN")
    @rule(commit=commits, image=images)
    def run_checks_while_it_moves(self, commit: str, image: str) -> None:
        """A check that runs while the source changes says nothing about the new source."""
        self.return_of_the_sources()

        def move(name: str) -> None:
            self.world.outside.during = lambda name: None
            self.move(commit, image)
            self.world.resolve_source(self.release)
            self.has_looked()

        self.world.outside.during = move
        self.run_checks(set())
        self.world.outside.during = lambda name: None

    @while_("OPEN", "DEPLOYING", "DONE")
    @rule(who=people, name=bot_checks)
    def rerun(self, who: str, name: str) -> None:
        """`/release check`."""
        if self.attempt(may_run(self.facts, who), check.rerun, who, self.release, name):
            self.facts.under_way.add(name)

    @while_("OPEN")
    @rule(who=people, name=bot_checks)
    def cancel(self, who: str, name: str) -> None:
        """Cancel a check that runs or waits."""
        if self.attempt(may_run(self.facts, who), check.cancel, who, self.release, name):
            self.facts.under_way.discard(name)

    @while_("OPEN")
    @rule(who=people)
    def attest(self, who: str) -> None:
        """A person attests a check."""
        if self.attempt(may_attest(self.facts, who), check.attest, who, self.release, CheckId("go.person"), "seen"):
            self.facts.runs["go.person"] = CheckRun(True, self.facts.now, self.facts.now)

    @while_("OPEN", "DEPLOYING", "DONE")
    @rule(who=people, name=checks)
    def waive(self, who: str, name: str) -> None:
        """Waive a check, which makes earlier approvals void."""
        facts = self.facts
        if self.attempt(may_waive(facts, who, name), check.waive, who, self.release, CheckId(name), "known"):
            if name not in facts.waived_by:
                self.void()
            facts.waived_by.setdefault(name, who)

    # --- sign-offs

    @while_("OPEN", "DEPLOYING", "DONE")
    @rule(who=people, role=roles, yes=st.booleans())
    def answer(self, who: str, role: Role, yes: bool) -> None:
        """Approve or decline."""
        facts = self.facts
        is_allowed = may_sign(facts, who, role, yes=yes)
        verdict, reason = (Verdict.APPROVE, "") if yes else (Verdict.DECLINE, "broken")
        words = {"role": role, "verdict": verdict, "reason": reason, "permalink": ""}
        if self.attempt(is_allowed, sign.sign, who, self.release, **words):
            own = next((a for a in facts.answers if (a.role, a.by) == (role, who)), None)
            if own is None or own.yes != yes or (yes and own not in facts.approvals()):
                facts.answers = [a for a in facts.answers if a is not own]
                facts.answers.append(Answer(role, who, yes, facts.subject, facts.now))

    @while_("OPEN")
    @rule(who=people, role=roles)
    def revoke(self, who: str, role: Role) -> None:
        """Withdraw the person's own answer, or else the newest of the role."""
        if self.attempt(may_sign(self.facts, who, role, yes=False), sign.revoke, who, self.release, role):
            of_role = [a for a in self.facts.answers if a.role == role]
            withdrawn = [a for a in of_role if a.by == who] or of_role[-1:]
            self.facts.answers = [a for a in self.facts.answers if a not in withdrawn]

    def void(self) -> None:
        """Every approval becomes void; a decline stays."""
        self.facts.answers = [a for a in self.facts.answers if not a.yes]

    def void_without_role(self) -> None:
        """Approvals by people without the role become void, as the bot asks Slack before a deploy."""
        self.facts.answers = [a for a in self.facts.answers if not a.yes or self.facts.has_role(a.by, a.role)]

    # --- the world around it

    @rule(time=pauses)
    def wait(self, time: timedelta) -> None:
        """Time passes."""
        self.world.clock.advance(seconds=time.total_seconds())
        self.facts.now = self.world.clock.now()

    @rule(who=people, role=roles)
    def change_role(self, who: str, role: Role) -> None:
        """Somebody gets a role, or loses it."""
        self.facts.roles[who] ^= {str(role)}

    @rule(who=people, hours=st.sampled_from([None, 1]))
    def freeze(self, who: str, hours: int | None) -> None:
        """`/release freeze`."""
        until: datetime | None = self.facts.now + timedelta(hours=hours) if hours else None
        if self.attempt(may_freeze(self.facts, who), freeze.freeze, who, until, "incident"):
            self.facts.frozen_until, self.facts.freezes = until or FOREVER, self.facts.freezes + 1

    @rule(who=people)
    def unfreeze(self, who: str) -> None:
        """`/release unfreeze`."""
        if self.attempt(may_freeze(self.facts, who), freeze.unfreeze, who):
            self.facts.frozen_until = None

    @while_("OPEN")
    @rule(commit=commits, image=images)
    def move(self, commit: str, image: str) -> None:
        """A moment later the tag or the image changes without the bot's knowledge."""
        self.wait(timedelta(seconds=1))
        self.tags.digest = self.facts.true_image = image
        self.facts.true_commit = commit
        self.tags.tag = None if self.facts.is_gone else commit

    @while_("OPEN")
    @rule(away=st.booleans())
    def lose(self, away: bool) -> None:
        """GitHub and the registry do not answer, or the tag is deleted."""
        if away:
            self.tags.away = self.facts.away = True
        else:
            self.tags.tag, self.facts.is_gone = None, True

    @while_("OPEN")
    @rule()
    def return_of_the_sources(self) -> None:
        """The sources answer again, and the tag is back."""
        self.tags.away = self.facts.away = self.facts.is_gone = False
        self.tags.tag = self.facts.true_commit

    def has_looked(self) -> None:
        """The bot has resolved the source again, if that was possible."""
        facts = self.facts
        if facts.away or facts.is_gone or (facts.commit, facts.image) == (facts.true_commit, facts.true_image):
            return
        facts.commit, facts.image, facts.since = facts.true_commit, facts.true_image, facts.now
        facts.runs, facts.under_way = {}, set(BOT_CHECKS)
        self.void()

    @while_("OPEN")
    @rule()
    def upkeep(self) -> None:
        """Run the periodic upkeep of a waiting release."""
        facts = self.facts
        for job in self.world.claim_all("upkeep").values():
            self.world.carry_out(job)
        self.has_looked()
        if facts.now >= facts.start + WAITS_FOR:
            facts.state = "ABORTED"
        lasts = facts.rules.approval_lasts
        facts.answers = [a for a in facts.answers if not a.yes or facts.now - a.at <= lasts]

    @rule(rules=rules_, queue=st.sampled_from(["check", "advance", "upkeep"]))
    def restart(self, rules: Rules, queue: str) -> None:
        """The process dies with claimed work, and another one starts, perhaps under another policy."""
        dying = Store(self.world.store.url, size=2)
        dying.open()
        dying.join()
        with dying.transaction() as tx:
            work.claim(tx, queue, dying.instance)
        die(dying, self.world.store)
        self.configure(rules)
        with self.world.store.transaction() as tx:
            upkeep.resume(tx, self.world.deps)
        if self.facts.state == "OPEN" and self.facts.rules is not rules:
            self.facts.rules = rules
            self.void()

    def configure(self, rules: Rules) -> None:
        """Set the policy of the configuration."""
        self.configured = rules
        self.world.change(policy=policy_of(rules))

    @precondition(
        lambda self: self.facts.state in TAKEN_BACK and self.release not in self.release_of_mitigation.values()
    )
    @rule(who=people)
    def mitigate(self, who: str) -> None:
        """Set a mitigation with its button, to the state in which a worker leaves it."""
        row = next(step.row for step in self.world.view(self.release).steps if step.id == "rollback.mode")
        if self.world.rows("SELECT FROM mitigations WHERE step = %s", row):
            return  # of each run of a rollback it is offered once
        if not self.attempt(may_mitigate(self.facts, who), mitigation.apply, who, row, "bills"):
            return
        (new,) = self.set()
        self.facts.mitigations.append(new)
        self.release_of_mitigation[new] = self.release

    def set(self) -> list[int]:
        """Set the mitigations as a worker does, and return their ids."""
        with self.world.store.transaction() as tx:
            settings = [m for m in mitigations.of_release(tx, self.release) if m.state is MitigationState.SETTING]
            for entry in settings:
                mitigations.move(tx, entry, MitigationState.SET, self.facts.now)
                details: dict[str, Any] = {"by": entry.owner, "summary": "MODE is off"}
                step, run = steps.complete_for(tx, entry.step, **details, at=self.facts.now) or ("", 0)
                event = MitigationSet(mitigation=entry.id, step=step, run=run, **details)
                commit_change(tx, self.release, event, at=self.facts.now, by=SYSTEM)
        return [entry.id for entry in settings]

    @precondition(lambda self: self.facts.mitigations)
    @rule(who=people)
    def resolve(self, who: str) -> None:
        """Lift a mitigation with its button, to the state in which a worker leaves it."""
        debt = self.facts.mitigations[0]
        if not self.attempt(may_resolve(self.facts, who), mitigation.resolve, who, debt):
            return
        with self.world.store.transaction() as tx:
            view = locked_view(tx, self.world.deps, self.release_of_mitigation[debt])
            mitigation.record_lifted(
                tx, self.world.deps, view, next(entry for entry in view.open_mitigations if entry.id == debt)
            )
        self.facts.mitigations.remove(debt)
        of = self.release_of_mitigation.pop(debt)
        if of != self.release:
            assert self.world.view(of).release.is_closed

    # --- and nobody gets stuck

    @while_("OPEN")
    @rule()
    def agree(self) -> None:
        """People do everything they can: all checks pass, declines are withdrawn, and all approve."""
        self.pass_all()
        for role in self.facts.rules.signers:
            in_role = [who for who in PEOPLE if self.facts.has_role(who, role)]
            while in_role and any(a.role == role and not a.yes for a in self.facts.answers):
                self.revoke(in_role[0], Role(role))
            for who in in_role:
                self.answer(who, Role(role), yes=True)

    def pass_all(self) -> None:
        """Run every check again that has not passed; it passes."""
        for who in [who for who in PEOPLE if self.facts.roles[who]][:1]:
            for name in BOT_CHECKS:
                if not self.facts.has_passed(name):
                    self.rerun(who, name)
            self.run_checks(set())
            if not self.facts.has_passed("go.person"):
                self.attest(who)

    def teardown(self) -> None:
        """In any state, the people of the release can still deploy or end it."""
        if sys.exc_info()[0] is not None:
            return  # it has failed already
        assert (
            self.world.find_unbound_rows(self.release) == []
        )  # no row was changed without an event that has its digest
        self.facts.roles.update(ROLES)
        while self.facts.mitigations:
            self.resolve(PAT)
        if self.facts.state == "OPEN":
            self.get_to_a_deploy()
        if self.facts.state == "DEPLOY_FAILED":
            self.roll_back(PAT)
        if self.facts.state == "ROLLBACK_FAILED":
            self.retry(PAT)
        if self.facts.state in {"DEPLOYING", "ROLLING_BACK"}:
            self.go_on(fails=False)
        if self.facts.state == "ROLLED_BACK":
            self.mitigate_and_resolve()
        if self.broken is not None:
            self.get_to_a_review()
        self.the_rows_say_what_has_happened()
        assert self.facts.state in END_STATES | {"WATCHING"}
        assert self.broken is None or self.facts.state == "WATCHING"
        assert self.world.find_unbound_rows(self.release) == []

    def mitigate_and_resolve(self) -> None:
        """A mitigation opens a finished release again, and lifting it closes the release."""
        self.mitigate(PAT)
        self.the_rows_say_what_has_happened()
        while self.facts.mitigations:
            self.resolve(PAT)

    def get_to_a_review(self) -> None:
        """The first person who may reviews the break-glass once the release is over."""
        if self.facts.state == "WATCHING":
            self.watch()
        for who in PEOPLE:
            if self.broken is not None:
                self.review(who)

    def get_to_a_deploy(self) -> None:
        """Bring the release to a deploy, or to an end where only that is possible."""
        self.return_of_the_sources()
        self.upkeep()
        self.unfreeze(RITA)
        while self.facts.is_frozen:
            self.wait(timedelta(hours=23))  # for the end of the weekend
        if self.facts.state == "ABORTED":
            return
        if self.facts.is_bad(self.facts.image) and self.facts.again != self.facts.image:
            self.abort(RITA)
            return
        if self.facts.rules.glass:
            for who in PEOPLE:
                if self.facts.state == "OPEN":
                    self.hurry(who)
        if self.facts.state == "DEPLOYING":
            return
        self.agree()
        able = [who for who in PEOPLE if not against_deploy(self.facts, who)]
        assert able, f"nobody can deploy: {[against_deploy(self.facts, who) for who in PEOPLE]}"
        self.deploy(able[0])
        assert self.facts.state == "DEPLOYING"
