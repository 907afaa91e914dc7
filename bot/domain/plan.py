"""Plans: the ordered Steps of a deploy or a rollback as they stand, and which one is next."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from bot.domain.ids import StepId, UserId


class PlanKind(StrEnum):
    """Forward or back."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class StepState(StrEnum):
    """Where a Step stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TO_ATTEST = "to_attest"  # a person has to do it and say so
    ATTESTED = "attested"


@dataclass(frozen=True)
class Step:
    """One step of one plan of one Release."""

    row: int  # id of the row; what a button carries
    plan: PlanKind
    ordinal: int
    id: StepId
    state: StepState
    summary: str = ""  # what it did or why it failed, one line
    progress: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)  # what stood there before it acted
    started_at: datetime | None = None
    finished_at: datetime | None = None
    by: UserId | None = None  # who attested
    note: str = ""


def next_step(steps: Sequence[Step], plan: PlanKind) -> Step | None:
    """The step to carry out now, or None when the plan is complete or stands at a failed one."""
    for step in sorted((step for step in steps if step.plan is plan), key=lambda step: step.ordinal):
        if step.state in {StepState.PENDING, StepState.RUNNING}:
            return step
        if step.state in {StepState.FAILED, StepState.CANCELLED}:
            return None
    return None


def failed_step(steps: Sequence[Step], plan: PlanKind) -> Step | None:
    """The step at which the plan stopped, or None."""
    return next((step for step in steps if step.plan is plan and step.state is StepState.FAILED), None)
