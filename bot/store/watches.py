"""Watches: the minutes after a deploy and the alarms that they raised."""

from __future__ import annotations

from datetime import datetime

from bot.domain.ids import ReleaseId, UserId
from bot.domain.watch import Alarm, Seen, Watch, WatchState
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("watches")


def get(tx: Tx, release_id: ReleaseId) -> Watch | None:
    """The watch of a release with its alarms."""
    row = tx.execute(_SQL["get"], {"release_id": release_id}).fetchone()
    if row is None:
        return None
    alarms = tuple(Alarm(**alarm) for alarm in tx.execute(_SQL["alarms"], {"release_id": release_id}).fetchall())
    last = None if row["last"] is None else Seen(row["last"])
    return Watch(**{**row, "state": WatchState(row["state"]), "last": last, "alarms": alarms})


def begin(tx: Tx, release_id: ReleaseId, at: datetime, ends_at: datetime) -> None:
    """Start the watch; it starts once."""
    tx.execute(_SQL["begin"], {"release_id": release_id, "at": at, "ends_at": ends_at})


def polled(tx: Tx, release_id: ReleaseId, seen: Seen, summary: str, at: datetime) -> None:
    """Write down what one poll found out."""
    tx.execute(_SQL["polled"], {"release_id": release_id, "seen": seen, "summary": summary, "at": at})


def extend(tx: Tx, release_id: ReleaseId, ends_at: datetime) -> None:
    """Watch for longer."""
    tx.execute(_SQL["extend"], {"release_id": release_id, "ends_at": ends_at})


def close(tx: Tx, release_id: ReleaseId, state: WatchState) -> bool:
    """End the watch; False when it was not running."""
    return tx.execute(_SQL["close"], {"release_id": release_id, "state": state}).fetchone() is not None


def alarm(tx: Tx, release_id: ReleaseId, found: dict[str, str], at: datetime) -> int | None:
    """Raise an alarm (issue, short_id, title, permalink, kind) and return its id; None when it was raised before."""
    row = tx.execute(_SQL["alarm"], {**found, "release_id": release_id, "at": at}).fetchone()
    return None if row is None else int(row["id"])


def acknowledge(tx: Tx, alarm_id: int, *, by: UserId, note: str, at: datetime) -> bool:
    """Write down that a person has looked at an alarm; False when somebody had before."""
    return tx.execute(_SQL["acknowledge"], {"id": alarm_id, "by": by, "note": note, "at": at}).fetchone() is not None


def release_of(tx: Tx, alarm_id: int) -> ReleaseId | None:
    """The release that an alarm belongs to."""
    row = tx.execute(_SQL["release_of"], {"id": alarm_id}).fetchone()
    return None if row is None else ReleaseId(row["release_id"])
