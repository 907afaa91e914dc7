"""Clock: the only source of the time, so that rules get it as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


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
