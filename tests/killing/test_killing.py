"""Killed anywhere: the release ends as if nothing had happened, and each effect has come to pass once (promise P5)."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.domain.release import ReleaseState
from bot.store.work import ACT_WITHIN
from tests.fix_kube import Kube
from tests.killing.points import Fault, Moment, Point, worth
from tests.killing.production import Make, Phase, Recorded

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


def test_killed_after_each_effect(simulator: Kube, make: Make) -> None:
    """Each time before the process hears that it has come to pass: there and back, and each of them once."""
    with make(simulator) as made:
        before = made.outcome()
        deployed = made.carry_out(*(Point(what, 1, Moment.AFTER) for what in EFFECTS[Phase.DEPLOY]))
        there = made.outcome()
        made.begin(Phase.ROLLBACK)
        taken_back = made.carry_out(*(Point(what, 1, Moment.AFTER) for what in EFFECTS[Phase.ROLLBACK]))
        back = made.outcome()
    assert (deployed.missed, taken_back.missed) == (set(), set())
    assert (there["release"], back["release"]) == (ReleaseState.WATCHING, ReleaseState.ROLLED_BACK)
    assert (sorted(there["revisions"]), sorted(back["revisions"])) == ([1, 2], [2, 3])
    assert there["template"] != before["template"]
    assert {key: back[key] for key in ("template", "schedule", "live")} == {
        key: before[key] for key in ("template", "schedule", "live")
    }
    assert (len(there["jobs"]), there["pods of jobs"], len(there["migrations"]), there["builds"]) == (1, 1, 1, 1)
    assert back["moves"] == {"/v9/projects/prj_solvereign/rollback/dpl_v4.7.0": 1}
    assert {row["n"] for row in back["results"]} == {1}
    assert back["audit"].count("step.done") == 10
    assert (back["audit"].count("deploy.complete"), back["audit"].count("rollback.complete")) == (1, 1)


def test_bad_answers_to_some_of_what_a_deploy_does(simulator: Kube, make: Make) -> None:
    """No reply, a conflict, trouble of a vendor's: the step looks and goes on, and each effect is there once."""
    bad = {
        Point("GitHub POST git/refs", 1, Moment.AFTER): Fault.LOST,
        Point("product: INSERT INTO schema_migrations", 1, Moment.AFTER): Fault.LOST,
        Point("Kubernetes POST jobs", 1, Moment.AFTER): Fault.LOST,
        Point("Kubernetes PATCH deployments/web", 1, Moment.BEFORE): Fault.CONFLICT,
        Point("Vercel POST v13/deployments", 1, Moment.BEFORE): Fault.ERROR,
        Point("Kubernetes PATCH cronjobs/solvereign-backup", 1, Moment.BEFORE): Fault.LIMIT,
    }
    with make(simulator) as made:
        trace = made.carry_out_despite(bad)
        found = made.outcome()
    assert trace.missed == set()
    assert found["release"] is ReleaseState.WATCHING
    assert {attempt for _, _, attempt, _ in found["steps"]} == {1}
    assert {row["n"] for row in found["results"]} == {1}
    assert (sorted(found["revisions"]), len(found["jobs"]), found["pods of jobs"]) == ([1, 2], 1, 1)
    assert (len(found["migrations"]), found["builds"]) == (1, 1)


@pytest.mark.killing
@pytest.mark.timeout(600)
@pytest.mark.parametrize("piece", range(PIECES))
@pytest.mark.parametrize("phase", list(Phase))
def test_killed_at_every_point(
    kube: Kube,
    phase: Phase,
    piece: int,
    make: Make,
    recorded: dict[tuple[str, Phase], Recorded],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before and after each commit and each call that changes something: all is as after a run in which nobody died."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)  # noqa: T201  for whoever waits for a quarter of an hour

    known = recorded.get((kube.backend, phase))
    if known is None:
        with make(kube) as made:
            trace = made.bring_to(phase).carry_out()
            known = Recorded(trace.passed, made.outcome())
        recorded[kube.backend, phase] = known
    points = [point for point in known.points if worth(point)]
    mine = points[piece::PIECES]
    say(f"\n{phase} on the {kube.backend}: {len(points)} points, {len(mine)} of them in piece {piece}")

    def trouble_at(point: Point) -> str:
        begun = time.monotonic()
        with make(kube) as made:
            trace = made.bring_to(phase).carry_out(point)
            found = made.outcome()
        wrong = {key: (known.outcome[key], value) for key, value in found.items() if value != known.outcome[key]}
        told = (
            "it never came" if trace.missed else "; ".join(f"{key}: {was} {now}" for key, (was, now) in wrong.items())
        )
        say(f"  {'WRONG' if told else 'right'} {time.monotonic() - begun:4.1f} s  {point}  {told}")
        return f"{point}: {told}" if told else ""

    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert [told for told in threads.map(trouble_at, mine) if told] == []


def test_a_process_that_was_overtaken_changes_nothing(simulator: Kube, make: Make) -> None:
    """It stood still in the middle of a step for longer than its lease; another one has finished when it wakes."""
    with make(simulator) as made:
        ended, asked = made.overtaken(Point("bot: steps.before", 1, Moment.AFTER), asleep=0)
        found = made.outcome()
    assert ended == "Superseded\n"
    assert {point.what for point in asked} <= {"bot: work.claim"}  # it looks for other work
    assert (found["release"], sorted(found["revisions"]), found["builds"]) == (ReleaseState.WATCHING, [1, 2], 1)


@pytest.mark.killing
@pytest.mark.timeout(600)
@pytest.mark.parametrize("phase", list(Phase))
def test_overtaken_between_intent_and_act(
    kube: Kube, phase: Phase, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even there, where it believes that the step is its own: nothing is asked of a vendor any more."""

    def trouble_at(point: Point) -> str:
        with make(kube) as made:
            ended, asked = made.bring_to(phase).overtaken(point, asleep=ACT_WITHIN)
        wrong = sorted({asked.what for asked in asked} - {"bot: work.claim"})
        told = f"{point}: {ended.strip()}, then {wrong}"
        with capsys.disabled():
            print(told, flush=True)  # noqa: T201  as above
        return told if wrong or ended != "Superseded\n" else ""

    points = [Point(INTENT, nth, Moment.AFTER) for nth in range(1, INTENTS[phase] + 1)]
    with ThreadPoolExecutor(len(points)) as threads:
        assert [told for told in threads.map(trouble_at, points) if told] == []
