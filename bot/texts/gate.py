"""What the gate says: every reason against a deploy by name, and what has not passed without holding it up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bot.domain.reasons import (
    ChannelClosed,
    CheckNotPassed,
    DeploysFrozen,
    MitigationInForce,
    NewerDeployed,
    NewerRollingBack,
    NothingToRollBack,
    NotOpen,
    OnlyDeployerApproved,
    PlanChanged,
    Reason,
    RoleDeclined,
    RolledBackBefore,
    RolledBackUnapproved,
    SignoffMissing,
    SignoffVoid,
    SourceUnconfirmed,
    SourceUnresolved,
    TooFewPeople,
)
from bot.domain.release import Release, ReleaseState
from bot.domain.results import CheckStatus
from bot.texts.plan import list_differences
from bot.texts.staffing import count_people

# Each with the facts of its reason; where one is empty, what would introduce it is left out.
_REASONS: Mapping[type[Reason], str] = {
    NotOpen: "the release is {about}, not OPEN",
    NewerRollingBack: "{version} is being rolled back",
    NewerDeployed: "{version} was deployed after {older}: roll back {version}",
    ChannelClosed: "{refusal}, so nothing can be deployed from there",
    NothingToRollBack: "the release is {about}: there is nothing to roll back",
    SourceUnresolved: "{problem}",
    SourceUnconfirmed: "nobody has confirmed yet that {about} still means this commit and image",
    DeploysFrozen: "deploys are frozen: {reason}",
    MitigationInForce: "{what} is still set and must be put back first",
    RolledBackBefore: "{history}. Abort, then start it again with a reason",
    RolledBackUnapproved: "{history}. Someone other than who started it again must approve",
    RoleDeclined: "{about.title} declined: {reason}",
    SignoffVoid: "{about.title} approved something that has changed since: sign again",
    OnlyDeployerApproved: "only the person who deploys has approved: someone else must approve or deploy",
}
_STATUSES = {
    CheckStatus.WAIVED: "can't be waived",
    CheckStatus.FAILED: "failed",
    CheckStatus.ERROR: "couldn't be checked",
    CheckStatus.INCONCLUSIVE: "needs a person",
    CheckStatus.EXPIRED: "expired, run it again",
    CheckStatus.RUNNING: "running",
    CheckStatus.WAITING: "waiting to run",
    CheckStatus.MISSING: "not run yet",
}
_STATUSES_OF_PEOPLE = {  # of a check that only people answer
    CheckStatus.MISSING: "needs a person: {0}, with Attest in the thread",
    CheckStatus.EXPIRED: "expired: {0}, with Attest in the thread",
}


def reason_text(reason: Reason) -> str:
    """One reason, as a clause without a full stop."""
    match reason:
        case CheckNotPassed():
            where = f"{reason.section}: {reason.title}" if reason.section else reason.title
            words = _STATUSES_OF_PEOPLE.get(reason.status) if reason.attested_by else None
            return f"{where}: {(words or _STATUSES[reason.status]).format(reason.attested_by)}"
        case SignoffMissing(about=role, min_approvals=1):
            return f"{role.title} has not signed off"
        case SignoffMissing(about=role):
            return f"{role.title}: {reason.approvals} of {reason.min_approvals} people have signed off"
        case PlanChanged():
            return f"the plan has changed since it was last shown: {'; '.join(list_differences(reason.changes))}"
        case TooFewPeople():
            return f"{count_people(reason.min_approvers)} must approve; {reason.approvers} so far"
    return _REASONS[type(reason)].format_map(vars(reason)).removesuffix(": ")


def list_reasons(reasons: Iterable[Reason]) -> str:
    """The reasons as a list, one a line."""
    return "\n".join(f"• {reason_text(reason)}" for reason in reasons)


def count_failures(failures: Sequence[CheckNotPassed]) -> str:
    """How many checks that do not block the deploy have not passed; empty for none."""
    if not failures:
        return ""
    if len(failures) == 1:
        return "1 check that doesn't block the deploy hasn't passed"
    return f"{len(failures)} checks that don't block the deploy haven't passed"


def name_failures(failures: Sequence[CheckNotPassed], most: int) -> str:
    """`count_failures` with the first ``most`` of them by name."""
    if not failures:
        return ""
    more = f"; … and {len(failures) - most} more" if len(failures) > most else ""
    return f"{count_failures(failures)}: {'; '.join(map(reason_text, failures[:most]))}{more}"


def freeze_exemption_text(release: Release, version: str) -> str:
    """What a freeze does not stop, and how people do: a deploy that has begun; empty when there is none.

    ``version``: as it is to be written.
    """
    if release.state is not ReleaseState.DEPLOYING:
        return ""
    return (
        f"The deploy of {version} continues. To stop it, press Cancel at its step in the thread, "
        "or type `/release rollback REASON`."
    )
