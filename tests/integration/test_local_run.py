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
from tests.fix_bot import Killed, Outside, World, checklist, die, hanging
from tests.fix_kube import eventually
from tests.unit.factories import make_check


def of(*checks: Check) -> Checklist:
    """A checklist whose section `go` has these checks."""
    return checklist(sections=(Section(id="go", title="Go", gate=True, checks=checks),))


def run_locally(world: World, *checks: Check) -> Mapping[CheckId, CheckProgress]:
    """Ask these and return how each ended."""
    return LocalRun(world.deps, checks, tell=lambda *_: None).run()


def answered(found: Mapping[CheckId, CheckProgress], check_id: str = "go.one") -> Answer:
    """The answer of one."""
    answer = found[CheckId(check_id)].answer
    assert answer is not None
    return answer


def outcomes(found: Mapping[CheckId, CheckProgress]) -> dict[str, Outcome]:
    """The outcome of each."""
    return {check_id: answered(found, check_id).outcome for check_id in found}


def test_what_is_needed_comes_first(world: World, outside: Outside) -> None:
    """Also when it was not named; a check whose need did not pass is not run, and says so."""
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
    found = run_locally(world, *entries)
    assert outside.runs[3:] == ["go.first", "go.mid"]
    answer = answered(found, "go.last")
    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "not run: it needs go.mid, which is INCONCLUSIVE")
    assert answer.hint == "Make go.mid pass first; then run this one again."


def test_what_is_chosen() -> None:
    """Checks, sections without their attestations, steps that ask; a slip is named with what was meant."""
    whole = checklist()
    assert [entry.id for entry in select_checks(whole, ["prep"])] == ["prep.first", "prep.second"]
    assert [entry.id for entry in select_checks(whole, ["prep.person"])] == ["prep.person"]
    (step,) = select_checks(whole, ["deploy.smoke"])
    assert (step.kind, step.target) == ("ask", "production")
    with pytest.raises(ChecklistError, match=r"no check or section 'go\.onw', did you mean 'go.one'"):
        select_checks(whole, ["go.onw"])


def test_side_by_side_but_apart_where_they_touch_the_same(world: World, outside: Outside) -> None:
    """Two that change the tenant never run at once, one that touches nothing runs beside them.

    Those that only look at it run beside each other, and never beside one that changes it.
    """
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
    found = run_locally(
        world,
        make_check("go.one", kind="tenant"),
        make_check("go.two", kind="tenant"),
        make_check("go.asks", kind="ask"),
        make_check("go.looks", kind="look"),
        make_check("go.looks_too", kind="look"),
    )
    assert set(outcomes(found).values()) == {Outcome.PASS}
    assert most == [1, 1, 1, 1]
    assert outside.tenant == "active"
    assert world.rows("SELECT FROM undos WHERE settled_at IS NULL") == []


def test_a_running_bot_is_waited_for(world: World, outside: Outside, another_process: Callable[[], Store]) -> None:
    """What it has in use is left alone until it is free."""
    lines: list[str] = []
    waits = threading.Event()

    def tell(entry: Check, progress: CheckProgress) -> None:
        if progress.line:
            lines.append(progress.line)
            waits.set()

    with another_process().lock(["staging/tenant"]) as lock:
        assert lock.acquired
        local_run = LocalRun(world.deps, [make_check("go.one", kind="tenant")], tell=tell)
        thread = threading.Thread(target=local_run.run)
        thread.start()
        assert waits.wait(10)
        assert outside.runs == []
    thread.join(10)
    assert outside.runs == ["go.one"]
    assert lines[0] == "waits for the running bot"


def test_stopped(world: World, outside: Outside) -> None:
    """What runs is told to stop and awaited, what waits does not begin."""
    stop = threading.Event()
    slow, waiting = make_check("go.slow", kind="slow"), make_check("go.waits", kind="ask", needs=("go.slow",))
    local_run = LocalRun(world.deps, [slow, waiting], tell=lambda *_: None, cancelled=stop)

    def interrupt() -> None:
        assert outside.going.wait(10)
        stop.set()

    threading.Thread(target=interrupt).start()
    found = local_run.run()
    assert {check_id: answered(found, check_id).summary for check_id in found} == {
        "go.slow": "cancelled",
        "go.waits": "cancelled before it began",
    }
    assert set(outcomes(found).values()) == {Outcome.ERROR}


def test_what_could_not_be_put_back_is_tried_again_and_named(world: World, outside: Outside) -> None:
    """At the end of the run; and no check is run over it."""
    entry = make_check("go.one", kind="tenant")
    outside.billing_answers = False
    local_run = LocalRun(world.deps, [entry], tell=lambda *_: None)
    assert outcomes(local_run.run()) == {"go.one": Outcome.ERROR}
    assert local_run.undo() == ["the tenant's status"]
    assert (
        answered(run_locally(world, entry)).summary
        == "not run: an earlier run could not put back yet: the tenant's status"
    )
    outside.billing_answers = True
    assert local_run.undo() == []
    assert outside.tenant == "active"


def test_one_that_does_not_stop_is_given_up(world: World, outside: Outside) -> None:
    """ERROR, and so is who needs what it has in use. While it lives nobody puts back what it may change again."""
    outside.during = hanging(outside, "go.one")
    first, second = (make_check(f"go.{name}", kind="tenant", timeout=0.1) for name in ("one", "two"))
    local_run = LocalRun(world.deps, [first, second], tell=lambda *_: None)
    found = local_run.run()
    assert outcomes(found) == {"go.one": Outcome.ERROR, "go.two": Outcome.ERROR}
    assert answered(found).summary == "did not stop within 0 s"
    assert (
        answered(found).hint == "It ends with this command. What it changed is put back by the bot, or by its next run."
    )
    blamed = "not run: release-bot check go.one did not stop, and still has in use what this check needs"
    assert answered(found, "go.two").summary == blamed
    assert answered(found, "go.two").hint.startswith("End `release-bot check go.one` at its terminal: ")
    assert local_run.undo() == ["the tenant's status"]
    assert outside.tenant == "past_due"
    outside.go_on.set()
    eventually("it to be put back", lambda: local_run.undo() == [])
    assert outside.tenant == "active"


def test_the_dead_are_followed_first(world: World, outside: Outside, another_process: Callable[[], Store]) -> None:
    """What a killed run has left is put back before anything is asked."""
    dead = another_process()
    with world.store.transaction() as tx:
        origin = UndoOrigin(None, make_check("go.one").id, "tenant", "staging", dead.instance)
        undos.record(tx, origin, "the tenant's status", {"status": "active"})
    outside.tenant = "past_due"
    die(dead, world.store)
    seen: list[str] = []
    outside.during = lambda name: seen.append(outside.tenant) if name == "go.asks" else None
    run_locally(world, make_check("go.asks", kind="ask"))
    assert seen == ["active"]


def test_nothing_is_changed_that_could_not_be_written_down(world: World, outside: Outside) -> None:
    """Without the bot's database what only asks is asked, what changes is not."""
    deps = world.deps
    without_store = TargetDeps(clock=deps.clock, targets=deps.targets, registry=deps.registry, redact=deps.redact)
    found = LocalRun(
        without_store, [make_check("go.one", kind="tenant"), make_check("go.two", kind="ask")], tell=lambda *_: None
    ).run()
    assert outcomes(found) == {"go.one": Outcome.ERROR, "go.two": Outcome.PASS}
    assert answered(found).summary == "not run: the bot's database is needed to write down what must be put back"
    assert outside.runs == ["go.two"]


def test_production_is_refused(world: World, outside: Outside) -> None:
    """As for the bot itself (promise P11)."""
    world.change(targets={"production": Target(name="production")})
    found = run_locally(world, make_check("go.one", kind="tenant", target="production"))
    assert answered(found).summary == "refused: tenant changes data and production is not mutable"
    assert outside.runs == []


def test_a_fault_of_the_bot_is_raised_once_all_have_ended(world: World, outside: Outside) -> None:
    """It does not end in a thread that nobody hears, and nobody is left running."""
    outside.dies = True
    with pytest.raises(Killed):
        run_locally(world, make_check("go.one", kind="tenant"), make_check("go.two", kind="ask"))
    eventually("all threads to end", lambda: not any(thread.name.startswith("go.") for thread in threading.enumerate()))
