"""The clock that all replicas share."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.clock import SharedClock

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NOISE = timedelta(milliseconds=90)


class Server:
    """A database that tells the time."""

    def __init__(self) -> None:
        self.told: datetime | None = NOON

    def ask(self) -> datetime:
        if self.told is None:
            raise ConnectionError("away")
        return self.told


def off(clock: SharedClock, moment: datetime) -> timedelta:
    """How far a clock is from a moment that has just been."""
    return abs(clock.now() - moment)


def test_it_tells_the_time_of_the_database() -> None:
    """Whatever the machine thinks, and with no question in between."""
    clock = SharedClock(Server().ask)
    assert off(clock, NOON) < NOISE
    assert clock.now().tzinfo is not None


@pytest.mark.parametrize("hours", [-3, 3])
def test_it_follows_when_it_looks_again(hours: int) -> None:
    """After a failover to a server whose clock is another."""
    server = Server()
    clock = SharedClock(server.ask)
    server.told = NOON + timedelta(hours=hours)
    assert off(clock, NOON) < NOISE
    clock.sync()
    assert off(clock, server.told) < NOISE


def test_it_does_not_jump_for_the_time_that_an_answer_takes() -> None:
    """A difference of milliseconds is none, so the time never runs backwards from one look to the next."""
    server = Server()
    clock = SharedClock(server.ask)
    server.told = NOON - timedelta(milliseconds=40)
    before = clock.now()
    clock.sync()
    assert clock.now() >= before


def test_it_goes_on_while_the_database_is_away() -> None:
    """From the last look."""
    server = Server()
    clock = SharedClock(server.ask)
    server.told = None
    with pytest.raises(ConnectionError):
        clock.sync()
    assert off(clock, NOON) < NOISE
    assert clock.steady() <= clock.steady()
