"""Abort: end a release before anything was changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from bot.domain.actor import Actor
from bot.domain.events import ReleaseAborted
from bot.domain.ids import SYSTEM, ReleaseId, UserId
from bot.domain.plan import PlanKind
from bot.domain.policy import Action
from bot.domain.posts import AbortedNotice, GaveWayNotice, PostSubject
from bot.domain.release import MAY_ROLL_BACK, Release, ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import RefusedError, StaleButton
from bot.flows import check
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, require
from bot.store import releases, steps, work
from bot.store.pool import Tx


def abort(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, reason: str) -> str:
    """End a release that has changed nothing (OPEN, or its deploy waits before the first change); return the answer for ``actor``.

    Its checks stop, and the environment is free for another release. Raises NotAllowed, RefusedError while a step runs or
    once something was changed, and StaleButton for a release that is over.
    """
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.ABORT)
    release = view.release
    if release.state is ReleaseState.ABORTED:
        return f"{release.version} was aborted already."
    if release.state is ReleaseState.DEPLOYING and view.has_changed_nothing and not view.may_abort:
        raise RefusedError(
            f"{release.version} is {release.state}: a step is running, and nothing was changed yet.",
            hint="Cancel it in the thread, then abort; or use `/release rollback`.",
        )
    if release.state in MAY_ROLL_BACK and release.is_active and not view.may_abort:
        raise RefusedError(
            f"{release.version} is {release.state}: something was changed already.", hint="Use `/release rollback`."
        )
    if not view.may_abort:
        raise StaleButton(f"{release.version} is {release.state}: there is nothing to abort.")
    _end(tx, view, actor.user, deps.clean(reason))
    return f"{release.version} is aborted. Nothing was deployed."


def give_way(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, to: Release, reason: str) -> Release:
    """Abort a release if it is OPEN, because ``actor`` rolls back ``to``; return the release as it was before.

    The people of the release are told. The right to roll back is enough: a rollback is never harder than a deploy (P6). A
    release in another state is left alone; the caller decides by the state of what is returned.
    """
    view = locked_view(tx, deps, release_id)
    release = view.release
    if release.state is ReleaseState.OPEN:
        notices = [
            GaveWayNotice(version=to.version, user=actor.user),
            GaveWayNotice(version=to.version, user=actor.user, place="channel"),
        ]
        _end(tx, view, actor.user, f"{to.version} is rolled back" + (f": {reason}" if reason else ""), notices)
    return release


def expire(tx: Tx, view: ReleaseView) -> None:
    """Abort an OPEN release that nobody deployed in the time of its policy. ``view`` must be locked."""
    _end(tx, view, SYSTEM, f"nobody deployed it within {_days(view.policy.expire_after)}")


def _days(length: timedelta) -> str:
    hours = length / timedelta(hours=1)
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"  # noqa: PLR2004  two days


def _end(
    tx: Tx, view: ReleaseView, by: UserId, reason: str, notices: Sequence[PostSubject] = (AbortedNotice(),)
) -> None:
    release = view.release
    releases.move(tx, release, ReleaseState.ABORTED, view.now, reason=reason)
    check.cancel_all(tx, release.id, view.checklist)
    work.drop(tx, "advance", release.id)
    steps.cancel(tx, release.id, PlanKind.DEPLOY, view.now)
    commit_change(tx, release.id, ReleaseAborted(reason=reason), at=view.now, by=by, new_posts=notices)
