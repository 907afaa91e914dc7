"""Debts: what a check changes is written down first and put back even if the process dies in between (promise P7)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from bot.domain.ids import CheckId, ReleaseId
from bot.flows.deps import Recording
from bot.store import audit, undos
from bot.store.undos import Debtor
from checks.clients import Clients
from checks.contract import CheckContext, CheckError, Subject
from checks.registry import RegistryError

logger = logging.getLogger(__name__)

TIME = 60.0  # seconds for putting one thing back


class DebtBook:
    """The UndoLog of one run of a check, in the table `undos`."""

    def __init__(self, deps: Recording, debtor: Debtor) -> None:
        self._deps, self._debtor = deps, debtor

    def record(self, what: str, payload: Mapping[str, Any]) -> str:
        """Store the debt and return its id; committed before the caller changes anything."""
        with self._deps.store.transaction() as tx:
            return str(undos.record(tx, self._debtor, self._deps.clean(what), payload))

    def settled(self, undo_id: str) -> None:
        """Mark the debt as paid."""
        with self._deps.store.transaction() as tx:
            undos.settle(tx, int(undo_id), self._deps.clock.now())


def settle_orphans(deps: Recording) -> int:
    """Put back what processes that live no more have left behind. Returns how many debts are still open."""
    with deps.store.transaction() as tx:
        waiting = undos.orphans(tx)
    return sum(not _settle(deps, undo_id) for undo_id in waiting)


def settle_debts(deps: Recording, release_id: ReleaseId | None, check_id: CheckId) -> list[str]:
    """Put back what an earlier run of this check has left behind, before it runs again. Returns what could not be."""
    with deps.store.transaction() as tx:
        waiting = undos.unsettled(tx, release_id, check_id)
    for undo_id in waiting:
        _settle(deps, undo_id)
    with deps.store.transaction() as tx:
        rows = [undos.get(tx, undo_id) for undo_id in undos.unsettled(tx, release_id, check_id)]
    return [row.what for row in rows if row is not None]


def _settle(deps: Recording, undo_id: int) -> bool:
    """Pay one debt; False (and the reason in the row) when that is not possible now. A sweep tries again."""
    with deps.store.exclusive([f"undo/{undo_id}"]) as free:
        if not free:
            return True  # somebody else does it
        with deps.store.transaction() as tx:
            row = undos.get(tx, undo_id)
        if row is None or row.settled_at is not None:
            return True
        target = deps.targets.get(row.target)
        try:
            if target is None:
                raise CheckError(f"there is no target {row.target} any more", hint="Put it back into release-bot.yml.")
            with Clients(target) as clients:
                context = CheckContext(
                    check=row.check_id,
                    target=target,
                    clients=clients,
                    undo=DebtBook(
                        deps, Debtor(row.release_id, row.check_id, row.kind, row.target, deps.store.instance)
                    ),
                    subject=Subject(),
                    needs={},
                    deadline=time.monotonic() + TIME,
                    cancelled=threading.Event(),
                    progress=logger.info,
                )
                deps.registry.get(row.kind).undo(row.payload, context)
        # The seam to the kinds: whatever one of them throws, its debt stays open and the others are still paid.
        except Exception as error:
            known = isinstance(error, (CheckError, RegistryError))
            logger.warning("cannot put back %s yet: %s", row.what, error, exc_info=not known)
            with deps.store.transaction() as tx:
                undos.failed(tx, undo_id, deps.clean(f"{type(error).__name__}: {error}"))
            return False
        now = deps.clock.now()
        with deps.store.transaction() as tx:
            undos.settle(tx, undo_id, now)
            audit.write(tx, now, "system", "undo.settled", row.release_id, what=row.what, check=row.check_id)
        return True
