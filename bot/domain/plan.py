"""Plans: the ordered Steps of a deploy or a rollback as they stand, what they change, and which one is next."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from bot.domain.actions import BESIDE_THE_PLAN, AttestAction
from bot.domain.release import ReleaseState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from bot.domain.actions import StepSpec
    from bot.domain.ids import StepId, UserId


class PlanKind(StrEnum):
    """Forward or back."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"


FAILED_IN = {PlanKind.DEPLOY: ReleaseState.DEPLOY_FAILED, PlanKind.ROLLBACK: ReleaseState.ROLLBACK_FAILED}


class StepState(StrEnum):
    """Where a Step stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TO_ATTEST = "to_attest"  # a person has to do it and say so, or may decide on it, or a message tells it
    ATTESTED = "attested"


UNCONFIRMED_PREFIX = (
    "not confirmed"  # how the summary of a step begins that was done by hand, where the bot could not look
)


class Plane(StrEnum):
    """A part of production that is changed by itself and taken back by itself."""

    BACKEND = "backend"
    FRONTEND = "frontend"
    JOBS = "jobs"


class Way(StrEnum):
    """What becomes of a Mutation in a rollback."""

    BACK = "back"  # a step of the rollback puts back what was recorded before the deploy
    COMPATIBLE = "stays"  # nothing takes it back, and nothing has to: what ran before works with it
    UNKNOWN = (
        "unknown"  # nothing takes it back, and nobody can say what it has done: done by hand, or its end was not seen
    )
    FINAL = "final"  # nothing takes it back, and what ran before may not work with it


@dataclass(frozen=True)
class Mutation:
    """One change of the world: shown before it happens, written down as it happens, in the same words."""

    what: str  # image of deployment/api in solvereign
    now: str  # the value before; empty: there is none
    after: str
    way: Way
    back: str  # what takes it back, or "stays: why", "cannot be taken back: why"; a sentence without its full stop

    @property
    def body(self) -> dict[str, str]:
        """As JSON; ``of`` reads it back."""
        return {"what": self.what, "now": self.now, "after": self.after, "way": self.way.value, "back": self.back}

    def scrub(self, clean: Callable[[str], str]) -> Mutation:
        """Return the change with each text passed through ``clean``, because a value in the cluster may be a credential."""
        return Mutation.of({**{key: clean(value) for key, value in self.body.items()}, "way": self.way.value})

    @classmethod
    def of(cls, body: Mapping[str, str]) -> Mutation:
        """Read what ``body`` gave."""
        return cls(**{**body, "way": Way(body["way"])})  # type: ignore[arg-type]  # the keys are those of `body`


@dataclass(frozen=True)
class PlanDifference:
    """A change of a plan that is not the one that people saw."""

    before: Mutation | None  # what they saw; None: nothing
    current: Mutation | None  # what is there now; None: no change any more


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
    planned_changes: tuple[Mutation, ...] | None = (
        None  # what it is to change, as seen before the plan began; None: not looked
    )
    intended_changes: tuple[
        Mutation, ...
    ] = ()  # what it was about to change, in any attempt, as `changes_of_journal` says; not what was refused
    applied_changes: tuple[Mutation, ...] = ()  # of these the ones that its journal says are made
    unfinished_jobs: tuple[str, ...] = ()  # Jobs that it has started and whose end nobody has seen, by name
    attempt: int = 1  # rises with each retry
    started_at: datetime | None = None  # of a person's: since when the plan waits for it
    finished_at: datetime | None = None
    by: UserId | None = None  # who attested
    note: str = ""

    @property
    def is_unconfirmed(self) -> bool:
        """Whether a person attested the step and the bot could not check the effect, as it would have."""
        return self.state is StepState.ATTESTED and self.summary.startswith(UNCONFIRMED_PREFIX)


def changes_of_journal(entries: Iterable[tuple[str, Sequence[Mutation]]]) -> dict[str, tuple[Mutation, ...]]:
    """The fields ``intended_changes`` and ``applied_changes`` of a step, by its journal.

    ``entries``: the kind of each entry with the changes that it names, the oldest first.
    """
    applied_by_change: dict[Mutation, bool] = {}  # whether it is made
    for entry, changes in entries:
        for change in changes:
            if entry == "observed":
                applied_by_change.pop(change, None)  # it was refused
            else:
                applied_by_change[change] = applied_by_change.get(change, False) or entry == "acted"
    return {
        "intended_changes": tuple(applied_by_change),
        "applied_changes": tuple(change for change, is_applied in applied_by_change.items() if is_applied),
    }


def next_step(steps: Sequence[Step], plan: PlanKind, specs: Sequence[StepSpec]) -> Step | None:
    """The step to do now, by the bot or, TO_ATTEST, by a person; None: the plan is complete or stands at a failed one.

    ``specs`` say at which steps it waits for nobody: those that somebody may decide on, and messages at its end.
    """
    optional_ids = {spec.id for spec in specs if isinstance(spec.action, BESIDE_THE_PLAN)}
    for step in sorted((step for step in steps if step.plan is plan), key=lambda step: step.ordinal):
        if step.state in {StepState.PENDING, StepState.RUNNING}:
            return step
        if step.state is StepState.TO_ATTEST and step.id not in optional_ids:
            return step
        if step.state in {StepState.FAILED, StepState.CANCELLED}:
            return None
    return None


class Doubt(StrEnum):
    """Why nobody can say what has become of a change."""

    BY_HAND = "by hand"  # a person did the step
    UNSEEN = "unseen"  # the step did not end well
    RUNNING = "running"  # its end was not seen, so it may still go on


@dataclass(frozen=True)
class LastingChange:
    """A change that a rollback leaves in place."""

    what: str
    way: Way
    back: str = ""  # of the Mutation; empty: nobody planned it
    doubt: Doubt | None = None  # None: it is certain to be there


def lasting_changes(steps: Sequence[Step], specs: Sequence[StepSpec]) -> tuple[LastingChange, ...]:
    """Return the changes of the deploy steps, described by ``specs``, that a rollback leaves in place; the worst first.

    By the journal, because a retry plans anew and what the attempt before it has changed is no longer planned.
    """
    specs_by_id = {spec.id: spec for spec in specs}
    deploy = sorted((step for step in steps if step.plan is PlanKind.DEPLOY), key=lambda step: step.ordinal)
    running = [
        LastingChange(f"job/{name}", Way.UNKNOWN, doubt=Doubt.RUNNING)
        for step in deploy
        for name in step.unfinished_jobs
    ]
    changes = [
        change for step in deploy if step.id in specs_by_id for change in _lasting_of(step, specs_by_id[step.id])
    ]
    return (*running, *sorted(changes, key=lambda change: _WORST_FIRST.index(change.way)))


_WORST_FIRST = (Way.FINAL, Way.UNKNOWN, Way.COMPATIBLE)


def _lasting_of(step: Step, spec: StepSpec) -> Iterator[LastingChange]:
    """Yield the changes of one deploy step that a rollback leaves in place; uncertain where a person did it or it did not end well."""
    changes, doubt = dict.fromkeys(step.intended_changes), Doubt.UNSEEN
    if step.state is StepState.ATTESTED:
        changes, doubt = dict.fromkeys((*step.intended_changes, *(step.planned_changes or ()))), Doubt.BY_HAND
        if isinstance(spec.action, AttestAction) or (not changes and step.planned_changes is None):
            yield LastingChange(spec.title, Way.UNKNOWN, doubt=doubt)
            return
    for change in changes:
        if change.way is Way.BACK:
            continue
        if step.state is StepState.DONE or change in step.applied_changes:
            yield LastingChange(change.what, change.way, change.back)
        else:
            way = Way.FINAL if change.way is Way.FINAL else Way.UNKNOWN
            yield LastingChange(change.what, way, change.back, doubt)


def failed_step(steps: Sequence[Step], plan: PlanKind) -> Step | None:
    """The step at which the plan stopped, or None."""
    return next((step for step in steps if step.plan is plan and step.state is StepState.FAILED), None)
