"""Announce: what the bot's own messages in the channel answer, once they stand there."""

from __future__ import annotations

from bot.domain.actions import Notify
from bot.domain.ids import SYSTEM
from bot.domain.plan import PlanKind
from bot.domain.view import ReleaseView
from bot.flows.deps import Deps, locked_view
from bot.store import audit, steps
from bot.store.pool import Tx
from bot.store.posts import PostRow

ROLLED_BACK = "rolled_back"  # subject of the notice at the end of a rollback


def answered_by(tx: Tx, deps: Deps, post: PostRow) -> ReleaseView | None:
    """The release of which ``post`` answers something, locked: before anything of the message is written. None: it answers nothing."""
    if post.kind != "notice" or post.subject != ROLLED_BACK:
        return None
    return locked_view(tx, deps, post.release_id)


def stands(tx: Tx, view: ReleaseView, permalink: str) -> None:
    """Write down that the message of the end is in the channel: the steps that wait for it are done. Call it last."""
    for step in view.steps:
        spec = view.checklist.step(step.id)
        if step.plan is PlanKind.ROLLBACK and spec is not None and isinstance(spec.action, Notify):
            summary = f"posted: {permalink}" if permalink else "posted"
            if steps.told(tx, step.row, summary, view.now):
                audit.write(
                    tx, view.now, SYSTEM, "step.done", view.release.id, step=step.id, summary=summary, started_at=None
                )
