"""Sign-offs: approve, decline, revoke; and void those that no longer stand for what they were given for."""

from __future__ import annotations

from bot.domain.actor import Actor
from bot.domain.ids import SYSTEM, ReleaseId
from bot.domain.policy import Action, Role
from bot.domain.release import ReleaseState
from bot.domain.signoff import Purpose, SignOff, Verdict
from bot.domain.view import ReleaseView
from bot.errors import InvalidInput, NotAllowed, RefusedError, StaleButton
from bot.flows.deps import Deps, locked_view
from bot.store import audit, posts, signoffs
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
    """Record a yes or no of ``actor`` in ``role``. The same answer twice is one; another answer supersedes the first."""
    view = locked_view(tx, deps, release_id)
    _only_own_role(view, actor, role)
    if verdict is Verdict.DECLINE and not reason.strip():
        raise InvalidInput("A decline needs a reason.")
    stands = next((s for s in view.signoffs if s.role is role and s.purpose is Purpose.DEPLOY), None)
    mark = view.fingerprint
    if stands and stands.verdict is verdict and stands.fingerprint == mark:
        whose = "You have" if stands.by == actor.user else f"<@{stands.by}> has"
        return f"{whose} recorded that for {role.title} already."
    if stands:
        signoffs.finish(tx, stands.id, by=actor.user, why="superseded", at=view.now)
    signoffs.sign(
        tx, release_id, actor.user, role=role, verdict=verdict, purpose=Purpose.DEPLOY, reason=reason.strip(),
        fingerprint=mark, permalink=permalink, at=view.now,
    )  # fmt: skip
    posts.touch(tx, release_id)
    audit.write(
        tx, view.now, actor.user, f"signoff.{verdict}d", release_id,
        role=role, reason=reason.strip(), fingerprint=mark, permalink=permalink,
    )  # fmt: skip
    word = "approved" if verdict is Verdict.APPROVE else "declined"
    return f"Recorded: {role.title} {word} {view.release.version}."


def revoke(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, role: Role) -> str:
    """Take back what stands for ``role``: by the same person, or by somebody with the same role."""
    view = locked_view(tx, deps, release_id)
    _only_own_role(view, actor, role)
    stands = next((s for s in view.signoffs if s.role is role and s.purpose is Purpose.DEPLOY), None)
    if stands is None:
        return f"Nothing stands for {role.title}."
    signoffs.finish(tx, stands.id, by=actor.user, why="revoked", at=view.now)
    posts.touch(tx, release_id)
    audit.write(
        tx, view.now, actor.user, "signoff.revoked", release_id, role=role, signed_by=stands.by, verdict=stands.verdict
    )
    return f"Taken back: {role.title} for {view.release.version}."


def void_outdated(tx: Tx, deps: Deps, release_id: ReleaseId, why: str) -> list[SignOff]:
    """End the sign-offs whose fingerprint no longer fits, and owe their people word of it (promise P4)."""
    view = locked_view(tx, deps, release_id)
    mark = view.fingerprint
    outdated = [s for s in view.signoffs if s.purpose is Purpose.DEPLOY and s.fingerprint != mark]
    card = posts.find(tx, release_id, "card")
    for signed in outdated:
        signoffs.finish(tx, signed.id, by=SYSTEM, why=why, at=view.now)
        posts.owe(
            tx,
            release_id,
            "notice",
            f"voided:{signed.id}:{signed.role}:{signed.by}",
            channel=view.release.channel,
            parent=card,
        )
        audit.write(tx, view.now, SYSTEM, "signoff.voided", release_id, role=signed.role, signed_by=signed.by, why=why)
    return outdated


def record_rollback(tx: Tx, view: ReleaseView, actor: Actor, reason: str) -> None:
    """Record the signature that a rollback is gated by: one authorised person, in the role that allows it."""
    role = next((role for role in view.policy.allowed(Action.ROLLBACK) if role in actor.roles), None)
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
    audit.write(
        tx, view.now, actor.user, "signoff.rollback", view.release.id, role=role, reason=reason, fingerprint=mark
    )


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
