"""Mitigations: temporary changes of production that are still to be put back, or were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from bot.domain.ids import ReleaseId, UserId
from bot.domain.mitigation import Mitigation, MitigationState
from bot.store.pool import Tx, require_row
from bot.store.queries import queries

_SQL = queries("mitigations")


def _from_row(row: DictRow) -> Mitigation:
    return Mitigation(**{**row, "state": MitigationState(row["state"])})


def add(
    tx: Tx, release_id: ReleaseId, step: int, what: str, *, owner: UserId, reason: str, at: datetime, due_at: datetime
) -> int:
    """Write a new one down, before anything is changed. Returns its id."""
    values = {"release_id": release_id, "step": step, "what": what, "owner": owner, "reason": reason}
    return int(require_row(tx.execute(_SQL["add"], {**values, "at": at, "due_at": due_at}).fetchone())["id"])


def get(tx: Tx, mitigation_id: int) -> Mitigation | None:
    """Return the mitigation of that id, or None."""
    row = tx.execute(_SQL["get"], {"id": mitigation_id}).fetchone()
    return None if row is None else _from_row(row)


def of_release(tx: Tx, release_id: ReleaseId) -> list[Mitigation]:
    """Return all mitigations of a release, the newest last."""
    return [_from_row(row) for row in tx.execute(_SQL["of_release"], {"release_id": release_id}).fetchall()]


def list_open(tx: Tx, environment: str) -> list[Mitigation]:
    """Return the open mitigations of an environment, whichever releases they belong to."""
    return [_from_row(row) for row in tx.execute(_SQL["open"], {"environment": environment}).fetchall()]


def keep(tx: Tx, mitigation_id: int, was: Mapping[str, Any]) -> None:
    """Store the value before the mitigation changes it; only the first one counts."""
    tx.execute(_SQL["keep"], {"id": mitigation_id, "was": Jsonb(dict(was))})


def was(tx: Tx, mitigation_id: int) -> dict[str, Any] | None:
    """Return the value before the mitigation changed it, as `keep` has stored it; None when nobody has looked yet."""
    row = tx.execute(_SQL["was"], {"id": mitigation_id}).fetchone()
    return None if row is None or row["was"] is None else dict(row["was"])


def move(
    tx: Tx, mitigation: Mitigation, to: MitigationState, at: datetime, *, by: UserId | None = None, note: str = ""
) -> bool:
    """Move a mitigation to another state; return False when it is no longer in the state that the caller saw."""
    values = {"id": mitigation.id, "from": mitigation.state, "to": to, "at": at, "by": by, "note": note}
    return tx.execute(_SQL["move"], values).fetchone() is not None


def say(tx: Tx, mitigation_id: int, *, progress: str = "", trouble: str = "") -> bool:
    """Store how far a mitigation is, or why it does not go on; return False when nothing changed."""
    values = {"id": mitigation_id, "progress": progress, "trouble": trouble}
    return tx.execute(_SQL["say"], values).fetchone() is not None


def record_reminder(tx: Tx, mitigation_id: int, due_at: datetime) -> None:
    """Record that its owner was reminded; the next reminder is due at ``due_at``."""
    tx.execute(_SQL["reminded"], {"id": mitigation_id, "due_at": due_at})
