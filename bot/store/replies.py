"""Replies: the answer that each command and click is owed, visible to that person only (promise P8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from bot.store import work
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("replies")


@dataclass(frozen=True)
class ReplyRow:
    """One answer. ``body`` has text and, where there is more to show, blocks."""

    id: int
    inbox_id: int
    user: str
    channel: str
    response_url: str  # empty where Slack gave none
    body: dict[str, Any]
    created_at: datetime
    sent_at: datetime | None


def store_reply(
    tx: Tx,
    inbox_id: int,
    user: str,
    channel: str,
    response_url: str,
    body: dict[str, Any],
    at: datetime,
    *,
    part: str = "",
) -> None:
    """Owe ``user`` the answer to a delivery, or a later ``part`` of it; the first one of each counts."""
    values = {
        "inbox_id": inbox_id,
        "part": part,
        "user": user,
        "channel": channel,
        "response_url": response_url,
        "body": Jsonb(body),
        "at": at,
    }
    row = tx.execute(_SQL["put"], values).fetchone()
    if row is not None:
        work.enqueue(tx, "reply", row["id"])


def get(tx: Tx, reply_id: int) -> ReplyRow | None:
    """Return the answer of that id, or None."""
    row = tx.execute(_SQL["get"], {"id": reply_id}).fetchone()
    return None if row is None else ReplyRow(**row)


def mark_sent(tx: Tx, reply_id: int, at: datetime) -> None:
    """Say that it was given."""
    tx.execute(_SQL["sent"], {"id": reply_id, "at": at})
