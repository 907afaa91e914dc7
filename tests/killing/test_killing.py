"""A release whose process is killed at any point ends as if nothing had happened, with each effect once (promise P5)."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.domain.release import ReleaseState
from bot.store.work import ACT_WITHIN
from tests.fix_kube import Kube
from tests.killing.points import Fault, Moment, Point, is_worth_a_fault
from tests.killing.production import Make, Phase, ReferenceRun

PIECES = 4  # of the full run; each ends within three minutes
AT_ONCE = 3  # runs: they mostly wait
INTENT = "bot: work.renew + steps.journal(intent)"
INTENTS = {Phase.DEPLOY: 7, Phase.ROLLBACK: 3, Phase.SET: 1, Phase.LIFT: 1}
EFFECTS = {
    Phase.DEPLOY: (
        "GitHub POST git/tags",
        "GitHub POST git/refs",
        "product: INSERT INTO schema_migrations",
        "Kubernetes POST jobs",
        "Kubernetes PATCH deployments/web",
        "Vercel POST v13/deployments",
        "Kubernetes PATCH cronjobs/solvereign-backup",
    ),
    Phase.ROLLBACK: (
        "Kubernetes PATCH deployments/web",
        "Vercel POST rollback/dpl_v4.7.0",
        "Kubernetes PATCH cronjobs/solvereign-backup",
    ),
}


def test_a_process_killed_after_each_effect_repeats_none_of_them(simulator: Kube, make: Make) -> None:
    """A process is killed before it receives the answer to each effect of a deploy and a rollback; each effect takes
    place once.
    """
    with make(simulator) as prod:
        before = prod.outcome()
        deploy_trace = prod.carry_out(*(Point(what, 1, Moment.AFTER) for what in EFFECTS[Phase.DEPLOY]))
        after_deploy = prod.outcome()
        prod.begin(Phase.ROLLBACK)
        rollback_trace = prod.carry_out(*(Point(what, 1, Moment.AFTER) for what in EFFECTS[Phase.ROLLBACK]))
        after_rollback = prod.outcome()
    assert (deploy_trace.missing, rollback_trace.missing) == (set(), set())
    assert (after_deploy["release"], after_rollback["release"]) == (ReleaseState.WATCHING, ReleaseState.ROLLED_BACK)
    assert (sorted(after_deploy["revisions"]), sorted(after_rollback["revisions"])) == ([1, 2], [2, 3])
    assert after_deploy["template"] != before["template"]
    assert {key: after_rollback[key] for key in ("template", "schedule", "live")} == {
        key: before[key] for key in ("template", "schedule", "live")
    }
    assert (
        len(after_deploy["jobs"]),
        after_deploy["pods of jobs"],
        len(after_deploy["migrations"]),
        after_deploy["builds"],
    ) == (1, 1, 1, 1)
    assert after_rollback["moves"] == {"/v9/projects/prj_solvereign/rollback/dpl_v4.7.0": 1}
    assert {row["n"] for row in after_rollback["results"]} == {1}
    assert after_rollback["audit"].count("step.done") == 10
    assert (after_rollback["audit"].count("deploy.complete"), after_rollback["audit"].count("rollback.complete")) == (
        1,
        1,
    )


def test_bad_answers_during_a_deploy_repeat_no_effect(simulator: Kube, make: Make) -> None:
    """After a lost reply, a conflict or an error of a vendor the step looks and goes on, and each effect takes place
    once.
    """
    bad = {
        Point("GitHub POST git/refs", 1, Moment.AFTER): Fault.LOST,
        Point("product: INSERT INTO schema_migrations", 1, Moment.AFTER): Fault.LOST,
        Point("Kubernetes POST jobs", 1, Moment.AFTER): Fault.LOST,
        Point("Kubernetes PATCH deployments/web", 1, Moment.BEFORE): Fault.CONFLICT,
        Point("Vercel POST v13/deployments", 1, Moment.BEFORE): Fault.ERROR,
        Point("Kubernetes PATCH cronjobs/solvereign-backup", 1, Moment.BEFORE): Fault.LIMIT,
    }
    with make(simulator) as prod:
        trace = prod.carry_out_despite(bad)
        outcome = prod.outcome()
    assert trace.missing == set()
    assert outcome["release"] is ReleaseState.WATCHING
    assert {attempt for _, _, attempt, _ in outcome["steps"]} == {1}
    assert {row["n"] for row in outcome["results"]} == {1}
    assert (sorted(outcome["revisions"]), len(outcome["jobs"]), outcome["pods of jobs"]) == ([1, 2], 1, 1)
    assert (len(outcome["migrations"]), outcome["builds"]) == (1, 1)


@pytest.mark.killing
@pytest.mark.timeout(600)
@pytest.mark.parametrize("piece", range(PIECES))
@pytest.mark.parametrize("phase", list(Phase))
def test_a_process_can_be_killed_at_every_point(
    kube: Kube,
    phase: Phase,
    piece: int,
    make: Make,
    reference_runs: dict[tuple[str, Phase], ReferenceRun],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A process is killed before and after each commit and each call that changes something; the outcome is that of the
    reference run.
    """

    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)  # noqa: T201  for whoever waits for a quarter of an hour

    reference = reference_runs.get((kube.backend, phase))
    if reference is None:
        with make(kube) as prod:
            trace = prod.bring_to(phase).carry_out()
            reference = ReferenceRun(trace.points, prod.outcome())
        reference_runs[kube.backend, phase] = reference
    points = [point for point in reference.points if is_worth_a_fault(point)]
    mine = points[piece::PIECES]
    say(f"\n{phase} on the {kube.backend}: {len(points)} points, {len(mine)} of them in piece {piece}")

    def trouble_at(point: Point) -> str:
        start = time.monotonic()
        with make(kube) as prod:
            trace = prod.bring_to(phase).carry_out(point)
            outcome = prod.outcome()
        differences = {
            key: (reference.outcome[key], value) for key, value in outcome.items() if value != reference.outcome[key]
        }
        trouble = (
            "it never came"
            if trace.missing
            else "; ".join(f"{key}: {expected} {actual}" for key, (expected, actual) in differences.items())
        )
        say(f"  {'WRONG' if trouble else 'right'} {time.monotonic() - start:4.1f} s  {point}  {trouble}")
        return f"{point}: {trouble}" if trouble else ""

    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert [trouble for trouble in threads.map(trouble_at, mine) if trouble] == []


def test_a_process_that_was_overtaken_changes_nothing(simulator: Kube, make: Make) -> None:
    """A process that was stopped in the middle of a step for longer than its lease changes nothing after another one
    has finished.
    """
    with make(simulator) as prod:
        end, requests = prod.overtake(Point("bot: steps.before", 1, Moment.AFTER), seconds_stopped=0)
        outcome = prod.outcome()
    assert end == "Superseded\n"
    assert {point.what for point in requests} <= {"bot: work.claim"}  # it looks for other work
    assert (outcome["release"], sorted(outcome["revisions"]), outcome["builds"]) == (ReleaseState.WATCHING, [1, 2], 1)


@pytest.mark.killing
@pytest.mark.timeout(600)
@pytest.mark.parametrize("phase", list(Phase))
def test_a_process_overtaken_between_intent_and_act_asks_no_vendor(
    kube: Kube, phase: Phase, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process that is stopped between the intent and the act of a step sends nothing to a vendor after another one
    has finished.
    """

    def trouble_at(point: Point) -> str:
        with make(kube) as prod:
            end, requests = prod.bring_to(phase).overtake(point, seconds_stopped=ACT_WITHIN)
        calls = sorted({point.what for point in requests} - {"bot: work.claim"})
        trouble = f"{point}: {end.strip()}, then {calls}"
        with capsys.disabled():
            print(trouble, flush=True)  # noqa: T201  as above
        return trouble if calls or end != "Superseded\n" else ""

    points = [Point(INTENT, nth, Moment.AFTER) for nth in range(1, INTENTS[phase] + 1)]
    with ThreadPoolExecutor(len(points)) as threads:
        assert [trouble for trouble in threads.map(trouble_at, points) if trouble] == []
