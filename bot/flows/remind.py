"""Remind: tells the channel, again and again, that a deployed release waits for people."""

from __future__ import annotations

from datetime import datetime

from bot.domain.ids import SYSTEM, ReleaseId
from bot.domain.waiting import waiting
from bot.flows.deps import Deps, Job, locked_view
from bot.store import audit, posts, work
from bot.store.pool import Tx

QUEUE = "remind"


def arm(tx: Tx, deps: Deps, release_id: ReleaseId) -> None:
    """Something has just begun to wait for people: remind them once it has done so for a while."""
    found = waiting(locked_view(tx, deps, release_id))
    if found is not None:
        work.ask(tx, QUEUE, release_id, due_at=found.due(1))


def execute(deps: Deps, job: Job) -> datetime | None:
    """Remind of one release (key: its id) where that is due. Returns when to look again; None once it waits no more."""
    release_id = ReleaseId(int(job.claim.key))
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, release_id)
        work.hold(tx, job.claim)
        found = waiting(view)
        if found is None:
            return None
        number = found.round_at(view.now)
        subject = f"waiting:{int(found.since.timestamp())}:{number}"
        if number and posts.find(tx, release_id, "notice", subject) is None:
            posts.owe(tx, release_id, "notice", subject, channel=view.release.channel)
            audit.write(tx, view.now, SYSTEM, "release.reminded", release_id, what=found.what, round=number)
        return found.due(number + 1)
