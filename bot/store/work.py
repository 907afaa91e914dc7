"""Work: what is to be done and who does it now; leases with a fencing token."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.errors import Superseded
from bot.store.pool import INSTANCE_LOCK, Tx
from bot.store.queries import queries

_SQL = queries("work")

LEASE = timedelta(seconds=30)  # renewed while the work goes on; a killed owner is noticed at once by its lock
ACT_WITHIN = LEASE.total_seconds() / 2  # seconds after a renewal; what is begun by then ends before the lease does


@dataclass(frozen=True)
class Claim:
    """Something that this process does now. ``token`` fences it: whoever took over later has a higher one."""

    id: int
    queue: str
    key: str
    token: int
    attempts: int  # this one included


def enqueue(tx: Tx, queue: str, key: str | int, due_at: datetime | None = None) -> None:
    """Ask for ``key`` of ``queue`` to be done at ``due_at`` (default: now). Asking again before it starts changes nothing."""
    enqueue_all(tx, queue, [key], due_at)


def enqueue_all(tx: Tx, queue: str, keys: Collection[str | int], due_at: datetime | None = None) -> None:
    """Ask for several keys of ``queue`` at once, to be done in this order where one worker does them."""
    if keys:
        tx.execute(_SQL["ask"], {"queue": queue, "keys": [str(key) for key in keys], "due_at": due_at})


def wake(tx: Tx) -> None:
    """Let all workers look for work, in every process."""
    tx.execute(_SQL["wake"])


def claim(tx: Tx, queue: str, owner: int) -> Claim | None:
    """Take the next thing that is due, or None."""
    row = tx.execute(_SQL["claim"], {"queue": queue, "owner": owner, "lease": LEASE, "class": INSTANCE_LOCK}).fetchone()
    return None if row is None else Claim(**row)


def renew(tx: Tx, claim: Claim) -> bool:
    """Prolong the lease; False when somebody else has taken over."""
    return tx.execute(_SQL["renew"], {"id": claim.id, "token": claim.token, "lease": LEASE}).fetchone() is not None


def ensure_claim(tx: Tx, claim: Claim) -> bool:
    """Make this transaction commit only while the claim is ours. Raises Superseded when it is not.

    Returns whether it was asked for again meanwhile. Lock the release first where both are needed, as every flow does:
    one order of locks, no deadlock.
    """
    row = tx.execute(_SQL["ensure_claim"], {"id": claim.id, "token": claim.token}).fetchone()
    if row is None:
        raise Superseded
    return bool(row["again"])


def begin(tx: Tx, claim: Claim) -> None:
    """Make this transaction commit only while the claim is ours, like `ensure_claim`, and forget that it was asked for again.

    For work that has only looked so far whether it may begin: what it does from here on is what was asked for.
    """
    if tx.execute(_SQL["begin"], {"id": claim.id, "token": claim.token}).fetchone() is None:
        raise Superseded


def finish(tx: Tx, claim: Claim, now: datetime) -> None:
    """Remove a job that is done. If it was asked for again meanwhile, it is due at once."""
    if tx.execute(_SQL["finish"], {"id": claim.id, "token": claim.token}).rowcount == 0:
        reschedule(tx, claim, now)


def reschedule(tx: Tx, claim: Claim, due_at: datetime, error: str | None = None) -> None:
    """Give it back to be taken at ``due_at``; with ``error`` the attempts go on counting.

    What was asked for again meanwhile is due at once, unless it has just failed.
    """
    tx.execute(_SQL["release"], {"id": claim.id, "token": claim.token, "due_at": due_at, "error": error})


def drop(tx: Tx, queue: str, *keys: str | int) -> None:
    """Forget what is no longer wanted."""
    tx.execute(_SQL["drop"], {"queue": queue, "keys": [str(key) for key in keys]})


def bring_forward(tx: Tx, queue: str, within: timedelta) -> None:
    """Make due now what of a queue is due later than ``within`` from now."""
    tx.execute(_SQL["hasten"], {"queue": queue, "within": within})


def next_due(tx: Tx) -> datetime | None:
    """Return when the next unclaimed job is due, or None."""
    row = tx.execute(_SQL["next_due"]).fetchone()
    return None if row is None else row["due_at"]


def backlog(tx: Tx) -> dict[str, tuple[int, float]]:
    """Queue -> (how many things are due, seconds that the oldest of them has waited)."""
    return {row["queue"]: (row["waiting"], float(row["oldest"])) for row in tx.execute(_SQL["backlog"])}
