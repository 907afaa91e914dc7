"""Starting and aborting a release."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bot.domain.ids import CheckId, Version
from bot.domain.plan import Mutation, StepState, Way
from bot.domain.policy import Policy, Role
from bot.domain.release import ReleaseState
from bot.domain.results import RunState
from bot.errors import ActiveReleaseExists, BotError, NotAllowed, RefusedError, StaleButton, VendorError
from bot.flows import abort, start
from bot.flows.deploying import step_clicks
from bot.flows.deploying.rollback import judge_rollback
from bot.store import releases, steps
from checks.contract import Outcome
from tests.checks.replies import Replies, Reply
from tests.fix_bot import GUEST, MANAGER, QA, SOURCE, Outside, World, checklist
from tests.integration.slack_bot import sources_at
from tests.unit.factories import RITA, render_stored


def test_a_release_is_stored_with_everything(world: World) -> None:
    """One transaction writes the release, its checks, its messages and the record."""
    release_id = world.start()
    view = world.view(release_id)
    assert (view.release.version, view.release.state, view.release.manager) == ("v4.8.0", ReleaseState.OPEN, RITA)
    assert view.release.pinned_image == f"{SOURCE.image}@{SOURCE.digest}"
    assert set(view.checks) == {entry.id for entry in world.deps.checklist.checks}
    waiting_checks = [name for name, check_view in view.checks.items() if check_view.run_state is RunState.WAITING]
    assert sorted(waiting_checks) == ["go.one", "go.two", "prep.first", "prep.second"]
    posts = world.rows("SELECT kind, subject FROM posts ORDER BY id")
    assert [(post["kind"], post["subject"]) for post in posts] == [("card", ""), ("section", "go"), ("section", "prep")]
    assert world.recorded_events() == [(RITA, "release.started")]


def test_only_the_release_manager_starts_a_release(world: World) -> None:
    """Anybody else is refused with the name of the required role."""
    with pytest.raises(NotAllowed, match="Only Release Manager can do that; your role is QA"):
        world.start(actor=QA)
    with pytest.raises(NotAllowed, match="you have no role"):
        world.start(actor=GUEST)
    assert world.rows("SELECT FROM releases") == []


def test_a_second_release_is_refused(world: World) -> None:
    """The error names the release that holds the environment."""
    world.start()
    with pytest.raises(ActiveReleaseExists, match=r"v4\.8\.0 \(OPEN\) holds production"):
        world.start("v4.9.0")


def test_of_simultaneous_starts_one_succeeds(world: World) -> None:
    """The constraint of the database decides, and not a query before."""
    versions = [Version(4, 8, patch) for patch in range(4)]

    def begin(version: Version) -> str:
        try:
            return world.act(start.open_release, MANAGER, version, "", SOURCE)
        except BotError as error:
            return type(error).__name__

    with ThreadPoolExecutor(4) as threads:
        outcomes = sorted(threads.map(begin, versions))
    assert outcomes[:3] == ["ActiveReleaseExists"] * 3
    assert len(world.rows("SELECT FROM releases")) == 1
    assert len(world.events()) == 1


def test_a_running_release_keeps_its_checklist_and_policy(world: World) -> None:
    """A later change of the files is for the next release."""
    release_id = world.start()
    before = world.view(release_id)
    world.change(checklist=checklist(title="Another"), policy=Policy(four_eyes=False, required=(Role.QA,)))
    after = world.view(release_id)
    assert (after.checklist, after.policy) == (before.checklist, before.policy)
    assert after.checklist.digest == after.release.checklist_digest
    assert after.policy.digest == after.release.policy_digest


def test_abort_ends_a_release_and_frees_the_environment(world: World) -> None:
    """Waiting checks do not run any more, and the next release can start."""
    release_id = world.start()
    world.act(abort.abort, QA, release_id, "not today")
    view = world.view(release_id)
    assert (view.release.state, view.release.reason) == (ReleaseState.ABORTED, "not today")
    assert {check_view.run_state for check_view in view.checks.values()} == {RunState.IDLE}
    world.run("check")
    assert world.outside.runs == []
    assert world.recorded_events()[-1] == (QA.user, "release.aborted")
    world.start("v4.9.0")


def test_a_second_abort_changes_nothing(world: World) -> None:
    """The answer says that the release is aborted already."""
    release_id = world.start()
    world.act(abort.abort, QA, release_id, "")
    assert "already" in world.act(abort.abort, MANAGER, release_id, "")
    assert world.recorded_events()[-1] == (QA.user, "release.aborted")


def test_abort_stops_a_running_check(world: World, outside: Outside) -> None:
    """Its result is not stored, and the check is not left running."""
    release_id = world.start()

    def end_it(name: str) -> None:
        world.act(abort.abort, MANAGER, release_id, "")

    outside.during = end_it
    world.run("check")
    view = world.view(release_id)
    assert [check_view.result for check_view in view.checks.values() if check_view.result] == []
    assert {check_view.run_state for check_view in view.checks.values()} == {RunState.IDLE}


def test_abort_is_refused_once_something_has_changed(world: World, outside: Outside) -> None:
    """After the first change, and while a step runs, a release is rolled back instead."""
    release_id = world.run_to_approval()
    outside.answers["deploy.health"] = Outcome.FAIL
    world.deploy(QA, release_id)
    with pytest.raises(RefusedError, match="a step is running, and nothing was changed yet"):
        world.act(abort.abort, MANAGER, release_id, "")
    world.run("advance")
    failed_step = next(step for step in world.view(release_id).steps if step.state is StepState.FAILED)
    change = Mutation("image of deployment/api", "api:1", "api:2", Way.BACK, "back to revision 7")
    with world.store.transaction() as tx:
        steps.write_journal(tx, failed_step.row, 1, "intent", {"changes": [change.body]})
    with pytest.raises(RefusedError, match="something was changed already"):
        world.act(abort.abort, MANAGER, release_id, "")
    assert "roll back" in render_stored("notice", f"failed:{failed_step.row}:1", world.view(release_id)).text


def test_a_deploy_without_changes_can_be_aborted(world: World, outside: Outside) -> None:
    """No freeze follows, the image is not called bad, and its buttons do nothing."""
    before = world.run_to_done("v4.7.0")
    release_id = world.run_to_approval()
    outside.answers["deploy.tag"] = Outcome.FAIL
    world.deploy(QA, release_id)
    world.run("advance")
    view = world.view(release_id)
    (failed_step,) = (step for step in view.steps if step.state is StepState.FAILED)
    assert "abort, as nothing was changed yet" in render_stored("notice", f"failed:{failed_step.row}:1", view).text
    assert "nothing was deployed" in world.act(abort.abort, MANAGER, release_id, "red CI").lower()
    view = world.view(release_id)
    assert (view.release.state, view.freeze) == (ReleaseState.ABORTED, None)
    assert {step.state for step in view.steps} == {StepState.FAILED, StepState.CANCELLED}
    with pytest.raises(StaleButton):
        world.act(step_clicks.retry, QA, failed_step.row)
    with world.store.transaction() as tx:
        latest = releases.latest_deployed(tx, "production")
    assert latest is not None
    assert latest.id == before
    world.start()


def test_a_rollback_without_changes_does_not_make_the_image_bad(world: World, outside: Outside) -> None:
    """The same image can be started again without a reason."""
    release_id = world.run_to_approval()
    outside.answers["deploy.tag"] = Outcome.FAIL
    world.deploy(QA, release_id)
    world.run("advance")
    world.act(judge_rollback, QA, release_id, "")
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.ROLLED_BACK
    world.start()


def test_a_finished_release_cannot_be_aborted(world: World) -> None:
    """An old button cannot end a release that is DONE."""
    release_id = world.run_to_done()
    with pytest.raises(StaleButton):
        world.act(abort.abort, MANAGER, release_id, "")


def test_approvals_end_with_an_aborted_release(world: World) -> None:
    """A new release of the same version starts without approvals."""
    first = world.run_to_approval()
    world.act(abort.abort, MANAGER, first, "")
    second = world.start()
    assert list(world.view(second).signoffs) == []
    assert world.view(second).checks[CheckId("go.one")].result is None


STRANGE: tuple[Any, ...] = (
    "<html>log in first</html>",
    [],
    {},
    {"object": None},
    {"object": "tag"},
    {"object": {"type": "tag"}},
)


@pytest.mark.parametrize("body", STRANGE)
def test_a_strange_answer_of_github_is_a_vendor_error(body: Any) -> None:
    """The error names GitHub and repeats nothing of the answer."""
    route = "GET /repos/solvereign/solvereign/git/ref/tags/v4.8.0"
    with Replies({route: Reply(200, body)}) as github, pytest.raises(VendorError) as error:
        sources_at(github.url + "/").resolve("v4.8.0")

    assert error.value.user_message == "GitHub sent an answer the bot doesn't understand."
