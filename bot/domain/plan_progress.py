"""PlanProgress: a release with the steps of its plans; all that is needed to carry a plan out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.domain.actions import Notify, SetVariable
from bot.domain.plan import PlanKind, StepState, next_step
from bot.domain.release import ReleaseState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from bot.domain.checklist import Checklist
    from bot.domain.plan import Step
    from bot.domain.release import Release

# Which plan is under way in which state; in the others none is.
_PLANS = {ReleaseState.DEPLOYING: PlanKind.DEPLOY, ReleaseState.ROLLING_BACK: PlanKind.ROLLBACK}


@dataclass(frozen=True)
class PlanProgress:
    """How far the plans of one Release are, read in one transaction."""

    release: Release
    checklist: Checklist
    steps: Sequence[Step]  # of the latest deploy and the latest rollback
    now: datetime

    @property
    def plan(self) -> PlanKind | None:
        """Which plan is under way, or None."""
        return _PLANS.get(self.release.state)

    def next_step(self, plan: PlanKind) -> Step | None:
        """The step of ``plan`` to do now, by the bot or by a person; None when it is complete or stands at a failed one."""
        return next_step(self.steps, plan, (*self.checklist.deploy, *self.checklist.rollback))

    @property
    def awaited_step(self) -> Step | None:
        """The step that the plan under way has reached and waits for somebody to do, or None."""
        step = None if self.plan is None else self.next_step(self.plan)
        return step if step and step.state is StepState.TO_ATTEST and step.started_at is not None else None

    @property
    def has_changed_nothing(self) -> bool:
        """Whether, by its journal, no step of the deploy was about to change anything, and nobody did one by hand."""
        return not any(
            step.intended_changes or step.unfinished_jobs or step.state is StepState.ATTESTED
            for step in self.steps
            if step.plan is PlanKind.DEPLOY
        )

    @property
    def may_abort(self) -> bool:
        """Whether the release can end without a rollback: nothing is changed, and no step is running that might."""
        is_halted = self.release.state is ReleaseState.DEPLOY_FAILED or self.awaited_step is not None
        of_deploy = self.release.state in {ReleaseState.DEPLOYING, ReleaseState.DEPLOY_FAILED}
        return self.release.state is ReleaseState.OPEN or (of_deploy and is_halted and self.has_changed_nothing)

    def is_optional(self, step: Step) -> bool:
        """Whether ``step`` is done only if somebody decides so: it is not open while nobody has."""
        spec = self.checklist.step(step.id)
        return spec is not None and isinstance(spec.action, SetVariable)

    def is_announcement(self, step: Step) -> bool:
        """Whether a message of the bot's own does ``step``: then it is for nobody to attest."""
        spec = self.checklist.step(step.id)
        return spec is not None and isinstance(spec.action, Notify)
