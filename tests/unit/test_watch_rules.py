"""When a watch goes on, waits, is extended or closes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.watch import Next, Seen, Watch, after_poll
from tests.unit.factories import NOW, QUINN, ago, make_alarm, make_watch

OVER: dict[str, Any] = {"ends_at": ago(1), "last_poll_at": ago(0)}
LOOKED = make_alarm(id=6, acknowledged_by=QUINN)


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        (make_watch(), Next.CONTINUE),
        (make_watch(alarms=(make_alarm(),)), Next.CONTINUE),
        (make_watch(**OVER), Next.CLOSE),
        (make_watch(**OVER, alarms=(LOOKED,)), Next.CLOSE),
        (make_watch(**OVER, alarms=(LOOKED, make_alarm())), Next.WAIT_FOR_PEOPLE),
        (make_watch(**OVER, last=Seen.CANNOT_TELL), Next.EXTEND),
        (make_watch(**OVER, last=Seen.REGRESSED), Next.EXTEND),
        (make_watch(**OVER, last=None), Next.EXTEND),
        (make_watch(ends_at=ago(1), last_poll_at=ago(2)), Next.EXTEND),
        (make_watch(ends_at=ago(1), last_poll_at=None), Next.EXTEND),
        (make_watch(ends_at=NOW, last_poll_at=NOW), Next.CLOSE),
    ],
)
def test_after_a_poll(watch: Watch, expected: Next) -> None:
    """The table of the watch."""
    assert after_poll(watch, NOW) is expected


@given(st.sampled_from([*Seen, None]), st.integers(-5, 5), st.one_of(st.none(), st.integers(-5, 5)), st.booleans())
def test_it_closes_only_clean(last: Seen | None, ends: int, polled: int | None, alarm: bool) -> None:
    """Time over, the last poll clean and after the end, no alarm open: all of them (promise P2)."""
    watch = make_watch(
        ends_at=ago(ends),
        last=last,
        last_poll_at=None if polled is None else ago(polled),
        alarms=(make_alarm(),) if alarm else (LOOKED,),
    )
    wanted = ends >= 0 and last is Seen.CLEAN and polled is not None and polled <= ends and not alarm
    assert (after_poll(watch, NOW) is Next.CLOSE) == wanted


def test_remaining() -> None:
    """Never negative."""
    assert make_watch().remaining(NOW).total_seconds() == 300
    assert make_watch(ends_at=ago(5)).remaining(NOW).total_seconds() == 0
