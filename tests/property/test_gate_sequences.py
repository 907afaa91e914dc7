"""Thousands of sequences on the pure gate: whatever happens, it says what the specification says, to everybody."""

from collections import Counter
from datetime import datetime, timedelta
from functools import cache
from itertools import cycle
from typing import ClassVar

from hypothesis import seed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bot.domain.break_glass import judge_past_gate
from bot.domain.gate import deploy_gate, permits
from bot.domain.ids import CheckId, UserId
from bot.domain.mitigation import Mitigation, MitigationState
from bot.domain.policy import Action, Role
from bot.domain.release import ReleaseState
from bot.domain.results import CheckView, Result, RunState, Waiver
from bot.domain.signoff import SignOff, Verdict, fingerprint
from bot.domain.view import Freeze, ReleaseView
from checks.contract import Outcome
from tests.fix_sequences import chosen_seed, sequences
from tests.property.setting import COMMITS, GATE, IMAGES, MONDAY, PEOPLE, ROLES, RULES, lines, policy_of, roles_of
from tests.property.specification import (
    FOREVER,
    Answer,
    CheckRun,
    Facts,
    Rules,
    Subject,
    against_break_glass,
    against_deploy,
)
from tests.unit.factories import RITA, make_release, make_result, make_signoff

SEQUENCES, STEPS = 2000, 12
SAID_TOGETHER = frozenset({"signoff_missing", "people"})  # the gate says the first that holds of a role, not all
people, checks, roles = st.sampled_from(PEOPLE), st.sampled_from(list(GATE)), st.sampled_from(list(Role))
pauses = st.sampled_from(
    [timedelta(seconds=1), timedelta(hours=1), timedelta(hours=2), timedelta(hours=4), timedelta(days=1)]
)
RELEASE = make_release()


@cache
def mark_of(subject: Subject) -> str:
    """The fingerprint of what was signed off, with the waivers as they are stored."""
    release = make_release(commit=subject.commit, digest=subject.image, policy_digest=policy_of(subject.rules).digest)
    return fingerprint(release, [waiver_of(check, by) for check, by in subject.waivers])


def waiver_of(check: str, by: str) -> Waiver:
    """A waiver as it is stored."""
    return Waiver(CheckId(check), UserId(by), "known", MONDAY)


@cache
def result_of(check: str, run: CheckRun) -> Result:
    """A result as it is stored."""
    outcome = Outcome.PASS if run.has_passed else Outcome.ERROR
    return make_result(check, outcome, started_at=run.start, finished_at=run.end)


@cache
def signoff_of(answer: Answer) -> SignOff:
    """A sign-off as it is stored."""
    verdict = Verdict.APPROVE if answer.yes else Verdict.DECLINE
    return make_signoff(Role(answer.role), verdict, by=UserId(answer.by), fingerprint=mark_of(answer.of), at=answer.at)


def view_of(facts: Facts) -> ReleaseView:
    """The rows that these facts leave behind."""
    check_views = {}
    for check in GATE:
        run, by = facts.runs.get(check), facts.waived_by.get(check)
        check_views[CheckId(check)] = CheckView(
            CheckId(check),
            RunState.WAITING if check in facts.under_way else RunState.IDLE,
            "",
            None if run is None or run.start < facts.since else result_of(check, run),
            None if by is None else waiver_of(check, by),
        )
    rules = policy_of(facts.rules)
    release = make_release(
        ReleaseState(facts.state),
        commit=facts.commit,
        digest=facts.image,
        policy_digest=rules.digest,
        manager=UserId(facts.manager),
        source_problem="It is gone." if facts.is_gone else "",
        confirmed_at=facts.now - timedelta(minutes=3) if facts.away else facts.now,
        repeat_reason="It was the database." if facts.again == facts.image else "",
    )
    calendar = rules.active_freeze(facts.now)
    is_frozen = facts.frozen_until is not None and facts.now < facts.frozen_until
    return ReleaseView(
        release=release,
        checklist=lines(),
        policy=rules,
        checks=check_views,
        signoffs=[signoff_of(answer) for answer in facts.answers],
        steps=(),
        watch=None,
        freeze=Freeze(RITA, "stop", None) if is_frozen else Freeze(RITA, *calendar) if calendar else None,
        now=facts.now,
        environment_mitigations=[make_mitigation(number) for number in facts.mitigations],
        known_bad="v4.7.0 was rolled back" if facts.taken_back.get(facts.image) else "",
    )


@cache
def make_mitigation(number: int) -> Mitigation:
    """A mitigation that is in force."""
    return Mitigation(number, RELEASE.id, 1, MitigationState.SET, "MODE=off", RITA, "why", MONDAY, MONDAY)


class OneRelease(RuleBasedStateMachine):
    """One release. Flows would refuse some of these changes; here the gate alone has to recognise what counts."""

    deploy_counts: ClassVar[Counter[bool]] = Counter()  # by whether the specification allowed it
    break_glass_counts: ClassVar[Counter[bool]] = Counter()  # the same of break-glass

    @initialize(rules=st.sampled_from(RULES), approvers=st.sets(people), bad=st.booleans(), again=st.booleans())
    def start(self, rules: Rules, approvers: set[UserId], bad: bool, again: bool) -> None:
        """Start a release that some people have approved already."""
        self.turn = cycle(PEOPLE)
        self.facts = Facts(
            now=MONDAY, rules=rules, roles=dict(ROLES), gate=GATE, manager=RITA, state="OPEN",
            commit=COMMITS[0], image=IMAGES[0], true_commit=COMMITS[0], true_image=IMAGES[0],
            since=MONDAY, taken_back={IMAGES[0]: bad}, again=IMAGES[0] if again else "",
        )  # fmt: skip
        self.agree(approvers)

    @invariant()
    def the_gate_says_what_the_specification_says(self) -> None:
        """For one person after another the gate has exactly the reasons of the specification."""
        view, who = view_of(self.facts), next(self.turn)
        expected = against_deploy(self.facts, who)
        decision = deploy_gate(view, who)
        may = permits(view.policy, Action.DEPLOY, roles_of(self.facts, who))
        self.deploy_counts[not expected] += 1
        assert (may and decision.is_open) == (not expected), (who, expected, decision.reasons)
        causes = {str(reason.cause) for reason in decision.reasons} | (set() if may else {"role"})
        assert causes - SAID_TOGETHER == expected - SAID_TOGETHER, (who, expected, decision.reasons)

    @invariant()
    def break_glass_overrides_what_the_specification_says(self) -> None:
        """For one person after another break-glass overrides exactly what the specification says."""
        view, who = view_of(self.facts), next(self.turn)
        expected = against_break_glass(self.facts, who)
        judgement = judge_past_gate(view, who)
        may = permits(view.policy, Action.BREAK_GLASS, roles_of(self.facts, who))
        self.break_glass_counts[not expected] += 1
        causes = {str(reason.cause) for reason in judgement.remaining_reasons} | (set() if may else {"role"})
        assert causes - SAID_TOGETHER == expected - SAID_TOGETHER, (who, expected, judgement)
        assert (may and not judgement.remaining_reasons) == (not expected), (who, expected, judgement)

    @rule(time=pauses)
    def wait(self, time: timedelta) -> None:
        """Time passes."""
        self.facts.now += time

    @rule(approvers=st.sets(people))
    def agree(self, approvers: set[UserId]) -> None:
        """All checks pass, and some people approve in all their roles."""
        for check in GATE:
            self.run_check(check, passes=True, took=timedelta(0))
        for who in sorted(approvers):
            for role in sorted(self.facts.roles[who]):
                self.answer(who, Role(role), yes=True)

    @rule(check=checks)
    def rerun(self, check: str) -> None:
        """Somebody requests a run of a check."""
        self.facts.under_way.add(check)

    @rule(check=checks, passes=st.booleans(), took=pauses)
    def run_check(self, check: str, passes: bool, took: timedelta) -> None:
        """A run of a check ends, which may have begun long ago."""
        self.facts.under_way.discard(check)
        self.facts.runs[check] = CheckRun(passes, self.facts.now - took, self.facts.now)

    @rule(who=people, role=roles, yes=st.booleans())
    def answer(self, who: UserId, role: Role, yes: bool) -> None:
        """Somebody signs off, which replaces their earlier answer in that role."""
        facts = self.facts
        facts.answers = [a for a in facts.answers if (a.role, a.by) != (role, who)]
        facts.answers.append(Answer(role, who, yes, facts.subject, facts.now))

    @rule(role=roles)
    def revoke(self, role: Role) -> None:
        """The newest answer of a role is withdrawn."""
        newest = [answer for answer in self.facts.answers if answer.role == role][-1:]
        self.facts.answers = [answer for answer in self.facts.answers if answer not in newest]

    @rule(who=people, check=checks)
    def waive(self, who: UserId, check: str) -> None:
        """A check that does not pass is waived, perhaps under a policy that allowed it."""
        self.run_check(check, passes=False, took=timedelta(0))
        self.facts.waived_by.setdefault(check, who)

    @rule(who=people, role=roles)
    def change_role(self, who: UserId, role: Role) -> None:
        """Somebody gets a role, or loses it."""
        self.facts.roles[who] ^= {str(role)}

    @rule(commit=st.sampled_from(COMMITS), image=st.sampled_from(IMAGES))
    def move(self, commit: str, image: str) -> None:
        """The version gets another commit and image, and the bot has seen it."""
        facts = self.facts
        facts.commit = facts.true_commit = commit
        facts.image = facts.true_image = image
        facts.since = facts.now

    @rule(is_gone=st.booleans(), away=st.booleans())
    def lose(self, is_gone: bool, away: bool) -> None:
        """The tag disappears or returns, and so does GitHub."""
        self.facts.is_gone, self.facts.away = is_gone, away

    @rule(until=st.sampled_from([None, timedelta(hours=1), FOREVER]))
    def freeze(self, until: datetime | timedelta | None) -> None:
        """Deploys are frozen, or allowed again."""
        end = self.facts.now + until if isinstance(until, timedelta) else until
        self.facts.frozen_until = end

    @rule(mitigations=st.sampled_from([(), (1,), (1, 2)]))
    def mitigate(self, mitigations: tuple[int, ...]) -> None:
        """Mitigations are set or lifted."""
        self.facts.mitigations = list(mitigations)

    @rule(image=st.sampled_from(IMAGES), bad=st.booleans())
    def take_back(self, image: str, bad: bool) -> None:
        """Another release rolled that image back, or deployed it since."""
        self.facts.taken_back[image] = bad

    @rule(rules=st.sampled_from(RULES))
    def adopt(self, rules: Rules) -> None:
        """The process starts again with another policy."""
        self.facts.rules = rules

    @rule(state=st.sampled_from(["OPEN", "OPEN", "OPEN", *ReleaseState]))
    def go_on(self, state: str) -> None:
        """The release is in another state."""
        self.facts.state = str(state)


def test_the_gate_is_the_specification() -> None:
    """The gate is never open where it must be closed, and never closed where it must be open."""
    OneRelease.deploy_counts.clear()
    OneRelease.break_glass_counts.clear()
    run_state_machine_as_test(seed(chosen_seed())(OneRelease), settings=sequences(SEQUENCES, STEPS))
    assert OneRelease.deploy_counts[True] > OneRelease.deploy_counts[False] / 100  # enough of them do reach a deploy
    assert OneRelease.break_glass_counts[True] > OneRelease.break_glass_counts[False] / 100
