"""Allowances: what a kind may use only so often on a target, such as log-ins; the last of it is left to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bot.store import uses
from bot.store.pool import Tx
from clients.needs import Spends


def spend(tx: Tx, allowances: Sequence[Spends], target: str, now: datetime) -> datetime | None:
    """Use each of ``allowances`` of ``target`` once. Returns None, or when there is enough again: then nothing is used."""
    waits = []
    for allowance in allowances:
        what, period = f"{target}/{allowance.name}", timedelta(seconds=allowance.period)
        waits.append(uses.next_free_at(tx, what, at_most=allowance.uses, period=period, now=now))
    if missing := [until for until in waits if until is not None]:
        return max(missing)
    for allowance in allowances:
        uses.spend(tx, f"{target}/{allowance.name}", now)
    return None


def exhausted_text(allowances: Sequence[Spends], target: str, until: datetime) -> str:
    """Why a check has to wait for its allowances, in one line for people."""
    titles = " and ".join(allowance.title for allowance in allowances)
    return f"the {titles} of {target} are used up until {until.astimezone(UTC):%H:%M} UTC"
