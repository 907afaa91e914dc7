"""Points: the moments at which a release may be interrupted, counted as they pass; no code of the bot takes part in it."""

import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum


class Moment(StrEnum):
    """Where something stands that is asked of a system outside of the process."""

    BEFORE = "before"  # asked for, and not carried out
    AFTER = "after"  # carried out, and the answer not given yet


class Fault(StrEnum):
    """What is answered at a point instead of the truth."""

    LOST = "the connection ends"
    LATE = "no answer in time"
    CONFLICT = "409"
    LIMIT = "429"
    ERROR = "500"


@dataclass(frozen=True)
class Point:
    """A commit or a call, the how-manyth of its kind, before or after it."""

    what: str
    nth: int
    moment: Moment

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.moment} {self.what}, no. {self.nth}"

    @property
    def commits(self) -> bool:
        """Whether it is the commit of a transaction."""
        return ": " in self.what

    @property
    def reads(self) -> bool:
        """Whether it is a call that changes nothing."""
        return " reads " in self.what


def worth(point: Point) -> bool:
    """Whether a fault there differs from the others: progress comes as often as the cluster likes, and may change nothing."""
    if point.what in {"bot: steps.progress", "bot: mitigations.say"}:
        return False
    if point.what.startswith(("bot: work.claim", "bot: steps.progress", "bot: mitigations.say")):
        return point.nth == 1
    return point != Point("bot: work.finish", 1, Moment.AFTER)  # nothing is left to be done


class Trace:
    """The points that processes have passed; at each wanted one ``act`` is called, once, and says what the link answers.

    ``reads``: whether calls that change nothing are points too. Thread-safe: the links call from threads of their own.
    """

    def __init__(
        self,
        wanted: Collection[Point] = (),
        act: Callable[[Point], Fault | None] = lambda point: None,
        *,
        reads: bool = False,
    ) -> None:
        self.passed: list[Point] = []
        self.endured: list[str] = []  # what a process has waited for to the end, where no answer came
        self._left, self._act, self._reads = set(wanted), act, reads
        self._begun: Counter[str] = Counter()
        self._guard = threading.Lock()

    def begins(self, what: str) -> int:
        """Something is about to be carried out; returns the how-manyth of its kind that is."""
        with self._guard:
            self._begun[what] += 1
            return self._begun[what]

    def fault(self, what: str, nth: int, moment: Moment) -> Fault | None:
        """A point is passed; returns what is to be answered there, None: the truth."""
        point = Point(what, nth, moment)
        if point.reads and not self._reads:
            return None
        with self._guard:
            self.passed.append(point)
            if point not in self._left:
                return None
            self._left.remove(point)
        return self._act(point)

    @property
    def missed(self) -> set[Point]:
        """What was wanted and did not come to pass."""
        return set(self._left)
