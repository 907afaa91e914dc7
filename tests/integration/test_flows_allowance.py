"""Log-ins and the like: used only so often, counted over all processes, and never the last one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bot.domain.ids import CheckId, ReleaseId
from bot.domain.plan import StepState
from bot.domain.release import ReleaseState
from bot.domain.results import RunState
from bot.flows import check
from bot.flows.allowance import spend
from bot.flows.deploying import step_clicks
from bot.store import uses
from bot.store.pool import Store
from checks.contract import Outcome
from clients.needs import LOG_IN
from tests.fix_bot import QA, Outside, World, checklist, kinds
from tests.unit.factories import make_check

ONE = CheckId("go.one")
PERIOD = timedelta(seconds=LOG_IN.period)


@pytest.fixture
def login_world(world: World) -> World:
    """The flows with a check go.one that logs in."""
    sections = list(world.deps.checklist.sections)
    checks = (make_check("go.one", kind="log_in"), *sections[0].checks[1:])
    sections[0] = sections[0].model_copy(update={"checks": checks})
    world.change(checklist=checklist(sections=tuple(sections)))
    return world


def use_up(world: World, target: str, at_most: int = LOG_IN.uses) -> None:
    """Use up that many logins of a target."""
    with world.store.transaction() as tx:
        for _ in range(at_most):
            uses.spend(tx, f"{target}/login", world.clock.now())


def progress_of(world: World, release_id: ReleaseId) -> tuple[RunState, str]:
    """The state and the progress of go.one."""
    check_view = world.view(release_id).checks[ONE]
    return check_view.run_state, check_view.progress


def test_a_check_waits_for_the_next_login(login_world: World, outside: Outside) -> None:
    """A check waits until a login is free, says until when, and continues by itself."""
    use_up(login_world, "staging")
    release_id = login_world.start()
    free = login_world.clock.now() + PERIOD
    job = login_world.claim_all("check")[f"{release_id}/go.one"]
    assert login_world.carry_out(job) == free
    assert "go.one" not in outside.runs
    words = f"the logins of staging are used up until {free:%H:%M} UTC, then it continues by itself"
    assert progress_of(login_world, release_id) == (RunState.WAITING, words)

    login_world.clock.advance(seconds=LOG_IN.period)
    login_world.run("check")
    assert login_world.outcome(release_id, "go.one") is Outcome.PASS


def test_each_target_has_its_own_logins(login_world: World, outside: Outside) -> None:
    """Logins of production do not count for staging."""
    use_up(login_world, "production")
    login_world.start()
    login_world.run("check")
    assert "go.one" in outside.runs


def test_the_last_login_is_left_to_people(login_world: World, outside: Outside) -> None:
    """The product allows five logins, and the bot uses at most four."""
    release_id = login_world.start()
    login_world.run("check")
    for _ in range(LOG_IN.uses):
        login_world.act(check.rerun, QA, release_id, "go.one")
        job = login_world.claim_all("check")[f"{release_id}/go.one"]
        login_world.carry_out(job)
    assert outside.runs.count("go.one") == LOG_IN.uses == 5 - 1
    assert progress_of(login_world, release_id)[0] is RunState.WAITING


def test_a_step_without_a_login_fails_and_can_be_retried(login_world: World) -> None:
    """A step does not wait for a quarter of an hour, but fails with the time of the next login."""
    specs = [
        spec.model_copy(update={"action": spec.action.model_copy(update={"kind": "log_in"})})
        if spec.id == "deploy.smoke"
        else spec
        for spec in login_world.deps.checklist.deploy
    ]
    login_world.change(checklist=checklist(deploy=tuple(specs)))
    use_up(login_world, "production")
    release_id = login_world.run_to_watch()
    (failed_step,) = [step for step in login_world.view(release_id).steps if step.state is StepState.FAILED]
    assert (failed_step.id, login_world.view(release_id).release.state) == ("deploy.smoke", ReleaseState.DEPLOY_FAILED)
    assert "the logins of production are used up until" in failed_step.summary
    login_world.clock.advance(seconds=LOG_IN.period)
    login_world.act(step_clicks.retry, QA, failed_step.row)
    login_world.run("advance")
    assert login_world.view(release_id).release.state is ReleaseState.WATCHING


def test_processes_share_the_logins(world: World, outside: Outside, another_process: Callable[[], Store]) -> None:
    """Of twelve runs in three processes at the same moment four get a login."""
    kind = kinds(outside).get("log_in")
    stores = [world.store, another_process(), another_process()]

    def one(store: Store) -> bool:
        with store.transaction() as tx:
            return spend(tx, kind.spends, "staging", world.clock.now()) is None

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(one, stores * 4)) == LOG_IN.uses
