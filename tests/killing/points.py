"""Points: the moments at which a release may be interrupted, counted as they are passed, without any code of the bot."""

import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum


class Moment(StrEnum):
    """Whether a point is before or after what a system outside of the process is asked to do."""

    BEFORE = "before"  # asked for, and not carried out
    AFTER = "after"  # carried out, and the answer not given yet


class Fault(StrEnum):
    """What the link answers at a point instead of the true answer."""

    LOST = "the connection ends"
    LATE = "no answer in time"
    CONFLICT = "409"
    LIMIT = "429"
    ERROR = "500"


@dataclass(frozen=True)
class Point:
    """A commit or a call, its number among those of its kind, and whether the point is before or after it."""

    what: str
    nth: int
    moment: Moment

    def __str__(self) -> str:
        """The point as it is printed."""
        return f"{self.moment} {self.what}, no. {self.nth}"

    @property
    def is_commit(self) -> bool:
        """Whether it is the commit of a transaction."""
        return ": " in self.what

    @property
    def is_read(self) -> bool:
        """Whether it is a call that changes nothing."""
        return " reads " in self.what


def is_worth_a_fault(point: Point) -> bool:
    """Whether a fault at the point differs from the others; progress is reported as often as the cluster likes, and
    changes nothing.
    """
    if point.what in {"bot: steps.progress", "bot: mitigations.say"}:
        return False
    if point.what.startswith(("bot: work.claim", "bot: steps.progress", "bot: mitigations.say")):
        return point.nth == 1
    return point != Point("bot: work.finish", 1, Moment.AFTER)  # nothing is left to be done


class Trace:
    """The points that processes have passed.

    At each of ``targets`` ``act`` is called once and returns what the link answers. ``with_reads`` says whether calls
    that change nothing are points too. Thread-safe: the links call from threads of their own.
    """

    def __init__(
        self,
        targets: Collection[Point] = (),
        act: Callable[[Point], Fault | None] = lambda point: None,
        *,
        with_reads: bool = False,
    ) -> None:
        self.points: list[Point] = []
        self.endless_waits: list[str] = []  # what a process has waited for to the end, where no answer came
        self._remaining, self._act, self._with_reads = set(targets), act, with_reads
        self._counts: Counter[str] = Counter()
        self._guard = threading.Lock()

    def count(self, what: str) -> int:
        """Count what is about to be carried out; returns its number among those of its kind."""
        with self._guard:
            self._counts[what] += 1
            return self._counts[what]

    def fault(self, what: str, nth: int, moment: Moment) -> Fault | None:
        """Note that a point is passed; returns the fault to answer with, or None for the true answer."""
        point = Point(what, nth, moment)
        if point.is_read and not self._with_reads:
            return None
        with self._guard:
            self.points.append(point)
            if point not in self._remaining:
                return None
            self._remaining.remove(point)
        return self._act(point)

    @property
    def missing(self) -> set[Point]:
        """The points that were asked for and were not passed."""
        return set(self._remaining)
