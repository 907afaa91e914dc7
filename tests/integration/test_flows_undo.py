"""The undo ledger: what a check changes is put back, whoever dies (promise P7)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.ids import CheckId, ReleaseId
from bot.domain.results import Running
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
from tests.fix_bot import MANAGER, Killed, Outside, World, checklist, die, hanging
from tests.fix_kube import eventually
from tests.unit.factories import make_check

ONE, TWO = CheckId("go.one"), CheckId("go.two")


@pytest.fixture
def changing(world: World) -> World:
    """go.one changes the tenant."""
    sections = list(world.deps.checklist.sections)
    sections[0] = sections[0].model_copy(
        update={"checks": (make_check("go.one", kind="tenant"), sections[0].checks[1])}
    )
    world.change(checklist=checklist(sections=tuple(sections)))
    return world


def kill(world: World, another_process: Callable[[], Store]) -> ReleaseId:
    """Start a release whose go.one dies with its process while the tenant is changed."""
    release_id = world.start()
    survivor, dying = world.deps, another_process()
    world.change(store=dying)
    world.store = dying
    job = world.claim_all("check")[f"{release_id}/go.one"]
    world.outside.dies = True
    with pytest.raises(Killed):
        world.carry_out(job)
    die(dying, survivor.store)
    world.outside.dies = False
    world.store = survivor.store
    world.change(store=survivor.store)
    return release_id


def test_paid_in_the_run(changing: World, outside: Outside) -> None:
    """The usual end: written down before, settled after, nothing left to do."""
    release_id = changing.start()
    during: list[int] = []
    outside.during = lambda name: during.append(len(changing.rows("SELECT FROM undos WHERE settled_at IS NULL")))
    changing.run("check")
    assert during[0] == 1
    assert outside.tenant == "active"
    assert changing.rows("SELECT FROM undos WHERE settled_at IS NULL") == []
    assert changing.outcome(release_id, "go.one") is Outcome.PASS


def test_a_living_process_pays_its_own(changing: World, outside: Outside) -> None:
    """Nobody puts back what a run is still using."""
    changing.start()
    left: list[str] = []

    def sweep(name: str) -> None:
        if name == "go.one":
            undo_orphans(changing.deps)
            left.append(outside.tenant)

    outside.during = sweep
    changing.run("check")
    assert left == ["past_due"]


def test_the_dead_are_followed(changing: World, outside: Outside, another_process: Callable[[], Store]) -> None:
    """Any other process puts it back, and says so on record."""
    kill(changing, another_process)
    assert outside.tenant == "past_due"
    assert undo_orphans(changing.deps) == 0
    assert outside.tenant == "active"
    last = changing.last()
    assert (last.actor, last.event) == ("system", "undo.settled")
    assert changing.last_fields() == {"what": "the tenant's status", "check": "go.one"}
    assert undo_orphans(changing.deps) == 0


def test_run_anew_after_a_death(changing: World, outside: Outside, another_process: Callable[[], Store]) -> None:
    """First it is put back, then the check is asked again."""
    release_id = kill(changing, another_process)
    found: list[str] = []
    outside.during = lambda name: found.append(outside.tenant) if name == "go.one" else None
    changing.run("check")
    assert changing.outcome(release_id, "go.one") is Outcome.PASS
    assert changing.rows("SELECT FROM undos WHERE settled_at IS NULL") == []
    assert [row["payload"] for row in changing.rows("SELECT payload FROM undos ORDER BY id")] == [
        {"status": "active"},
        {"status": "active"},
    ]


def test_not_run_over_an_open_debt(changing: World, outside: Outside, another_process: Callable[[], Store]) -> None:
    """Else it would take the changed state for the right one. ERROR, which names what is open."""
    release_id = kill(changing, another_process)
    outside.billing_answers = False
    changing.run("check")
    result = changing.view(release_id).checks[ONE].result
    assert result is not None
    assert result.outcome is Outcome.ERROR
    assert result.summary == "not run: an earlier run could not put back yet: the tenant's status"
    assert undo_orphans(changing.deps) == 1
    (row,) = changing.rows("SELECT settled_at, last_error FROM undos")
    assert row == {"settled_at": None, "last_error": "ConnectionError: the product is away"}
    outside.billing_answers = True
    assert undo_orphans(changing.deps) == 0
    assert outside.tenant == "active"


def test_aborted_while_it_is_put_back(changing: World, outside: Outside) -> None:
    """The run does not begin any more, and the check is not left as running for ever."""
    release_id = changing.start()
    job = changing.claim_all("check")[f"{release_id}/go.one"]
    with changing.store.transaction() as tx:
        origin = UndoOrigin(release_id, ONE, "tenant", "staging", changing.store.instance)
        undos.record(tx, origin, "the tenant's status", {"status": "active"})

    def end_it(name: str) -> None:
        if name == "undo":
            changing.act(abort.abort, MANAGER, release_id, "")

    outside.during = end_it
    with pytest.raises(Superseded):
        changing.carry_out(job)
    assert "go.one" not in outside.runs
    assert changing.view(release_id).checks[ONE].running is Running.IDLE


def test_one_that_cannot_be_paid_does_not_hold_up_the_others(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """A target that is gone from the configuration, a kind that is unknown: they stay, the rest is paid."""
    dead = another_process()
    good = UndoOrigin(None, ONE, "tenant", "staging", dead.instance)
    with world.store.transaction() as tx:
        for origin in (replace(good, target="gone"), good, replace(good, kind="unknown"), replace(good, kind="ask")):
            undos.record(tx, origin, "something", {"status": "active"})
    die(dead, world.store)
    outside.tenant = "past_due"
    assert undo_orphans(world.deps) == 3
    assert outside.tenant == "active"


def test_putting_back_that_does_not_stop_is_given_up(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """It holds up neither the others nor the sweep; nobody does it beside it, and once it has ended it is tried again."""
    dead = another_process()
    with world.store.transaction() as tx:
        for name, status in ((TWO, "active"), (ONE, "trialing")):  # the newest is paid first
            origin = UndoOrigin(None, name, "tenant", "staging", dead.instance)
            undos.record(tx, origin, f"status {status}", {"status": status})
    die(dead, world.store)
    outside.during = hanging(outside, "undo")
    assert undo_orphans(world.deps, within=0.1) == 1
    assert outside.tenant == "active"
    (row,) = world.rows("SELECT what, last_error FROM undos WHERE settled_at IS NULL")
    assert row["what"] == "status trialing"
    assert row["last_error"] == "CheckError: putting back status trialing did not stop within 0 s"
    outside.go_on.set()
    eventually("it to end", lambda: outside.tenant == "trialing")
    eventually("it to be paid", lambda: undo_orphans(world.deps) == 0 and not list_leftovers(world.deps, None, ONE))


@pytest.mark.parametrize(("stored", "unknown"), [({"doubt": False}, False), ({"doubt": True}, True), ({}, True)])
def test_whether_a_request_may_take_effect_late_is_told_to_the_undo(
    world: World, another_process: Callable[[], Store], stored: dict[str, bool], unknown: bool
) -> None:
    """Of a killed run nobody knows; kinds of an earlier version of the bot may have stored it in the payload."""
    told: list[bool] = []

    class Setting(Kind):
        name, summary, params = "setting", "changes", Params

        def needs(self, params: Any) -> tuple[Need, ...]:
            return (Changes("setting"),)

        def run(self, params: Any, ctx: CheckContext) -> Answer:
            raise AssertionError

        def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
            told.append(ctx.outcome_unknown)

    world.change(registry=Registry({"setting": Setting}))
    dead = another_process()
    with world.store.transaction() as tx:
        undos.record(tx, UndoOrigin(None, ONE, "setting", "staging", dead.instance), "a setting", stored)
    die(dead, world.store)
    assert undo_orphans(world.deps) == 0
    assert told == [unknown]


def test_secrets_stay_out_of_the_ledger(world: World) -> None:
    """What a person reads is redacted (promise P10)."""
    StoredUndoLedger(world.deps, None, ONE, "tenant", "staging").record("key s3cret", {})
    assert world.rows("SELECT what FROM undos") == [{"what": "key [redacted]"}]


def test_a_debt_is_paid_once(world: World, another_process: Callable[[], Store]) -> None:
    """Two sweeps at once do not both put it back: one holds it, the other leaves it alone."""
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
