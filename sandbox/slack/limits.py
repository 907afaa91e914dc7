"""Rate limits: how often a method may be called (docs.slack.dev/apis/web-api/rate-limits)."""

import math
from dataclasses import dataclass

from sandbox.slack.grants import Clock


@dataclass(frozen=True)
class Rate:
    """A steady rate and the burst that is let through on top of it."""

    per_minute: float
    burst: int
    per_channel: bool = False


# Slack promises "n or more a minute"; a minute's worth may come at once, as it may in practice.
TIER_1 = Rate(per_minute=5, burst=20)  # of ours only apps.connections.open, which reconnecting clients call in bursts
TIER_2 = Rate(per_minute=20, burst=20)
TIER_3 = Rate(per_minute=50, burst=50)
TIER_4 = Rate(per_minute=100, burst=100)
GENEROUS = Rate(per_minute=600, burst=300)
POSTING = Rate(per_minute=60, burst=30, per_channel=True)  # about one a second in a channel, short bursts allowed
EDITING = Rate(per_minute=50, burst=30)


class RateLimiter:
    """One token bucket a method, or a method and channel where the rate says so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def retry_after(self, method: str, channel: str, rate: Rate) -> int | None:
        """Take one token. None when the call may pass, else the whole seconds to wait for the next token."""
        key = (method, channel if rate.per_channel else "")
        now = self._clock()
        tokens, at = self._buckets.get(key, (float(rate.burst), now))
        per_second = rate.per_minute / 60
        tokens = min(float(rate.burst), tokens + max(0.0, now - at) * per_second)
        if tokens < 1:
            self._buckets[key] = (tokens, now)
            return max(1, math.ceil((1 - tokens) / per_second))
        self._buckets[key] = (tokens - 1, now)
        return None
