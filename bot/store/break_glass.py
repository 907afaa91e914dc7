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


def add(tx: Tx, release_id: ReleaseId, broken: BreakGlass) -> None:
    """Write down that the gate was passed, before anything is deployed."""
    passed = [one.model_dump() for one in broken.passed]
    values = {"release_id": release_id, "by": broken.by, "reason": broken.reason, "at": broken.at}
    tx.execute(_SQL["add"], {**values, "passed": Jsonb(passed)})


def get(tx: Tx, release_id: ReleaseId) -> BreakGlass | None:
    """That of a release; None when it went through the gate, or has not gone yet."""
    row = tx.execute(_SQL["get"], {"release_id": release_id}).fetchone()
    if row is None:
        return None
    passed = tuple(PassedReason(**one) for one in row["passed"])
    return BreakGlass(**{**row, "passed": passed})


def list_unreviewed(tx: Tx, environment: str) -> list[ReleaseId]:
    """The releases whose break-glass nobody has reviewed yet, the oldest first."""
    return [ReleaseId(row["id"]) for row in tx.execute(_SQL["unreviewed"], {"environment": environment}).fetchall()]


def review(tx: Tx, release_id: ReleaseId, *, by: UserId, finding: str, at: datetime) -> bool:
    """Write down a review; False when there is one already. The database refuses one by whoever broke the glass."""
    values = {"release_id": release_id, "by": by, "finding": finding, "at": at}
    return tx.execute(_SQL["review"], values).fetchone() is not None
