"""Sign-offs: approve, decline, revoke; and void those that no longer apply to what the release is now."""

from __future__ import annotations

from bot.domain.actor import Actor
from bot.domain.events import SignoffApproved, SignoffDeclined, SignoffRevoked, SignoffRollback, SignoffVoided
from bot.domain.gate import valid_approvals
from bot.domain.ids import SYSTEM, ReleaseId
from bot.domain.policy import Action, Role
from bot.domain.posts import VoidedNotice
from bot.domain.release import ReleaseState
from bot.domain.signoff import Purpose, SignOff, Verdict, Void
from bot.domain.view import ReleaseView
from bot.errors import InvalidInput, NotAllowed, RefusedError, StaleButton
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, not_allowed
from bot.store import signoffs
from bot.store.pool import Tx


def sign(
    tx: Tx,
    deps: Deps,
    actor: Actor,
    release_id: ReleaseId,
    *,
    role: Role,
    verdict: Verdict,
    reason: str,
    permalink: str,
) -> str:
    """Record an approval or a decline of ``actor`` in ``role``, and return the answer for them.

    The same verdict twice is recorded once; another verdict supersedes one's own. A decline of somebody else stays until it is
    revoked. Raises NotAllowed, RefusedError over such a decline, InvalidInput for a decline without a reason, StaleButton.
    """
    view = locked_view(tx, deps, release_id)
    _require_own_role(view, actor, role)
    if verdict is Verdict.DECLINE and not reason.strip():
        raise InvalidInput("A decline needs a reason.")
    signoffs_of_role = _signoffs_of_role(view, role)
    if verdict is Verdict.APPROVE:
        _refuse_against_decline(role, actor, signoffs_of_role)
    own = next((one for one in signoffs_of_role if one.by == actor.user), None)
    if own and own.verdict is verdict and (verdict is Verdict.DECLINE or own in valid_approvals(view, role)):
        return f"You already recorded that for {role.title}."
    if own:
        signoffs.finish(tx, own.id, by=actor.user, why="superseded", at=view.now)
    mark, reason = view.fingerprint, deps.clean(reason.strip())
    signoffs.sign(
        tx, release_id, actor.user, role=role, verdict=verdict, purpose=Purpose.DEPLOY, reason=reason,
        fingerprint=mark, permalink=permalink, at=view.now,
    )  # fmt: skip
    kind = SignoffApproved if verdict is Verdict.APPROVE else SignoffDeclined
    event = kind(role=role, reason=reason, fingerprint=mark, permalink=permalink)
    commit_change(tx, release_id, event, at=view.now, by=actor.user)
    word = "approved" if verdict is Verdict.APPROVE else "declined"
    return f"Recorded: {role.title} {word} {view.release.version}."


def _refuse_against_decline(role: Role, actor: Actor, signoffs_of_role: list[SignOff]) -> None:
    decline = next((one for one in signoffs_of_role if one.verdict is Verdict.DECLINE and one.by != actor.user), None)
    if decline is not None:
        raise RefusedError(
            f"<@{decline.by}> declined for {role.title}: {decline.reason}",
            hint=f"Until it is revoked, an approval changes nothing. Any {role.title} can press Revoke.",
        )


def _signoffs_of_role(view: ReleaseView, role: Role) -> list[SignOff]:
    return [one for one in view.signoffs if one.role is role and one.purpose is Purpose.DEPLOY]


def revoke(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, role: Role) -> str:
    """Revoke one's own sign-off in ``role``, or else the newest one of others in it; return the answer for ``actor``."""
    view = locked_view(tx, deps, release_id)
    _require_own_role(view, actor, role)
    signoffs_of_role = _signoffs_of_role(view, role)
    if not signoffs_of_role:
        return f"There is no decision for {role.title}."
    signoff = next((one for one in signoffs_of_role if one.by == actor.user), signoffs_of_role[-1])
    signoffs.finish(tx, signoff.id, by=actor.user, why="revoked", at=view.now)
    event = SignoffRevoked(role=role, signed_by=signoff.by, verdict=signoff.verdict)
    commit_change(tx, release_id, event, at=view.now, by=actor.user)
    whose = "Your" if signoff.by == actor.user else f"<@{signoff.by}>'s"
    return f"{whose} decision for {role.title} on {view.release.version} is withdrawn."


def void_outdated(tx: Tx, deps: Deps, release_id: ReleaseId, why: str) -> list[SignOff]:
    """Void the approvals whose fingerprint is not that of the release any more, tell their people, and return them (promise P4).

    Declines stay: only people revoke them.
    """
    view = locked_view(tx, deps, release_id)
    mark = view.fingerprint
    outdated_approvals = [one for one in _approvals(view) if one.fingerprint != mark]
    _void(tx, view, outdated_approvals, Void.CHANGED, why)
    return outdated_approvals


def void_expired(tx: Tx, view: ReleaseView) -> list[SignOff]:
    """Void the approvals that are older than the policy allows, tell their people, and return them. ``view`` must be locked."""
    expired_approvals = [one for one in _approvals(view) if view.now - one.at > view.policy.signoff_max_age]
    _void(tx, view, expired_approvals, Void.OLD, "it has expired")
    return expired_approvals


def void_without_role(deps: Deps, view: ReleaseView) -> bool:
    """Ask Slack who still has the role in which they approved, void the approvals of the others, and return whether there were any.

    Call it outside of a transaction. Raises IdentityUnknown when Slack does not answer.
    """
    approvals = _approvals(view) if view.release.state is ReleaseState.OPEN else []
    if not approvals:
        return False
    roles = deps.roles_of({one.by for one in approvals})
    void_ids = {one.id for one in approvals if one.role not in roles.get(one.by, ())}
    if not void_ids:
        return False
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, view.release.id)
        if view.release.state is not ReleaseState.OPEN:
            return False
        void_approvals = [one for one in _approvals(view) if one.id in void_ids]
        _void(tx, view, void_approvals, Void.ROLE, "the approver no longer has the role")
    return True


def _approvals(view: ReleaseView) -> list[SignOff]:
    return [one for one in view.signoffs if one.purpose is Purpose.DEPLOY and one.verdict is Verdict.APPROVE]


def _void(tx: Tx, view: ReleaseView, approvals: list[SignOff], cause: Void, why: str) -> None:
    release_id = view.release.id
    for approval in approvals:
        signoffs.finish(tx, approval.id, by=SYSTEM, why=why, at=view.now)
        event = SignoffVoided(role=approval.role, signed_by=approval.by, why=why)
        notice = VoidedNotice(signoff=approval.id, role=approval.role, user=approval.by, cause=cause)
        commit_change(tx, release_id, event, at=view.now, by=SYSTEM, new_posts=[notice])


def record_rollback(tx: Tx, view: ReleaseView, actor: Actor, reason: str) -> None:
    """Record the sign-off for a rollback, in the role that allows it to ``actor``; it supersedes an earlier one. Raises NotAllowed."""
    role = next((role for role in view.policy.roles_for(Action.ROLLBACK) if role in actor.roles), None)
    if role is None:
        raise NotAllowed
    for signoff in view.signoffs:
        if signoff.purpose is Purpose.ROLLBACK and signoff.role is role:
            signoffs.finish(tx, signoff.id, by=actor.user, why="superseded", at=view.now)
    mark = view.fingerprint
    signoffs.sign(
        tx, view.release.id, actor.user, role=role, verdict=Verdict.APPROVE, purpose=Purpose.ROLLBACK, reason=reason,
        fingerprint=mark, permalink="", at=view.now,
    )  # fmt: skip
    event = SignoffRollback(role=role, reason=reason, fingerprint=mark)
    commit_change(tx, view.release.id, event, at=view.now, by=actor.user)


def _require_own_role(view: ReleaseView, actor: Actor, role: Role) -> None:
    if view.release.state is not ReleaseState.OPEN:
        raise StaleButton(
            f"{view.release.version} is {view.release.state}: sign-offs are closed.", hint="Nothing was changed."
        )
    if role not in view.policy.roles:
        raise RefusedError(f"{role.title} doesn't sign this release.")
    if role not in actor.roles:
        raise not_allowed(role.title, actor)
