"""One runner: a release, a terminal, the watch and a step honour the same declarations of a kind."""

from collections.abc import Callable
from typing import Any

import pytest

from bot.domain.checklist import Checklist, Section
from bot.domain.plan import StepState
from bot.domain.release import ReleaseState
from bot.flows.deploying import step_clicks
from bot.flows.local_run import LocalRun
from bot.flows.undo import undo_orphans
from bot.store.pool import Store
from checks.contract import Outcome
from tests.fix_bot import QA, Outside, ProcessEnd, World, checklist, die
from tests.unit.factories import make_check


def with_step(**action: Any) -> Checklist:
    """A checklist whose only step of the deploy is a check of staging."""
    step = {"id": "deploy.ask", "title": "Ask", "action": {"do": "check", "target": "staging", **action}}
    return checklist(deploy=(step,))


def test_the_change_of_a_step_is_undone_after_a_crash(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """The undo record of a check in a step is settled like that of any check (promise P7)."""
    world.change(checklist=with_step(kind="tenant"))
    world.deploy(QA, world.run_to_approval())
    survivor, dying = world.store, another_process()
    world.store = dying
    world.change(store=dying)
    outside.kills_process = True
    with pytest.raises(ProcessEnd):
        world.run("advance")
    die(dying, survivor)
    assert outside.tenant == "past_due"
    world.store = survivor
    world.change(store=survivor)
    assert undo_orphans(world.deps) == 0
    assert outside.tenant == "active"


def test_a_step_waits_for_a_resource_in_use(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """A step waits no longer than it may run itself, then it fails and can be retried."""
    world.change(checklist=with_step(kind="look", timeout=0.2))
    with another_process().lock(["staging/tenant"]) as lock:
        assert lock.acquired
        release_id = world.run_to_watch()
    (step,) = [step for step in world.view(release_id).steps if step.state is StepState.FAILED]
    assert step.summary == "ERROR: not run: others are using what it needs. Retry then."
    assert "deploy.ask" not in outside.runs

    world.act(step_clicks.retry, QA, step.row)
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.WATCHING


def test_a_probe_waits_for_a_resource_in_use(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """A probe that could not run is no PASS (promise P2)."""
    probe = {"id": "watch.tenant", "title": "Tenant", "kind": "look", "target": "staging", "timeout": 0.2}
    world.change(checklist=checklist(watch={"probes": (probe,)}))
    release_id = world.run_to_watch()
    with another_process().lock(["staging/tenant"]) as lock:
        assert lock.acquired
        world.poll()
    watch = world.view(release_id).watch
    assert watch is not None
    assert [reading.summary for reading in watch.readings] == ["not run: others are using what it needs"]
    world.poll()
    assert outside.runs[-1] == "watch.tenant"


def test_a_local_run_and_a_release_agree(world: World, outside: Outside) -> None:
    """The same checks run, are skipped and are refused for the same reasons."""
    entries = (
        make_check("go.last", kind="ask", needs=("go.bad", "go.one")),
        make_check("go.after_last", kind="ask", needs=("go.last",)),
        make_check("go.one", kind="tenant"),
        make_check("go.looks", kind="look", needs=("go.one",)),
        make_check("go.bad", kind="ask"),
        make_check("go.refused", kind="tenant", target="production"),
        make_check("go.nowhere", kind="ask", target="nowhere"),
        make_check("go.unknown", kind="ask", params={"no": 1}),
    )
    outside.answers["go.bad"] = Outcome.FAIL
    progress = LocalRun(world.deps, entries, tell=lambda *_: None).run()
    in_terminal = {name: one.answer.summary for name, one in progress.items() if one.answer is not None}
    runs = sorted(outside.runs)
    outside.runs.clear()

    world.change(checklist=checklist(sections=(Section(id="go", title="Go", gate=True, checks=entries),)))
    release_id = world.start()
    world.run("check")
    in_release = {name: view.result.summary for name, view in world.view(release_id).checks.items() if view.result}
    assert in_terminal == in_release
    assert len(in_terminal) == len(entries)
    assert runs == sorted(outside.runs) == ["go.bad", "go.looks", "go.one"]
