"""PlanSnapshot: the plan of a deploy as people saw it, its digest, and how another look at the world differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.domain.ids import StepId
from bot.domain.model import digest_of
from bot.domain.plan import Mutation, PlanDifference

PlanSnapshot = Mapping[StepId, Sequence[Mutation] | None]  # by step: what it changes; None: that could not be seen


def to_body(plan: PlanSnapshot) -> dict[str, Any]:
    """Return the snapshot as JSON, with the steps that change something; ``from_body`` reads it back."""
    bodies = {step: None if changes is None else [change.body for change in changes] for step, changes in plan.items()}
    return {step: changes for step, changes in bodies.items() if changes != []}


def from_body(body: Mapping[str, Any]) -> PlanSnapshot:
    """Read what ``to_body`` returned."""
    return {
        StepId(step): None if changes is None else tuple(Mutation.of(change) for change in changes)
        for step, changes in body.items()
    }


def plan_digest(plan: PlanSnapshot) -> str:
    """Return a digest that is the same for the same changes of the same steps."""
    return digest_of(to_body(plan))


def differences(snapshot: PlanSnapshot, current: PlanSnapshot) -> list[PlanDifference]:
    """Return how the steps of ``current`` differ from the snapshot; empty when they do not.

    A step that is missing in ``current``, or whose changes could not be seen now, does not count as a difference.
    """
    return [
        difference
        for step, changes in current.items()
        if changes is not None
        for difference in _step_differences(snapshot.get(step) or (), changes)
    ]


def _step_differences(before: Sequence[Mutation], current: Sequence[Mutation]) -> Iterator[PlanDifference]:
    remaining_changes = {change.what: change for change in before}
    for change in current:
        old = remaining_changes.pop(change.what, None)
        if old != change:
            yield PlanDifference(old, change)
    for old in remaining_changes.values():
        yield PlanDifference(old, None)
