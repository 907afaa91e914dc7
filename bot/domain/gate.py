"""Gate: the one rule that allows a deploy or a rollback, or lists every reason against it (promise P3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from bot.domain.checklist import ATTEST_KIND
from bot.domain.policy import Action
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
    def is_open(self) -> bool:
        """Whether there is no reason against it."""
        return not self.reasons

    @property
    def lacks_only_approvals(self) -> bool:
        """Whether it is closed only because people have not approved yet: everything that the bot can tell is good."""
        return bool(self.reasons) and all(isinstance(reason, SignoffMissing) for reason in self.reasons)


CONFIRMED_FOR = timedelta(minutes=2)  # for so long a deploy relies on what GitHub and the registry last said


def permits(policy: Policy, action: Action, roles: Collection[Role], *lines: str) -> bool:
    """Return whether somebody with ``roles`` may do ``action``; for a check or a step, ``lines`` as in `Policy.roles_for`."""
    return any(role in roles for role in policy.roles_for(action, *lines))


def lines_of(view: ReleaseView, check_id: CheckId) -> tuple[str, ...]:
    """Return the ids under which the policy may have a rule for a check: its own, then that of its section."""
    return (
        check_id,
        *(section.id for section in view.checklist.sections if check_id in {c.id for c in section.checks}),
    )


def is_waivable(view: ReleaseView, check: Check) -> bool:
    """Whether anybody may waive ``check``: the checklist and the policy must both allow it."""
    return check.waivable and bool(view.policy.roles_for(Action.WAIVE, *lines_of(view, check.id)))


def valid_approvals(view: ReleaseView, role: Role) -> list[SignOff]:
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


def missing_approvals(view: ReleaseView) -> list[tuple[Role, int]]:
    """The required roles whose people have not all approved, with how many are missing: for whom the release waits."""
    shortfalls = [
        (role, view.policy.min_approvals(role) - len(valid_approvals(view, role))) for role in view.policy.required
    ]
    return [(role, number) for role, number in shortfalls if number > 0]


def deploy_gate(view: ReleaseView, deployer: UserId | None = None, findings: DeployFindings | None = None) -> Decision:
    """Judge a deploy of ``view`` at ``view.now``.

    ``deployer`` is the person who deploys; None asks what the card shows: whether anybody could. ``findings``: what was found
    out about it outside of the rows; None: nobody has looked.
    """
    reasons: list[Reason] = []
    release = view.release
    if release.state is not ReleaseState.OPEN:
        reasons.append(NotOpen(release.state))
    if findings is not None and findings.channel.refusal:
        reasons.append(ChannelClosed(release.channel, findings.channel.refusal))
    if release.source_problem:
        reasons.append(SourceUnresolved("source", release.source_problem))
    elif deployer is not None and not _is_confirmed(view, findings):
        reasons.append(SourceUnconfirmed(release.version))
    if view.freeze is not None:
        reasons.append(freeze_reason(view.freeze))
    reasons += [MitigationInForce(str(mitigation.id), mitigation.what) for mitigation in view.environment_mitigations]
    reasons += _known_bad_reasons(view)
    reasons += _check_reasons(view)
    reasons += _signoff_reasons(view)
    reasons += _people_reasons(view, deployer)
    if findings is not None and findings.plan_changes:
        reasons.append(PlanChanged("plan", findings.plan_changes))
    return Decision(tuple(reasons))


def freeze_reason(freeze: Freeze) -> DeploysFrozen:
    """Return the reason against a deploy that a freeze is."""
    return DeploysFrozen(freeze.key, freeze.reason)


def _known_bad_reasons(view: ReleaseView) -> list[RolledBackBefore]:
    """An image that was rolled back once needs a reason, and the approval of somebody else than who started it again."""
    if not view.known_bad:
        return []
    release = view.release
    if not release.repeat_reason:
        return [RolledBackBefore(release.digest, view.known_bad)]
    others = {signoff.by for role in view.policy.roles for signoff in valid_approvals(view, role)} - {release.manager}
    return [] if others else [RolledBackUnapproved(release.digest, view.known_bad)]


def _is_confirmed(view: ReleaseView, findings: DeployFindings | None) -> bool:
    """Return whether GitHub and the registry confirmed, at most `CONFIRMED_FOR` ago, the commit and image of this release."""
    moments = [view.release.confirmed_at]
    if findings is not None and findings.fingerprint == view.fingerprint:
        moments.append(findings.confirmed_at)
    return any(at is not None and view.now - at <= CONFIRMED_FOR for at in moments)


def _check_reasons(view: ReleaseView) -> list[CheckNotPassed]:
    lines = [("", check) for check in view.checklist.gate_checks]
    lines += [(section.title, check) for section, check in view.checklist.non_gate_checks if section.blocks]
    return _not_passed(view, lines)


def non_blocking_failures(view: ReleaseView) -> list[CheckNotPassed]:
    """The checks before the deploy that have not passed, were not waived and are no reason of the gate."""
    return _not_passed(
        view, [(section.title, check) for section, check in view.checklist.non_gate_checks if not section.blocks]
    )


def _not_passed(view: ReleaseView, checks: Sequence[tuple[str, Check]]) -> list[CheckNotPassed]:
    """Return which of these checks, each with the title of its section, have not passed and are not waived."""
    failures = []
    for section, check in checks:
        status = check_status(view.checks[check.id], check.max_age, view.now)
        if status is CheckStatus.PASSED or (status is CheckStatus.WAIVED and is_waivable(view, check)):
            continue
        attested_by = (
            view.policy.who_may(Action.ATTEST, *lines_of(view, check.canonical_id)) if check.kind == ATTEST_KIND else ""
        )
        failures.append(CheckNotPassed(check.id, check.title, section, status, attested_by))
    return failures


def _signoff_reasons(view: ReleaseView) -> list[Reason]:
    reasons: list[Reason] = []
    shortfalls = dict(missing_approvals(view))
    for role in view.policy.roles:
        role_signoffs = [one for one in view.signoffs if one.role is role and one.purpose is Purpose.DEPLOY]
        reasons += [RoleDeclined(role, one.reason) for one in role_signoffs if one.verdict is Verdict.DECLINE]
        if any(one.verdict is Verdict.APPROVE and one.fingerprint != view.fingerprint for one in role_signoffs):
            reasons.append(SignoffVoid(role))
        elif role in shortfalls and not any(one.verdict is Verdict.DECLINE for one in role_signoffs):
            min_approvals = view.policy.min_approvals(role)
            reasons.append(SignoffMissing(role, min_approvals - shortfalls[role], min_approvals))
    return reasons


def _people_reasons(view: ReleaseView, deployer: UserId | None) -> list[Reason]:
    """Return the reasons about who has approved: too few people once every role has, or only the deployer."""
    approvers = {signoff.by for role in view.policy.roles for signoff in valid_approvals(view, role)}
    reasons: list[Reason] = []
    if not missing_approvals(view) and len(approvers) < view.policy.min_approvers:
        reasons.append(TooFewPeople("people", len(approvers), view.policy.min_approvers))
    if view.policy.four_eyes and deployer is not None and approvers and approvers <= {deployer}:
        reasons.append(OnlyDeployerApproved(deployer))
    return reasons


def rollback_gate(view: ReleaseView, newest_deployed: Release | None = None) -> Decision:
    """Judge a rollback: possible from any state after the first change, in a freeze too, whatever the checks say (P6).

    ``newest_deployed``: the newest release that changed the environment and was not taken back; it goes first.
    """
    release = view.release
    if release.state not in MAY_ROLL_BACK:
        return Decision((NothingToRollBack(release.state),))
    if newest_deployed is not None and newest_deployed.id != release.id:
        return Decision((newer_release(newest_deployed, release),))
    return Decision(())


def newer_release(newer: Release, release: Release) -> Reason:
    """Return why ``release`` cannot be rolled back before ``newer``, whose deploy began after it."""
    if newer.state is ReleaseState.ROLLING_BACK:
        return NewerRollingBack(newer.state, newer.version)
    return NewerDeployed(newer.state, newer.version, release.version)
