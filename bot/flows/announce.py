"""Announcements: the checks and steps that the bot's own messages answer, once they are posted in the channel."""

from __future__ import annotations

from bot.domain.actions import Notify
from bot.domain.checklist import ANNOUNCED_KIND
from bot.domain.events import StepDone
from bot.domain.ids import SYSTEM
from bot.domain.plan import PlanKind
from bot.domain.posts import DoneNotice, RolledBackNotice
from bot.domain.view import ReleaseView
from bot.flows import check
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view
from bot.store import steps
from bot.store.pool import Tx
from bot.store.posts import PostRow


def lock_if_awaited(tx: Tx, deps: Deps, post: PostRow) -> ReleaseView | None:
    """Lock and return the release of ``post`` if a check or a step waits for that message; None if nothing does.

    Call it before anything about the message is written.
    """
    if not isinstance(post.about, (DoneNotice, RolledBackNotice)):
        return None
    return locked_view(tx, deps, post.release_id)


def complete_awaited(tx: Tx, view: ReleaseView, post: PostRow, permalink: str) -> None:
    """Complete what waits for ``post``, which is in the channel now: run its checks, or finish the step. Call it last."""
    if isinstance(post.about, DoneNotice):
        _request_checks(tx, view)
    else:
        _complete_notify_step(tx, view, permalink)


def ask_again(tx: Tx, view: ReleaseView, post: PostRow) -> None:
    """Run the checks of ``post`` again, because the message is gone from the channel.

    The step that told the team of a rollback stays done: they were told.
    """
    if isinstance(post.about, DoneNotice):
        _request_checks(tx, view)


def _request_checks(tx: Tx, view: ReleaseView) -> None:
    check.request_runs(
        tx, view, [entry.id for entry in view.checklist.distinct_checks if entry.kind == ANNOUNCED_KIND], SYSTEM
    )


def _complete_notify_step(tx: Tx, view: ReleaseView, permalink: str) -> None:
    for step in view.steps:
        spec = view.checklist.step(step.id)
        if step.plan is PlanKind.ROLLBACK and spec is not None and isinstance(spec.action, Notify):
            summary = f"posted: {permalink}" if permalink else "posted"
            if steps.mark_announced(tx, step.row, summary, view.now):
                event = StepDone(step=step.id, summary=summary, started_at=None)
                commit_change(tx, view.release.id, event, at=view.now, by=SYSTEM)
