"""A whole run of the checklist against the sandbox: side by side, and the same checks one after another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.far import far_away
from bench.figure import Figure
from bot.app import load_checklist
from bot.clock import SystemClock
from bot.domain.checklist import Check, Checklist
from bot.flows.check_context import CheckRun, build_context
from bot.flows.deps import TargetDeps
from bot.settings import load_settings
from checks.contract import Outcome, Subject
from checks.registry import Registry
from checks.runner import run_check
from tests.fix_checks import RecordingUndo
from tests.fix_demo import Demo, running_demo, until

RITA = "Rita"
REPETITIONS = 3
LATENCY = 0.25  # seconds: what a vendor takes to answer; the sandbox itself answers in a few milliseconds
_LAST = "(SELECT max(id) FROM releases)"
_RESULTS_QUERY = f"""SELECT r.check_id, c.outcome, c.summary, r.requested_at, c.started_at, c.finished_at
FROM check_runs r JOIN LATERAL (SELECT * FROM check_results x WHERE x.release_id = r.release_id
                                AND x.check_id = r.check_id ORDER BY id DESC LIMIT 1) c ON true
WHERE r.release_id = {_LAST} AND r.state = 'idle' AND NOT c.attested AND c.started_at >= r.requested_at"""


def measure(folder: Path) -> list[Figure]:
    """The whole run against its slowest check and against one after another; the best of some runs of each."""
    with running_demo(folder / "data") as demo, far_away(Path(demo.facts["config"]), LATENCY):
        demo.kill_bot()  # and its successor reads the changed configuration
        demo.stage.command(RITA, "/release start v4.8.0")
        together = [_together(demo, first=number == 0) for number in range(REPETITIONS)]
        whole, slowest, chain = min(together)
        alone = min(_one_after_another(demo) for _ in range(2))
    print(f"whole run {whole:.2f} s, slowest check {slowest:.2f} s, longest chain {chain:.2f} s, in turn {alone:.2f} s")
    return [
        Figure("whole run / slowest check", whole / slowest, 1.25, "x"),
        Figure("whole run / longest chain of checks that need each other", whole / chain, 1.25, "x"),
        Figure("one after another / whole run", alone / whole, 4.0, "x", at_least=True),
    ]


def _together(demo: Demo, *, first: bool) -> tuple[float, float, float]:
    """Seconds of the whole run, of its slowest check and of the longest chain of checks that need each other."""
    if not first:
        demo.stage.command(RITA, "/release check all")
    waiting_query = f"SELECT count(*) AS n FROM check_runs WHERE state <> 'idle' AND release_id = {_LAST}"
    until(lambda: demo.rows(waiting_query)[0]["n"] == 0, "the checks to end", 120)
    rows = {row["check_id"]: row for row in demo.rows(_RESULTS_QUERY)}
    took = {name: (row["finished_at"] - row["started_at"]).total_seconds() for name, row in rows.items()}
    for name, row in sorted(rows.items(), key=lambda item: took[item[0]]):
        print(f"  {took[name]:6.2f} s  {name:32} {row['outcome']:12} {row['summary'][:80]}")
    start = min(row["requested_at"] for row in rows.values())
    whole = (max(row["finished_at"] for row in rows.values()) - start).total_seconds()
    checklist = load_checklist("solvereign", Registry.load())
    return whole, max(took.values()), max(_chain(checklist, name, took) for name in took)


def _chain(checklist: Checklist, name: str, took: Mapping[str, float]) -> float:
    check = checklist.check(name)
    needs = check.needs if check is not None else ()
    return took[name] + max((_chain(checklist, need, took) for need in needs if need in took), default=0.0)


def _one_after_another(demo: Demo) -> float:
    """Seconds for the same checks, each begun when the one before it has ended."""
    settings = load_settings(Path(demo.facts["config"]))
    deps = TargetDeps(
        clock=SystemClock(), targets=settings.target_values(), registry=Registry.load(), redact=lambda text: text
    )
    (release,) = demo.rows("SELECT version, commit_sha, image, digest FROM releases ORDER BY id DESC LIMIT 1")
    subject = Subject(release["version"], release["commit_sha"], f"{release['image']}@{release['digest']}")
    data_by_check: dict[str, Mapping[str, Any]] = {}
    logging.disable(logging.WARNING)
    start = time.monotonic()
    for check in _in_order(load_checklist(settings.checklist, deps.registry)):
        with ExitStack() as stack:
            kind = deps.registry.get(check.kind)
            run = CheckRun(
                release_id=None, name=check.id, cancelled=threading.Event(), progress=lambda _: None, subject=subject,
                needs={need: data_by_check[need] for need in check.needs},
            )  # fmt: skip
            target, seconds = deps.targets[check.target], check.timeout or kind.timeout
            context = build_context(stack, target, check.id, RecordingUndo(), run, seconds=seconds)
            params = deps.registry.validate(check.kind, check.params)
            answer = run_check(kind, params, context, redact=deps.redact, held=stack).answer
        if answer.outcome is not Outcome.PASS:
            print(f"  in turn: {check.id} is {answer.outcome}: {answer.summary}")
        data_by_check[check.id] = answer.data
    return time.monotonic() - start


def _in_order(checklist: Checklist) -> list[Check]:
    """What runs before the deploy, each after what it needs."""
    remaining = [check for check in checklist.distinct_checks_in("before") if check.kind != "attest"]
    ordered_checks: list[Check] = []
    while remaining:
        ready = next(check for check in remaining if not {other.id for other in remaining} & set(check.needs))
        ordered_checks.append(ready)
        remaining.remove(ready)
    return ordered_checks
