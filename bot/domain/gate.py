"""Gate: the one rule that allows a deploy or a rollback, or lists every reason against it (promise P3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bot.domain.policy import Action
from bot.domain.release import MAY_ROLL_BACK, ReleaseState
from bot.domain.results import Standing, standing
from bot.domain.signoff import Purpose, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection

    from bot.domain.ids import UserId
    from bot.domain.policy import Policy, Role
    from bot.domain.view import ReleaseView


class Cause(StrEnum):
    """Why the gate is closed; the word that tests and audit rows use."""

    STATE = "state"
    CHECK = "check"
    SIGNOFF_MISSING = "signoff_missing"
    SIGNOFF_DECLINED = "signoff_declined"
    SIGNOFF_VOID = "signoff_void"
    FOUR_EYES = "four_eyes"
    FREEZE = "freeze"
    ROLE = "role"


@dataclass(frozen=True)
class Reason:
    """One reason against it, with the check or role that it is about."""

    cause: Cause
    about: str
    text: str


@dataclass(frozen=True)
class Decision:
    """The gate's answer: allowed, or every reason why not."""

    reasons: tuple[Reason, ...]

    @property
    def allowed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


_WORDS = {
    Standing.FAILED: "failed",
    Standing.ERROR: "could not find out",
    Standing.INCONCLUSIVE: "needs a person to say",
    Standing.EXPIRED: "passed too long ago, run it again",
    Standing.RUNNING: "is running",
    Standing.WAITING: "waits to run",
    Standing.MISSING: "has not run",
}


def permits(policy: Policy, action: Action, roles: Collection[Role]) -> bool:
    """Whether somebody with ``roles`` may do ``action``. Deny by default: no role, no action."""
    return any(role in roles for role in policy.allowed(action))


def deploy_gate(view: ReleaseView, deployer: UserId | None = None) -> Decision:
    """Judge a deploy of ``view`` at ``view.now``.

    ``deployer`` is the person who deploys; None asks what the card shows: whether anybody could.
    """
    reasons: list[Reason] = []
    if view.release.state is not ReleaseState.OPEN:
        reasons.append(Reason(Cause.STATE, view.release.state, f"the release is {view.release.state}, not OPEN"))
    if view.freeze is not None:
        reasons.append(Reason(Cause.FREEZE, "freeze", f"deploys are frozen: {view.freeze.reason}"))
    reasons += _check_reasons(view)
    reasons += _signoff_reasons(view, deployer)
    return Decision(tuple(reasons))


def _check_reasons(view: ReleaseView) -> list[Reason]:
    reasons = []
    for check in view.checklist.gate_checks:
        counts_as = standing(view.checks[check.id], check.max_age, view.now)
        allowed = {Standing.PASSED, Standing.WAIVED} if check.waivable else {Standing.PASSED}
        if counts_as not in allowed:
            words = _WORDS.get(counts_as, "cannot be waived")
            reasons.append(Reason(Cause.CHECK, check.id, f"{check.title}: {words}"))
    return reasons


def _signoff_reasons(view: ReleaseView, deployer: UserId | None) -> list[Reason]:
    reasons = []
    signed = {signoff.role: signoff for signoff in view.signoffs if signoff.purpose is Purpose.DEPLOY}
    approvers: set[UserId] = set()
    for role in view.policy.roles:
        signoff = signed.get(role)
        if signoff is None:
            if role in view.policy.required:
                reasons.append(Reason(Cause.SIGNOFF_MISSING, role, f"{role.title} has not signed off"))
        elif signoff.verdict is Verdict.DECLINE:
            because = f": {signoff.reason}" if signoff.reason else ""
            reasons.append(Reason(Cause.SIGNOFF_DECLINED, role, f"{role.title} declined{because}"))
        elif signoff.fingerprint != view.fingerprint:
            reasons.append(
                Reason(Cause.SIGNOFF_VOID, role, f"{role.title} signed something else than this: sign again")
            )
        else:
            approvers.add(signoff.by)
    if view.policy.four_eyes and deployer is not None and approvers and approvers <= {deployer}:
        text = "only the person who deploys has approved: somebody else must approve or deploy"
        reasons.append(Reason(Cause.FOUR_EYES, deployer, text))
    return reasons


def rollback_gate(view: ReleaseView) -> Decision:
    """Judge a rollback: possible from any state after the first change, in a freeze too, whatever the checks say (P6)."""
    if view.release.state not in MAY_ROLL_BACK:
        text = f"the release is {view.release.state}: there is nothing to roll back"
        return Decision((Reason(Cause.STATE, view.release.state, text),))
    return Decision(())
