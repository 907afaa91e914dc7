"""Abort: end a release before anything was changed."""

from __future__ import annotations

from bot.domain.actor import Actor
from bot.domain.ids import ReleaseId
from bot.domain.policy import Action
from bot.domain.release import MAY_ROLL_BACK, ReleaseState
from bot.errors import RefusedError, StaleButton
from bot.flows import check, record
from bot.flows.deps import Deps, locked_view, require
from bot.store import posts, releases
from bot.store.pool import Tx


def abort(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, reason: str) -> str:
    """End an OPEN release: its checks stop, its sign-offs are void with it, the environment is free."""
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.ABORT)
    release = view.release
    if release.state is ReleaseState.ABORTED:
        return f"{release.version} was aborted already."
    if release.state in MAY_ROLL_BACK and release.active:
        raise RefusedError(
            f"{release.version} is {release.state}: something was changed already.", hint="Use `/release rollback`."
        )
    if release.state is not ReleaseState.OPEN:
        raise StaleButton(f"{release.version} is {release.state}: there is nothing to abort.")
    releases.move(tx, release, ReleaseState.ABORTED, view.now, reason=reason)
    check.cancel_all(tx, release_id, view.checklist)
    card = posts.find(tx, release_id, "card")
    posts.owe(tx, release_id, "notice", "aborted", channel=release.channel, parent=card)
    posts.touch(tx, release_id)
    record.close(tx, release, view.now, actor.user, "release.aborted", reason=reason)
    return f"{release.version} is aborted. Nothing was deployed."
