"""Freezes: the line is stopped; a deploy is refused, a rollback is not."""

from __future__ import annotations

from datetime import datetime

from bot.domain.ids import UserId
from bot.domain.view import Freeze
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("freezes")


def current(tx: Tx, environment: str, now: datetime) -> Freeze | None:
    """Return the freeze that is in force at ``now``, or None."""
    row = tx.execute(_SQL["now"], {"environment": environment, "now": now}).fetchone()
    return None if row is None else Freeze(**row)


def begin(tx: Tx, environment: str, freeze: Freeze, at: datetime) -> None:
    """Store a freeze from ``at`` on; one that is in force is replaced."""
    finish(tx, environment, freeze.by, at)
    values = {"environment": environment, "by": freeze.by, "reason": freeze.reason, "at": at, "until": freeze.until}
    tx.execute(_SQL["begin"], values)


def finish(tx: Tx, environment: str, by: UserId, at: datetime) -> bool:
    """Lift the freeze; False when there is none."""
    return tx.execute(_SQL["finish"], {"environment": environment, "by": by, "at": at}).fetchone() is not None
