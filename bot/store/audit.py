"""Audit: the append-only record, each row chained by hash to the one before it (promise P9)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from bot.domain.audit import GENESIS, AuditEvent, chain_hash
from bot.domain.ids import ReleaseId
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("audit")


def write(
    tx: Tx,
    at: datetime,
    actor: str,
    event: str,
    release_id: ReleaseId | None = None,
    **body: Any,
) -> None:
    """Append one line, in the transaction of what it tells. Call it last: it serialises the writers until the commit."""
    tx.execute(_SQL["lock"])
    head = tx.execute(_SQL["head"]).fetchone()
    seq, previous = (head["seq"] + 1, head["hash"]) if head else (1, GENESIS)
    values: Mapping[str, Any] = {
        "seq": seq,
        "at": at,
        "actor": actor,
        "event": event,
        "release_id": release_id,
        "body": Jsonb(body),
        "previous": previous,
        "hash": chain_hash(previous, seq, at, actor, event, release_id, body),
    }
    tx.execute(_SQL["append"], values)


def events(tx: Tx, release_id: ReleaseId | None = None) -> list[AuditEvent]:
    """The record in order; of one release, or whole."""
    rows = tx.execute(_SQL["all"] if release_id is None else _SQL["of_release"], {"release_id": release_id}).fetchall()
    return [AuditEvent(**row) for row in rows]
