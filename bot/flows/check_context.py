"""Builds what a running check is given, and keeps the ledger of what it has to undo (promise P7)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bot.domain.ids import CheckId, ReleaseId
from bot.flows.deps import StoreDeps
from bot.store import undos
from bot.store.pool import Tx
from bot.store.undos import UndoOrigin
from checks.contract import CheckContext, CheckError, Subject, UndoLedger
from clients.connections import Clients
from clients.target import Target

NO_RELEASE = Subject()


@dataclass(frozen=True, kw_only=True)
class CheckRun:
    """One run of a check: for whom it is, what it is told, and how it is stopped."""

    release_id: ReleaseId | None  # None: it is run from a terminal
    name: str  # what a check that waits for its resources calls it
    cancelled: threading.Event
    progress: Callable[[str], None]
    subject: Subject = NO_RELEASE
    needs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # data of the checks that it needs
    # Called once when the run begins, in the transaction that counts its allowances; returns the run with the newest values.
    # Raises NotNow when the run must not begin after all.
    begin: Callable[[Tx, CheckRun], CheckRun] = lambda _, run: run


def build_context(
    stack: ExitStack,
    target: Target,
    check: str,
    ledger: UndoLedger,
    run: CheckRun,
    *,
    seconds: float,
    outcome_unknown: bool = True,
) -> CheckContext:
    """Build the context in which a check (by id) runs or undoes something, with a deadline in ``seconds`` from now.

    Its clients are closed when ``stack`` is.
    """
    return CheckContext(
        check=check,
        target=target,
        clients=stack.enter_context(Clients(target)),
        undo=ledger,
        subject=run.subject,
        needs=run.needs,
        deadline=time.monotonic() + seconds,
        cancelled=run.cancelled,
        progress=run.progress,
        outcome_unknown=outcome_unknown,
    )


class StoredUndoLedger:
    """The UndoLedger of one run of a check, in the table `undos`."""

    def __init__(self, deps: StoreDeps, release_id: ReleaseId | None, check: CheckId, kind: str, target: str) -> None:
        self._deps, self._origin = deps, UndoOrigin(release_id, check, kind, target, deps.store.instance)

    def record(self, what: str, payload: Mapping[str, Any]) -> str:
        """Store the undo and return its id; committed before the caller changes anything."""
        with self._deps.store.transaction() as tx:
            return str(undos.record(tx, self._origin, self._deps.clean(what), payload))

    def settle(self, undo_id: str) -> None:
        """Mark the undo as done."""
        with self._deps.store.transaction() as tx:
            undos.settle(tx, int(undo_id), self._deps.clock.now())


class RefusingLedger:
    """The UndoLedger of a check that has not declared to change data: it refuses every record."""

    def record(self, what: str, payload: Mapping[str, Any]) -> str:  # noqa: ARG002  part of the protocol
        """Raise CheckError, because only a kind with ``mutates`` may change something."""
        raise CheckError(f"{what} isn't changed: the kind doesn't declare that it changes data")

    def settle(self, undo_id: str) -> None:
        """Do nothing, as nothing was recorded."""
