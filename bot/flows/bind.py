"""Bind: look up again what a version means, before a deploy and while a release waits for people (promise P4)."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.actor import Actor
from bot.domain.break_glass import judge
from bot.domain.events import Event, PolicyAdopted, ReleaseBound, ReleaseRebound, ReleaseUnbound
from bot.domain.gate import deploy_gate
from bot.domain.ids import SYSTEM, ReleaseId, UserId
from bot.domain.policy import Action
from bot.domain.posts import MovedNotice, PolicyNotice, PostSubject, UnboundNotice
from bot.domain.reasons import Cause, Reason
from bot.domain.release import Release, ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import InvalidInput
from bot.flows import check, sign
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, require
from bot.flows.status import view as seen
from bot.steps.sources import Resolved
from bot.store import releases
from bot.store.pool import Tx


def before_deploy(deps: Deps, actor: Actor, release_id: ReleaseId, action: Action = Action.DEPLOY) -> None:
    """Ask Slack, GitHub and the registry once more, for somebody who may deploy. Before the transaction of the deploy.

    Slack says who of those that approved still holds the role. The others are not asked while something else speaks against
    ``action``, a deploy or a break-glass. Raises NotAllowed, and VendorError when one does not answer: nobody deploys what
    could not be confirmed.
    """
    with deps.store.transaction() as tx:
        view = seen(tx, deps, release_id)
    require(view.policy, actor, action)
    if sign.void_without_role(deps, view):
        with deps.store.transaction() as tx:
            view = seen(tx, deps, release_id)
    if all(reason.cause is Cause.SOURCE for reason in speaks_against(view, action)):
        confirm(deps, release_id)


def speaks_against(view: ReleaseView, action: Action, deployer: UserId | None = None) -> Sequence[Reason]:
    """What speaks against a deploy or a break-glass: by ``deployer``, or whoever it is that may."""
    return judge(view, deployer).against if action is Action.BREAK_GLASS else deploy_gate(view, deployer).reasons


def confirm(deps: Deps, release_id: ReleaseId) -> None:
    """Make an OPEN release mean what its version means now. Raises VendorError when that cannot be found out.

    A tag or an image that has moved binds the release anew: its checks run again and its sign-offs are void. One that is
    gone closes the gate until it is back. The commit of a branch, where there is no tag yet, stays the one of the start.
    """
    with deps.store.transaction() as tx:
        view = seen(tx, deps, release_id)
    if view.release.state is not ReleaseState.OPEN:
        return
    asked_at = deps.clock.now()
    resolved: Resolved | None = None
    unbound = ""
    try:
        resolved = deps.sources.resolve(view.release.version)
    except InvalidInput as error:
        unbound = deps.clean(error.user_message)
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, release_id)
        release = view.release
        if release.state is not ReleaseState.OPEN or (release.confirmed_at and release.confirmed_at > asked_at):
            return  # over, or somebody else has asked later than we did
        if resolved is not None and release.tagged and not resolved.tagged:
            unbound = f"There is no tag {release.version} any more."
        if resolved is None or unbound:
            _unbound(tx, view, unbound)
        elif _moved(release, resolved):
            _rebind(tx, deps, view, resolved)
        else:
            releases.confirm(tx, release_id, asked_at)
            if release.unbound:
                _commit(tx, view, ReleaseBound(was=release.unbound), UnboundNotice())


def _moved(release: Release, found: Resolved) -> bool:
    return found.digest != release.digest or (found.tagged and found.commit != release.commit)


def _unbound(tx: Tx, view: ReleaseView, why: str) -> None:
    releases.confirm(tx, view.release.id, view.now, why)
    if view.release.unbound != why:
        _commit(tx, view, ReleaseUnbound(why=why), UnboundNotice())


def _rebind(tx: Tx, deps: Deps, view: ReleaseView, found: Resolved) -> None:
    """Take what the version means now; what was found out and signed before was about something else."""
    release_id, release = view.release.id, view.release
    commit = found.commit if found.tagged else release.commit
    releases.rebind(tx, release_id, view.now, commit=commit, digest=found.digest, tagged=found.tagged)
    sign.void_outdated(tx, deps, release_id, f"{release.version} means another commit or image now")
    check.cancel_all(tx, release_id, view.checklist)
    check.ask_for(tx, locked_view(tx, deps, release_id), [entry.id for entry in view.checklist.asked], SYSTEM)
    rebound = ReleaseRebound(
        commit_before=release.commit, commit=commit, digest_before=release.digest, digest=found.digest, tagged=found.tagged,
        again_because=release.again_because if found.digest == release.digest else "",
    )  # fmt: skip
    _commit(tx, view, rebound, MovedNotice(second=round(view.now.timestamp())))


def _commit(tx: Tx, view: ReleaseView, event: Event, notice: PostSubject) -> None:
    commit_change(tx, view.release.id, event, at=view.now, by=SYSTEM, new_posts=[notice])


def adopt_policy(tx: Tx, deps: Deps) -> None:
    """Have the release that is OPEN judged by the policy of this configuration; sign-offs under another one are void.

    Once at the start of a process. What is being deployed or watched keeps the policy that it was decided under.
    """
    release = releases.active(tx, deps.environment)
    if release is None:
        return
    view = locked_view(tx, deps, release.id)
    if view.release.state is not ReleaseState.OPEN or view.release.policy_digest == deps.policy.digest:
        return
    releases.adopt(tx, release.id, deps.policy)
    sign.void_outdated(tx, deps, release.id, "the policy was changed")
    _commit(tx, view, PolicyAdopted(before=release.policy_digest, policy=deps.policy.digest), PolicyNotice())
