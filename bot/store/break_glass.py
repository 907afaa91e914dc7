"""Break-glass: which releases were deployed past the gate, and what their reviews found."""

from __future__ import annotations

from datetime import datetime

from psycopg.types.json import Jsonb

from bot.domain.events import PassedReason
from bot.domain.ids import ReleaseId, UserId
from bot.domain.view import BreakGlass
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("break_glass")


def add(tx: Tx, release_id: ReleaseId, break_glass: BreakGlass) -> None:
    """Write down that the gate was passed, before anything is deployed."""
    reasons = [one.model_dump() for one in break_glass.overridden_reasons]
    values = {"release_id": release_id, "by": break_glass.by, "reason": break_glass.reason, "at": break_glass.at}
    tx.execute(_SQL["add"], {**values, "passed": Jsonb(reasons)})


def get(tx: Tx, release_id: ReleaseId) -> BreakGlass | None:
    """Return the break-glass of a release; None when it went through the gate, or was not deployed yet."""
    row = tx.execute(_SQL["get"], {"release_id": release_id}).fetchone()
    if row is None:
        return None
    reasons = tuple(PassedReason(**one) for one in row["overridden_reasons"])
    return BreakGlass(**{**row, "overridden_reasons": reasons})


def list_unreviewed(tx: Tx, environment: str) -> list[ReleaseId]:
    """Return the releases whose break-glass nobody has reviewed yet, the oldest first."""
    return [ReleaseId(row["id"]) for row in tx.execute(_SQL["unreviewed"], {"environment": environment}).fetchall()]


def review(tx: Tx, release_id: ReleaseId, *, by: UserId, review_note: str, at: datetime) -> bool:
    """Write down a review; False when there is one already. The database refuses one by whoever broke the glass."""
    values = {"release_id": release_id, "by": by, "review_note": review_note, "at": at}
    return tx.execute(_SQL["review"], values).fetchone() is not None
