"""Carries out the runs of checks that were requested for a release: one row of the work queue each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from bot.domain.checklist import Check
from bot.domain.events import CheckAnswered
from bot.domain.ids import CheckId, ReleaseId
from bot.domain.results import RunState
from bot.domain.schedule import Turn, decide_turn
from bot.domain.view import ReleaseView
from bot.errors import Superseded
from bot.flows import expiry, status
from bot.flows.check import find_check, list_runnable, wake_waiting
from bot.flows.check_context import CheckRun
from bot.flows.check_run import NotNow, Wait, attempt, requirements_of, subject_of
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, Job, locked_view
from bot.flows.not_run_answers import skipped_answer
from bot.store import checks, posts, work
from bot.store.pool import Tx
from checks.contract import Answer, Outcome

LOOK_AGAIN = timedelta(seconds=5)  # for a check that waits for a resource; it is woken earlier when that is free


def execute(deps: Deps, job: Job) -> datetime | None:
    """Carry out one requested run (key ``release/check``) and store its result. Returns when to look again, or None.

    A check that the state of the release does not ask for any more is not run. After a crash it is run again, once what the
    earlier run changed is undone.
    """
    release, _, check_id = job.claim.key.partition("/")
    release_id, now = ReleaseId(int(release)), deps.clock.now()
    with deps.store.transaction() as tx:
        work.ensure_claim(tx, job.claim)
        view = status.view(tx, deps, release_id)  # not locked: so many look at once, and `_begin` looks anew
        entry = find_check(view, check_id)
        if not _is_wanted(view, entry):
            checks.mark_ended(tx, release_id, entry.id)
            return None
        turn = _decide_turn(deps, view, entry)
        if turn.pending_needs or turn.conflicts:
            if checks.mark_waiting(tx, release_id, entry.id, ""):  # one whose process was killed does not run any more
                posts.mark_stale(tx, release_id)
            return None if turn.pending_needs else now + LOOK_AGAIN
        _, requested_at = checks.request_of(tx, release_id, entry.id)
    result: Answer | Wait
    if turn.failed_need is not None:
        outcome = view.checks[turn.failed_need].outcome
        result = skipped_answer(entry, turn.failed_need, outcome, then="this check then runs again")
    else:
        run = CheckRun(
            release_id=release_id,
            name=entry.id,
            cancelled=job.cancelled,
            progress=_show_progress(deps, release_id, entry.id),
            begin=partial(_begin, deps, job, release_id, entry),
        )
        result = attempt(deps, entry, run, waiting_time=now - requested_at)
    if isinstance(result, Wait):
        _show_wait(deps, job, release_id, entry.id, result)
        return result.until
    if job.cancelled.is_set():
        raise Superseded  # told to stop: what it says now is no answer, and whoever takes it up asks anew
    _store(deps, job, release_id, entry, result, start=now)
    return None


def _is_wanted(view: ReleaseView, entry: Check) -> bool:
    """Whether the run is still requested, and the release is in a state in which the check is run."""
    return entry in list_runnable(view) and view.checks[entry.id].run_state is not RunState.IDLE


def _decide_turn(deps: Deps, view: ReleaseView, entry: Check) -> Turn:
    return decide_turn(entry, view.checks, view.checklist.distinct_checks, partial(requirements_of, deps))


def _begin(deps: Deps, job: Job, release_id: ReleaseId, entry: Check, tx: Tx, run: CheckRun) -> CheckRun:
    """Mark the check as running, and return the run with the data of the checks that it needs. Raises NotNow."""
    view = locked_view(tx, deps, release_id)
    work.begin(tx, job.claim)  # what has woken it until now need not make it run twice
    if not _is_wanted(view, entry) or not _decide_turn(deps, view, entry).may_begin:
        raise NotNow
    checks.mark_running(tx, release_id, entry.id)
    posts.mark_stale(tx, release_id)
    needs: dict[str, Mapping[str, Any]] = {
        need: result.data for need in entry.needs if (result := view.checks[need].result) is not None
    }
    return replace(run, subject=subject_of(tx, view), needs=needs)


def _show_wait(deps: Deps, job: Job, release_id: ReleaseId, check_id: CheckId, wait: Wait) -> None:
    if not wait.line:
        return
    with deps.store.transaction() as tx:
        work.ensure_claim(tx, job.claim)
        if checks.mark_waiting(tx, release_id, check_id, wait.line):
            posts.mark_stale(tx, release_id)


def _show_progress(deps: Deps, release_id: ReleaseId, check_id: CheckId) -> Callable[[str], None]:
    def show(line: str) -> None:
        with deps.store.transaction() as tx:
            if checks.set_progress(tx, release_id, check_id, deps.clean(line, 200)):
                posts.mark_stale(tx, release_id)

    return show


def _store(deps: Deps, job: Job, release_id: ReleaseId, entry: Check, answer: Answer, *, start: datetime) -> None:
    """Store the result unless the run is no longer wanted, and let the checks that waited for it go on."""
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, release_id)
        again = work.ensure_claim(tx, job.claim)
        if entry not in list_runnable(view):
            checks.mark_ended(tx, release_id, entry.id)
            return
        by, _ = checks.request_of(tx, release_id, entry.id)
        digest = checks.record(tx, release_id, entry.id, answer, by=by, started_at=start, finished_at=view.now)
        if answer.outcome is Outcome.PASS:
            expiry.schedule(tx, release_id, view.now + entry.max_age)
        checks.mark_ended(tx, release_id, entry.id, again=again)
        wake_waiting(tx, deps, view, entry)
        event = CheckAnswered(
            check=entry.id, outcome=answer.outcome, summary=answer.summary, evidence=digest, started_at=start
        )
        commit_change(tx, release_id, event, at=view.now, by=by)
