"""Rollback: judged as a deploy is, by one authorised person, from any state after the first change, in a freeze too (P6).

Nothing outside of the database has to hold for it, so there is nothing to prepare: a rollback is never harder than a deploy.
"""

from __future__ import annotations

from bot.domain.actor import Actor
from bot.domain.events import RollbackStarted
from bot.domain.gate import newer_release, rollback_gate
from bot.domain.ids import ReleaseId
from bot.domain.plan import PlanKind, lasting_changes
from bot.domain.policy import Action
from bot.domain.posts import StepsPost
from bot.domain.reasons import Reason
from bot.domain.release import MAY_ROLL_BACK, Release, ReleaseState
from bot.domain.view import ReleaseView
from bot.domain.watch import WatchState
from bot.errors import GateClosed
from bot.flows import abort, sign
from bot.flows.commit import commit_change
from bot.flows.deploying.judge import begin_plan
from bot.flows.deps import Deps, locked_view, require
from bot.store import releases, steps, watches, work
from bot.store.pool import Tx
from bot.texts.gate import reason_text
from bot.texts.plan import lasting_text

MAX_NAMED = 5  # things that are not taken back, named in the answer; the worst come first


def judge_rollback(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, reason: str) -> str:
    """Begin the rollback if the gate allows it at this moment, and return the answer for ``actor``.

    The sign-off for it is recorded, a deploy that is under way is stopped where it is, a watch ends. Raises NotAllowed, and
    GateClosed with the reason.
    """
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.ROLLBACK)
    release, reason = view.release, deps.clean(reason)
    if release.state is ReleaseState.ROLLING_BACK:
        return f"{release.version} is being rolled back already."
    newest = releases.latest_deployed(tx, release.environment)
    decision = rollback_gate(view, newest)
    if not decision.is_open:
        raise _refusal(release, newest, decision.reasons[0])
    aborted_version = _make_way(tx, deps, actor, release, reason)
    _begin_rollback(tx, view, actor, reason, aborted_version)
    return _answer(view, aborted_version)


def _refusal(release: Release, newest: Release | None, reason: Reason) -> GateClosed:
    if release.state in MAY_ROLL_BACK and newest is not None:
        return _newer_refusal(newest, release)
    hint = "`/release status` shows the current state."
    if newest is not None and release.state is ReleaseState.ROLLED_BACK:
        hint = f"{newest.version} runs in {release.environment} now: roll it back with the button on its card."
    return GateClosed(f"{release.version}: {reason_text(reason)}.", hint=hint)


def _newer_refusal(newer: Release, release: Release) -> GateClosed:
    rolls_back = newer.state is ReleaseState.ROLLING_BACK
    hint = "Wait until that is over." if rolls_back else f"{newer.version} is {newer.state}."
    return GateClosed(f"{reason_text(newer_release(newer, release))}.", hint=f"{hint} Nothing was changed.")


def _make_way(tx: Tx, deps: Deps, actor: Actor, release: Release, reason: str) -> str:
    """Abort the next release where it is only OPEN: it has changed nothing, so it must not keep anybody from the way back.

    Returns its version, empty when there is none. Raises GateClosed when it has gone on meanwhile.
    """
    other = releases.active(tx, release.environment)
    if other is None or other.id == release.id:
        return ""
    before = abort.give_way(tx, deps, actor, other.id, release, reason)
    if before.state is ReleaseState.OPEN:
        return before.version
    if before.is_active:
        raise _newer_refusal(before, release)
    return ""


def _begin_rollback(tx: Tx, view: ReleaseView, actor: Actor, reason: str, aborted_version: str) -> None:
    """Stop what the release does, and begin the way back, of a view that is locked and was judged."""
    release = view.release
    sign.record_rollback(tx, view, actor, reason)
    releases.move(tx, release, ReleaseState.ROLLING_BACK, view.now, reason=reason or None)
    for queue in ("advance", "watch"):
        work.drop(tx, queue, release.id)
    steps.cancel(tx, release.id, PlanKind.DEPLOY, view.now)
    watches.close(tx, release.id, WatchState.STOPPED)
    begin_plan(tx, view, PlanKind.ROLLBACK, view.checklist.rollback)
    polls = view.watch.polls if view.watch else 0
    gave_way = {"aborted": aborted_version} if aborted_version else {}
    event = RollbackStarted(reason=reason, was=release.state, polls=polls, **gave_way)
    commit_change(tx, release.id, event, at=view.now, by=actor.user, new_posts=[StepsPost(plan=PlanKind.ROLLBACK)])


def _answer(view: ReleaseView, aborted_version: str) -> str:
    """What the person is told: first what stays, then that it goes back, then which release gave way."""
    lines = []
    if changes := lasting_changes(view.steps, view.checklist.deploy):
        lines += [
            "A rollback leaves in place:",
            *(f"• {change.what}: {lasting_text(change)}" for change in changes[:MAX_NAMED]),
        ]
    if len(changes) > MAX_NAMED:
        lines.append(f"… and {len(changes) - MAX_NAMED} more, named in the thread")
    lines.append(f"Rolling {view.release.version} back. Follow the steps in the thread.")
    if aborted_version:
        lines.append(f"{aborted_version} was OPEN and is aborted: nothing of it was deployed.")
    return "\n".join(lines)
