"""Log-ins and the like: used only so often, counted over all processes, and never the last one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bot.domain.ids import CheckId, ReleaseId
from bot.domain.plan import StepState
from bot.domain.release import ReleaseState
from bot.domain.results import Running
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
def counted(world: World) -> World:
    """go.one logs in."""
    sections = list(world.deps.checklist.sections)
    changed = (make_check("go.one", kind="log_in"), *sections[0].checks[1:])
    sections[0] = sections[0].model_copy(update={"checks": changed})
    world.change(checklist=checklist(sections=tuple(sections)))
    return world


def use_up(world: World, target: str, at_most: int = LOG_IN.uses) -> None:
    """So many log-ins were made just now."""
    with world.store.transaction() as tx:
        for _ in range(at_most):
            uses.use(tx, f"{target}/login", world.clock.now())


def standing(world: World, release_id: ReleaseId) -> tuple[Running, str]:
    """What go.one does, and what is said about it."""
    known = world.view(release_id).checks[ONE]
    return known.running, known.progress


def test_a_check_waits_for_the_next_log_in_and_says_until_when(counted: World, outside: Outside) -> None:
    """Nothing is asked while nothing is left; when it is free again the check goes on by itself."""
    use_up(counted, "staging")
    release_id = counted.start()
    free = counted.clock.now() + PERIOD
    job = counted.claim_all("check")[f"{release_id}/go.one"]
    assert counted.carry_out(job) == free
    assert "go.one" not in outside.runs
    words = f"the log-ins of staging are used up until {free:%H:%M} UTC, then it goes on by itself"
    assert standing(counted, release_id) == (Running.WAITING, words)

    counted.clock.advance(seconds=LOG_IN.period)
    counted.run("check")
    assert counted.outcome(release_id, "go.one") is Outcome.PASS


def test_another_target_has_its_own(counted: World, outside: Outside) -> None:
    """Production's log-ins are none of staging's."""
    use_up(counted, "production")
    counted.start()
    counted.run("check")
    assert "go.one" in outside.runs


def test_the_last_one_is_left_to_people(counted: World, outside: Outside) -> None:
    """The product takes five; whatever is run again and again, the bot makes four, then waits."""
    release_id = counted.start()
    counted.run("check")
    for _ in range(LOG_IN.uses):
        counted.act(check.rerun, QA, release_id, "go.one")
        job = counted.claim_all("check")[f"{release_id}/go.one"]
        counted.carry_out(job)
    assert outside.runs.count("go.one") == LOG_IN.uses == 5 - 1
    assert standing(counted, release_id)[0] is Running.WAITING


def test_a_step_says_so_and_can_be_retried(counted: World) -> None:
    """A deploy does not stand still for a quarter of an hour: the step fails with the time at which to retry."""
    specs = [
        spec.model_copy(update={"action": spec.action.model_copy(update={"kind": "log_in"})})
        if spec.id == "deploy.smoke"
        else spec
        for spec in counted.deps.checklist.deploy
    ]
    counted.change(checklist=checklist(deploy=tuple(specs)))
    use_up(counted, "production")
    release_id = counted.deployed()
    (failed,) = [step for step in counted.view(release_id).steps if step.state is StepState.FAILED]
    assert (failed.id, counted.view(release_id).release.state) == ("deploy.smoke", ReleaseState.DEPLOY_FAILED)
    assert "the log-ins of production are used up until" in failed.summary
    counted.clock.advance(seconds=LOG_IN.period)
    counted.act(step_clicks.retry, QA, failed.row)
    counted.run("advance")
    assert counted.view(release_id).release.state is ReleaseState.WATCHING


def test_processes_share_it(world: World, outside: Outside, another_process: Callable[[], Store]) -> None:
    """Twelve runs in three processes at the same moment: four get one."""
    kind = kinds(outside).get("log_in")
    stores = [world.store, another_process(), another_process()]

    def one(store: Store) -> bool:
        with store.transaction() as tx:
            return spend(tx, kind.spends, "staging", world.clock.now()) is None

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(one, stores * 4)) == LOG_IN.uses
