"""Break-glass: deploy past the gate in need, loudly, where the policy allows it; and the review by a second person."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.actor import Actor
from bot.domain.break_glass import MIN_WORDS, REVIEWED_IN, judge, moved_unseen, says_why
from bot.domain.events import BreakGlassReviewed, BreakGlassUsed, PassedReason
from bot.domain.ids import ReleaseId
from bot.domain.policy import Action
from bot.domain.posts import BreakGlassPost
from bot.domain.release import ReleaseState
from bot.domain.view import BreakGlass
from bot.errors import GateClosed, InvalidInput, RefusedError, StaleButton
from bot.flows import deploy
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, require
from bot.store import break_glass, releases
from bot.store.pool import Tx


def deploy_anyway(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, reason: str) -> str:
    """Begin the deploy past what the policy lets ``actor`` pass over. Raises GateClosed with what it does not.

    Judged by the gate, under the same lock as any other deploy.
    """
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.BREAK_GLASS)
    if not view.policy.break_glass.allowed:
        raise RefusedError("The policy allows no break-glass.", hint="Get the sign-offs and checks, then deploy.")
    release, reason = view.release, deps.clean(reason.strip())
    if release.state is ReleaseState.DEPLOYING:
        return f"{release.version} is being deployed already, by <@{release.deployer}>."
    if not says_why(reason):
        raise InvalidInput(
            f"Break-glass needs a reason that others can judge later: a sentence of at least {MIN_WORDS} words.",
            hint="`/release deploy --break-glass Logins fail for all customers since 18:00`",
        )
    judged = judge(view, actor.user)
    if judged.against:
        listed = "\n".join(f"• {one.text}" for one in judged.against)
        raise GateClosed(
            f"Break-glass does not pass over this for {release.version}:\n{listed}", hint="Nothing was deployed."
        )
    if moved_unseen(view):
        raise GateClosed(
            f"{release.version} means another commit or image than it did two minutes ago.",
            hint="Nothing was deployed. Look at the card, then decide again.",
        )
    if not judged.passed:
        raise RefusedError("Nothing speaks against a deploy: no glass is to be broken.", hint="`/release deploy`")
    if owed := break_glass.unreviewed(tx, release.environment):
        earlier = releases.get(tx, owed[0])
        raise RefusedError(
            f"The break-glass of {earlier.version if earlier else 'an earlier release'} was never reviewed.",
            hint="Somebody else has to review it first.",
        )
    passed = tuple(replace(one, text=deps.clean(one.text)) for one in judged.passed)
    break_glass.add(tx, release_id, BreakGlass(actor.user, reason, passed, view.now))
    said = deploy.begin(tx, view, actor)
    used = BreakGlassUsed(reason=reason, passed=[PassedReason(**vars(one)) for one in passed])
    commit_change(tx, release_id, used, at=view.now, by=actor.user, new_posts=[BreakGlassPost()])
    return f"{said}\nThe channel is told what you passed over. Somebody else reviews it once the release is over."


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
    break_glass.review(tx, release_id, by=actor.user, finding=finding, at=view.now)
    reviewed = BreakGlassReviewed(finding=finding, broken_by=broken.by)
    commit_change(tx, release_id, reviewed, at=view.now, by=actor.user)
    return f"Recorded: your review of the break-glass of {view.release.version}."
