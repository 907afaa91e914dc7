"""Watch: the minutes after a deploy. Rows and answers in, verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from bot.domain.ids import UserId


class WatchState(StrEnum):
    """Where the Watch stands."""

    RUNNING = "running"
    CLEAN = "clean"
    STOPPED = "stopped"  # the release is rolled back


class Seen(StrEnum):
    """What one poll found out. Cannot tell is never clean (promise P2)."""

    CLEAN = "clean"
    REGRESSED = "regressed"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Alarm:
    """A new or regressed issue that the Watch found."""

    id: int
    issue: str  # the vendor's id
    short_id: str
    title: str
    permalink: str
    kind: str  # new or regressed
    at: datetime
    acknowledged_by: UserId | None = None
    acknowledged_at: datetime | None = None
    note: str = ""


@dataclass(frozen=True)
class Watch:
    """The Watch of one Release."""

    state: WatchState
    started_at: datetime
    ends_at: datetime
    polls: int
    last: Seen | None
    last_summary: str
    last_poll_at: datetime | None
    clear_since: datetime | None  # last poll that could tell
    alarms: Sequence[Alarm] = ()

    @property
    def open_alarms(self) -> tuple[Alarm, ...]:
        """Alarms that nobody has acknowledged."""
        return tuple(alarm for alarm in self.alarms if alarm.acknowledged_by is None)

    def remaining(self, now: datetime) -> timedelta:
        """Time left, never negative."""
        return max(timedelta(0), self.ends_at - now)


class Next(StrEnum):
    """What to do after a poll."""

    CONTINUE = "continue"
    WAIT_FOR_PEOPLE = "wait for people"  # time is over, an alarm is open
    EXTEND = "extend"  # time is over, but the last poll was not clean or came before the end
    CLOSE = "close"


def after_poll(watch: Watch, now: datetime) -> Next:
    """Decide from the rows alone. A watch closes only when its time is over, its last poll was clean and no alarm is open."""
    if now < watch.ends_at:
        return Next.CONTINUE
    if watch.open_alarms:
        return Next.WAIT_FOR_PEOPLE
    if watch.last is not Seen.CLEAN or watch.last_poll_at is None or watch.last_poll_at < watch.ends_at:
        return Next.EXTEND
    return Next.CLOSE
