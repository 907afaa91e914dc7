"""FreezeWindow: times on the calendar in which nothing is deployed, in the wall-clock time of a named time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from bot.domain.model import Model

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(rf"({'|'.join(_DAYS)})[a-z]* ([01]\d|2[0-3]):([0-5]\d)")
_MINUTES = 7 * 24 * 60  # of a week


class FreezeWindow(Model):
    """One window: weekly (``fri 14:00`` to ``mon 07:00``) or once (``2026-12-19 18:00`` to ``2027-01-04 07:00``).

    The times are those of a clock on the wall in ``timezone``, so a window keeps its hours when the clocks change.
    """

    reason: str = Field(min_length=3, max_length=300)
    timezone: str = "UTC"  # a name of the IANA database: Europe/Berlin
    begins: str  # "fri 14:00" or "2026-12-19 18:00"
    ends: str  # of the same form; this minute is free again

    @field_validator("begins", "ends", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """YAML reads ``2026-12-19 18:00:00`` as a time of its own; what it means is the same."""
        return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} isn't a time zone; write one such as Europe/Berlin") from error
        return name

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.weekly:
            if self.begins.lower() == self.ends.lower():
                raise ValueError("it starts and ends at the same time")
        elif _once(self.begins) is None or _once(self.ends) is None:
            raise ValueError('write begins and ends both as "fri 14:00" or both as "2026-12-19 18:00"')
        elif self.begins >= self.ends:
            raise ValueError("it ends before it starts")
        return self

    @property
    def weekly(self) -> bool:
        """Whether it comes back every week."""
        return _minute(self.begins) is not None and _minute(self.ends) is not None

    @property
    def length(self) -> timedelta:
        """How long it lasts, by the clock on the wall."""
        start, end = _minute(self.begins), _minute(self.ends)
        if start is not None and end is not None:
            return timedelta(minutes=(end - start) % _MINUTES)
        first, last = _once(self.begins), _once(self.ends)
        return timedelta(0) if first is None or last is None else last - first

    def holds_until(self, now: datetime) -> datetime | None:
        """When it ends, if it holds at ``now`` (aware); None when it does not hold."""
        zone = ZoneInfo(self.timezone)
        wall = now.astimezone(zone).replace(tzinfo=None)
        start_minute, end_minute = _minute(self.begins), _minute(self.ends)
        if start_minute is not None and end_minute is not None:
            of_week = wall.weekday() * 1440 + wall.hour * 60 + wall.minute
            if (of_week - start_minute) % _MINUTES >= (end_minute - start_minute) % _MINUTES:
                return None
            end = wall.replace(second=0, microsecond=0) + timedelta(minutes=(end_minute - of_week) % _MINUTES)
        else:
            first, last = _once(self.begins), _once(self.ends)
            if first is None or last is None or not first <= wall < last:
                return None
            end = last
        return end.replace(tzinfo=zone).astimezone(UTC)


def always_frozen(windows: tuple[FreezeWindow, ...]) -> bool:
    """Whether the weekly windows together leave no minute of a week free, so that nothing could ever be deployed."""
    weekly = [window for window in windows if window.weekly]
    if sum((window.length for window in weekly), timedelta(0)) < timedelta(minutes=_MINUTES):
        return False
    monday = datetime(2026, 6, 1, tzinfo=UTC)  # a week in which no zone changes its clocks
    return all(
        any(window.holds_until(monday + timedelta(minutes=minute)) for window in weekly) for minute in range(_MINUTES)
    )


def _minute(text: str) -> int | None:
    """The minute of the week that ``fri 14:00`` says; None for another form."""
    match = _WEEKLY.fullmatch(text.strip().lower())
    if match is None:
        return None
    day, hour, minute = match.groups()
    return _DAYS.index(day) * 1440 + int(hour) * 60 + int(minute)


def _once(text: str) -> datetime | None:
    """The wall-clock time that ``2026-12-19 18:00`` says; None for another form."""
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d %H:%M")  # noqa: DTZ007  of the wall; the zone stands beside it
    except ValueError:
        return None
