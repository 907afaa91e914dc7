"""Timers: they wake when a row is due, go on after trouble, and do not care who sets which clock."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.clock import SharedClock, SystemClock
from bot.timers import Period, Timers
from tests.fix_kube import eventually


class Machine:
    """The clock of the machine, which a test can set."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def begin() -> Iterator[Callable[..., Timers]]:
    """A function that starts timers, which are stopped after the test."""
    running: list[Timers] = []

    def start(*periods: Period, **options: Any) -> Timers:
        arguments: dict[str, Any] = {"wake": lambda: None, "next_due": lambda: None, "clock": SystemClock(), **options}
        timers = Timers(list(periods), look_every=0.05, **arguments)
        running.append(timers)
        timers.start()
        return timers

    yield start
    for timers in running:
        if timers._scheduler.running:
            timers.stop()


def test_timers_wake_when_the_next_row_is_due(begin: Callable[..., Timers]) -> None:
    """They wake at the moment and not much later."""
    wake_times: list[datetime] = []
    due = datetime.now(UTC) + timedelta(seconds=0.4)
    begin(next_due=lambda: None if wake_times else due, wake=lambda: wake_times.append(datetime.now(UTC)))
    eventually("the alarm", lambda: bool(wake_times))
    assert timedelta(0) <= wake_times[0] - due < timedelta(seconds=1)


def test_an_overdue_row_wakes_at_once(begin: Callable[..., Timers]) -> None:
    """Nothing is dropped because it was missed."""
    wakes: list[bool] = []
    begin(next_due=lambda: datetime.now(UTC) - timedelta(days=2), wake=lambda: wakes.append(True))
    eventually("the alarm", lambda: len(wakes) >= 2)


def test_an_alarm_during_a_slow_wake_is_not_dropped(begin: Callable[..., Timers]) -> None:
    """What gets due while a busy machine wakes everybody wakes as well."""
    wakes: list[bool] = []
    leave = threading.Event()

    def wake() -> None:
        wakes.append(True)
        if len(wakes) == 1:
            leave.wait(20)

    begin(next_due=lambda: datetime.now(UTC), wake=wake)
    try:
        eventually("the second alarm", lambda: len(wakes) >= 2, seconds=5)
    finally:
        leave.set()


@pytest.mark.parametrize("hours", [-5, 5], ids=["behind", "ahead"])
def test_rows_are_due_by_the_shared_clock(begin: Callable[..., Timers], hours: int) -> None:
    """A machine whose clock is wrong by hours wakes at the right moment."""
    clock = SharedClock(lambda: datetime.now(UTC) + timedelta(hours=hours))
    wake_times: list[datetime] = []
    due = clock.now() + timedelta(seconds=0.3)
    begin(next_due=lambda: None if wake_times else due, wake=lambda: wake_times.append(clock.now()), clock=clock)
    eventually("the alarm", lambda: bool(wake_times))
    assert timedelta(0) <= wake_times[0] - due < timedelta(seconds=1)


def test_a_failing_call_is_made_again(begin: Callable[..., Timers]) -> None:
    """One failure does not end a period."""
    calls: list[float] = []

    def fail() -> None:
        calls.append(time.monotonic())
        raise ValueError("trouble")

    begin(Period("trouble", 0.1, fail))
    eventually("three calls", lambda: len(calls) >= 3)


def test_a_slow_call_does_not_overlap_itself(begin: Callable[..., Timers]) -> None:
    """What it missed meanwhile is made up for by one call."""
    at_once: list[int] = []
    inside = [0]

    def slow() -> None:
        inside[0] += 1
        at_once.append(inside[0])
        time.sleep(0.3)
        inside[0] -= 1

    begin(Period("slow", 0.05, slow))
    eventually("three calls", lambda: len(at_once) >= 3)
    assert set(at_once) == {1}


def test_periods_continue_after_the_machine_s_clock_was_set_back(begin: Callable[..., Timers]) -> None:
    """APScheduler would wait until its clock has caught up."""
    machine, calls = Machine(), list[bool]()
    timers = begin(Period("often", 0.1, lambda: calls.append(True)), wall=machine.now)
    eventually("a call", lambda: bool(calls))
    timers._scheduler.modify_job("often", next_run_time=datetime.now(UTC) + timedelta(hours=1))  # what it comes to
    calls.clear()
    machine.ahead = -timedelta(hours=1)
    eventually("the next call", lambda: bool(calls))


def test_stopped_timers_call_nobody(begin: Callable[..., Timers]) -> None:
    """Stopping does not wait, and no call follows."""
    calls: list[bool] = []
    timers = begin(Period("often", 0.05, lambda: calls.append(True)))
    eventually("a call", lambda: bool(calls))
    timers.stop()
    eventually("the last call", lambda: not timers._scheduler.running)
    call_count = len(calls)
    assert not timers._guard.is_alive()
    assert len(calls) <= call_count + 1
