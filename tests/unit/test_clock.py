"""The clock that all replicas share."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.clock import SharedClock

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NOISE = timedelta(milliseconds=90)


class Server:
    """A database whose clock can be set."""

    def __init__(self) -> None:
        self.told: datetime | None = NOON

    def ask(self) -> datetime:
        if self.told is None:
            raise ConnectionError("away")
        return self.told


def off(clock: SharedClock, moment: datetime) -> timedelta:
    """The difference between a clock and a moment that has just been."""
    return abs(clock.now() - moment)


def test_the_clock_tells_the_time_of_the_database() -> None:
    """The clock shows the database's time between two readings, whatever the machine's clock shows."""
    clock = SharedClock(Server().ask)
    assert off(clock, NOON) < NOISE
    assert clock.now().tzinfo is not None


@pytest.mark.parametrize("hours", [-3, 3])
def test_the_clock_follows_the_database_at_the_next_reading(hours: int) -> None:
    """After a failover to a server with another clock, the next reading sets the clock."""
    server = Server()
    clock = SharedClock(server.ask)
    server.told = NOON + timedelta(hours=hours)
    assert off(clock, NOON) < NOISE
    clock.sync()
    assert off(clock, server.told) < NOISE


def test_the_clock_ignores_a_difference_of_milliseconds() -> None:
    """A small difference is ignored, so that the time never runs backwards between two readings."""
    server = Server()
    clock = SharedClock(server.ask)
    server.told = NOON - timedelta(milliseconds=40)
    before = clock.now()
    clock.sync()
    assert clock.now() >= before


def test_the_clock_continues_while_the_database_is_unreachable() -> None:
    """Without an answer the clock continues from the last reading."""
    server = Server()
    clock = SharedClock(server.ask)
    server.told = None
    with pytest.raises(ConnectionError):
        clock.sync()
    assert off(clock, NOON) < NOISE
    assert clock.steady() <= clock.steady()
