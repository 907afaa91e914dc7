"""Runs one check with all that its kind declares, whoever asks: a release, a person at a terminal, the watch or a step."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.domain.checklist import Check
from bot.domain.plan import PlanKind
from bot.domain.posts import DoneNotice
from bot.domain.schedule import Requirements
from bot.domain.view import ReleaseView
from bot.flows.allowance import exhausted_text, spend
from bot.flows.check_context import CheckRun, RefusingLedger, StoredUndoLedger, build_context
from bot.flows.deps import StoreDeps, TargetDeps
from bot.flows.not_run_answers import blocked_answer, leftovers_answer, not_run_answer
from bot.flows.undo import run_lock, undo_leftovers
from bot.store import posts, steps
from bot.store.pool import ResourceLock, Tx
from checks.contract import Answer, Subject, UndoLedger
from checks.registry import RegistryError
from checks.runner import run_check

BUSY = timedelta(seconds=0.5)  # until the next attempt, while other checks use the same resource
NO_LEDGER = "not run: the bot's database is needed to record what must be put back"


class NotNow(Exception):
    """Raised when something changed after it was decided that a check may begin: decide again."""


@dataclass(frozen=True)
class Wait:
    """The result of an attempt at a check that could not begin yet."""

    until: datetime  # when to attempt it again
    reason: str = ""  # for people; empty: a running check uses the same resource
    is_exhausted: bool = False  # whether an allowance of the check is exhausted

    @property
    def line(self) -> str:
        """Return the reason, with the remark that the check goes on by itself where it does."""
        return f"{self.reason}, then it continues by itself" if self.is_exhausted else self.reason


def requirements_of(deps: TargetDeps, entry: Check) -> Requirements:
    """Return the resources, allowances and seconds that a run of ``entry`` needs; none for an unknown kind (its answer is ERROR)."""
    try:
        kind = deps.registry.get(entry.kind)
    except RegistryError:
        return Requirements()
    return Requirements(
        exclusive=frozenset(f"{entry.target}/{name}" for name in kind.touches),
        shared=frozenset(f"{entry.target}/{name}" for name in kind.reads),
        allowances=kind.spends,
        mutates=kind.mutates,
        seconds=entry.timeout or kind.timeout,
    )


def subject_of(tx: Tx, view: ReleaseView) -> Subject:
    """Return the release as its checks and the probes of its watch see it."""
    release = view.release
    return Subject(
        release.version,
        release.commit,
        release.pinned_image,
        deploy_began=_deploy_began(view),
        previous=steps.previous_version(tx, release.id),
        announced=posts.place_of(tx, release.id, DoneNotice()),
    )


def _deploy_began(view: ReleaseView) -> datetime | None:
    """Return when the first step of the deploy began; events after that may be caused by the release."""
    start_times = (
        step.started_at for step in view.steps if step.plan is PlanKind.DEPLOY and step.started_at is not None
    )
    return min(start_times, default=view.watch.started_at if view.watch else None)


def attempt(deps: TargetDeps, entry: Check, run: CheckRun, waiting_time: timedelta = timedelta(0)) -> Answer | Wait:
    """Run a check if its resources are free and its allowances suffice; else return when to try again.

    Before it runs, the changes that an earlier run left behind are undone. With StoreDeps, locks in the database keep all
    processes apart; with plain TargetDeps a check that changes data is answered with ERROR. ``waiting_time``: how long the
    check has waited already; once that exceeds its own time limit and the holder of a resource was given up, the answer is
    ERROR. Raises DatabaseError, and what ``run.begin`` raises except NotNow.
    """
    requirements = requirements_of(deps, entry)
    with ExitStack() as stack:
        if not isinstance(deps, StoreDeps):
            ours = not requirements.mutates
            return _carry_out(deps, entry, run, RefusingLedger(), stack) if ours else not_run_answer(entry, NO_LEDGER)
        own = {run_lock(run.release_id, entry.id)} if requirements.mutates else set()
        names = requirements.exclusive | own
        lock = stack.enter_context(deps.store.lock(names, shared=requirements.shared, by=run.name))
        if not lock.acquired:
            holders = deps.store.find_abandoned(names | requirements.shared)
            if holders and waiting_time.total_seconds() >= requirements.seconds:
                return blocked_answer(entry, holders)
            reason = f"waiting for {', '.join(holders)}, which didn't stop in time" if holders else ""
            return Wait(deps.clock.now() + BUSY, reason)
        if leftovers := undo_leftovers(deps, run.release_id, entry.id):
            return leftovers_answer(entry, leftovers)
        try:
            with deps.store.transaction() as tx:
                until = spend(tx, requirements.allowances, entry.target, deps.clock.now())
                if until is not None:
                    reason = exhausted_text(requirements.allowances, entry.target, until)
                    return Wait(until, reason, is_exhausted=True)
                run = run.begin(tx, run)
        except NotNow:
            return Wait(deps.clock.now())
        ledger = StoredUndoLedger(deps, run.release_id, entry.id, entry.kind, entry.target)
        return _carry_out(deps, entry, run, ledger, stack, lock)


def run_to_end(deps: TargetDeps, entry: Check, run: CheckRun) -> Answer:
    """Run ``entry`` and wait for its resources, at most its own time limit; after that the answer is ERROR. Raises as `attempt`."""
    patience = timedelta(seconds=requirements_of(deps, entry).seconds)
    start = time.monotonic()
    while True:
        waiting_time = timedelta(seconds=time.monotonic() - start)
        result = attempt(deps, entry, run, waiting_time)
        if isinstance(result, Answer):
            return result
        pause = result.until - deps.clock.now()
        if waiting_time + pause > patience:
            return not_run_answer(entry, f"not run: {result.reason or 'others are using what it needs'}", "Retry then.")
        if run.cancelled.wait(pause.total_seconds()):
            return not_run_answer(entry, "cancelled before it started")


def _carry_out(
    deps: TargetDeps,
    entry: Check,
    run: CheckRun,
    ledger: UndoLedger,
    stack: ExitStack,
    lock: ResourceLock | None = None,
) -> Answer:
    """Run the check and return its answer, cut and redacted; ERROR where it could not run.

    ``stack`` has the resources of the run, ``lock`` among them. A check that does not stop in time keeps them.
    """
    target = deps.targets.get(entry.target)
    if target is None:
        hint = f"Set targets.{entry.target} in release-bot.yml."
        return not_run_answer(entry, f"there is no target {entry.target}", hint)
    try:
        kind = deps.registry.get(entry.kind)
        params = deps.registry.validate(entry.kind, entry.params)
    except RegistryError as error:
        return not_run_answer(entry, str(error))
    context = build_context(stack, target, entry.id, ledger, run, seconds=entry.timeout or kind.timeout)
    result = run_check(kind, params, context, redact=deps.clean, held=stack)
    if result.stopped:
        return result.answer
    if lock is not None:
        lock.mark_abandoned()
    requirements = requirements_of(deps, entry)
    if run.release_id is not None or not (requirements.mutates or requirements.resources):
        return result.answer
    undone = " The bot, or its next run, puts back what it changed." if requirements.mutates else ""
    return replace(result.answer, hint=f"It ends with this command.{undone}")
