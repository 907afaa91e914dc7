"""Plans: the ordered Steps of a deploy or a rollback as they stand, what they change, and which one is next."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from bot.domain.actions import StepSpec
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


class Plane(StrEnum):
    """A part of production that is changed by itself and taken back by itself."""

    BACKEND = "backend"
    FRONTEND = "frontend"
    JOBS = "jobs"


class Way(StrEnum):
    """What becomes of a Mutation in a rollback."""

    BACK = "back"  # a step of the rollback puts back what was recorded before the deploy
    STAYS = "stays"  # nothing takes it back, and nothing has to: what ran before works with it
    FINAL = "final"  # nothing takes it back, and what ran before may not work with it


@dataclass(frozen=True)
class Mutation:
    """One change of the world: shown before it happens, written down as it happens, in the same words."""

    what: str  # image of deployment/api in solvereign
    now: str  # the value before; empty: there is none
    after: str
    way: Way
    back: str  # what takes it back, or why nothing does, in a sentence without its full stop

    @property
    def body(self) -> dict[str, str]:
        """As JSON; ``of`` reads it back."""
        return {"what": self.what, "now": self.now, "after": self.after, "way": self.way.value, "back": self.back}

    def cleaned(self, clean: Callable[[str], str]) -> Mutation:
        """The same in words that may be stored and shown: a value in the cluster may be a credential."""
        return Mutation.of({**{key: clean(value) for key, value in self.body.items()}, "way": self.way.value})

    @classmethod
    def of(cls, body: Mapping[str, str]) -> Mutation:
        """Read what ``body`` gave."""
        return cls(**{**body, "way": Way(body["way"])})  # type: ignore[arg-type]  # the keys are those of `body`


@dataclass(frozen=True)
class PlannedStep:
    """A step before it happens: what it would change."""

    plan: PlanKind
    spec: StepSpec
    changes: tuple[Mutation, ...]
    trouble: str = ""  # why that cannot be said


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
    planned: tuple[Mutation, ...] | None = None  # what it is to change, as seen before the plan began; None: not looked
    attempt: int = 1  # rises with each retry
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


def lasting(steps: Sequence[Step]) -> tuple[Mutation, ...]:
    """What a rollback does not take back of the deploy steps that have begun, and what ran before may not work with."""
    begun = (step for step in steps if step.plan is PlanKind.DEPLOY and step.started_at is not None)
    return tuple(change for step in begun for change in step.planned or () if change.way is Way.FINAL)


def failed_step(steps: Sequence[Step], plan: PlanKind) -> Step | None:
    """The step at which the plan stopped, or None."""
    return next((step for step in steps if step.plan is plan and step.state is StepState.FAILED), None)
