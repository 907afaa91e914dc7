"""Allowances: what a kind may use only so often on a target, such as log-ins; the last of it is left to people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bot.flows.deps import Recording
from bot.store import uses
from bot.store.pool import Tx
from checks.contract import ALLOWANCES, Kind


def spend(tx: Tx, deps: Recording, kind: Kind, target: str) -> datetime | None:
    """Use once all that ``kind`` spends on ``target``. Returns None, or when there is enough again: then nothing is used."""
    now = deps.clock.now()
    waits = []
    for name in sorted(kind.spends):
        allowance = ALLOWANCES[name]
        period = timedelta(seconds=allowance.period)
        waits.append(uses.free_at(tx, f"{target}/{name}", at_most=allowance.uses, period=period, now=now))
    if missing := [until for until in waits if until is not None]:
        return max(missing)
    for name in kind.spends:
        uses.use(tx, f"{target}/{name}", now)
    return None


def used_up(kind: Kind, target: str, until: datetime) -> str:
    """Why it has to wait, in one line for people."""
    names = " and ".join(ALLOWANCES[name].title for name in sorted(kind.spends))
    return f"the {names} of {target} are used up until {until.astimezone(UTC):%H:%M} UTC"
