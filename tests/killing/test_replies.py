"""After bad answers at any point (none, too late, 409, 429, 500) a release ends as after good ones, each effect once (promise P5)."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fix_kube import Kube
from tests.killing.points import Fault, Moment, Point, is_worth_a_fault
from tests.killing.production import Make, Phase, ReferenceRun

PIECES = 4  # of the full run
AT_ONCE = 3  # runs: they mostly wait
STATUSES = (Fault.CONFLICT, Fault.LIMIT, Fault.ERROR)
Bad = tuple[Point, Fault]


def bad_answers(points: list[Point]) -> Iterator[Bad]:
    """The faults to try at each point: all of them where something is changed, one of them where something is read."""
    for_reads = itertools.cycle((Fault.LIMIT, Fault.ERROR, Fault.LOST))
    late_read = True
    for point in points:
        is_before = point.moment is Moment.BEFORE
        if point.is_commit:
            if point.what.startswith("product"):
                yield from ((point, fault) for fault in (Fault.LOST, Fault.LATE))
            elif is_worth_a_fault(point) and not is_before:
                yield point, Fault.LOST
        elif point.is_read:
            if is_before and point.nth == 1:
                yield point, Fault.LATE if late_read else next(for_reads)
                late_read = False
        elif is_before:
            yield from ((point, fault) for fault in STATUSES)
        else:
            yield from ((point, fault) for fault in (Fault.LOST, Fault.LATE))


def may_fail(point: Point, fault: Fault) -> bool:
    """Whether the fault may end the step visibly: a rejection and a broken transaction may, all others may not.

    A conflict in the cluster is no rejection: its controllers write to the same objects, so the step looks and goes on.
    """
    if point.is_commit:
        return point.moment is Moment.BEFORE
    return fault is Fault.CONFLICT and not point.what.startswith("Kubernetes")


def names_the_vendor(message: str, point: Point, fault: Fault) -> bool:
    """Whether the message to people says which vendor gave which answer."""
    if point.is_commit:
        return "is not applied" in message
    return point.what.partition(" ")[0] in message and fault in message


def without_traces_of_retry(outcome: dict[str, Any]) -> dict[str, Any]:
    """The outcome after a visible failure and a retry, without the traces that only these leave."""
    retried_steps = {step for step, _, attempt, _ in outcome["steps"] if attempt == 2}
    audit = [event for event in outcome["audit"] if event not in {"step.failed", "step.retried"}]
    if audit.count("deploy.planned") == 2:  # nothing was begun yet, so the second try has a plan of its own
        audit.remove("deploy.planned")
    return {
        **outcome,
        "steps": [
            (step, state, 1 if step in retried_steps else attempt, n) for step, state, attempt, n in outcome["steps"]
        ],
        "audit": audit,
        "posts": outcome["posts"] - Counter({("notice", "failed"): 1}),
        "results": [{**row, "n": row["n"] - (row["step_id"] in retried_steps)} for row in outcome["results"]],
    }


@pytest.mark.killing
@pytest.mark.timeout(600)
@pytest.mark.parametrize("piece", range(PIECES))
@pytest.mark.parametrize("phase", list(Phase))
def test_a_bad_answer_is_harmless_at_every_point(
    kube: Kube,
    phase: Phase,
    piece: int,
    make: Make,
    reference_runs: dict[tuple[str, Phase], ReferenceRun],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After a bad answer the release goes on, or fails visibly and ends after a retry, with the outcome of the
    reference run.
    """

    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)  # noqa: T201  for whoever waits for a quarter of an hour

    reference = reference_runs.get((kube.backend, phase))
    if reference is None:
        with make(kube) as prod:
            reference = ReferenceRun(prod.bring_to(phase).carry_out_despite({}).points, prod.outcome())
        reference_runs[kube.backend, phase] = reference
    bad = list(bad_answers(reference.points))
    points, mine = len({point for point, _ in bad}), bad[piece::PIECES]
    say(f"\n{phase} on the {kube.backend}: {points} points, {len(bad)} runs, {len(mine)} of them in piece {piece}")

    def trouble_at(entry: Bad) -> str:
        point, fault = entry
        start = time.monotonic()
        with make(kube) as prod:
            trace = prod.bring_to(phase).carry_out_despite({point: fault})
            message = prod.retry()
            if message:
                prod.carry_out()
            outcome = prod.outcome()
        problems = []
        if trace.missing:
            problems.append("it never came")
        problems += [f"waited for ever for {what}" for what in trace.endless_waits]
        if message and not (may_fail(point, fault) and names_the_vendor(message, point, fault)):
            problems.append(f"failed: {message}")
        if message:
            outcome = without_traces_of_retry(outcome)
        problems += [
            f"{key}: {reference.outcome[key]} {actual}"
            for key, actual in outcome.items()
            if actual != reference.outcome[key]
        ]
        summary = f"WRONG, {'; '.join(problems)}" if problems else "tried again" if message else "went on"
        say(f"  {time.monotonic() - start:4.1f} s  {fault} {point}: {summary}")
        return f"{fault} {point}: {summary}" if problems else ""

    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert [trouble for trouble in threads.map(trouble_at, mine) if trouble] == []
