"""How often something is done at most."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.slack.pace import NOTHING, Pace
from tests.unit.factories import NOW


def test_a_burst_is_followed_by_a_steady_rate() -> None:
    """After a burst each call waits for as long as one token takes to come back."""
    pace = Pace(burst=3, per_minute=60)
    assert [pace.take(NOW) for _ in range(4)] == [NOTHING, NOTHING, NOTHING, timedelta(seconds=1)]
    later = NOW + timedelta(seconds=1)
    assert [pace.take(later), pace.take(later)] == [NOTHING, timedelta(seconds=1)]
    much_later = NOW + timedelta(hours=1)
    assert [pace.take(much_later) for _ in range(4)][2:] == [NOTHING, timedelta(seconds=1)]


@given(st.lists(st.floats(0, 5), max_size=80))
def test_the_pace_never_exceeds_a_strict_limiter(pauses: list[float]) -> None:
    """The pace never lets more through than a bucket of tokens as Slack uses it."""
    pace, tokens, now = Pace(burst=5, per_minute=48), 5.0, NOW
    for pause in pauses:
        now += timedelta(seconds=pause)
        tokens = min(5.0, tokens + pause * 48 / 60)
        if pace.take(now) == NOTHING:
            tokens -= 1
            assert tokens > -0.001


def test_a_clock_that_is_set_back_does_not_stop_the_pace() -> None:
    """After the clock was set back, the pace continues from the new time."""
    pace = Pace(burst=1, per_minute=60)
    pace.take(NOW)
    earlier = NOW - timedelta(hours=1)
    assert pace.take(earlier) == timedelta(seconds=1)
    assert pace.take(earlier + timedelta(seconds=1)) == NOTHING
