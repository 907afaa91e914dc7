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


def review(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, finding: str) -> str:
    """Record what a second person found who looked at a break-glass, once the release is over."""
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.REVIEW)
    broken = view.break_glass
    if broken is None:
        raise StaleButton(f"{view.release.version} went through the gate: there is nothing to review.")
    if broken.reviewed_by is not None:
        return f"<@{broken.reviewed_by}> has reviewed that already."
    if view.release.state not in REVIEWED_IN:
        raise StaleButton(f"{view.release.version} is {view.release.state}.", hint="Review it once it is over.")
    if actor.user == broken.by:
        raise RefusedError("You broke the glass yourself.", hint="Somebody else has to review it.")
    if not finding.strip():
        raise InvalidInput("A review needs a note: was it right, and what changes now?")
    finding = deps.clean(finding.strip())
    break_glass.review(tx, release_id, by=actor.user, review_note=finding, at=view.now)
    reviewed = BreakGlassReviewed(finding=finding, broken_by=broken.by)
    commit_change(tx, release_id, reviewed, at=view.now, by=actor.user)
    return f"Recorded: your review of the break-glass of {view.release.version}."
