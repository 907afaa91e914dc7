"""Allowances: what a kind of check may use on a target only so often in a period, such as log-ins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bot.store import uses
from bot.store.pool import Tx
from clients.needs import Spends


def spend(tx: Tx, allowances: Sequence[Spends], target: str, now: datetime) -> datetime | None:
    """Count one use of each of ``allowances`` on ``target``, and return None.

    If one of them is exhausted, nothing is counted, and the moment when all are free again is returned.
    """
    free_times = []
    for allowance in allowances:
        what, period = f"{target}/{allowance.name}", timedelta(seconds=allowance.period)
        free_times.append(uses.next_free_at(tx, what, at_most=allowance.uses, period=period, now=now))
    if later_times := [until for until in free_times if until is not None]:
        return max(later_times)
    for allowance in allowances:
        uses.spend(tx, f"{target}/{allowance.name}", now)
    return None


def exhausted_text(allowances: Sequence[Spends], target: str, until: datetime) -> str:
    """Return one line for people that says why a check waits for its allowances, and until when."""
    titles = " and ".join(allowance.title for allowance in allowances)
    return f"the {titles} of {target} are used up until {until.astimezone(UTC):%H:%M} UTC"
