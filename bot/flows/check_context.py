"""Builds what a running check is given, and keeps the ledger of what it has to undo (promise P7)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from bot.flows.deps import StoreDeps
from bot.store import undos
from bot.store.undos import UndoOrigin
from checks.contract import CheckContext, CheckError, Subject, UndoLedger
from clients.connections import Clients
from clients.target import Target


def build_context(
    stack: ExitStack,
    target: Target,
    check: str,
    ledger: UndoLedger,
    *,
    seconds: float,
    cancelled: threading.Event,
    progress: Callable[[str], None],
    subject: Subject,
    needs: Mapping[str, Mapping[str, Any]],
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
        subject=subject,
        needs=needs,
        deadline=time.monotonic() + seconds,
        cancelled=cancelled,
        progress=progress,
        outcome_unknown=outcome_unknown,
    )


class StoredUndoLedger:
    """The UndoLedger of one run of a check, in the table `undos`."""

    def __init__(self, deps: StoreDeps, origin: UndoOrigin) -> None:
        self._deps, self._origin = deps, origin

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
