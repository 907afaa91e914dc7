"""Allowances: what a kind may use only so often on a target, such as log-ins; the last of it is left to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bot.store import uses
from bot.store.pool import Tx
from checks.contract import ALLOWANCES


def spend(tx: Tx, names: Sequence[str], target: str, now: datetime) -> datetime | None:
    """Use each of ``names`` of ``target`` once. Returns None, or when there is enough again: then nothing is used."""
    waits = []
    for name in sorted(names):
        allowance = ALLOWANCES[name]
        period = timedelta(seconds=allowance.period)
        waits.append(uses.free_at(tx, f"{target}/{name}", at_most=allowance.uses, period=period, now=now))
    if missing := [until for until in waits if until is not None]:
        return max(missing)
    for name in names:
        uses.use(tx, f"{target}/{name}", now)
    return None


def exhausted_text(names: Sequence[str], target: str, until: datetime) -> str:
    """Why a check has to wait for its allowances, in one line for people."""
    titles = " and ".join(ALLOWANCES[name].title for name in sorted(names))
    return f"the {titles} of {target} are used up until {until.astimezone(UTC):%H:%M} UTC"
