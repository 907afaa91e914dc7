"""Reminders: tells the channel periodically that a release waits for people, or a break-glass for its review."""

from __future__ import annotations

from bot.domain.events import ReleaseReminded
from bot.domain.ids import SYSTEM
from bot.domain.posts import WaitingNotice
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.domain.waiting import find_wait
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view
from bot.store import break_glass, posts, releases
from bot.store.pool import Tx
from bot.texts.waiting import wait_problem

INTERVAL = 15.0  # seconds between two looks at what is due


def remind_if_due(deps: Deps) -> None:
    """Send the reminders that are due: of the release that is under way, and of reviews that are missing.

    Any replica may call it at any time: each round is sent once. An OPEN release is reminded of by `bot.flows.upkeep`.
    """
    with deps.store.transaction() as tx:
        release_ids = break_glass.list_unreviewed(tx, deps.environment)
        release = releases.active(tx, deps.environment)
    if release is not None and release.state is not ReleaseState.OPEN and release.id not in release_ids:
        release_ids.append(release.id)
    for release_id in release_ids:
        with deps.store.transaction() as tx:
            _remind(tx, locked_view(tx, deps, release_id))


def _remind(tx: Tx, view: ReleaseView) -> None:
    """Send the reminder of the round that is due, if it was not sent."""
    reason, release = find_wait(view), view.release
    number = reason.round_at(view.now) if reason else 0
    if reason is None or not number:
        return
    notice = WaitingNotice(since=int(reason.since.timestamp()), round=number)
    if posts.find(tx, release.id, notice) is None:
        event = ReleaseReminded(what=wait_problem(reason), round=number)
        commit_change(tx, release.id, event, at=view.now, by=SYSTEM, new_posts=[notice])
