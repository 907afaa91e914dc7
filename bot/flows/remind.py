"""Remind: tells the channel, again and again, that a deployed release waits for people."""

from __future__ import annotations

from bot.domain.ids import SYSTEM
from bot.domain.release import ReleaseState
from bot.domain.waiting import waiting
from bot.flows.deps import Deps, locked_view
from bot.store import audit, posts, releases

EVERY = 15.0  # seconds between two looks


def look(deps: Deps) -> None:
    """Remind of the release that is under way, where that is due. Any replica may look at any time: a round is told once.

    One that waits for signatures is looked after by `bot.flows.tend`.
    """
    with deps.store.transaction() as tx:
        release = releases.active(tx, deps.environment)
        if release is None or release.state is ReleaseState.OPEN:
            return
        view = locked_view(tx, deps, release.id)
        found = waiting(view)
        number = found.round_at(view.now) if found else 0
        if found is None or not number:
            return
        subject = f"waiting:{int(found.since.timestamp())}:{number}"
        if posts.find(tx, release.id, "notice", subject) is None:
            posts.owe(tx, release.id, "notice", subject, channel=release.channel)
            audit.write(tx, view.now, SYSTEM, "release.reminded", release.id, what=found.what, round=number)
