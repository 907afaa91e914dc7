"""Watches: the minutes after a deploy, what each probe says, and the alarms that were raised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from bot.domain.ids import ReleaseId, UserId
from bot.domain.watch import Alarm, Finding, Reading, Seen, Watch, WatchState
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("watches")


def get(tx: Tx, release_id: ReleaseId) -> Watch | None:
    """The watch of a release with its readings and alarms."""
    key = {"release_id": release_id}
    row = tx.execute(_SQL["get"], key).fetchone()
    if row is None:
        return None
    readings = tuple(
        Reading(**{**found, "seen": Seen(found["seen"]), "blames": tuple(found["blames"])})
        for found in tx.execute(_SQL["readings"], key).fetchall()
    )
    alarms = tuple(
        Alarm(**{**found, "covers": tuple(found["covers"])}) for found in tx.execute(_SQL["alarms"], key).fetchall()
    )
    return Watch(**{**row, "state": WatchState(row["state"]), "readings": readings, "alarms": alarms})


def begin(tx: Tx, release_id: ReleaseId, at: datetime, ends_at: datetime) -> None:
    """Start the watch; it starts once."""
    tx.execute(_SQL["begin"], {"release_id": release_id, "at": at, "ends_at": ends_at})


def previous_poll(tx: Tx, release_id: ReleaseId, instance: int) -> tuple[datetime, float] | None:
    """When ``instance`` polled by the clock and in its steady seconds, if it was the last one to poll."""
    row = tx.execute(_SQL["previous"], {"release_id": release_id, "instance": instance}).fetchone()
    return None if row is None else (row["last_poll_at"], row["steady"])


def polled(tx: Tx, release_id: ReleaseId, at: datetime, *, instance: int, steady: float, step: timedelta) -> None:
    """Write down a poll that was made ``at``, and that the clock was set by ``step`` since the one before."""
    if step:
        tx.execute(_SQL["move_readings"], {"release_id": release_id, "step": step})
    values = {"release_id": release_id, "at": at, "instance": instance, "steady": steady, "step": step}
    tx.execute(_SQL["polled"], values)


def read(tx: Tx, release_id: ReleaseId, reading: Reading) -> None:
    """Write down what a probe says."""
    values = {**asdict(reading), "blames": list(reading.blames), "series": _json(reading.series)}
    tx.execute(_SQL["read"], {**values, "release_id": release_id})


def close(tx: Tx, release_id: ReleaseId, state: WatchState) -> bool:
    """End the watch; False when it was not running."""
    return tx.execute(_SQL["close"], {"release_id": release_id, "state": state}).fetchone() is not None


def alarm(
    tx: Tx, release_id: ReleaseId, probe: str, found: Finding, at: datetime, series: Mapping[str, Any] | None
) -> int | None:
    """Raise an alarm and return its id; None when it was raised before. ``series``: the error rate as it is known."""
    values = {**asdict(found), "covers": list(found.covers), "probe": probe, "at": at, "series": _json(series)}
    row = tx.execute(_SQL["alarm"], {**values, "release_id": release_id}).fetchone()
    return None if row is None else int(row["id"])


def acknowledge(tx: Tx, alarm_id: int, *, by: UserId, note: str, at: datetime) -> bool:
    """Write down that a person has looked at an alarm; False when somebody had before."""
    return tx.execute(_SQL["acknowledge"], {"id": alarm_id, "by": by, "note": note, "at": at}).fetchone() is not None


def release_of(tx: Tx, alarm_id: int) -> ReleaseId | None:
    """The release that an alarm belongs to."""
    row = tx.execute(_SQL["release_of"], {"id": alarm_id}).fetchone()
    return None if row is None else ReleaseId(row["release_id"])


def _json(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(dict(value))
