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
    name: str  # how others call it while it has something in use
    cancelled: threading.Event
    progress: Callable[[str], None]
    subject: Subject = NO_RELEASE
    needs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # data of the checks that it needs
    # Called where the run begins, in the transaction that counts what it uses up: what it is to be told then.
    # Raises NotNow where it must not begin after all.
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
    """The context of a run, or of an undo, of ``check`` (its id) that may take ``seconds`` from now.

    The clients are closed with ``stack``.
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
    """The UndoLedger where nothing can be written down: a check that says it changes nothing must not."""

    def record(self, what: str, payload: Mapping[str, Any]) -> str:  # noqa: ARG002  part of the protocol
        """Raise CheckError: a kind that has something to undo says mutates."""
        raise CheckError(f"{what} is not changed: the kind has not said that it changes data")

    def settle(self, undo_id: str) -> None:
        """Do nothing, as nothing was recorded."""
