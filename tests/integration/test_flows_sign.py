"""Sign-offs and the deploy that they open."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bot.domain.actor import Actor
from bot.domain.ids import CheckId, ReleaseId
from bot.domain.plan import PlanKind, StepState
from bot.domain.policy import Action, Policy, Role
from bot.domain.release import ReleaseState
from bot.domain.results import RunState
from bot.domain.signoff import Verdict
from bot.errors import (
    GateClosed,
    InvalidInput,
    NotAllowed,
    RefusedError,
    StaleButton,
    UnknownThing,
)
from bot.flows import check, freeze, sign
from bot.flows.deploying import step_clicks
from checks.contract import CheckError, Outcome
from tests.fix_bot import GUEST, MANAGER, PRODUCT, QA, Outside, World
from tests.fix_tags import Tags
from tests.unit.factories import PAT, QUINN, RITA

ONE = CheckId("go.one")


def decline(world: World, actor: Actor, release_id: ReleaseId, role: Role, reason: str) -> str:
    """Decline for a role."""
    return world.act(
        sign.sign,
        actor,
        release_id,
        role=role,
        verdict=Verdict.DECLINE,
        reason=reason,
        permalink="p",
    )


def steps(world: World, release_id: ReleaseId) -> dict[str, StepState]:
    """The states of the steps of the deploy."""
    return {step.id: step.state for step in world.view(release_id).steps if step.plan is PlanKind.DEPLOY}


class TestSigning:
    """Approve, decline, revoke."""

    def test_an_approval_is_recorded_with_its_fingerprint(self, world: World) -> None:
        """The row has the person, the role and the fingerprint of exactly this release."""
        release_id = world.run_to_approval()
        view = world.view(release_id)
        (signoff,) = view.signoffs
        assert (signoff.role, signoff.by, signoff.verdict) == (Role.RELEASE_MANAGER, RITA, Verdict.APPROVE)
        assert signoff.fingerprint == view.fingerprint
        assert world.recorded_events()[-1] == (RITA, "signoff.approved")

    def test_a_double_click_is_one_approval(self, world: World) -> None:
        """The answer to the second click says so."""
        release_id = world.run_to_approval()
        assert world.approve(release_id) == "You already recorded that for Release Manager."
        assert len(world.rows("SELECT FROM signoffs")) == 1

    def test_people_sign_only_in_their_own_roles(self, world: World) -> None:
        """The roles are read at the click, whatever the button says."""
        release_id = world.start()
        for actor in (QA, GUEST):
            with pytest.raises(NotAllowed, match="Only Release Manager can do that"):
                decline(world, actor, release_id, Role.RELEASE_MANAGER, "no")

    def test_a_role_outside_the_policy_cannot_sign(self, world: World) -> None:
        """The policy decides which roles sign off."""
        world.change(policy=Policy(optional=()))
        release_id = world.start()
        with pytest.raises(RefusedError, match="QA doesn't sign"):
            decline(world, QA, release_id, Role.QA, "no")

    def test_a_decline_needs_a_reason(self, world: World) -> None:
        """The reason is shown on the card."""
        release_id = world.start()
        with pytest.raises(InvalidInput):
            decline(world, QA, release_id, Role.QA, " ")

    def test_another_answer_replaces_the_first(self, world: World) -> None:
        """The newest answer is valid, and the other one is kept with why it ended."""
        release_id = world.run_to_approval()
        decline(world, MANAGER, release_id, Role.RELEASE_MANAGER, "found something")
        (current,) = world.view(release_id).signoffs
        assert (current.verdict, current.reason) == (Verdict.DECLINE, "found something")
        assert [row["ended_why"] for row in world.rows("SELECT ended_why FROM signoffs ORDER BY id")] == [
            "superseded",
            None,
        ]
        assert world.recorded_events()[-1] == (RITA, "signoff.declined")

    def test_a_revoked_approval_closes_the_gate(self, world: World) -> None:
        """Without the approval the gate is closed again."""
        release_id = world.run_to_approval()
        world.act(sign.revoke, MANAGER, release_id, Role.RELEASE_MANAGER)
        assert list(world.view(release_id).signoffs) == []
        with pytest.raises(GateClosed, match="Release Manager has not signed off"):
            world.deploy(QA, release_id)
        assert "There is no decision" in world.act(sign.revoke, MANAGER, release_id, Role.RELEASE_MANAGER)

    def test_people_of_one_role_sign_at_once(self, world: World) -> None:
        """Each person has one answer, however often they press."""
        release_id = world.start()
        people = [Actor(user, frozenset({Role.QA})) for user in (QUINN, PAT, RITA)] * 3
        with ThreadPoolExecutor(9) as threads:
            answers = list(threads.map(lambda actor: world.approve(release_id, actor), people))
        assert sum(answer == "You already recorded that for QA." for answer in answers) == 6
        assert {row["by_whom"] for row in world.rows("SELECT by_whom FROM signoffs")} == {QUINN, PAT, RITA}
        assert len(world.rows("SELECT FROM signoffs")) == 3

    def test_a_decline_is_valid_until_it_is_withdrawn(self, world: World) -> None:
        """Nobody's approval replaces it, and somebody of the same role can withdraw it by name."""
        release_id = world.run_to_approval()
        other = Actor(PAT, frozenset({Role.QA}))
        decline(world, QA, release_id, Role.QA, "the export s3cret is broken")
        with pytest.raises(RefusedError, match=f"<@{QUINN}> declined for QA: the export .redacted. is broken"):
            world.approve(release_id, other)
        with pytest.raises(GateClosed, match="QA declined"):
            world.deploy(QA, release_id)
        assert f"<@{QUINN}>'s decision" in world.act(sign.revoke, other, release_id, Role.QA)
        assert (world.last_event().actor, world.last_event().body["signed_by"]) == (PAT, QUINN)
        world.deploy(QA, release_id)

    def test_a_decline_survives_a_change(self, world: World) -> None:
        """A decline is for the release, and a later change may not be what it was about."""
        release_id = world.start()
        decline(world, QA, release_id, Role.QA, "broken")
        world.act(check.waive, MANAGER, release_id, ONE, "known")
        assert [one.verdict for one in world.view(release_id).signoffs] == [Verdict.DECLINE]

    def test_people_withdraw_their_own_answer_first(self, world: World) -> None:
        """Without an own answer the newest of the role is withdrawn."""
        release_id = world.start()
        other = Actor(PAT, frozenset({Role.QA}))
        world.approve(release_id, QA)
        world.approve(release_id, other)
        world.act(sign.revoke, QA, release_id, Role.QA)
        assert [one.by for one in world.view(release_id).signoffs] == [PAT]

    def test_a_quorum_needs_two_people(self, world: World) -> None:
        """Two people of QA have to approve, and one person does not count twice."""
        world.change(policy=Policy.model_validate({"required": ["qa"], "quorum": {"qa": 2}}))
        release_id = world.start()
        world.run("check")
        world.approve(release_id, QA)
        with pytest.raises(GateClosed, match="QA: 1 of 2 people have signed off"):
            world.deploy(MANAGER, release_id)
        world.approve(release_id, Actor(PAT, frozenset({Role.QA})))
        world.deploy(MANAGER, release_id)

    def test_signing_ends_with_the_deploy(self, world: World) -> None:
        """An old button cannot sign what is deployed."""
        release_id = world.run_to_watch()
        with pytest.raises(StaleButton):
            world.approve(release_id, QA)
        with pytest.raises(StaleButton):
            world.act(sign.revoke, MANAGER, release_id, Role.RELEASE_MANAGER)


class TestLines:
    """Who may waive and attest what."""

    def test_the_policy_can_forbid_waivers(self, world: World) -> None:
        """A waiver is refused even if the checklist allows it."""
        world.change(policy=Policy.model_validate({"lines": {"go": {"waive": []}}}))
        release_id = world.start()
        with pytest.raises(RefusedError, match="can't be waived"):
            world.act(check.waive, MANAGER, release_id, ONE, "known")

    def test_the_policy_can_name_another_role(self, world: World) -> None:
        """Waivers and attestations of a line are then reserved to that role."""
        rules = {"go.one": {"waive": ["qa"]}, "prep": {"attest": ["qa"]}}
        world.change(policy=Policy.model_validate({"lines": rules}))
        release_id = world.start()
        with pytest.raises(NotAllowed, match="Only QA can do that; your role is Release Manager"):
            world.act(check.waive, MANAGER, release_id, ONE, "known")
        world.act(check.waive, QA, release_id, ONE, "known")
        with pytest.raises(NotAllowed, match="Only QA can do that"):
            world.act(check.attest, MANAGER, release_id, CheckId("prep.person"), "seen")
        world.act(check.attest, QA, release_id, CheckId("prep.person"), "seen")


class TestGate:
    """Nobody deploys past it, and every reason is named."""

    def test_a_deploy_begins_with_an_open_gate(self, world: World) -> None:
        """Checks have passed, the role has approved, and somebody else deploys: the plan begins."""
        release_id = world.run_to_approval()
        world.deploy(QA, release_id)
        release = world.view(release_id).release
        assert (release.state, release.deployer) == (ReleaseState.DEPLOYING, QUINN)
        assert steps(world, release_id) == {
            "deploy.tag": StepState.PENDING,
            "deploy.health": StepState.PENDING,
            "deploy.smoke": StepState.PENDING,
        }
        last = world.last_event()
        assert last.event == "deploy.started"
        assert last.body["image"] == release.pinned_image
        assert set(last.body["results"]) == {"go.one", "go.two", "prep.first", "prep.second"}

    def test_non_blocking_failures_are_recorded_with_the_deploy(self, world: World, outside: Outside) -> None:
        """They close nothing, but the answer and the record name them."""
        outside.answers = {"prep.first": Outcome.FAIL}
        answer = world.deploy(QA, world.run_to_approval())
        assert "that don't block the deploy haven't passed" in answer
        assert "Check of prep.first: failed" in answer
        statuses = {line["check"]: line["standing"] for line in world.last_event().body["not_passed"]}
        assert statuses["prep.first"] == "failed"
        assert not {"go.one", "go.two"} & statuses.keys()

    def test_all_reasons_are_named_at_once(self, world: World, outside: Outside) -> None:
        """Nobody has to find out one reason after another."""
        outside.answers = {"go.one": Outcome.FAIL, "go.two": CheckError("no rights")}
        release_id = world.start()
        world.run("check")
        decline(world, QA, release_id, Role.QA, "not on a Friday")
        world.act(freeze.freeze, MANAGER, None, "incident")
        with pytest.raises(GateClosed) as error:
            world.deploy(QA, release_id)
        assert error.value.user_message.splitlines() == [
            "No-Go for v4.8.0:",
            "• deploys are frozen: incident",
            "• Check of go.one: failed",
            "• Check of go.two: couldn't be checked",
            "• Release Manager has not signed off",
            "• QA declined: not on a Friday",
        ]
        assert world.view(release_id).release.state is ReleaseState.OPEN

    def test_an_expired_pass_closes_the_gate(self, world: World) -> None:
        """An old result says nothing about now."""
        release_id = world.run_to_approval()
        world.clock.advance(hours=4, seconds=1)
        with pytest.raises(GateClosed, match="expired, run it again"):
            world.deploy(QA, release_id)

    def test_a_running_check_closes_the_gate(self, world: World) -> None:
        """The old result is about to be replaced."""
        release_id = world.run_to_approval()
        world.act(check.rerun, QA, release_id, "go.one")
        with pytest.raises(GateClosed, match=r"Check of go\.one: waiting to run"):
            world.deploy(QA, release_id)

    def test_four_eyes_need_a_second_approver(self, world: World) -> None:
        """The only approver cannot deploy before a second person approves."""
        release_id = world.run_to_approval()
        with pytest.raises(GateClosed, match="only the person who deploys has approved"):
            world.deploy(MANAGER, release_id)
        world.approve(release_id, PRODUCT)
        assert "Deploying" in world.deploy(MANAGER, release_id)

    def test_a_deploy_needs_a_role(self, world: World) -> None:
        """By default each of the three roles may deploy."""
        release_id = world.run_to_approval()
        with pytest.raises(NotAllowed):
            world.deploy(GUEST, release_id)

    def test_the_policy_decides_who_deploys(self, world: World) -> None:
        """Here only the release manager may deploy."""
        world.change(policy=Policy(permissions={Action.DEPLOY: (Role.RELEASE_MANAGER,)}, four_eyes=False))
        release_id = world.run_to_approval()
        with pytest.raises(NotAllowed, match="Only Release Manager can do that; your role is QA"):
            world.deploy(QA, release_id)
        world.deploy(MANAGER, release_id)

    def test_an_approval_of_something_else_does_not_count(self, world: World) -> None:
        """An approval counts for its fingerprint only, whoever wrote the row."""
        release_id = world.run_to_approval()
        with world.store.transaction() as tx:
            tx.execute("UPDATE signoffs SET fingerprint = 'another'")
        with pytest.raises(GateClosed, match="approved something that has changed since: sign again"):
            world.deploy(QA, release_id)

    def test_two_simultaneous_deploys_are_one(self, world: World) -> None:
        """One begins, the other one is told so, and there is one plan."""
        release_id = world.run_to_approval()
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda actor: world.deploy(actor, release_id), [QA, PRODUCT]))
        assert sum("already" in answer for answer in answers) == 1
        assert len(world.rows("SELECT FROM steps")) == 3

    def test_a_deploy_ends_waiting_checks(self, world: World) -> None:
        """Checks outside the gate do not run during the deploy."""
        release_id = world.run_to_approval()
        world.act(check.rerun, QA, release_id, "prep")
        world.deploy(QA, release_id)
        assert {check_view.run_state for check_view in world.view(release_id).checks.values()} == {RunState.IDLE}
        assert world.claim("check") is None


class TestFreeze:
    """A freeze stops the deploys of everybody."""

    def test_a_freeze_lasts_until_it_is_lifted(self, world: World) -> None:
        """After the freeze is lifted a deploy is possible again."""
        release_id = world.run_to_approval()
        world.act(freeze.freeze, MANAGER, None, "incident")
        with pytest.raises(GateClosed, match="frozen: incident"):
            world.deploy(QA, release_id)
        world.act(freeze.unfreeze, MANAGER)
        world.deploy(QA, release_id)
        events = [event for _, event in world.recorded_events()]
        assert events[-3:] == ["freeze.begun", "freeze.lifted", "deploy.started"]

    def test_a_freeze_ends_at_its_time(self, world: World, tags: Tags) -> None:
        """A freeze with an end needs nobody to lift it."""
        world.change(sources=tags.sources())
        release_id = world.run_to_approval()
        world.act(freeze.freeze, MANAGER, world.clock.now() + timedelta(hours=1), "maintenance")
        world.clock.advance(minutes=59)
        with pytest.raises(GateClosed):
            world.deploy(QA, release_id)
        world.clock.advance(minutes=2)
        world.resolve_source(release_id)
        world.deploy(QA, release_id)

    def test_a_new_freeze_replaces_the_old_one(self, world: World) -> None:
        """One freeze is in force at a time."""
        world.act(freeze.freeze, MANAGER, None, "first")
        world.act(freeze.freeze, MANAGER, None, "second")
        assert world.rows("SELECT reason FROM freezes WHERE ended_at IS NULL") == [{"reason": "second"}]

    def test_a_freeze_needs_a_role_and_a_reason(self, world: World) -> None:
        """Without a freeze there is nothing to lift, and the answer says so."""
        with pytest.raises(NotAllowed):
            world.act(freeze.freeze, QA, None, "incident")
        with pytest.raises(InvalidInput):
            world.act(freeze.freeze, MANAGER, None, "")
        assert "are not frozen" in world.act(freeze.unfreeze, MANAGER)


class TestSteps:
    """The plan of a deploy."""

    def test_the_steps_run_in_order_up_to_the_watch(self, world: World, outside: Outside) -> None:
        """The watch begins after the last step."""
        release_id = world.run_to_watch()
        view = world.view(release_id)
        assert outside.runs[-3:] == ["deploy.tag", "deploy.health", "deploy.smoke"]
        assert steps(world, release_id) == {
            "deploy.tag": StepState.DONE,
            "deploy.health": StepState.DONE,
            "deploy.smoke": StepState.DONE,
        }
        assert view.release.state is ReleaseState.WATCHING
        assert view.watch is not None
        assert view.watch.ends_at - view.watch.started_at == timedelta(minutes=15)
        events = [event for _, event in world.recorded_events()]
        assert events[-6:] == ["deploy.started", "deploy.planned", *["step.done"] * 3, "deploy.complete"]

    @pytest.mark.parametrize(
        ("answer", "summary"),
        [
            (Outcome.FAIL, "FAIL: it is FAIL"),
            (Outcome.INCONCLUSIVE, "INCONCLUSIVE: it is INCONCLUSIVE"),
            (CheckError("no rights"), "ERROR: no rights"),
        ],
    )
    def test_a_step_that_does_not_pass_stops_the_deploy(
        self, world: World, outside: Outside, answer: Outcome | Exception, summary: str
    ) -> None:
        """The channel is told, and no later step runs."""
        outside.answers = {"deploy.health": answer}
        release_id = world.run_to_watch()
        view = world.view(release_id)
        assert view.release.state is ReleaseState.DEPLOY_FAILED
        failed_step = next(step for step in view.steps if step.state is StepState.FAILED)
        assert failed_step.summary.startswith(summary)
        assert "deploy.smoke" not in outside.runs
        assert len(world.rows("SELECT FROM posts WHERE subject LIKE 'failed:%%'")) == 1

    def test_a_retry_continues_at_the_failed_step(self, world: World, outside: Outside) -> None:
        """Steps that are done do not run again."""
        outside.answers = {"deploy.smoke": Outcome.FAIL}
        release_id = world.run_to_watch()
        failed_step = next(step for step in world.view(release_id).steps if step.state is StepState.FAILED)
        outside.answers = {}
        world.act(step_clicks.retry, QA, failed_step.row)
        with pytest.raises(StaleButton):
            world.act(step_clicks.retry, QA, failed_step.row)
        world.run("advance")
        assert outside.runs[-3:] == ["deploy.health", "deploy.smoke", "deploy.smoke"]
        assert world.view(release_id).release.state is ReleaseState.WATCHING

    def test_a_retry_is_refused_in_a_freeze(self, world: World, outside: Outside) -> None:
        """A retry would continue the deploy."""
        outside.answers = {"deploy.smoke": Outcome.FAIL}
        release_id = world.run_to_watch()
        failed_step = next(step for step in world.view(release_id).steps if step.state is StepState.FAILED)
        world.act(freeze.freeze, MANAGER, None, "incident")
        with pytest.raises(GateClosed, match="frozen"):
            world.act(step_clicks.retry, QA, failed_step.row)

    def test_a_step_without_its_target_fails_visibly(self, world: World) -> None:
        """The missing target is named in the thread and not only in the log."""
        release_id = world.run_to_approval()
        world.change(targets={})
        world.deploy(QA, release_id)
        world.run("advance")
        failed_step = next(step for step in world.view(release_id).steps if step.state is StepState.FAILED)
        assert (
            failed_step.summary
            == "there is no target production. Set targets.production in release-bot.yml, then retry"
        )

    def test_an_attempt_that_dies_is_no_failed_step(self, world: World, outside: Outside) -> None:
        """The step stays running, and the next attempt continues it."""
        release_id = world.run_to_approval()
        world.deploy(QA, release_id)
        job = world.claim("advance")
        assert job is not None

        def break_down(name: str) -> None:
            with world.store.transaction() as tx:
                tx.execute("UPDATE work SET lease_until = now() - interval '1 second' WHERE queue = 'advance'")
            outside.during = lambda name: None
            world.run("advance")

        outside.during = break_down
        with pytest.raises(Exception, match="no longer to be carried out"):
            world.carry_out(job)
        assert outside.runs[-4:] == ["deploy.tag", "deploy.tag", "deploy.health", "deploy.smoke"]
        assert world.view(release_id).release.state is ReleaseState.WATCHING

    def test_an_unknown_step_is_refused(self, world: World) -> None:
        """A forged number of a step is refused."""
        with pytest.raises(UnknownThing):
            world.act(step_clicks.retry, QA, 4711)
