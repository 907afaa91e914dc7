"""Watches: the minutes after a deploy, what each probe says, and the alarms that were raised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from bot.domain.ids import ReleaseId, UserId
from bot.domain.watch import Alarm, ProbeFinding, ProbeStatus, Reading, Watch, WatchState
from bot.store.pool import Tx, require_row
from bot.store.queries import queries

_SQL = queries("watches")


def get(tx: Tx, release_id: ReleaseId) -> Watch | None:
    """Return the watch of a release with its readings and alarms, or None."""
    key = {"release_id": release_id}
    values = tx.execute(_SQL["get"], key).fetchone()
    if values is None:
        return None
    readings = tuple(
        Reading(**{**row, "status": ProbeStatus(row["status"]), "blames": tuple(row["blames"])})
        for row in tx.execute(_SQL["readings"], key).fetchall()
    )
    alarms = tuple(
        Alarm(**{**row, "covers": tuple(row["covers"])}) for row in tx.execute(_SQL["alarms"], key).fetchall()
    )
    return Watch(**{**values, "state": WatchState(values["state"]), "readings": readings, "alarms": alarms})


def begin(tx: Tx, release_id: ReleaseId, at: datetime, ends_at: datetime, *, instance: int, steady: float) -> None:
    """Start the watch; it starts once. ``steady``: what the steady clock of the process ``instance`` says ``at``."""
    if tx.execute(_SQL["begin"], {"release_id": release_id, "at": at, "ends_at": ends_at}).rowcount:
        _record_instance(tx, release_id, at, instance, steady)


@dataclass(frozen=True)
class LastSeen:
    """When a watch was polled before."""

    anybody: datetime  # by whichever process; when it began, if by none
    own: tuple[datetime, float] | None  # by the process that asks: the time, and its steady seconds; None: never


def last_seen(tx: Tx, release_id: ReleaseId, instance: int) -> LastSeen:
    """Return when the watch of ``release_id`` was polled before, by any process and by the process ``instance``."""
    row = require_row(tx.execute(_SQL["last_seen"], {"release_id": release_id, "instance": instance}).fetchone())
    return LastSeen(row["anybody"], None if row["at"] is None else (row["at"], row["steady"]))


def record_poll(tx: Tx, release_id: ReleaseId, at: datetime, *, instance: int, steady: float, step: timedelta) -> None:
    """Write down a poll that was made ``at``, and that ``step`` of the time since the one before did not pass for it."""
    if step:
        for name in ("move", "move_readings", "move_clocks"):
            tx.execute(_SQL[name], {"release_id": release_id, "step": step})
    tx.execute(_SQL["polled"], {"release_id": release_id, "at": at})
    _record_instance(tx, release_id, at, instance, steady)


def _record_instance(tx: Tx, release_id: ReleaseId, at: datetime, instance: int, steady: float) -> None:
    tx.execute(_SQL["saw"], {"release_id": release_id, "at": at, "instance": instance, "steady": steady})


def store_reading(tx: Tx, release_id: ReleaseId, reading: Reading) -> None:
    """Write down what a probe says."""
    values = {**asdict(reading), "blames": list(reading.blames), "series": _json(reading.series)}
    tx.execute(_SQL["read"], {**values, "release_id": release_id})


def close(tx: Tx, release_id: ReleaseId, state: WatchState) -> bool:
    """End the watch; False when it was not running."""
    return tx.execute(_SQL["close"], {"release_id": release_id, "state": state}).fetchone() is not None


def raise_alarm(
    tx: Tx, release_id: ReleaseId, probe: str, finding: ProbeFinding, at: datetime, series: Mapping[str, Any] | None
) -> int | None:
    """Raise an alarm and return its id; None when it was raised before. ``series``: the error rate as it is known."""
    values = {**asdict(finding), "covers": list(finding.covers), "probe": probe, "at": at, "series": _json(series)}
    row = tx.execute(_SQL["alarm"], {**values, "release_id": release_id}).fetchone()
    return None if row is None else int(row["id"])


def acknowledge(tx: Tx, alarm_id: int, *, by: UserId, note: str, at: datetime) -> bool:
    """Write down that a person has looked at an alarm; False when somebody had before."""
    return tx.execute(_SQL["acknowledge"], {"id": alarm_id, "by": by, "note": note, "at": at}).fetchone() is not None


def release_of(tx: Tx, alarm_id: int) -> ReleaseId | None:
    """Return the release that an alarm belongs to, or None."""
    row = tx.execute(_SQL["release_of"], {"id": alarm_id}).fetchone()
    return None if row is None else ReleaseId(row["release_id"])


def _json(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(dict(value))
