"""Expiry: a PASS that grows too old is shown as expired at that moment, not only when something else changes."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain.ids import ReleaseId
from bot.domain.release import ReleaseState
from bot.flows.deps import Deps, Job
from bot.store import posts, releases, work
from bot.store.pool import Tx
from checks.contract import Outcome

QUEUE = "expiry"
_MOMENT = timedelta(seconds=1)  # a PASS still counts at the very end of its age


def schedule(tx: Tx, release_id: ReleaseId, at: datetime) -> None:
    """Have the messages of a release rendered again once a PASS that is valid until ``at`` has expired."""
    work.enqueue(tx, QUEUE, release_id, due_at=at + _MOMENT)


def execute(deps: Deps, job: Job) -> datetime | None:
    """Mark the messages of a release (key: its id) as stale. Returns when the next PASS expires, or None."""
    release_id = ReleaseId(int(job.claim.key))
    now = deps.clock.now()
    with deps.store.transaction() as tx:
        view = releases.view(tx, release_id, now)
        if view is None or view.release.state is not ReleaseState.OPEN:
            return None  # the gate has done its work
        posts.mark_stale(tx, release_id)
    results = ((entry, view.checks[entry.id].result) for entry in view.checklist.distinct_checks)
    passes = [(entry, result) for entry, result in results if result is not None and result.outcome is Outcome.PASS]
    expiries = (result.finished_at + entry.max_age for entry, result in passes)
    return min((expiry + _MOMENT for expiry in expiries if expiry >= now), default=None)
