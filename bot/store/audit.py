"""Audit: the append-only record, each row chained by hash to the one before it (promise P9)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from bot.domain.audit import GENESIS, AuditEvent, Head, as_stored, chain_hash
from bot.domain.bound_rows import row_digest, row_name
from bot.domain.events import Event
from bot.domain.ids import ReleaseId
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("audit")
_AT_ONCE = 1_000  # rows that are fetched together: the record may be larger than memory


def append(tx: Tx, release_id: ReleaseId | None, event: Event, at: datetime, actor: str) -> Head:
    """Append one line, in the transaction of what it tells, and return the new head of the chain.

    It binds the rows about the release that this transaction has written, and serialises the writers until the commit.
    """
    tx.execute(_SQL["lock"])
    rows = tx.execute(_SQL["head_and_changed"], {"release_id": release_id}).fetchall()
    head = next((row["body"] for row in rows if row["name"] == "audit"), None)
    seq, previous = (head["seq"] + 1, head["hash"]) if head else (1, GENESIS)
    changed_rows = [(row["name"], row["body"]) for row in rows if row["name"] != "audit"]
    bound_rows = {"rows": {row_name(*row): row_digest(*row) for row in changed_rows}} if changed_rows else {}
    body = as_stored({**event.body, **bound_rows})
    new = Head(seq, chain_hash(previous, seq, at, actor, event.event_name, release_id, body))
    values = {
        "seq": seq,
        "at": at,
        "actor": actor,
        "event": event.event_name,
        "release_id": release_id,
        "body": Jsonb(body),
        "previous": previous,
        "hash": new.hash,
    }
    tx.execute(_SQL["append"], values)
    return new


def events(tx: Tx, release_id: ReleaseId | None = None) -> list[AuditEvent]:
    """Return the events of one release in order, or of the whole record without one."""
    rows = tx.execute(_SQL["all"] if release_id is None else _SQL["of_release"], {"release_id": release_id}).fetchall()
    return [AuditEvent(**row) for row in rows]


def stream(tx: Tx) -> Iterator[AuditEvent]:
    """Yield the whole record in order; at most `_AT_ONCE` rows are in memory."""
    with tx.cursor("audit_stream", row_factory=dict_row) as cursor:
        cursor.itersize = _AT_ONCE
        for row in cursor.execute(_SQL["all"]):
            yield AuditEvent(**row)


def span(tx: Tx, release_id: ReleaseId) -> list[AuditEvent]:
    """Return the events from the first to the newest of a release, with those of others in between: an unbroken chain."""
    return [AuditEvent(**row) for row in tx.execute(_SQL["span"], {"release_id": release_id}).fetchall()]
