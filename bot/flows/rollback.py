"""Rollback: one authorised person, from any state after the first change, in a freeze too (promise P6)."""

from __future__ import annotations

from bot.domain.actor import Actor
from bot.domain.gate import rollback_gate
from bot.domain.ids import ReleaseId
from bot.domain.plan import PlanKind, lasting
from bot.domain.policy import Action
from bot.domain.release import ReleaseState
from bot.domain.watch import WatchState
from bot.errors import GateClosed
from bot.flows import check, sign
from bot.flows.deploy import initial_states
from bot.flows.deps import Deps, locked_view, require
from bot.store import audit, posts, releases, steps, watches, work
from bot.store.pool import Tx


def rollback(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, reason: str) -> str:
    """Record the sign-off for it and begin. A deploy that is under way is stopped where it is; a watch ends."""
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.ROLLBACK)
    release = view.release
    if release.state is ReleaseState.ROLLING_BACK:
        return f"{release.version} is being rolled back already."
    decision = rollback_gate(view)
    if not decision.allowed:
        raise GateClosed(decision.reasons[0].text + ".", hint="`/release status` shows where things stand.")
    newer = releases.latest_deployed(tx, release.environment)
    if newer is not None and newer.id != release.id:
        raise GateClosed(
            f"{newer.version} was deployed after {release.version}: roll that one back.", hint="Nothing was changed."
        )
    sign.record_rollback(tx, view, actor, reason)
    releases.move(tx, release, ReleaseState.ROLLING_BACK, view.now, reason=reason or None)
    work.drop(tx, "advance", release_id)
    work.drop(tx, "watch", release_id)
    steps.cancel(tx, release_id, PlanKind.DEPLOY, view.now)
    watches.close(tx, release_id, WatchState.STOPPED)
    check.cancel_all(tx, release_id, view.checklist)
    steps.add_plan(tx, release_id, PlanKind.ROLLBACK, initial_states(view.checklist.rollback))
    card = posts.find(tx, release_id, "card")
    posts.owe(tx, release_id, "steps", PlanKind.ROLLBACK, channel=release.channel, parent=card)
    posts.touch(tx, release_id)
    work.ask(tx, "advance", release_id)
    audit.write(tx, view.now, actor.user, "rollback.started", release_id, reason=reason, was=release.state)
    said = f"Rolling {release.version} back. Follow the steps in the thread."
    if stays := lasting(view.steps):
        said += "\nNot taken back, and what ran before may not work with it: " + ", ".join(
            change.what for change in stays
        )
    return said
