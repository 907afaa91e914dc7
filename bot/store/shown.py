"""Shown: the plan of a release that people have seen last."""

from __future__ import annotations

from datetime import datetime

from psycopg.types.json import Jsonb

from bot.domain import shown
from bot.domain.ids import ReleaseId
from bot.domain.shown import Shown
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("shown")


def keep(tx: Tx, release_id: ReleaseId, plan: Shown, at: datetime, to: str) -> None:
    """Keep that ``plan`` was shown to ``to``, instead of what was shown before."""
    values = {"plan": Jsonb(shown.body(plan)), "digest": shown.digest(plan), "at": at, "to": to}
    tx.execute(_SQL["keep"], {"release_id": release_id, **values})


def get(tx: Tx, release_id: ReleaseId) -> Shown | None:
    """The plan that was shown last; None: none was."""
    row = tx.execute(_SQL["get"], {"release_id": release_id}).fetchone()
    return None if row is None else shown.of(row["plan"])
