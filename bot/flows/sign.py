"""Sign-offs: approve, decline, revoke; and void those that no longer stand for what they were given for."""

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
from bot.flows.deps import Deps, locked_view
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
    """Record a yes or no of ``actor`` in ``role``. The same answer twice is one; another answer supersedes one's own.

    A decline of somebody else in the role stands until it is withdrawn; an approval does not push it aside.
    """
    view = locked_view(tx, deps, release_id)
    _only_own_role(view, actor, role)
    if verdict is Verdict.DECLINE and not reason.strip():
        raise InvalidInput("A decline needs a reason.")
    given = _of_role(view, role)
    if verdict is Verdict.APPROVE:
        _refuse_over_a_decline(role, actor, given)
    own = next((one for one in given if one.by == actor.user), None)
    if own and own.verdict is verdict and (verdict is Verdict.DECLINE or own in valid_approvals(view, role)):
        return f"You have recorded that for {role.title} already."
    if own:
        signoffs.finish(tx, own.id, by=actor.user, why="superseded", at=view.now)
    mark, reason = view.fingerprint, deps.clean(reason.strip())
    signoffs.sign(
        tx, release_id, actor.user, role=role, verdict=verdict, purpose=Purpose.DEPLOY, reason=reason,
        fingerprint=mark, permalink=permalink, at=view.now,
    )  # fmt: skip
    kind = SignoffApproved if verdict is Verdict.APPROVE else SignoffDeclined
    signed = kind(role=role, reason=reason, fingerprint=mark, permalink=permalink)
    commit_change(tx, release_id, signed, at=view.now, by=actor.user)
    word = "approved" if verdict is Verdict.APPROVE else "declined"
    return f"Recorded: {role.title} {word} {view.release.version}."


def _refuse_over_a_decline(role: Role, actor: Actor, given: list[SignOff]) -> None:
    declined = next((one for one in given if one.verdict is Verdict.DECLINE and one.by != actor.user), None)
    if declined is not None:
        raise RefusedError(
            f"<@{declined.by}> declined for {role.title}: {declined.reason}",
            hint=f"While that stands an approval changes nothing. Anybody in the role {role.title} can press Revoke.",
        )


def _of_role(view: ReleaseView, role: Role) -> list[SignOff]:
    return [one for one in view.signoffs if one.role is role and one.purpose is Purpose.DEPLOY]


def revoke(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, role: Role) -> str:
    """Take back one's own answer for ``role``, or else the newest of the others in the same role."""
    view = locked_view(tx, deps, release_id)
    _only_own_role(view, actor, role)
    given = _of_role(view, role)
    if not given:
        return f"Nothing stands for {role.title}."
    stands = next((one for one in given if one.by == actor.user), given[-1])
    signoffs.finish(tx, stands.id, by=actor.user, why="revoked", at=view.now)
    revoked = SignoffRevoked(role=role, signed_by=stands.by, verdict=stands.verdict)
    commit_change(tx, release_id, revoked, at=view.now, by=actor.user)
    whose = "" if stands.by == actor.user else f" of <@{stands.by}>"
    return f"Taken back: the answer{whose} for {role.title} to {view.release.version}."


def void_outdated(tx: Tx, deps: Deps, release_id: ReleaseId, why: str) -> list[SignOff]:
    """End the sign-offs whose fingerprint no longer fits, and owe their people word of it (promise P4).

    A decline stays: it says no to this release, and only people take it back.
    """
    view = locked_view(tx, deps, release_id)
    mark = view.fingerprint
    outdated = [one for one in _approvals(view) if one.fingerprint != mark]
    _void(tx, view, outdated, Void.CHANGED, why)
    return outdated


def void_expired(tx: Tx, view: ReleaseView) -> list[SignOff]:
    """End the approvals that are older than the policy allows, and owe their people word of it. The view is locked."""
    expired = [one for one in _approvals(view) if view.now - one.at > view.policy.signoff_max_age]
    _void(tx, view, expired, Void.OLD, "it is too old")
    return expired


def void_without_role(deps: Deps, view: ReleaseView) -> bool:
    """Ask Slack whether those who approved still hold the role in which they did, and end what was signed by others.

    Outside of any transaction. Returns whether anything was ended. Raises IdentityUnknown when Slack does not say.
    """
    given = _approvals(view) if view.release.state is ReleaseState.OPEN else []
    if not given:
        return False
    held = deps.roles_of({one.by for one in given})
    lost = {one.id for one in given if one.role not in held.get(one.by, ())}
    if not lost:
        return False
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, view.release.id)
        if view.release.state is not ReleaseState.OPEN:
            return False
        ended = [one for one in _approvals(view) if one.id in lost]
        _void(tx, view, ended, Void.ROLE, "who gave it does not hold the role any more")
    return True


def _approvals(view: ReleaseView) -> list[SignOff]:
    return [one for one in view.signoffs if one.purpose is Purpose.DEPLOY and one.verdict is Verdict.APPROVE]


def _void(tx: Tx, view: ReleaseView, ended: list[SignOff], cause: Void, why: str) -> None:
    release_id = view.release.id
    for signed in ended:
        signoffs.finish(tx, signed.id, by=SYSTEM, why=why, at=view.now)
        voided = SignoffVoided(role=signed.role, signed_by=signed.by, why=why)
        notice = VoidedNotice(signoff=signed.id, role=signed.role, user=signed.by, cause=cause)
        commit_change(tx, release_id, voided, at=view.now, by=SYSTEM, new_posts=[notice])


def record_rollback(tx: Tx, view: ReleaseView, actor: Actor, reason: str) -> None:
    """Record the signature that a rollback is gated by: one authorised person, in the role that allows it."""
    role = next((role for role in view.policy.roles_for(Action.ROLLBACK) if role in actor.roles), None)
    if role is None:
        raise NotAllowed
    for stands in view.signoffs:
        if stands.purpose is Purpose.ROLLBACK and stands.role is role:
            signoffs.finish(tx, stands.id, by=actor.user, why="superseded", at=view.now)
    mark = view.fingerprint
    signoffs.sign(
        tx, view.release.id, actor.user, role=role, verdict=Verdict.APPROVE, purpose=Purpose.ROLLBACK, reason=reason,
        fingerprint=mark, permalink="", at=view.now,
    )  # fmt: skip
    signed = SignoffRollback(role=role, reason=reason, fingerprint=mark)
    commit_change(tx, view.release.id, signed, at=view.now, by=actor.user)


def _only_own_role(view: ReleaseView, actor: Actor, role: Role) -> None:
    if view.release.state is not ReleaseState.OPEN:
        raise StaleButton(
            f"{view.release.version} is {view.release.state}: sign-offs are closed.", hint="Nothing was changed."
        )
    if role not in view.policy.roles:
        raise RefusedError(f"{role.title} does not sign in this release.")
    if role not in actor.roles:
        yours = ", ".join(sorted(own.title for own in actor.roles)) or "none"
        raise NotAllowed(
            f"Only somebody with the role {role.title} may do that; yours: {yours}.", hint="Ask one of them."
        )
