"""Rollback from every state, and what it leaves behind."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.domain.actor import Actor
from bot.domain.ids import ReleaseId, UserId, Version
from bot.domain.plan import Mutation, PlanKind, StepState, Way
from bot.domain.policy import Action, Policy, Role
from bot.domain.release import ReleaseState
from bot.domain.watch import WatchState
from bot.errors import GateClosed, NotAllowed, StaleButton, Superseded
from bot.flows import abort, check, freeze, start, status
from bot.flows.deploying import step_clicks
from bot.flows.deploying.rollback import judge_rollback
from bot.slack.features.rollback import FORM
from bot.slack.payloads import ReleasePayload
from bot.store import releases, steps
from checks.contract import Outcome
from tests.fix_bot import GUEST, MANAGER, PRODUCT, QA, SOURCE, Outside, World, fields_of


def start_deploy(world: World) -> ReleaseId:
    """Begin a deploy that has done nothing yet."""
    release_id = world.run_to_approval()
    world.deploy(QA, release_id)
    return release_id


def deploy_failed(world: World) -> ReleaseId:
    """Deploy up to a failed step."""
    world.outside.answers = {"deploy.health": Outcome.FAIL}
    return world.run_to_watch()


def rollback_failed(world: World) -> ReleaseId:
    """Roll back up to a failed step."""
    release_id = world.run_to_watch()
    world.outside.answers = {"rollback.health": Outcome.FAIL}
    world.act(judge_rollback, MANAGER, release_id, "errors")
    world.run("advance")
    world.outside.answers = {}
    return release_id


@pytest.mark.parametrize("reach", [start_deploy, deploy_failed, World.run_to_watch, World.run_to_done, rollback_failed])
def test_every_state_can_be_rolled_back(world: World, reach: Callable[[World], ReleaseId]) -> None:
    """One authorised person with one signature rolls back, and then the environment is free."""
    release_id = reach(world)
    was = world.view(release_id).release.state
    world.act(judge_rollback, QA, release_id, "errors after the deploy")
    view = world.view(release_id)
    assert (view.release.state, view.release.reason) == (ReleaseState.ROLLING_BACK, "errors after the deploy")
    world.run("advance")
    view = world.view(release_id)
    assert view.release.state is ReleaseState.ROLLED_BACK
    assert {step.id: step.state for step in view.steps if step.plan is PlanKind.ROLLBACK} == {
        "rollback.health": StepState.DONE,
        "rollback.frontend": StepState.DONE,
    }
    began = next(event for event in reversed(world.events()) if event.event == "rollback.started")
    (watch_row,) = world.rows("SELECT coalesce(max(polls), 0) AS polls FROM watches")
    fields = {"reason": "errors after the deploy", "was": was, "polls": watch_row["polls"]}
    assert (began.actor, fields_of(began)) == (QA.user, fields)
    assert world.recorded_events()[-1] == ("system", "rollback.complete")
    world.start("v4.9.0")


@pytest.mark.parametrize("end", [World.start, World.run_to_approval])
def test_nothing_can_be_rolled_back_before_the_deploy(world: World, end: Callable[[World], ReleaseId]) -> None:
    """Before the first change a release is aborted instead."""
    release_id = end(world)
    with pytest.raises(GateClosed, match="the release is OPEN: there is nothing to roll back"):
        world.act(judge_rollback, MANAGER, release_id, "")
    world.act(abort.abort, MANAGER, release_id, "")
    with pytest.raises(GateClosed, match="the release is ABORTED"):
        world.act(judge_rollback, MANAGER, release_id, "")


def test_a_rollback_is_possible_in_a_freeze(world: World) -> None:
    """A freeze stops deploys only (promise P6)."""
    release_id = world.run_to_watch()
    world.act(freeze.freeze, MANAGER, None, "incident")
    world.act(judge_rollback, QA, release_id, "")
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.ROLLED_BACK


def test_a_second_rollback_is_refused(world: World) -> None:
    """The answer says that the rollback is under way, and there is one plan."""
    release_id = world.run_to_watch()
    world.act(judge_rollback, QA, release_id, "")
    assert "already" in world.act(judge_rollback, MANAGER, release_id, "")
    assert len(world.rows("SELECT FROM steps WHERE plan = 'rollback'")) == 2


def test_a_guest_may_not_roll_back(world: World) -> None:
    """A rollback without a role is refused."""
    release_id = world.run_to_watch()
    with pytest.raises(NotAllowed):
        world.act(judge_rollback, GUEST, release_id, "")


def test_whoever_may_deploy_may_roll_back(world: World) -> None:
    """This includes a role that does not sign off (promise P6)."""
    policy = Policy(
        optional=(), four_eyes=False, permissions={Action.DEPLOY: (Role.QA,), Action.ROLLBACK: (Role.PRODUCT,)}
    )
    world.change(policy=policy)
    release_id = world.run_to_watch()
    world.act(judge_rollback, QA, release_id, "")
    signoffs = world.rows("SELECT role, by_whom FROM signoffs WHERE purpose = 'rollback'")
    assert signoffs == [{"role": "qa", "by_whom": QA.user}]


def test_a_rollback_stops_a_running_deploy(world: World, outside: Outside) -> None:
    """The running step cannot store its result any more, and no later step begins."""
    release_id = start_deploy(world)

    def take_it_back(name: str) -> None:
        if name == "deploy.health":
            world.act(judge_rollback, MANAGER, release_id, "wrong version")

    outside.during = take_it_back
    job = world.claim("advance")
    assert job is not None
    with pytest.raises(Superseded):
        world.carry_out(job)
    assert {step.state for step in world.view(release_id).steps if step.plan is PlanKind.DEPLOY} == {
        StepState.DONE,
        StepState.CANCELLED,
    }
    world.run("advance")
    assert "deploy.smoke" not in outside.runs
    assert world.view(release_id).release.state is ReleaseState.ROLLED_BACK


def test_a_rollback_ends_the_watch_and_the_checks(world: World) -> None:
    """After a rollback no work of the deploy continues."""
    release_id = world.run_to_watch()
    world.act(judge_rollback, MANAGER, release_id, "")
    view = world.view(release_id)
    assert view.watch is not None
    assert view.watch.state is WatchState.STOPPED
    assert (world.claim("watch"), world.claim("check")) == (None, None)
    with pytest.raises(StaleButton):
        world.act(check.rerun, QA, release_id, "after.health")


def test_a_failed_step_of_a_rollback_can_be_retried(world: World) -> None:
    """The retry continues the same plan."""
    release_id = rollback_failed(world)
    view = world.view(release_id)
    assert view.release.state is ReleaseState.ROLLBACK_FAILED
    failed_step = next(step for step in view.steps if step.state is StepState.FAILED)
    world.act(freeze.freeze, MANAGER, None, "a freeze does not stop a rollback")
    world.act(step_clicks.retry, QA, failed_step.row)
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.ROLLED_BACK


def test_a_step_of_an_earlier_rollback_cannot_be_attested(world: World) -> None:
    """The button of the first attempt is outdated after a second one."""
    release_id = rollback_failed(world)
    old = next(step.row for step in world.view(release_id).steps if step.id == "rollback.frontend")
    world.act(judge_rollback, MANAGER, release_id, "again")
    with pytest.raises(StaleButton):
        world.act(step_clicks.attest, QA, old, "done")


def test_a_release_below_a_newer_deploy_cannot_be_rolled_back(world: World) -> None:
    """What runs in production is not this release's."""
    first = world.run_to_done("v4.8.0")
    world.run_to_done("v4.9.0")
    with pytest.raises(GateClosed, match=r"v4\.9\.0 was deployed after v4\.8\.0: roll back v4.9.0"):
        world.act(judge_rollback, MANAGER, first, "")


def test_a_release_below_a_rolled_back_one_can_be_rolled_back(world: World) -> None:
    """Then this release runs in production again."""
    first = world.run_to_done("v4.8.0")
    second = world.run_to_done("v4.9.0")
    world.act(judge_rollback, MANAGER, second, "")
    world.run("advance")
    world.act(judge_rollback, MANAGER, first, "")
    world.run("advance")
    assert world.view(first).release.state is ReleaseState.ROLLED_BACK


def test_an_open_release_gives_way_to_a_rollback(world: World) -> None:
    """It has changed nothing and is aborted, which the form, its thread and the channel say."""
    first = world.run_to_done("v4.8.0")
    second = world.run_to_approval("v4.9.0")
    with world.store.transaction() as tx:
        assert status.to_roll_back(tx, world.deps).id == first
        other = status.gives_way(tx, world.view(first).release)
        assert status.gives_way(tx, world.view(second).release) is None
    assert other is not None
    payload = ReleasePayload(release=first)
    with world.store.transaction() as tx:
        warning = FORM.prepare(tx, payload, world.view(first))
    form = FORM.render("release.rollback", payload, world.view(first), warning)
    assert "v4.9.0 is open and will be aborted" in str(form)
    answer = world.act(judge_rollback, PRODUCT, first, "errors s3cret")
    assert "v4.9.0 was OPEN and is aborted" in answer
    aborted_view = world.view(second)
    assert (aborted_view.release.state, aborted_view.release.reason) == (
        ReleaseState.ABORTED,
        "v4.8.0 is rolled back: errors [redacted]",
    )
    notices = world.rows(
        "SELECT subject, parent IS NOT NULL AS thread FROM posts WHERE release_id = %s AND kind = 'notice' ORDER BY id",
        second,
    )
    assert [(row["subject"], row["thread"]) for row in notices] == [
        (f"gave_way:v4.8.0:{PRODUCT.user}", True),
        (f"gave_way:v4.8.0:{PRODUCT.user}:channel", False),
    ]
    assert (PRODUCT.user, "release.aborted") in world.recorded_events()
    assert world.last_event().body["aborted"] == "v4.9.0"
    world.run("advance")
    assert world.view(first).release.state is ReleaseState.ROLLED_BACK


@pytest.mark.parametrize(
    ("results", "why"),
    [
        (None, r"v4\.9\.0 was deployed after v4\.8\.0: roll back v4.9.0"),
        ({"deploy.health": Outcome.FAIL}, r"v4\.9\.0 was deployed after v4\.8\.0: roll back v4.9.0"),
        ({"rollback.health": Outcome.FAIL}, r"v4\.9\.0 is being rolled back"),
    ],
    ids=["begun", "failed", "on its way back"],
)
def test_a_release_with_changes_does_not_give_way(world: World, results: dict[str, Outcome] | None, why: str) -> None:
    """It has to be rolled back first, and the error says so."""
    first = world.run_to_done("v4.8.0")
    second = world.run_to_approval("v4.9.0")
    world.deploy(QA, second)
    if results is not None:
        world.outside.answers = dict(results)
        world.run("advance")
    if results is not None and "rollback.health" in results:
        world.act(judge_rollback, MANAGER, second, "")
    was = world.view(second).release.state
    with pytest.raises(GateClosed, match=why):
        world.act(judge_rollback, MANAGER, first, "")
    assert world.view(second).release.state is was
    with world.store.transaction() as tx:
        assert status.to_roll_back(tx, world.deps).id == second


def test_a_rollback_that_is_typed_twice_rolls_back_one_release(world: World) -> None:
    """The answer names the button of the release below, and an aborted release is skipped."""
    world.run_to_done("v4.8.0")
    second = world.run_to_done("v4.9.0")
    world.act(judge_rollback, MANAGER, second, "")
    world.run("advance")
    world.act(abort.abort, MANAGER, world.start("v4.9.1"), "")
    with world.store.transaction() as tx:
        release_id = status.to_roll_back(tx, world.deps).id
    assert release_id == second
    with pytest.raises(GateClosed, match="ROLLED_BACK: there is nothing to roll back") as error:
        world.act(judge_rollback, MANAGER, release_id, "")
    assert error.value.hint == "v4.8.0 runs in production now: roll it back with the button on its card."


def test_a_second_signature_replaces_the_first(world: World) -> None:
    """A rollback that is begun again is signed again."""
    release_id = rollback_failed(world)
    other = Actor(UserId("U0OTHER001"), frozenset({Role.RELEASE_MANAGER}))
    world.act(judge_rollback, other, release_id, "again")
    valid_signoffs = world.rows("SELECT by_whom FROM signoffs WHERE purpose = 'rollback' AND ended_at IS NULL")
    assert valid_signoffs == [{"by_whom": "U0OTHER001"}]


def test_deploys_are_frozen_after_a_rollback(world: World) -> None:
    """The freeze names who rolled back, and lasts until somebody lifts it."""
    release_id = world.run_to_watch()
    world.act(judge_rollback, QA, release_id, "errors after the deploy")
    world.run("advance")
    other = world.run_to_approval("v4.8.1")
    freeze_of_view = world.view(other).freeze
    assert freeze_of_view is not None
    assert (freeze_of_view.by, freeze_of_view.reason, freeze_of_view.until) == (
        QA.user,
        "v4.8.0 was rolled back: errors after the deploy",
        None,
    )
    with pytest.raises(GateClosed, match="deploys are frozen"):
        world.deploy(QA, other)
    world.act(freeze.unfreeze, MANAGER)
    world.deploy(QA, other)


def test_an_existing_freeze_stays_after_a_rollback(world: World) -> None:
    """A freeze of somebody else keeps its reason."""
    release_id = world.run_to_watch()
    world.act(freeze.freeze, MANAGER, None, "incident")
    world.act(judge_rollback, QA, release_id, "")
    world.run("advance")
    assert [row["reason"] for row in world.rows("SELECT reason FROM freezes WHERE ended_at IS NULL")] == ["incident"]


def test_a_freeze_with_an_end_has_none_after_a_rollback(world: World) -> None:
    """Somebody has to allow deploys again."""
    release_id = world.run_to_watch()
    world.act(freeze.freeze, MANAGER, world.clock.now() + timedelta(hours=1), "maintenance")
    world.act(judge_rollback, QA, release_id, "errors")
    world.run("advance")
    world.clock.advance(hours=2)
    freeze_of_view = world.view(release_id).freeze
    assert freeze_of_view is not None
    assert (freeze_of_view.reason, freeze_of_view.until) == ("v4.8.0 was rolled back: errors", None)


def test_a_rolled_back_image_needs_a_reason_and_a_second_person(world: World) -> None:
    """The image is remembered under any version."""
    world.change(policy=Policy(four_eyes=False))
    release_id = world.run_to_watch()
    world.act(judge_rollback, QA, release_id, "invoices are wrong")
    world.run("advance")
    world.act(freeze.unfreeze, MANAGER)
    version = Version.parse("v4.8.1")
    assert version is not None
    with pytest.raises(
        GateClosed, match=r"v4\.8\.0 was rolled back on .* with this image: invoices are wrong"
    ) as error:
        world.act(start.open_release, MANAGER, version, "", SOURCE)
    assert "`/release start v4.8.1 because REASON`" in error.value.hint
    world.act(start.open_release, MANAGER, version, "", SOURCE, because="it was the database s3cret")
    with world.store.transaction() as tx:
        again = releases.active(tx, "production")
    assert again is not None
    assert again.repeat_reason == "it was the database [redacted]"
    world.run("check")
    world.approve(again.id)
    with pytest.raises(GateClosed, match="Someone other than who started it again must approve"):
        world.deploy(MANAGER, again.id)
    world.approve(again.id, QA)
    world.deploy(MANAGER, again.id)
    world.run("advance")
    assert world.view(again.id).release.state is ReleaseState.WATCHING
    world.clock.advance(minutes=16)
    world.poll()
    with world.store.transaction() as tx:  # it has done well since, so it is bad no more
        assert releases.known_bad(tx, "production", SOURCE.image, SOURCE.digest) == ""


def test_a_running_image_is_started_again_for_a_reason_only(world: World) -> None:
    """Such a release rolls back to itself, so its image is not called bad afterwards."""
    first, version = world.run_to_done(), Version.parse("v4.8.0")
    assert version is not None
    with pytest.raises(GateClosed, match=r"v4\.8\.0 runs in production already, with this image") as error:
        world.act(start.open_release, MANAGER, version, "", SOURCE)
    assert "`/release start v4.8.0 because REASON`" in error.value.hint
    world.act(start.open_release, MANAGER, version, "", SOURCE, because="a variable was changed by hand")
    assert world.last_event().body["again_because"] == "a variable was changed by hand"
    with world.store.transaction() as tx:
        again = releases.active(tx, "production")
    assert again is not None
    world.run("check")
    world.approve(again.id)
    world.deploy(QA, again.id)  # nobody else than usual has to approve
    world.run("advance")
    world.act(judge_rollback, QA, again.id, "no better")
    world.run("advance")
    with world.store.transaction() as tx:
        assert releases.known_bad(tx, "production", SOURCE.image, SOURCE.digest) == ""
    world.act(judge_rollback, QA, first, "nor was it before")
    world.run("advance")
    with world.store.transaction() as tx:
        assert "was rolled back" in releases.known_bad(tx, "production", SOURCE.image, SOURCE.digest)


def test_changes_that_stay_are_named_before_a_rollback(world: World) -> None:
    """The form and the answer name what the steps have done, not what was planned."""
    release_id = world.run_to_watch()
    step = next(step for step in world.view(release_id).steps if step.id == "deploy.health")
    keep, drop = (
        Mutation(f"migration {name}.sql on production", "", "applied", way, back)
        for name, way, back in (
            (8, Way.COMPATIBLE, "stays: additive"),
            (9, Way.FINAL, "cannot be taken back: breaking"),
        )
    )
    with world.store.transaction() as tx:
        steps.write_journal(tx, step.row, 1, "intent", {"changes": [keep.body, drop.body]})
        steps.keep_planned(tx, step.row, [])  # as after a retry, which plans what is left
    form = FORM.render("release.rollback", ReleasePayload(release=release_id), world.view(release_id))
    assert (
        "*The rollback leaves in place*\\n:warning: migration 9.sql on production: cannot be taken back: breaking\\n"
        ":pushpin: migration 8.sql on production: stays: additive"
    ) in str(form)
    lines = world.act(judge_rollback, QA, release_id, "").splitlines()
    assert lines[:3] == ["A rollback leaves in place:", *(f"• {change.what}: {change.back}" for change in (drop, keep))]
