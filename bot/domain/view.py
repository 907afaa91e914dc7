"""ReleaseView: everything that is known of one Release at one moment; what the gate judges and the renderers draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from bot.domain.checklist import ANNOUNCED
from bot.domain.ids import SYSTEM
from bot.domain.plan import PlanKind, StepState, next_step
from bot.domain.release import ReleaseState
from bot.domain.signoff import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from bot.domain.checklist import Check, Checklist, Phase
    from bot.domain.ids import CheckId, UserId
    from bot.domain.mitigation import Mitigation
    from bot.domain.plan import Step
    from bot.domain.policy import Policy
    from bot.domain.reasons import Reason
    from bot.domain.release import Release
    from bot.domain.results import CheckView
    from bot.domain.signoff import SignOff
    from bot.domain.watch import Watch


# Which checks run in which state; in the others none does.
_PHASES: Mapping[ReleaseState, Phase] = {
    ReleaseState.OPEN: "before",
    ReleaseState.WATCHING: "after",
    ReleaseState.DONE: "after",
}
# Which plan is under way in which state; in the others none is.
_PLANS = {ReleaseState.DEPLOYING: PlanKind.DEPLOY, ReleaseState.ROLLING_BACK: PlanKind.ROLLBACK}


@dataclass(frozen=True)
class Freeze:
    """A stop of the line: nothing is deployed while it holds; a rollback still works."""

    by: UserId  # system: a window of the policy's calendar
    reason: str
    until: datetime | None  # None: until somebody lifts it
    at: datetime | None = None  # when it began; None for a window of the calendar
    id: int | None = None  # of its row; None for a window of the calendar, and before it is stored

    @property
    def key(self) -> str:
        """Tells it from every other one, whatever their reasons say; a window of the calendar by when it ends."""
        return str(self.id) if self.id is not None else f"until {self.until}"

    @property
    def of_calendar(self) -> bool:
        """Whether it is a window of the policy's calendar, which nobody can lift."""
        return self.by == SYSTEM


@dataclass(frozen=True)
class BreakGlass:
    """That a release was deployed past the gate."""

    by: UserId
    reason: str
    passed: tuple[Reason, ...]  # what the gate had against it
    at: datetime
    reviewed_by: UserId | None = None
    reviewed_at: datetime | None = None
    finding: str = ""  # what the review found


@dataclass(frozen=True)
class ReleaseView:
    """One Release with its checks, signatures, steps and watch, read in one transaction."""

    release: Release
    checklist: Checklist
    policy: Policy
    checks: Mapping[CheckId, CheckView]  # by line; a line with same_as has that of its original
    signoffs: Sequence[SignOff]  # those that have not been revoked, superseded or voided
    steps: Sequence[Step]  # of the latest deploy and the latest rollback
    watch: Watch | None
    freeze: Freeze | None
    now: datetime
    mitigations: Sequence[Mitigation] = ()  # of this release, the newest last
    debts: Sequence[Mitigation] = ()  # while OPEN: open ones of the environment, whichever release they belong to
    known_bad: str = ""  # while OPEN: that this image was rolled back when it was last deployed; empty: it was not
    break_glass: BreakGlass | None = None  # that it was deployed past the gate
    pictures: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (kind, subject) -> Slack's id of the file

    @cached_property
    def fingerprint(self) -> str:
        """What a sign-off given at this moment would be bound to; the gate, the card and the record all mean this."""
        waivers = {
            check.id: check.waiver for check in self.checks.values() if check.waiver
        }  # one that two lines show once
        return fingerprint(self.release, list(waivers.values()))

    @property
    def standing(self) -> Sequence[Mitigation]:
        """The mitigations that are not put back yet, the newest last. While there are any the release is not closed."""
        return [entry for entry in self.mitigations if entry.open]

    @property
    def may_close(self) -> bool:
        """Whether nothing is under way and nothing stands that is to be put back."""
        return not self.release.active and not self.standing

    @property
    def phase(self) -> Phase | None:
        """Whose checks run now: those before the deploy, those after it, or none."""
        return _PHASES.get(self.release.state)

    @property
    def plan(self) -> PlanKind | None:
        """Which plan is under way, or None."""
        return _PLANS.get(self.release.state)

    def next_step(self, plan: PlanKind) -> Step | None:
        """The step of ``plan`` to do now, by the bot or by a person; None when it is complete or stands at a failed one."""
        return next_step(self.steps, plan, (*self.checklist.deploy, *self.checklist.rollback))

    @property
    def awaited(self) -> Step | None:
        """The step that the plan under way has reached and waits for somebody to do, or None."""
        step = None if self.plan is None else self.next_step(self.plan)
        return step if step and step.state is StepState.TO_ATTEST and step.started_at is not None else None

    @property
    def untouched(self) -> bool:
        """Whether the deploy has changed nothing: no step of it was about to, as its journal says, and nobody did one by hand."""
        return not any(
            step.begun or step.unended or step.state is StepState.ATTESTED
            for step in self.steps
            if step.plan is PlanKind.DEPLOY
        )

    @property
    def may_abort(self) -> bool:
        """Whether it can end without a rollback: nothing is changed, and no step is being carried out that might."""
        stands = self.release.state is ReleaseState.DEPLOY_FAILED or self.awaited is not None
        of_deploy = self.release.state in {ReleaseState.DEPLOYING, ReleaseState.DEPLOY_FAILED}
        return self.release.state is ReleaseState.OPEN or (of_deploy and stands and self.untouched)

    def due(self, check: Check) -> bool:
        """Whether ``check``, of the phase that runs now, can have an answer yet: there is no announcement before the end."""
        return check.kind != ANNOUNCED or self.release.state is ReleaseState.DONE
