"""Which step is next, and where a plan stands."""

import pytest

from bot.domain.plan import PlanKind, StepState, failed_step, next_step
from tests.unit.factories import make_checklist, make_steps

PENDING, RUNNING, DONE, FAILED = StepState.PENDING, StepState.RUNNING, StepState.DONE, StepState.FAILED
TO_ATTEST, ATTESTED, CANCELLED = StepState.TO_ATTEST, StepState.ATTESTED, StepState.CANCELLED


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([PENDING, PENDING, PENDING], 1),
        ([DONE, PENDING, PENDING], 2),
        ([DONE, RUNNING, PENDING], 2),
        ([TO_ATTEST, PENDING, PENDING], 2),
        ([ATTESTED, TO_ATTEST, PENDING], 3),
        ([DONE, FAILED, PENDING], None),
        ([DONE, CANCELLED, CANCELLED], None),
        ([DONE, DONE, TO_ATTEST], None),
    ],
)
def test_next(states: list[StepState], expected: int | None) -> None:
    """In order; a person's step does not hold up the plan, a failed one does."""
    steps = make_steps(PlanKind.DEPLOY, make_checklist(), states)
    found = next_step(steps[::-1], PlanKind.DEPLOY)
    assert (found.ordinal if found else None) == expected


def test_plans_do_not_mix() -> None:
    """A failed deploy does not stop its rollback."""
    checklist = make_checklist()
    steps = make_steps(PlanKind.DEPLOY, checklist, [FAILED]) + make_steps(PlanKind.ROLLBACK, checklist, [PENDING])
    found = next_step(steps, PlanKind.ROLLBACK)
    assert found is not None
    assert found.id == "rollback.backend"
    assert next_step(steps, PlanKind.DEPLOY) is None


def test_failed() -> None:
    """The step at which it stopped."""
    steps = make_steps(PlanKind.DEPLOY, make_checklist(), [DONE, FAILED])
    found = failed_step(steps, PlanKind.DEPLOY)
    assert found is not None
    assert found.ordinal == 2
    assert failed_step(steps, PlanKind.ROLLBACK) is None
