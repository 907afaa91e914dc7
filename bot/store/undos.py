"""Undos: what a check has changed and has not put back yet (promise P7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from bot.domain.ids import CheckId, ReleaseId
from bot.store.pool import INSTANCE_LOCK, Tx, require_row
from bot.store.queries import queries

_SQL = queries("undos")


@dataclass(frozen=True)
class UndoOrigin:
    """The run that a change belongs to."""

    release_id: ReleaseId | None
    check_id: CheckId
    kind: str
    target: str
    owner: int  # instance


@dataclass(frozen=True)
class UndoRow(UndoOrigin):
    """One entry of the undo ledger. ``payload`` is for the kind that recorded it."""

    id: int
    what: str
    payload: Mapping[str, Any]
    settled_at: datetime | None


def record(tx: Tx, origin: UndoOrigin, what: str, payload: Mapping[str, Any]) -> int:
    """Write down what is about to be changed."""
    values = {
        "release_id": origin.release_id,
        "check_id": origin.check_id,
        "kind": origin.kind,
        "target": origin.target,
        "owner": origin.owner,
        "what": what,
        "payload": Jsonb(dict(payload)),
    }
    return int(require_row(tx.execute(_SQL["record"], values).fetchone())["id"])


def settle(tx: Tx, undo_id: int, at: datetime) -> None:
    """Mark it as undone."""
    tx.execute(_SQL["settle"], {"id": undo_id, "at": at})


def keep_error(tx: Tx, undo_id: int, error: str) -> None:
    """Store why it could not be undone yet."""
    tx.execute(_SQL["keep_error"], {"id": undo_id, "error": error})


def list_orphans(tx: Tx) -> list[UndoRow]:
    """Return the open entries that no process is about to undo, because it died or the check ended; the newest first."""
    return [UndoRow(**row) for row in tx.execute(_SQL["orphans"], {"class": INSTANCE_LOCK}).fetchall()]


def list_open(tx: Tx, release_id: ReleaseId | None, check_id: CheckId) -> list[UndoRow]:
    """Return the open entries of one check, the newest first."""
    values = {"release_id": release_id, "check_id": check_id}
    return [UndoRow(**row) for row in tx.execute(_SQL["open"], values).fetchall()]


def get(tx: Tx, undo_id: int) -> UndoRow | None:
    """Return the entry of that id, or None."""
    row = tx.execute(_SQL["get"], {"id": undo_id}).fetchone()
    return None if row is None else UndoRow(**row)
