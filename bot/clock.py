"""Clock: the only source of the time, so that rules get it as an argument."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

TOLERANCE = timedelta(milliseconds=100)  # clocks that differ by less are not corrected: an answer takes its time too


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""

    def steady(self) -> float:
        """Return seconds on a clock that nobody can set; two of them can be compared within one process only."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        return datetime.now(UTC)

    def steady(self) -> float:
        """Return the seconds of the machine's monotonic clock."""
        return time.monotonic()


class SharedClock:
    """The database's clock, which every replica shares and by which work is due.

    Between two looks at it the machine's monotonic clock goes on, so whoever sets the clock of the machine changes
    nothing: neither when something is due nor when a watch ends.
    """

    def __init__(self, ask: Callable[[], datetime]) -> None:
        """``ask`` tells the time of the database. Raises what it raises."""
        self._ask = ask
        self._told = (ask(), time.monotonic())

    def sync(self) -> None:
        """Look at the database's clock again. Raises what ``ask`` raises; then the time goes on from the last look."""
        start = time.monotonic()
        server_time = self._ask()
        at = (start + time.monotonic()) / 2
        if abs(server_time - self._at(at)) > TOLERANCE:
            self._told = (server_time, at)

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        return self._at(time.monotonic())

    def steady(self) -> float:
        """Return the seconds of the machine's monotonic clock."""
        return time.monotonic()

    def _at(self, steady: float) -> datetime:
        server_time, at = self._told
        return server_time + timedelta(seconds=steady - at)
