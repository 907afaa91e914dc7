"""Inbox: commands and clicks as Slack delivered them, each stored once before it is acknowledged (promise P1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from bot.errors import Superseded
from bot.store import work
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("inbox")


@dataclass(frozen=True)
class InboxRow:
    """One delivery. ``body`` is Slack's payload."""

    id: int
    delivery: str
    kind: str  # command, action or view
    body: dict[str, Any]
    received_at: datetime
    handled_at: datetime | None


def store_delivery(tx: Tx, delivery: str, kind: str, body: dict[str, Any]) -> int | None:
    """Store a delivery and ask for it to be handled. Returns its id, or None when it is stored already."""
    row = tx.execute(_SQL["put"], {"delivery": delivery, "kind": kind, "body": Jsonb(body)}).fetchone()
    if row is None:
        return None
    work.enqueue(tx, "inbox", row["id"])
    return int(row["id"])


def get(tx: Tx, inbox_id: int) -> InboxRow | None:
    """Return the delivery of that id, or None."""
    row = tx.execute(_SQL["get"], {"id": inbox_id}).fetchone()
    return None if row is None else InboxRow(**row)


def mark_handled(tx: Tx, inbox_id: int, outcome: str, at: datetime) -> None:
    """Say that it has had its effect, in the transaction of that effect. Raises Superseded when it had it before."""
    if tx.execute(_SQL["handled"], {"id": inbox_id, "outcome": outcome, "at": at}).fetchone() is None:
        raise Superseded
