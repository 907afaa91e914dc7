"""Break-glass: what of the gate somebody may pass over in need, by the policy; and that it was done, until it is reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from bot.domain.gate import deploy_gate, is_waivable
from bot.domain.reasons import Cause, Reason
from bot.domain.release import ReleaseState

if TYPE_CHECKING:
    from bot.domain.deploy_findings import DeployFindings
    from bot.domain.ids import UserId
    from bot.domain.view import ReleaseView

UNSEEN_FOR = timedelta(minutes=2)  # time for the message that it has moved to come and to be read
# Of a reason: "production is down" tells a reviewer what to look at, "urgent" does not.
MIN_WORDS = 4
MIN_CHARACTERS = 20

# What is missing of people. What people said (a decline), and what would deploy something unknown or break something that
# is not put back (source, mitigation, known_bad), is never passed over: whoever is in a hurry has it mended first.
_OF_PEOPLE = frozenset({Cause.SIGNOFF_MISSING, Cause.SIGNOFF_VOID, Cause.PEOPLE, Cause.FOUR_EYES})
REVIEWED_IN = frozenset(
    {ReleaseState.DONE, ReleaseState.ROLLED_BACK, ReleaseState.ABORTED}
)  # when there is an end to look at


@dataclass(frozen=True)
class Judgement:
    """The gate's reasons, divided by whether break-glass passes over them."""

    overridden_reasons: tuple[Reason, ...]  # those that break-glass passes over
    remaining_reasons: tuple[Reason, ...]  # those that it does not


def judge_past_gate(
    view: ReleaseView, deployer: UserId | None = None, findings: DeployFindings | None = None
) -> Judgement:
    """Divide the gate's reasons against a deploy into those that break-glass passes over, and the rest.

    ``deployer`` and ``findings`` as in `deploy_gate`.
    """
    reasons = deploy_gate(view, deployer, findings).reasons
    overridden_reasons = tuple(reason for reason in reasons if _may_be_passed(view, reason))
    return Judgement(overridden_reasons, tuple(reason for reason in reasons if reason not in overridden_reasons))


def _may_be_passed(view: ReleaseView, reason: Reason) -> bool:
    rule = view.policy.break_glass
    if not rule.allowed:
        return False
    if reason.cause is Cause.CHECK:
        check = view.checklist.check(reason.about)
        return rule.never_waivable or (check is not None and is_waivable(view, check))
    if reason.cause is Cause.FREEZE:
        return rule.in_freeze
    return reason.cause in _OF_PEOPLE


def has_moved_unseen(view: ReleaseView) -> bool:
    """Return whether the version got its present commit or image less than `UNSEEN_FOR` ago, so that nobody has looked at it.

    The move makes checks and sign-offs void, and break-glass passes over those: the look is all that is left.
    """
    began, pinned_at = view.release.started_at, view.release.pinned_at
    return pinned_at is not None and began < pinned_at and view.now - pinned_at < UNSEEN_FOR


def says_why(reason: str) -> bool:
    """Return whether a reason is long enough to be reviewed."""
    return len(reason.split()) >= MIN_WORDS and len(reason) >= MIN_CHARACTERS


def is_stopped_by_freeze(view: ReleaseView) -> bool:
    """Return whether a freeze stops a deploy that has begun: any but the one that its break-glass passed over."""
    if view.freeze is None:
        return False
    overridden_reasons = view.break_glass.overridden_reasons if view.break_glass is not None else ()
    return (Cause.FREEZE, view.freeze.key) not in {(reason.cause, reason.about) for reason in overridden_reasons}
