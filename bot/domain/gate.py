"""Gate: the one rule that allows a deploy or a rollback, or lists every reason against it (promise P3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from bot.domain.checklist import ATTEST
from bot.domain.plan_snapshot import limit_lines
from bot.domain.policy import Action, some_people
from bot.domain.reasons import Cause, Reason
from bot.domain.release import MAY_ROLL_BACK, ReleaseState
from bot.domain.results import CheckStatus, check_status
from bot.domain.signoff import Purpose, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bot.domain.checklist import Check
    from bot.domain.deploy_findings import DeployFindings
    from bot.domain.ids import CheckId, UserId
    from bot.domain.policy import Policy, Role
    from bot.domain.release import Release
    from bot.domain.signoff import SignOff
    from bot.domain.view import Freeze, ReleaseView


@dataclass(frozen=True)
class Decision:
    """The gate's answer: allowed, or every reason why not."""

    reasons: tuple[Reason, ...]

    @property
    def allowed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


@dataclass(frozen=True)
class Beside:
    """A line that has not passed and that the gate does not ask about: it holds nothing up, and nobody may overlook it."""

    check: CheckId
    standing: CheckStatus
    text: str  # with its section


_WORDS = {
    CheckStatus.FAILED: "failed",
    CheckStatus.ERROR: "could not find out",
    CheckStatus.INCONCLUSIVE: "needs a person to say",
    CheckStatus.EXPIRED: "passed too long ago, run it again",
    CheckStatus.RUNNING: "is running",
    CheckStatus.WAITING: "waits to run",
    CheckStatus.MISSING: "has not run",
}
_SAID = {  # of a line that only a person answers
    CheckStatus.MISSING: "needs a person to say so",
    CheckStatus.EXPIRED: "was said too long ago",
}

CONFIRMED_FOR = timedelta(minutes=2)  # for so long a deploy relies on what GitHub and the registry last said


def permits(policy: Policy, action: Action, roles: Collection[Role], *lines: str) -> bool:
    """Whether somebody with ``roles`` may do ``action``, where it matters to the check of ``lines``. No role, no action."""
    return any(role in roles for role in policy.allowed(action, *lines))


def lines_of(view: ReleaseView, check_id: CheckId) -> tuple[str, ...]:
    """What a rule of the policy can call a check: by its own id, or by that of its section."""
    return (
        check_id,
        *(section.id for section in view.checklist.sections if check_id in {c.id for c in section.checks}),
    )


def waivable(view: ReleaseView, check: Check) -> bool:
    """Whether anybody may waive ``check``: the checklist and the policy must both allow it."""
    return check.waivable and bool(view.policy.allowed(Action.WAIVE, *lines_of(view, check.id)))


def holding(view: ReleaseView, role: Role) -> list[SignOff]:
    """The approvals in ``role`` that count at ``view.now``: for exactly this, and not too old."""
    return [
        signoff
        for signoff in view.signoffs
        if signoff.purpose is Purpose.DEPLOY
        and signoff.role is role
        and signoff.verdict is Verdict.APPROVE
        and signoff.fingerprint == view.fingerprint
        and view.now - signoff.at <= view.policy.signoff_max_age
    ]


def lacking(view: ReleaseView) -> list[tuple[Role, int]]:
    """The required roles whose people have not all approved, with how many are missing: for whom the release waits."""
    missing = [(role, view.policy.needed(role) - len(holding(view, role))) for role in view.policy.required]
    return [(role, number) for role, number in missing if number > 0]


def deploy_gate(view: ReleaseView, deployer: UserId | None = None, findings: DeployFindings | None = None) -> Decision:
    """Judge a deploy of ``view`` at ``view.now``.

    ``deployer`` is the person who deploys; None asks what the card shows: whether anybody could. ``findings``: what was found
    out about it outside of the rows; None: nobody has looked.
    """
    reasons: list[Reason] = []
    release = view.release
    if release.state is not ReleaseState.OPEN:
        reasons.append(Reason(Cause.STATE, release.state, f"the release is {release.state}, not OPEN"))
    if findings is not None and findings.channel.refusal:
        text = f"{findings.channel.refusal}, so nothing is deployed from there"
        reasons.append(Reason(Cause.CHANNEL, release.channel, text))
    if release.unbound:
        reasons.append(Reason(Cause.SOURCE, "source", release.unbound))
    elif deployer is not None and not _is_confirmed(view, findings):
        text = f"it was not looked up just now whether {release.version} still means this commit and image"
        reasons.append(Reason(Cause.SOURCE, "source", text))
    if view.freeze is not None:
        reasons.append(frozen(view.freeze))
    for debt in view.debts:
        text = f"{debt.what} is still in force and must be put back first"
        reasons.append(Reason(Cause.MITIGATION, str(debt.id), text))
    reasons += _known_bad_reasons(view)
    reasons += _check_reasons(view)
    reasons += _signoff_reasons(view)
    reasons += _people_reasons(view, deployer)
    if findings is not None and findings.plan_changes:
        text = f"the plan is not the one that was shown: {'; '.join(limit_lines(findings.plan_changes))}"
        reasons.append(Reason(Cause.PLAN, "plan", text))
    return Decision(tuple(reasons))


def frozen(freeze: Freeze) -> Reason:
    """What a freeze has against a deploy."""
    return Reason(Cause.FREEZE, freeze.key, f"deploys are frozen: {freeze.reason}")


def goes_on(release: Release, version: str) -> str:
    """What a freeze does not stop, and how people do: a deploy that has begun; empty when there is none.

    ``version``: as it is to be written.
    """
    if release.state is not ReleaseState.DEPLOYING:
        return ""
    return (
        f"{version} is being deployed and goes on. To stop it: press Cancel at its step in the thread, "
        "or type `/release rollback REASON`."
    )


def _known_bad_reasons(view: ReleaseView) -> list[Reason]:
    """An image that was rolled back once needs a reason, and the approval of somebody else than who started it again."""
    if not view.known_bad:
        return []
    release = view.release
    if not release.again_because:
        return [Reason(Cause.KNOWN_BAD, release.digest, f"{view.known_bad}. Abort, and start it again with a reason")]
    others = {signoff.by for role in view.policy.roles for signoff in holding(view, role)} - {release.manager}
    if others:
        return []
    text = f"{view.known_bad}. Somebody other than who started it again must approve"
    return [Reason(Cause.KNOWN_BAD, release.digest, text)]


def _is_confirmed(view: ReleaseView, findings: DeployFindings | None) -> bool:
    """Whether GitHub and the registry said shortly before that the version means what this release is."""
    moments = [view.release.confirmed_at]
    if findings is not None and findings.fingerprint == view.fingerprint:
        moments.append(findings.confirmed_at)
    return any(at is not None and view.now - at <= CONFIRMED_FOR for at in moments)


def _check_reasons(view: ReleaseView) -> list[Reason]:
    lines = [(check, "") for check in view.checklist.gate_checks]
    lines += [(check, f"{section.title}: ") for section, check in view.checklist.beside_gate if section.blocks]
    return [
        Reason(Cause.CHECK, check.id, f"{where}{check.title}: {missed[1]}")
        for check, where in lines
        if (missed := _missed(view, check))
    ]


def _missed(view: ReleaseView, check: Check) -> tuple[CheckStatus, str] | None:
    """What ``check`` counts as and the words for it; None: it lets a deploy through."""
    counts_as = check_status(view.checks[check.id], check.max_age, view.now)
    allowed = {CheckStatus.PASSED, CheckStatus.WAIVED} if waivable(view, check) else {CheckStatus.PASSED}
    if counts_as in allowed:
        return None
    if check.kind == ATTEST and counts_as in _SAID:
        who = view.policy.who_may(Action.ATTEST, *lines_of(view, check.asked_as))
        return counts_as, f"{_SAID[counts_as]}: {who}, with Attest in the thread"
    return counts_as, _WORDS.get(counts_as, "cannot be waived")


def beside(view: ReleaseView) -> tuple[Beside, ...]:
    """The lines before the deploy that have not passed, were not waived and are no reason of the gate."""
    return tuple(
        Beside(check.id, missed[0], f"{section.title}: {check.title}: {missed[1]}")
        for section, check in view.checklist.beside_gate
        if not section.blocks and (missed := _missed(view, check))
    )


def count_beside(lines: Sequence[Beside]) -> str:
    """How many lines that do not hold up the deploy have not passed; empty for none."""
    if not lines:
        return ""
    if len(lines) == 1:
        return "1 other line is not PASS, and does not hold up the deploy"
    return f"{len(lines)} other lines are not PASS, and do not hold up the deploy"


def name_beside(lines: Sequence[Beside], most: int) -> str:
    """`count_beside` with the first ``most`` of them by name."""
    if not lines:
        return ""
    more = f"; … and {len(lines) - most} more" if len(lines) > most else ""
    return f"{count_beside(lines)}: {'; '.join(line.text for line in lines[:most])}{more}"


def _signoff_reasons(view: ReleaseView) -> list[Reason]:
    reasons = []
    missing = dict(lacking(view))
    for role in view.policy.roles:
        given = [one for one in view.signoffs if one.role is role and one.purpose is Purpose.DEPLOY]
        for signoff in given:
            if signoff.verdict is Verdict.DECLINE:
                because = f": {signoff.reason}" if signoff.reason else ""
                reasons.append(Reason(Cause.SIGNOFF_DECLINED, role, f"{role.title} declined{because}"))
        if any(one.verdict is Verdict.APPROVE and one.fingerprint != view.fingerprint for one in given):
            text = f"{role.title} signed something else than this: sign again"
            reasons.append(Reason(Cause.SIGNOFF_VOID, role, text))
        elif role in missing and not any(one.verdict is Verdict.DECLINE for one in given):
            reasons.append(Reason(Cause.SIGNOFF_MISSING, role, _missing(view, role, missing[role])))
    return reasons


def _missing(view: ReleaseView, role: Role, number: int) -> str:
    needed = view.policy.needed(role)
    if needed > 1:
        return f"{role.title}: {needed - number} of {needed} people have signed off"
    return f"{role.title} has not signed off"


def _people_reasons(view: ReleaseView, deployer: UserId | None) -> list[Reason]:
    """What speaks against it in who they are, once every role has signed: too few people, or only the deployer."""
    approvers = {signoff.by for role in view.policy.roles for signoff in holding(view, role)}
    reasons = []
    if not lacking(view) and len(approvers) < view.policy.people:
        text = f"{some_people(view.policy.people)} must approve, so far {len(approvers)} have"
        reasons.append(Reason(Cause.PEOPLE, "people", text))
    if view.policy.four_eyes and deployer is not None and approvers and approvers <= {deployer}:
        text = "only the person who deploys has approved: somebody else must approve or deploy"
        reasons.append(Reason(Cause.FOUR_EYES, deployer, text))
    return reasons


def rollback_gate(view: ReleaseView, newest_deployed: Release | None = None) -> Decision:
    """Judge a rollback: possible from any state after the first change, in a freeze too, whatever the checks say (P6).

    ``newest_deployed``: the newest release that changed the environment and was not taken back; it goes first.
    """
    release = view.release
    if release.state not in MAY_ROLL_BACK:
        text = f"the release is {release.state}: there is nothing to roll back"
        return Decision((Reason(Cause.STATE, release.state, text),))
    if newest_deployed is not None and newest_deployed.id != release.id:
        return Decision((newer_release(newest_deployed, release),))
    return Decision(())


def newer_release(newer: Release, release: Release) -> Reason:
    """Why ``release`` cannot be taken back under ``newer``, which was deployed, or begins to be, after it."""
    if newer.state is ReleaseState.ROLLING_BACK:
        return Reason(Cause.STATE, newer.state, f"{newer.version} is being rolled back")
    text = f"{newer.version} was deployed after {release.version}: roll that one back"
    return Reason(Cause.STATE, newer.state, text)
