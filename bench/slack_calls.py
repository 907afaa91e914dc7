"""Slack's view of a whole release, from the start to DONE: how many calls, and how often one message is edited."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from bench.figure import Figure
from sandbox.play import tour
from tests.fix_demo import running_demo


def measure(folder: Path) -> list[Figure]:
    """Play the tour and count."""
    with running_demo(folder / "data", "--watch-minutes", "0.2") as demo:
        tour(demo.stage)
        calls: list[dict[str, Any]] = demo.control("calls")["calls"]
    counts = Counter(call["method"] for call in calls)
    print(", ".join(f"{method} {count}" for method, count in counts.most_common()))
    edits: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        if call["method"] == "chat.update":
            edits[call["args"]["ts"]].append(call["at"])
    pauses = [later - earlier for times in edits.values() for earlier, later in itertools.pairwise(times)]
    return [
        Figure("Slack calls of a whole release", sum(counts.values()), 120, "calls"),
        Figure("shortest time between two edits of one message", min(pauses), 0.95, "s", at_least=True),
    ]
