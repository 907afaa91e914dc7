"""Undoes changes that checks recorded and could not undo themselves, even if their process died (promise P7)."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack

from bot.domain.events import UndoSettled
from bot.domain.ids import SYSTEM, CheckId, ReleaseId
from bot.flows.check_context import CheckRun, StoredUndoLedger, build_context
from bot.flows.commit import commit_change
from bot.flows.deps import StoreDeps
from bot.store import undos
from bot.store.pool import ResourceLock
from bot.store.undos import UndoRow
from checks.call import DidNotStop, ThreadCall
from checks.contract import CheckError
from checks.registry import RegistryError
from clients.errors import ClientError

logger = logging.getLogger(__name__)

UNDO_SECONDS = 60.0  # for undoing one thing


def run_lock(release_id: ReleaseId | None, check_id: CheckId) -> str:
    """Return the name of the lock that a run has while it may still change something, even after it was given up."""
    return f"run/{release_id or 'terminal'}/{check_id}"


def undo_orphans(deps: StoreDeps, *, within: float = UNDO_SECONDS) -> int:
    """Undo the changes that dead processes left behind, and return how many are still to be undone.

    ``within``: seconds for each; an undo that does not stop in time is given up.
    """
    with deps.store.transaction() as tx:
        rows = undos.list_orphans(tx)
    return sum(not _undo(deps, row, within, run_lock(row.release_id, row.check_id)) for row in rows)


def undo_leftovers(deps: StoreDeps, release_id: ReleaseId | None, check_id: CheckId) -> list[str]:
    """Undo the changes that an earlier run of a check left behind; return what could not be undone, for people.

    The caller must have the `run_lock` of the check.
    """
    with deps.store.transaction() as tx:
        rows = undos.list_open(tx, release_id, check_id)
    for row in rows:
        _undo(deps, row, UNDO_SECONDS)
    return list_leftovers(deps, release_id, check_id) if rows else []


def list_leftovers(deps: StoreDeps, release_id: ReleaseId | None, check_id: CheckId) -> list[str]:
    """Return what a check has left changed, for people."""
    with deps.store.transaction() as tx:
        return [row.what for row in undos.list_open(tx, release_id, check_id)]


def _undo(deps: StoreDeps, entry: UndoRow, within: float, *unless_locked: str) -> bool:
    """Undo one change. Returns False, and stores the reason, if that is not possible now: a sweep tries again.

    ``within``: seconds. ``unless_locked``: names of locks; whoever has one of them undoes the change itself.
    """
    with ExitStack() as stack:
        lock = stack.enter_context(deps.store.lock([f"undo/{entry.id}", *unless_locked], by=entry.check_id))
        if not lock.acquired:
            return True  # somebody else does it
        with deps.store.transaction() as tx:
            row = undos.get(tx, entry.id)
        if row is None or row.settled_at is not None:
            return True
        try:
            _let_kind_undo(deps, row, within, stack, lock)
        # The seam to the kinds: whatever one of them throws, its undo stays open and the others are still done.
        except Exception as error:
            is_expected = isinstance(error, (ClientError, RegistryError))
            logger.warning("cannot put back %s yet: %s", row.what, error, exc_info=not is_expected)
            with deps.store.transaction() as tx:
                undos.keep_error(tx, row.id, deps.clean(f"{type(error).__name__}: {error}"))
            return False
        now = deps.clock.now()
        with deps.store.transaction() as tx:
            undos.settle(tx, row.id, now)
            event = UndoSettled(what=row.what, check=row.check_id)
            commit_change(tx, row.release_id, event, at=now, by=SYSTEM)
        return True


def _let_kind_undo(deps: StoreDeps, row: UndoRow, within: float, stack: ExitStack, lock: ResourceLock) -> None:
    """Have the kind of the check undo it. Raises what the kind raises, RegistryError, and CheckError if it cannot be done in time."""
    target = deps.targets.get(row.target)
    if target is None:
        raise CheckError(
            f"the target {row.target} is gone from release-bot.yml", hint="Add it to release-bot.yml again."
        )
    kind = deps.registry.get(row.kind)
    ledger = StoredUndoLedger(deps, row.release_id, row.check_id, row.kind, row.target)
    run = CheckRun(release_id=row.release_id, name=row.check_id, cancelled=threading.Event(), progress=logger.info)
    unknown = row.payload.get("doubt", True)  # kinds kept it there before `Change`
    context = build_context(stack, target, row.check_id, ledger, run, seconds=within, outcome_unknown=unknown)
    call: ThreadCall[None] = ThreadCall(f"undo of check {row.check_id}", stack)
    try:
        call.result(lambda: kind.undo(row.payload, context), deadline=context.deadline, grace=kind.grace)
    except DidNotStop as error:
        lock.mark_abandoned()
        raise CheckError(
            f"putting back {row.what} didn't finish within {within + kind.grace:.0f} s", hint="Restart the bot."
        ) from error
