"""Break-glass: the review by a second person, once the release is over. The deploy itself is in `bot.flows.deploying.judge`."""

from __future__ import annotations

from bot.domain.actor import Actor
from bot.domain.break_glass import REVIEWED_IN
from bot.domain.events import BreakGlassReviewed
from bot.domain.ids import ReleaseId
from bot.domain.policy import Action
from bot.errors import InvalidInput, RefusedError, StaleButton
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, require
from bot.store import break_glass
from bot.store.pool import Tx


def review(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, review_note: str) -> str:
    """Record the review of a break-glass by a second person, and return the answer for them.

    Raises NotAllowed, RefusedError for who broke the glass, InvalidInput without a note, and StaleButton while the release
    is not over.
    """
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.REVIEW)
    record = view.break_glass
    if record is None:
        raise StaleButton(f"{view.release.version} went through the gate: there is nothing to review.")
    if record.reviewed_by is not None:
        return f"<@{record.reviewed_by}> already reviewed that."
    if view.release.state not in REVIEWED_IN:
        raise StaleButton(
            f"{view.release.version} is {view.release.state}.", hint="Review it once the release is over."
        )
    if actor.user == record.by:
        raise RefusedError("You broke the glass yourself.", hint="Someone else must review it.")
    if not review_note.strip():
        raise InvalidInput("A review needs a note: was it right, and what changes now?")
    review_note = deps.clean(review_note.strip())
    break_glass.review(tx, release_id, by=actor.user, review_note=review_note, at=view.now)
    event = BreakGlassReviewed(finding=review_note, broken_by=record.by)
    commit_change(tx, release_id, event, at=view.now, by=actor.user)
    return f"Recorded: your review of the break-glass of {view.release.version}."
