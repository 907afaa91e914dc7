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


@dataclass(frozen=True)
class Point:
    """A commit or a mutating call, the how-manyth of its kind, before or after it."""

    what: str
    nth: int
    moment: Moment

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.moment} {self.what}, no. {self.nth}"


class Trace:
    """The points that processes have passed; at each wanted one ``act`` is called, once, and says whether the link breaks.

    Thread-safe: the links call from threads of their own.
    """

    def __init__(self, wanted: Collection[Point] = (), act: Callable[[Point], bool] = lambda point: True) -> None:
        self.passed: list[Point] = []
        self._left, self._act = set(wanted), act
        self._begun: Counter[str] = Counter()
        self._guard = threading.Lock()

    def begins(self, what: str) -> int:
        """Something is about to be carried out; returns the how-manyth of its kind that is."""
        with self._guard:
            self._begun[what] += 1
            return self._begun[what]

    def breaks(self, what: str, nth: int, moment: Moment) -> bool:
        """A point is passed; True: the link is to break there."""
        point = Point(what, nth, moment)
        with self._guard:
            self.passed.append(point)
            if point not in self._left:
                return False
            self._left.remove(point)
        return self._act(point)

    @property
    def missed(self) -> set[Point]:
        """What was wanted and did not come to pass."""
        return set(self._left)
