"""Rollback: one authorised person, from any state after the first change, in a freeze too (promise P6)."""

from __future__ import annotations

from bot.domain.actor import Actor
from bot.domain.events import RollbackStarted
from bot.domain.gate import rollback_gate
from bot.domain.ids import ReleaseId
from bot.domain.plan import PlanKind, lasting
from bot.domain.policy import Action
from bot.domain.posts import StepsPost
from bot.domain.release import Release, ReleaseState
from bot.domain.watch import WatchState
from bot.errors import GateClosed
from bot.flows import abort, check, sign
from bot.flows.commit import commit_change
from bot.flows.deploy import initial_states
from bot.flows.deps import Deps, locked_view, require
from bot.store import releases, steps, watches, work
from bot.store.pool import Tx

NAMED = 5  # things that are not taken back, named in the answer; the worst come first


def rollback(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, reason: str) -> str:
    """Record the sign-off for it and begin. A deploy that is under way is stopped where it is; a watch ends."""
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.ROLLBACK)
    release, reason = view.release, deps.clean(reason)
    if release.state is ReleaseState.ROLLING_BACK:
        return f"{release.version} is being rolled back already."
    runs = releases.latest_deployed(tx, release.environment)
    decision = rollback_gate(view)
    if not decision.allowed:
        hint = "`/release status` shows where things stand."
        if runs is not None and release.state is ReleaseState.ROLLED_BACK:
            hint = f"{runs.version} stands in {release.environment} now: the button on its card takes that one back."
        raise GateClosed(f"{release.version}: {decision.reasons[0].text}.", hint=hint)
    if runs is not None and runs.id != release.id:
        raise _in_the_way(runs, release)
    aborted = _make_way(tx, deps, actor, release, reason)
    sign.record_rollback(tx, view, actor, reason)
    releases.move(tx, release, ReleaseState.ROLLING_BACK, view.now, reason=reason or None)
    work.drop(tx, "advance", release_id)
    work.drop(tx, "watch", release_id)
    steps.cancel(tx, release_id, PlanKind.DEPLOY, view.now)
    watches.close(tx, release_id, WatchState.STOPPED)
    check.cancel_all(tx, release_id, view.checklist)
    steps.add_plan(tx, release_id, PlanKind.ROLLBACK, initial_states(view.checklist.rollback))
    work.ask(tx, "advance", release_id)
    polls = view.watch.polls if view.watch else 0
    started = RollbackStarted(reason=reason, was=release.state, polls=polls, **aborted)
    steps_post = StepsPost(plan=PlanKind.ROLLBACK)
    commit_change(tx, release_id, started, at=view.now, by=actor.user, new_posts=[steps_post])
    said = f"Rolling {release.version} back. Follow the steps in the thread."
    if aborted:
        said += f"\n{aborted['aborted']} was OPEN and is aborted: nothing of it was deployed."
    if left := lasting(view.steps, view.checklist.deploy):
        listed = [f"• {change.what}: {change.back}" for change in left[:NAMED]]
        more = [f"… and {len(left) - NAMED} more, named in the thread"] if len(left) > NAMED else []
        said = "\n".join(["Not taken back:", *listed, *more, said])
    return said


def _make_way(tx: Tx, deps: Deps, actor: Actor, release: Release, reason: str) -> dict[str, str]:
    """Abort the next release where it is only OPEN: it has changed nothing, so it must not keep anybody from the way back.

    Returns what the record says of it, nothing when there is none. Raises GateClosed when it has gone on meanwhile.
    """
    other = releases.active(tx, release.environment)
    if other is None or other.id == release.id:
        return {}
    was = abort.give_way(tx, deps, actor, other.id, release, reason)
    if was.state is ReleaseState.OPEN:
        return {"aborted": was.version}
    if was.active:
        raise _in_the_way(was, release)
    return {}


def _in_the_way(newer: Release, release: Release) -> GateClosed:
    """Why ``release`` cannot be taken back under one that was deployed, or begins to be, after it."""
    if newer.state is ReleaseState.ROLLING_BACK:
        return GateClosed(
            f"{newer.version} is being rolled back.", hint="Wait until that is over. Nothing was changed."
        )
    return GateClosed(
        f"{newer.version} was deployed after {release.version}: roll that one back.",
        hint=f"{newer.version} is {newer.state}. Nothing was changed.",
    )
