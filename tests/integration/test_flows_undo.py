"""The undo ledger: what a check changes is put back, whoever dies (promise P7)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.ids import CheckId, ReleaseId
from bot.domain.results import RunState
from bot.errors import Superseded
from bot.flows import abort
from bot.flows.check_context import StoredUndoLedger
from bot.flows.undo import list_leftovers, undo_orphans
from bot.store import undos
from bot.store.pool import Store
from bot.store.undos import UndoOrigin
from checks.contract import Answer, CheckContext, Kind, Outcome, Params
from checks.registry import Registry
from clients.needs import Changes, Need
from tests.fix_bot import MANAGER, Outside, ProcessEnd, World, checklist, die, hang_at
from tests.fix_kube import eventually
from tests.unit.factories import make_check

ONE, TWO = CheckId("go.one"), CheckId("go.two")


@pytest.fixture
def tenant_world(world: World) -> World:
    """The flows with a check go.one that changes the tenant."""
    sections = list(world.deps.checklist.sections)
    sections[0] = sections[0].model_copy(
        update={"checks": (make_check("go.one", kind="tenant"), sections[0].checks[1])}
    )
    world.change(checklist=checklist(sections=tuple(sections)))
    return world


def kill(world: World, another_process: Callable[[], Store]) -> ReleaseId:
    """Start a release whose go.one dies with its process after it changed the tenant."""
    release_id = world.start()
    survivor, dying = world.deps, another_process()
    world.change(store=dying)
    world.store = dying
    job = world.claim_all("check")[f"{release_id}/go.one"]
    world.outside.kills_process = True
    with pytest.raises(ProcessEnd):
        world.carry_out(job)
    die(dying, survivor.store)
    world.outside.kills_process = False
    world.store = survivor.store
    world.change(store=survivor.store)
    return release_id


def test_a_change_is_undone_in_its_run(tenant_world: World, outside: Outside) -> None:
    """The undo record is written before the change and settled after it."""
    release_id = tenant_world.start()
    during: list[int] = []
    outside.during = lambda name: during.append(len(tenant_world.rows("SELECT FROM undos WHERE settled_at IS NULL")))
    tenant_world.run("check")
    assert during[0] == 1
    assert outside.tenant == "active"
    assert tenant_world.rows("SELECT FROM undos WHERE settled_at IS NULL") == []
    assert tenant_world.outcome(release_id, "go.one") is Outcome.PASS


def test_a_change_is_not_undone_while_its_process_lives(tenant_world: World, outside: Outside) -> None:
    """Nobody undoes what a run still uses."""
    tenant_world.start()
    tenant_states: list[str] = []

    def sweep(name: str) -> None:
        if name == "go.one":
            undo_orphans(tenant_world.deps)
            tenant_states.append(outside.tenant)

    outside.during = sweep
    tenant_world.run("check")
    assert tenant_states == ["past_due"]


def test_the_change_of_a_dead_process_is_undone(
    tenant_world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """Any other process undoes the change and records it."""
    kill(tenant_world, another_process)
    assert outside.tenant == "past_due"
    assert undo_orphans(tenant_world.deps) == 0
    assert outside.tenant == "active"
    last = tenant_world.last_event()
    assert (last.actor, last.event) == ("system", "undo.settled")
    assert tenant_world.last_fields() == {"what": "the tenant's status", "check": "go.one"}
    assert undo_orphans(tenant_world.deps) == 0


def test_a_check_runs_again_after_the_undo(
    tenant_world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """After the death of its process the change is undone first."""
    release_id = kill(tenant_world, another_process)
    tenant_states: list[str] = []
    outside.during = lambda name: tenant_states.append(outside.tenant) if name == "go.one" else None
    tenant_world.run("check")
    assert tenant_world.outcome(release_id, "go.one") is Outcome.PASS
    assert tenant_world.rows("SELECT FROM undos WHERE settled_at IS NULL") == []
    assert [row["payload"] for row in tenant_world.rows("SELECT payload FROM undos ORDER BY id")] == [
        {"status": "active"},
        {"status": "active"},
    ]


def test_a_check_does_not_run_over_an_open_undo_record(
    tenant_world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """It would take the changed state for the right one, so it is an ERROR that names what is open."""
    release_id = kill(tenant_world, another_process)
    outside.billing_is_up = False
    tenant_world.run("check")
    result = tenant_world.view(release_id).checks[ONE].result
    assert result is not None
    assert result.outcome is Outcome.ERROR
    assert result.summary == "not run: an earlier run hasn't put back yet: the tenant's status"
    assert undo_orphans(tenant_world.deps) == 1
    (row,) = tenant_world.rows("SELECT settled_at, last_error FROM undos")
    assert row == {"settled_at": None, "last_error": "ConnectionError: the product is away"}
    outside.billing_is_up = True
    assert undo_orphans(tenant_world.deps) == 0
    assert outside.tenant == "active"


def test_a_release_may_be_aborted_during_the_undo(tenant_world: World, outside: Outside) -> None:
    """The run does not begin any more, and the check is not left running."""
    release_id = tenant_world.start()
    job = tenant_world.claim_all("check")[f"{release_id}/go.one"]
    with tenant_world.store.transaction() as tx:
        origin = UndoOrigin(release_id, ONE, "tenant", "staging", tenant_world.store.instance)
        undos.record(tx, origin, "the tenant's status", {"status": "active"})

    def end_it(name: str) -> None:
        if name == "undo":
            tenant_world.act(abort.abort, MANAGER, release_id, "")

    outside.during = end_it
    with pytest.raises(Superseded):
        tenant_world.carry_out(job)
    assert "go.one" not in outside.runs
    assert tenant_world.view(release_id).checks[ONE].run_state is RunState.IDLE


def test_an_undo_that_is_impossible_does_not_hold_up_others(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """A missing target and an unknown kind stay open, and the rest is undone."""
    dead = another_process()
    good = UndoOrigin(None, ONE, "tenant", "staging", dead.instance)
    with world.store.transaction() as tx:
        for origin in (replace(good, target="gone"), good, replace(good, kind="unknown"), replace(good, kind="ask")):
            undos.record(tx, origin, "something", {"status": "active"})
    die(dead, world.store)
    outside.tenant = "past_due"
    assert undo_orphans(world.deps) == 3
    assert outside.tenant == "active"


def test_an_undo_that_does_not_stop_is_abandoned(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """It holds up nobody, nobody repeats it meanwhile, and it is tried again after its end."""
    dead = another_process()
    with world.store.transaction() as tx:
        for name, status in ((TWO, "active"), (ONE, "trialing")):  # the newest is paid first
            origin = UndoOrigin(None, name, "tenant", "staging", dead.instance)
            undos.record(tx, origin, f"status {status}", {"status": status})
    die(dead, world.store)
    outside.during = hang_at(outside, "undo")
    assert undo_orphans(world.deps, within=0.1) == 1
    assert outside.tenant == "active"
    (row,) = world.rows("SELECT what, last_error FROM undos WHERE settled_at IS NULL")
    assert row["what"] == "status trialing"
    assert row["last_error"] == "CheckError: putting back status trialing didn't finish within 0 s"
    outside.go_on.set()
    eventually("it to end", lambda: outside.tenant == "trialing")
    eventually("it to be paid", lambda: undo_orphans(world.deps) == 0 and not list_leftovers(world.deps, None, ONE))


@pytest.mark.parametrize(("old_fields", "is_unknown"), [({"doubt": False}, False), ({"doubt": True}, True), ({}, True)])
def test_the_undo_knows_whether_a_request_may_take_effect_late(
    world: World, another_process: Callable[[], Store], old_fields: dict[str, bool], is_unknown: bool
) -> None:
    """Nobody knows it of a killed run; an older version of the bot may have stored it in the payload."""
    answers: list[bool] = []

    class Setting(Kind):
        name, summary, params = "setting", "changes", Params

        def needs(self, params: Any) -> tuple[Need, ...]:
            return (Changes("setting"),)

        def run(self, params: Any, ctx: CheckContext) -> Answer:
            raise AssertionError

        def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
            answers.append(ctx.outcome_unknown)

    world.change(registry=Registry({"setting": Setting}))
    dead = another_process()
    with world.store.transaction() as tx:
        undos.record(tx, UndoOrigin(None, ONE, "setting", "staging", dead.instance), "a setting", old_fields)
    die(dead, world.store)
    assert undo_orphans(world.deps) == 0
    assert answers == [is_unknown]


def test_an_undo_record_contains_no_secret(world: World) -> None:
    """The text for people is redacted (promise P10)."""
    StoredUndoLedger(world.deps, None, ONE, "tenant", "staging").record("key s3cret", {})
    assert world.rows("SELECT what FROM undos") == [{"what": "key [redacted]"}]


def test_a_change_is_undone_once(world: World, another_process: Callable[[], Store]) -> None:
    """Of two sweeps at once one takes the lock, and the other leaves the record alone."""
    dead = another_process()
    with world.store.transaction() as tx:
        undo_id = undos.record(
            tx, UndoOrigin(None, ONE, "tenant", "staging", dead.instance), "it", {"status": "active"}
        )
    die(dead, world.store)
    with world.store.lock([f"undo/{undo_id}"]) as lock:
        assert lock.acquired
        undo_orphans(world.deps)
        assert world.rows("SELECT FROM undos WHERE settled_at IS NULL") != []
    undo_orphans(world.deps)
    assert world.rows("SELECT FROM undos WHERE settled_at IS NULL") == []
