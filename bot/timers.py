"""Timers: APScheduler wakes, rows decide. Nothing is kept here that a restart could lose."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Period:
    """Something done again and again."""

    name: str
    seconds: float
    call: Callable[[], object]


class Timers:
    """Wakes the workers when the next row is due, and runs the few periodic calls that app.py names."""

    def __init__(
        self,
        periods: list[Period],
        *,
        wake: Callable[[], None],
        next_due: Callable[[], datetime | None],
        look_every: float = 1.0,
    ) -> None:
        # misfire_grace_time=None: a late wake-up still wakes; APScheduler's default drops it in silence after a second.
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._wake, self._next_due = wake, next_due
        for period in [*periods, Period("look ahead", look_every, self._arm)]:
            self._scheduler.add_job(
                period.call, IntervalTrigger(seconds=period.seconds), id=period.name, name=period.name
            )

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """End, without waiting for a call that runs."""
        self._scheduler.shutdown(wait=False)

    def _arm(self) -> None:
        """Set the alarm clock to the next due row; one that is due already wakes at once."""
        due = self._next_due()
        if due is not None:
            self._scheduler.add_job(self._wake, DateTrigger(due), id="wake", name="wake", replace_existing=True)
