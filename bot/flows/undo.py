"""Debts: what a check changes is written down first and put back even if the process dies in between (promise P7)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from bot.domain.events import UndoSettled
from bot.domain.ids import SYSTEM, CheckId, ReleaseId
from bot.flows.commit import commit_change
from bot.flows.deps import Recording
from bot.store import undos
from bot.store.pool import Hold
from bot.store.undos import UndoOrigin, UndoRow
from checks.call import Call, DidNotStop
from checks.contract import CheckContext, CheckError, Subject
from checks.registry import RegistryError
from clients.connections import Clients
from clients.errors import ClientError

logger = logging.getLogger(__name__)

TIME = 60.0  # seconds for putting one thing back


class StoredUndoLedger:
    """The UndoLedger of one run of a check, in the table `undos`."""

    def __init__(self, deps: Recording, origin: UndoOrigin) -> None:
        self._deps, self._origin = deps, origin

    def record(self, what: str, payload: Mapping[str, Any]) -> str:
        """Store the undo and return its id; committed before the caller changes anything."""
        with self._deps.store.transaction() as tx:
            return str(undos.record(tx, self._origin, self._deps.clean(what), payload))

    def settle(self, undo_id: str) -> None:
        """Mark the undo as done."""
        with self._deps.store.transaction() as tx:
            undos.settle(tx, int(undo_id), self._deps.clock.now())


def run_of(release_id: ReleaseId | None, check_id: CheckId) -> str:
    """The name that a run holds in the store as long as it may still change something, also once it was given up."""
    return f"run/{release_id or 'terminal'}/{check_id}"


def settle_orphans(deps: Recording, *, within: float = TIME) -> int:
    """Put back what processes that live no more have left behind. Returns how many debts are still open.

    ``within``: seconds for each; what does not stop then is given up.
    """
    with deps.store.transaction() as tx:
        waiting = [row for undo_id in undos.orphans(tx) if (row := undos.get(tx, undo_id)) is not None]
    return sum(not _settle(deps, row, within, run_of(row.release_id, row.check_id)) for row in waiting)


def settle_debts(deps: Recording, release_id: ReleaseId | None, check_id: CheckId) -> list[str]:
    """Put back what an earlier run of this check has left behind, before it runs again. Returns what could not be.

    The caller holds `run_of` that check.
    """
    for row in _unsettled(deps, release_id, check_id):
        _settle(deps, row, TIME)
    return unsettled(deps, release_id, check_id)


def unsettled(deps: Recording, release_id: ReleaseId | None, check_id: CheckId) -> list[str]:
    """What a check has left behind, for people."""
    return [row.what for row in _unsettled(deps, release_id, check_id)]


def _unsettled(deps: Recording, release_id: ReleaseId | None, check_id: CheckId) -> list[UndoRow]:
    with deps.store.transaction() as tx:
        rows = [undos.get(tx, undo_id) for undo_id in undos.unsettled(tx, release_id, check_id)]
    return [row for row in rows if row is not None]


def _settle(deps: Recording, debt: UndoRow, within: float, *unless_held: str) -> bool:
    """Pay one debt; False (and the reason in the row) when that is not possible now. A sweep tries again.

    ``within``: seconds; ``unless_held``: names in the store; who holds one of them pays by itself.
    """
    with ExitStack() as held:
        hold = held.enter_context(deps.store.exclusive([f"undo/{debt.id}", *unless_held], by=debt.check_id))
        if not hold:
            return True  # somebody else does it
        with deps.store.transaction() as tx:
            row = undos.get(tx, debt.id)
        if row is None or row.settled_at is not None:
            return True
        try:
            _put_back(deps, row, within, held, hold)
        # The seam to the kinds: whatever one of them throws, its debt stays open and the others are still paid.
        except Exception as error:
            known = isinstance(error, (ClientError, RegistryError))
            logger.warning("cannot put back %s yet: %s", row.what, error, exc_info=not known)
            with deps.store.transaction() as tx:
                undos.failed(tx, row.id, deps.clean(f"{type(error).__name__}: {error}"))
            return False
        now = deps.clock.now()
        with deps.store.transaction() as tx:
            undos.settle(tx, row.id, now)
            settled = UndoSettled(what=row.what, check=row.check_id)
            commit_change(tx, row.release_id, settled, at=now, by=SYSTEM)
        return True


def _put_back(deps: Recording, row: UndoRow, within: float, held: ExitStack, hold: Hold) -> None:
    """Let the kind undo it. Raises what that raises, and CheckError when it cannot be asked or does not stop in time."""
    target = deps.targets.get(row.target)
    if target is None:
        raise CheckError(f"there is no target {row.target} any more", hint="Put it back into release-bot.yml.")
    kind = deps.registry.get(row.kind)
    deadline = time.monotonic() + within
    context = CheckContext(
        check=row.check_id,
        target=target,
        clients=held.enter_context(Clients(target)),
        undo=StoredUndoLedger(
            deps, UndoOrigin(row.release_id, row.check_id, row.kind, row.target, deps.store.instance)
        ),
        subject=Subject(),
        needs={},
        deadline=deadline,
        cancelled=threading.Event(),
        progress=logger.info,
        outcome_unknown=row.payload.get("doubt", True),  # kinds kept it there before `Change`
    )
    call: Call[None] = Call(f"undo of check {row.check_id}", held)
    try:
        call.result(lambda: kind.undo(row.payload, context), deadline=deadline, grace=kind.grace)
    except DidNotStop as error:
        hold.outlives()
        raise CheckError(
            f"putting back {row.what} did not stop within {within + kind.grace:.0f} s", hint="Restart the bot."
        ) from error
