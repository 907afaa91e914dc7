"""Uses: what was used up of things that may be used only so often, counted over all replicas."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("uses")


def next_free_at(tx: Tx, what: str, *, at_most: int, period: timedelta, now: datetime) -> datetime | None:
    """None when ``what`` may be used once more; else, after ``at_most`` uses within ``period``, when that is so again.

    Until the commit nobody else counts or uses it.
    """
    values = {"what": what, "since": now - period}
    tx.execute(_SQL["alone"], values)
    tx.execute(_SQL["forget"], values)
    spendings = tx.execute(_SQL["counted"], values).fetchall()
    if len(spendings) < at_most:
        return None
    oldest: datetime = spendings[len(spendings) - at_most]["at"]
    return oldest + period


def spend(tx: Tx, what: str, at: datetime) -> None:
    """Count one use."""
    tx.execute(_SQL["use"], {"what": what, "at": at})
