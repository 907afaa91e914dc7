"""Checks without a release: in order, apart where they touch the same, put back, stopped."""

import threading
from collections.abc import Callable, Mapping

import pytest

from bot.domain.checklist import Check, Checklist, Section
from bot.domain.ids import CheckId
from bot.errors import ChecklistError
from bot.flows.deps import TargetDeps
from bot.flows.local_run import CheckProgress, LocalRun, select_checks
from bot.store import undos
from bot.store.pool import Store
from bot.store.undos import UndoOrigin
from checks.contract import Answer, Outcome
from clients.target import Target
from tests.fix_bot import Outside, ProcessEnd, World, checklist, die, hang_at
from tests.fix_kube import eventually
from tests.unit.factories import make_check


def of(*checks: Check) -> Checklist:
    """A checklist whose section `go` has these checks."""
    return checklist(sections=(Section(id="go", title="Go", gate=True, checks=checks),))


def run_locally(world: World, *checks: Check) -> Mapping[CheckId, CheckProgress]:
    """Run these checks locally and return the progress of each."""
    return LocalRun(world.deps, checks, tell=lambda *_: None).run()


def answer_of(results: Mapping[CheckId, CheckProgress], check_id: str = "go.one") -> Answer:
    """The answer of one check."""
    answer = results[CheckId(check_id)].answer
    assert answer is not None
    return answer


def outcomes(results: Mapping[CheckId, CheckProgress]) -> dict[str, Outcome]:
    """The outcome of each check."""
    return {check_id: answer_of(results, check_id).outcome for check_id in results}


def test_needed_checks_run_first(world: World, outside: Outside) -> None:
    """A need runs even if it was not named, and a check whose need fails does not run."""
    entries = select_checks(
        of(
            make_check("go.last", kind="ask", needs=("go.mid",)),
            make_check("go.mid", kind="ask", needs=("go.first",)),
            make_check("go.first", kind="ask"),
            make_check("go.other", kind="ask"),
        ),
        ["go.last"],
    )
    assert [entry.id for entry in entries] == ["go.last", "go.mid", "go.first"]
    assert outcomes(run_locally(world, *entries)) == dict.fromkeys(("go.last", "go.mid", "go.first"), Outcome.PASS)
    assert outside.runs == ["go.first", "go.mid", "go.last"]

    outside.answers["go.mid"] = Outcome.INCONCLUSIVE
    results = run_locally(world, *entries)
    assert outside.runs[3:] == ["go.first", "go.mid"]
    answer = answer_of(results, "go.last")
    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "skipped: go.mid needs a person")
    assert answer.hint == "Make go.mid pass first; then run this check again."


def test_checks_are_selected_by_id_or_section() -> None:
    """A section leaves out its attestations, a step may be a check, and a misspelled id gets a suggestion."""
    whole = checklist()
    assert [entry.id for entry in select_checks(whole, ["prep"])] == ["prep.first", "prep.second"]
    assert [entry.id for entry in select_checks(whole, ["prep.person"])] == ["prep.person"]
    (step,) = select_checks(whole, ["deploy.smoke"])
    assert (step.kind, step.target) == ("ask", "production")
    with pytest.raises(ChecklistError, match=r"no check or section 'go\.onw', did you mean 'go.one'"):
        select_checks(whole, ["go.onw"])


def test_checks_run_in_parallel_unless_they_share_a_resource(world: World, outside: Outside) -> None:
    """Checks that change a resource have it alone, and checks that only read it share it."""
    meeting, looking = threading.Barrier(2, timeout=10), threading.Barrier(2, timeout=10)
    inside: list[str] = []
    most: list[int] = []

    def during(name: str) -> None:
        if name in {"go.asks", "go.one"}:
            meeting.wait()  # passes only if both are under way at the same time
        if name.startswith("go.looks"):
            looking.wait()
            most.append(len(inside) + 1)
        if name in {"go.one", "go.two"}:
            inside.append(name)
            most.append(len(inside))
        if name == "undo":
            inside.pop()

    outside.during = during
    results = run_locally(
        world,
        make_check("go.one", kind="tenant"),
        make_check("go.two", kind="tenant"),
        make_check("go.asks", kind="ask"),
        make_check("go.looks", kind="look"),
        make_check("go.looks_too", kind="look"),
    )
    assert set(outcomes(results).values()) == {Outcome.PASS}
    assert most == [1, 1, 1, 1]
    assert outside.tenant == "active"
    assert world.rows("SELECT FROM undos WHERE settled_at IS NULL") == []


def test_a_local_run_waits_for_a_running_bot(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """A resource that the bot uses is left alone until it is free."""
    lines: list[str] = []
    is_waiting = threading.Event()

    def tell(entry: Check, progress: CheckProgress) -> None:
        if progress.line:
            lines.append(progress.line)
            is_waiting.set()

    with another_process().lock(["staging/tenant"]) as lock:
        assert lock.acquired
        local_run = LocalRun(world.deps, [make_check("go.one", kind="tenant")], tell=tell)
        thread = threading.Thread(target=local_run.run)
        thread.start()
        assert is_waiting.wait(10)
        assert outside.runs == []
    thread.join(10)
    assert outside.runs == ["go.one"]
    assert lines[0] == "waiting for the running bot"


def test_an_interrupted_run_stops_its_checks(world: World, outside: Outside) -> None:
    """A running check is stopped and awaited, and a waiting one does not begin."""
    stop = threading.Event()
    slow, waiting_check = make_check("go.slow", kind="slow"), make_check("go.waits", kind="ask", needs=("go.slow",))
    local_run = LocalRun(world.deps, [slow, waiting_check], tell=lambda *_: None, cancelled=stop)

    def interrupt() -> None:
        assert outside.is_running.wait(10)
        stop.set()

    threading.Thread(target=interrupt).start()
    results = local_run.run()
    assert {check_id: answer_of(results, check_id).summary for check_id in results} == {
        "go.slow": "cancelled",
        "go.waits": "cancelled before it started",
    }
    assert set(outcomes(results).values()) == {Outcome.ERROR}


def test_a_failed_undo_is_tried_again_and_named(world: World, outside: Outside) -> None:
    """It is tried again at the end of the run, and no check runs over it."""
    entry = make_check("go.one", kind="tenant")
    outside.billing_is_up = False
    local_run = LocalRun(world.deps, [entry], tell=lambda *_: None)
    assert outcomes(local_run.run()) == {"go.one": Outcome.ERROR}
    assert local_run.undo() == ["the tenant's status"]
    assert (
        answer_of(run_locally(world, entry)).summary
        == "not run: an earlier run hasn't put back yet: the tenant's status"
    )
    outside.billing_is_up = True
    assert local_run.undo() == []
    assert outside.tenant == "active"


def test_a_check_that_does_not_stop_is_abandoned(world: World, outside: Outside) -> None:
    """It is an ERROR, like any check of the same resource, and nobody undoes its change while it lives."""
    outside.during = hang_at(outside, "go.one")
    first, second = (make_check(f"go.{name}", kind="tenant", timeout=0.1) for name in ("one", "two"))
    local_run = LocalRun(world.deps, [first, second], tell=lambda *_: None)
    results = local_run.run()
    assert outcomes(results) == {"go.one": Outcome.ERROR, "go.two": Outcome.ERROR}
    assert answer_of(results).summary == "didn't finish within 0 s"
    assert answer_of(results).hint == "It ends with this command. The bot, or its next run, puts back what it changed."
    summary = "not run: release-bot check go.one didn't stop and still uses what this check needs"
    assert answer_of(results, "go.two").summary == summary
    assert answer_of(results, "go.two").hint.startswith("End `release-bot check go.one` at its terminal: ")
    assert local_run.undo() == ["the tenant's status"]
    assert outside.tenant == "past_due"
    outside.go_on.set()
    eventually("it to be put back", lambda: local_run.undo() == [])
    assert outside.tenant == "active"


def test_changes_of_a_killed_run_are_undone_first(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """Open undo records of a dead process are settled before any check runs."""
    dead = another_process()
    with world.store.transaction() as tx:
        origin = UndoOrigin(None, make_check("go.one").id, "tenant", "staging", dead.instance)
        undos.record(tx, origin, "the tenant's status", {"status": "active"})
    outside.tenant = "past_due"
    die(dead, world.store)
    tenant_states: list[str] = []
    outside.during = lambda name: tenant_states.append(outside.tenant) if name == "go.asks" else None
    run_locally(world, make_check("go.asks", kind="ask"))
    assert tenant_states == ["active"]


def test_nothing_is_changed_without_a_database(world: World, outside: Outside) -> None:
    """Without the bot's database only checks that change nothing run."""
    deps = world.deps
    without_store = TargetDeps(clock=deps.clock, targets=deps.targets, registry=deps.registry, redact=deps.redact)
    results = LocalRun(
        without_store, [make_check("go.one", kind="tenant"), make_check("go.two", kind="ask")], tell=lambda *_: None
    ).run()
    assert outcomes(results) == {"go.one": Outcome.ERROR, "go.two": Outcome.PASS}
    assert answer_of(results).summary == "not run: the bot's database is needed to record what must be put back"
    assert outside.runs == ["go.two"]


def test_a_mutating_check_is_refused_on_production(world: World, outside: Outside) -> None:
    """The rule is that of the bot (promise P11)."""
    world.change(targets={"production": Target(name="production")})
    results = run_locally(world, make_check("go.one", kind="tenant", target="production"))
    assert answer_of(results).summary == "refused: tenant changes data, but production isn't mutable"
    assert outside.runs == []


def test_a_fault_of_the_bot_is_raised_at_the_end(world: World, outside: Outside) -> None:
    """A fault in one thread is raised once all checks have ended."""
    outside.kills_process = True
    with pytest.raises(ProcessEnd):
        run_locally(world, make_check("go.one", kind="tenant"), make_check("go.two", kind="ask"))
    eventually("all threads to end", lambda: not any(thread.name.startswith("go.") for thread in threading.enumerate()))
