"""Bad answers anywhere: none, 409, 429, 500, too late; the release ends as if all had been good, each effect once (promise P5)."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fix_kube import Kube
from tests.killing.points import Fault, Moment, Point, worth
from tests.killing.production import Make, Phase, Recorded

PIECES = 4  # of the full run
AT_ONCE = 3  # runs: they mostly wait
STATUSES = (Fault.CONFLICT, Fault.LIMIT, Fault.ERROR)
Bad = tuple[Point, Fault]


def bad_answers(passed: list[Point]) -> Iterator[Bad]:
    """What can go wrong at each point: all of it where something is changed, one of it where a thing is read first."""
    for_reads = itertools.cycle((Fault.LIMIT, Fault.ERROR, Fault.LOST))
    late_read = True
    for point in passed:
        before = point.moment is Moment.BEFORE
        if point.commits:
            if point.what.startswith("product"):
                yield from ((point, fault) for fault in (Fault.LOST, Fault.LATE))
            elif worth(point) and not before:
                yield point, Fault.LOST
        elif point.reads:
            if before and point.nth == 1:
                yield point, Fault.LATE if late_read else next(for_reads)
                late_read = False
        elif before:
            yield from ((point, fault) for fault in STATUSES)
        else:
            yield from ((point, fault) for fault in (Fault.LOST, Fault.LATE))


def may_fail(point: Point, fault: Fault) -> bool:
    """Whether it may end the step, in sight: a refusal, and a transaction that was cut off. All else may be over at once.

    A conflict in the cluster is no refusal: its controllers write to the same objects, so the step looks and goes on.
    """
    if point.commits:
        return point.moment is Moment.BEFORE
    return fault is Fault.CONFLICT and not point.what.startswith("Kubernetes")


def names(told: str, point: Point, fault: Fault) -> bool:
    """Whether what people were told says who gave which answer."""
    if point.commits:
        return "is not applied" in told
    return point.what.partition(" ")[0] in told and fault in told


def as_if_good(found: dict[str, Any]) -> dict[str, Any]:
    """What stands there after a failure in sight and a second try, without the traces that just these leave."""
    retried = {step for step, _, attempt, _ in found["steps"] if attempt == 2}
    audit = [event for event in found["audit"] if event not in {"step.failed", "step.retried"}]
    if audit.count("deploy.planned") == 2:  # nothing was begun yet, so the second try has a plan of its own
        audit.remove("deploy.planned")
    return {
        **found,
        "steps": [(step, state, 1 if step in retried else attempt, n) for step, state, attempt, n in found["steps"]],
        "audit": audit,
        "posts": found["posts"] - Counter({("notice", "failed"): 1}),
        "results": [{**row, "n": row["n"] - (row["step_id"] in retried)} for row in found["results"]],
    }


@pytest.mark.killing
@pytest.mark.timeout(600)
@pytest.mark.parametrize("piece", range(PIECES))
@pytest.mark.parametrize("phase", list(Phase))
def test_bad_answer_at_every_point(
    kube: Kube,
    phase: Phase,
    piece: int,
    make: Make,
    recorded: dict[tuple[str, Phase], Recorded],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It goes on, or fails in sight and a second try ends it: all is as after a run in which every answer was good."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)  # noqa: T201  for whoever waits for a quarter of an hour

    known = recorded.get((kube.backend, phase))
    if known is None:
        with make(kube) as made:
            known = Recorded(made.bring_to(phase).carry_out_despite({}).passed, made.outcome())
        recorded[kube.backend, phase] = known
    bad = list(bad_answers(known.points))
    points, mine = len({point for point, _ in bad}), bad[piece::PIECES]
    say(f"\n{phase} on the {kube.backend}: {points} points, {len(bad)} runs, {len(mine)} of them in piece {piece}")

    def trouble_at(entry: Bad) -> str:
        point, fault = entry
        begun = time.monotonic()
        with make(kube) as made:
            trace = made.bring_to(phase).carry_out_despite({point: fault})
            told = made.retry()
            if told:
                made.carry_out()
            found = made.outcome()
        wrong = []
        if trace.missed:
            wrong.append("it never came")
        wrong += [f"waited for ever for {what}" for what in trace.endured]
        if told and not (may_fail(point, fault) and names(told, point, fault)):
            wrong.append(f"failed: {told}")
        if told:
            found = as_if_good(found)
        wrong += [f"{key}: {known.outcome[key]} {now}" for key, now in found.items() if now != known.outcome[key]]
        how = f"WRONG, {'; '.join(wrong)}" if wrong else "tried again" if told else "went on"
        say(f"  {time.monotonic() - begun:4.1f} s  {fault} {point}: {how}")
        return f"{fault} {point}: {how}" if wrong else ""

    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert [told for told in threads.map(trouble_at, mine) if told] == []
