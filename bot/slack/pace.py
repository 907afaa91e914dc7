"""Pace: how often a method of Slack is called at most, so that Slack need not refuse it."""

from __future__ import annotations

from datetime import datetime, timedelta

NOTHING = timedelta(0)


class Pace:
    """A burst of calls at once, then a steady rate. For one thread."""

    def __init__(self, *, burst: int, per_minute: float) -> None:
        self._burst, self._each = burst, timedelta(minutes=1) / per_minute
        self._spent = NOTHING  # how far the burst is used up, as the time that it takes to come back
        self._at: datetime | None = None

    def take(self, now: datetime) -> timedelta:
        """Count a call and return nothing; or, when it would be too many, the time until it is not."""
        elapsed = max(NOTHING, now - self._at) if self._at is not None else NOTHING
        used_budget = max(NOTHING, self._spent - elapsed)
        self._at = now
        over = used_budget + self._each - self._burst * self._each
        self._spent = used_budget if over > NOTHING else used_budget + self._each
        return max(NOTHING, over)
