"""Timers: APScheduler only wakes the workers, and rows decide what is due, so that a restart loses nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bot.clock import Clock

logger = logging.getLogger(__name__)

GLANCE = 1.0  # seconds between two looks at the machine's clock
SET_BACK = timedelta(seconds=2)  # smaller steps back are corrections of the clock
WAKES = 5  # wake-ups that may be under way at once, on a machine that is too busy to end one before the next is due


def _wall() -> datetime:
    """The machine's clock, by which APScheduler goes."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Period:
    """A call that is repeated every ``seconds``."""

    name: str
    seconds: float
    call: Callable[[], object]


class Timers:
    """Wakes the workers when the next row is due, and runs the few periodic calls that app.py names.

    ``clock`` is the one by which rows are due. APScheduler goes by the machine's own, ``wall``: when that is set back,
    APScheduler would sleep until it has caught up, so all periods begin anew.
    """

    def __init__(
        self,
        periods: list[Period],
        *,
        wake: Callable[[], None],
        next_due: Callable[[], datetime | None],
        clock: Clock,
        look_every: float = 1.0,
        wall: Callable[[], datetime] = _wall,
    ) -> None:
        # misfire_grace_time=None: a late wake-up still wakes; APScheduler's default drops it in silence after a second.
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._wake, self._next_due, self._clock, self._machine = wake, next_due, clock, wall
        self._periods = [*periods, Period("look ahead", look_every, self._arm)]
        for period in self._periods:
            self._scheduler.add_job(period.call, _interval(period), id=period.name, name=period.name)
        self._stopping = threading.Event()
        self._guard = threading.Thread(target=self._watch_the_machine, name="clock-guard", daemon=True)

    def start(self) -> None:
        """Start waking the workers and making the periodic calls."""
        self._scheduler.start()
        self._guard.start()

    def stop(self) -> None:
        """Stop, without waiting for a call that runs."""
        self._stopping.set()
        self._scheduler.shutdown(wait=False)
        self._guard.join()

    def _arm(self) -> None:
        """Schedule the wake-up for the next due row; at once if it is due already."""
        due = self._next_due()
        if due is not None:
            alarm = DateTrigger(_wall() + max(timedelta(0), due - self._clock.now()))
            # More than one at once, which is harmless: an alarm that rings while the last one still rings is not dropped.
            self._scheduler.add_job(
                self._wake, alarm, id="wake", name="wake", replace_existing=True, max_instances=WAKES
            )

    def _watch_the_machine(self) -> None:
        """Restart all periods whenever the machine's clock was set back."""
        wall, steady = self._machine(), time.monotonic()
        while not self._stopping.wait(GLANCE):
            last_wall, last_steady = wall, steady
            wall, steady = self._machine(), time.monotonic()
            behind = last_wall + timedelta(seconds=steady - last_steady) - wall
            if behind > SET_BACK:
                logger.warning("the machine's clock was set back by %d s", behind.total_seconds())
                for period in self._periods:
                    self._scheduler.reschedule_job(period.name, trigger=_interval(period))


def _interval(period: Period) -> IntervalTrigger:
    return IntervalTrigger(seconds=period.seconds)
