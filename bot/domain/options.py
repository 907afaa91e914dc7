"""Options: what a check counts as for its release, and what people can do now. A message shows it; the flows decide."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from bot.domain.checklist import ATTEST_KIND
from bot.domain.gate import is_waivable, valid_approvals
from bot.domain.plan import PlanKind
from bot.domain.release import ReleaseState
from bot.domain.results import CheckStatus, check_status
from bot.domain.signoff import Purpose, Verdict

if TYPE_CHECKING:
    from bot.domain.checklist import Check, Section
    from bot.domain.ids import UserId
    from bot.domain.policy import Role
    from bot.domain.view import ReleaseView

# A waiver takes the place of a bad result, or of none; a pass that is too old is run again.
_WAIVABLE = {CheckStatus.FAILED, CheckStatus.ERROR, CheckStatus.INCONCLUSIVE, CheckStatus.MISSING}
_LATE_ATTESTATIONS = set(ReleaseState) - {ReleaseState.OPEN, ReleaseState.ABORTED, ReleaseState.ROLLED_BACK}
UNDER_WAY = frozenset({CheckStatus.RUNNING, CheckStatus.WAITING})
UNSETTLED = frozenset({CheckStatus.INCONCLUSIVE, CheckStatus.EXPIRED, CheckStatus.FAILED, CheckStatus.ERROR})
_GRAVEST_FIRST = (
    CheckStatus.FAILED,
    CheckStatus.ERROR,
    CheckStatus.INCONCLUSIVE,
    CheckStatus.EXPIRED,
    CheckStatus.RUNNING,
    CheckStatus.WAITING,
    CheckStatus.MISSING,
    CheckStatus.WAIVED,
    CheckStatus.PASSED,
)


class CheckOption(StrEnum):
    """Something that people can do about a check now."""

    ATTEST = "attest"
    CANCEL = "cancel"
    RERUN = "rerun"
    WAIVE = "waive"


def status_of(view: ReleaseView, check: Check) -> CheckStatus:
    """What ``check`` counts as: now while the release is open, later as it counted when the deploy began or it closed.

    A pass grows old only for a deploy that has not begun; a card of last week must not show that all has expired. What
    only a person answers is never run, so until then it needs a person.
    """
    release, at = view.release, view.now
    if release.state is not ReleaseState.OPEN:
        starts = [
            step.started_at for step in view.steps if step.plan is PlanKind.DEPLOY and step.started_at is not None
        ]
        at = min(starts, default=release.closed_at or view.now)
    status = check_status(view.checks[check.id], check.max_age, at)
    return CheckStatus.INCONCLUSIVE if status is CheckStatus.MISSING and check.kind == ATTEST_KIND else status


def is_settled(view: ReleaseView, check: Check) -> bool:
    """Whether ``check`` is passed, or waived where it may be."""
    status = status_of(view, check)
    return status is CheckStatus.PASSED or (status is CheckStatus.WAIVED and is_waivable(view, check))


def count_settled(view: ReleaseView, section: Section) -> int:
    """How many checks of ``section`` are passed or waived."""
    return sum(is_settled(view, check) for check in section.checks)


def gravest_status(view: ReleaseView, section: Section) -> CheckStatus:
    """The status in ``section`` that people must see first."""
    return min((status_of(view, check) for check in section.checks), key=_GRAVEST_FIRST.index)


def check_options(view: ReleaseView, section: Section, check: Check) -> set[CheckOption]:
    """What can be done about ``check`` now and would have an effect."""
    status, state = status_of(view, check), view.release.state
    runs_now = section.phase == view.phase and view.due(check)
    options = set()
    if check.kind == ATTEST_KIND:
        if status in UNSETTLED and (runs_now or (section.phase == "after" and state in _LATE_ATTESTATIONS)):
            options.add(CheckOption.ATTEST)
    elif runs_now:
        options.add(CheckOption.CANCEL if status in UNDER_WAY else CheckOption.RERUN)
    if state is ReleaseState.OPEN and runs_now and is_waivable(view, check) and status in _WAIVABLE:
        options.add(CheckOption.WAIVE)
    return options


def section_option(view: ReleaseView, section: Section) -> CheckOption | None:
    """Whether all checks of ``section`` can be run again or cancelled now; None where nothing of it can run."""
    options = {option for check in section.checks for option in check_options(view, section, check)}
    return next((option for option in (CheckOption.CANCEL, CheckOption.RERUN) if option in options), None)


def approvers(view: ReleaseView) -> set[UserId]:
    """The people with a valid approval, in whatever role."""
    return {signoff.by for role in view.policy.roles for signoff in valid_approvals(view, role)}


def can_sign(view: ReleaseView, role: Role) -> bool:
    """Whether an approval in ``role`` would change something: nobody declined, and one more is needed of the role or in all."""
    if view.release.state is not ReleaseState.OPEN or has_declined(view, role):
        return False
    people_needed = max(view.policy.min_approvers, 2 if view.policy.four_eyes else 1)
    approvals_needed = max(1, view.policy.min_approvals(role))
    return len(valid_approvals(view, role)) < approvals_needed or len(approvers(view)) < people_needed


def can_revoke(view: ReleaseView, role: Role) -> bool:
    """Whether ``role`` has a decision that can be withdrawn."""
    is_open = view.release.state is ReleaseState.OPEN
    return is_open and (has_declined(view, role) or bool(valid_approvals(view, role)))


def has_declined(view: ReleaseView, role: Role) -> bool:
    """Whether somebody in ``role`` declined."""
    return any(
        one.role is role and one.verdict is Verdict.DECLINE and one.purpose is Purpose.DEPLOY for one in view.signoffs
    )
