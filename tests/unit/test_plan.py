"""Which step is next, and where a plan stands."""

from dataclasses import replace

import pytest

from bot.domain.actions import StepSpec
from bot.domain.ids import StepId
from bot.domain.plan import (
    Mutation,
    PlanDifference,
    PlanKind,
    Step,
    StepState,
    Way,
    changes_of_journal,
    failed_step,
    lasting_changes,
    next_step,
)
from bot.domain.plan_snapshot import PlanSnapshot, differences, from_body, plan_digest, to_body
from bot.texts.plan import MAX_LINES, lasting_text, list_differences
from tests.unit.factories import make_checklist, make_steps

PENDING, RUNNING, DONE, FAILED = StepState.PENDING, StepState.RUNNING, StepState.DONE, StepState.FAILED
TO_ATTEST, ATTESTED, CANCELLED = StepState.TO_ATTEST, StepState.ATTESTED, StepState.CANCELLED


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([PENDING, PENDING, PENDING], 1),
        ([DONE, PENDING, PENDING], 2),
        ([DONE, RUNNING, PENDING], 2),
        ([TO_ATTEST, PENDING, PENDING], 1),
        ([ATTESTED, PENDING, PENDING], 2),
        ([ATTESTED, DONE, TO_ATTEST], None),
        ([DONE, FAILED, PENDING], None),
        ([DONE, CANCELLED, CANCELLED], None),
    ],
)
def test_the_next_step_is_the_first_that_is_not_done(states: list[StepState], expected: int | None) -> None:
    """A step for a person and a failed step stop the plan; a step that people may decide on does not."""
    offer = StepSpec(id="deploy.off", title="Off", action={"do": "set_variable", "name": "MODE", "value": "off"})
    specs = (*make_checklist().deploy[:2], offer)
    steps = make_steps(PlanKind.DEPLOY, make_checklist(deploy=specs), states)
    step = next_step(steps[::-1], PlanKind.DEPLOY, specs)
    assert (step.ordinal if step else None) == expected


def test_a_failed_deploy_does_not_stop_its_rollback() -> None:
    """The steps of deploy and rollback are looked at apart."""
    checklist = make_checklist()
    steps = make_steps(PlanKind.DEPLOY, checklist, [FAILED]) + make_steps(PlanKind.ROLLBACK, checklist, [PENDING])
    step = next_step(steps, PlanKind.ROLLBACK, checklist.rollback)
    assert step is not None
    assert step.id == "rollback.backend"
    assert next_step(steps, PlanKind.DEPLOY, checklist.deploy) is None


def test_the_failed_step_of_a_plan_is_found() -> None:
    """The failed step is that of the given plan, or none."""
    steps = make_steps(PlanKind.DEPLOY, make_checklist(), [DONE, FAILED])
    step = failed_step(steps, PlanKind.DEPLOY)
    assert step is not None
    assert step.ordinal == 2
    assert failed_step(steps, PlanKind.ROLLBACK) is None


CHECKLIST = make_checklist()
ADD = Mutation("migration 1.sql", "", "applied", Way.COMPATIBLE, "stays: declared additive")
DROP = Mutation("migration 2.sql", "", "applied", Way.FINAL, "cannot be taken back: declared breaking")
IMAGE = Mutation("image of deployment/api", "api:1", "api:2", Way.BACK, "back to revision 7")


def lasting_lines(state: StepState, **changes: object) -> list[str]:
    """The changes that a rollback leaves in place if the second step, which sets an image, is in ``state``."""
    first, second, *_ = make_steps(PlanKind.DEPLOY, CHECKLIST, [TO_ATTEST, state])
    steps: list[Step] = [first, replace(second, **changes)]  # type: ignore[arg-type]
    return [
        f"{change.way} {change.what}: {lasting_text(change)}" for change in lasting_changes(steps, CHECKLIST.deploy)
    ]


@pytest.mark.parametrize("state", [RUNNING, FAILED, CANCELLED, PENDING])
def test_a_change_is_unknown_until_its_end_is_in_the_journal(state: StepState) -> None:
    """A change that was begun is unknown; one that was made stays made; a planned one changes nothing."""
    assert lasting_lines(DONE, intended_changes=(ADD, IMAGE, DROP)) == [
        f"final {DROP.what}: {DROP.back}",
        f"stays {ADD.what}: {ADD.back}",
    ]
    assert lasting_lines(state, intended_changes=(ADD, DROP, ADD), applied_changes=(ADD,), planned_changes=(DROP,)) == [
        "final migration 2.sql: unknown whether it was done: check first. If it was, it cannot be taken back: declared breaking",
        "stays migration 1.sql: stays: declared additive",
    ]
    assert lasting_lines(state, intended_changes=(ADD,)) == [
        "unknown migration 1.sql: unknown whether it was done: check first. If it was, it stays: declared additive"
    ]
    assert lasting_lines(state, planned_changes=(ADD, DROP)) == []


def test_a_job_with_an_unknown_end_is_listed_first() -> None:
    """A Job that may still run is listed first, as it may change something during the rollback."""
    changes = lasting_lines(CANCELLED, intended_changes=(DROP,), unfinished_jobs=("migrate-1",))
    assert [line.partition(":")[0] for line in changes] == ["unknown job/migrate-1", "final migration 2.sql"]


def test_the_journal_says_which_changes_were_made() -> None:
    """A refused change was not made unless it was tried again, and a made one stays made."""
    intent, observation, act = ("intent", [ADD, DROP]), ("observed", [DROP]), ("acted", [ADD])
    assert changes_of_journal([intent, observation, act]) == {"intended_changes": (ADD,), "applied_changes": (ADD,)}
    assert changes_of_journal([intent, act, observation, intent]) == {
        "intended_changes": (ADD, DROP),
        "applied_changes": (ADD,),
    }


def test_a_change_made_by_hand_is_unknown() -> None:
    """A step that a person did is unknown, whether the bot had tried it, or had a plan for it, or not."""
    by_hand = "unknown, because it was done by hand: check first"
    assert lasting_lines(ATTESTED, intended_changes=(ADD,), planned_changes=(ADD, IMAGE)) == [
        f"unknown migration 1.sql: {by_hand}. As planned, it stays: declared additive"
    ]
    assert lasting_lines(ATTESTED, planned_changes=(IMAGE,)) == lasting_lines(ATTESTED, planned_changes=()) == []
    assert lasting_lines(ATTESTED) == [f"unknown Deploy backend: {by_hand}"]
    own = make_steps(PlanKind.DEPLOY, CHECKLIST, [ATTESTED])
    assert [change.what for change in lasting_changes(own, CHECKLIST.deploy)] == ["Create release tag"]


TAG, FRONTEND, JOBS = StepId("deploy.tag"), StepId("deploy.frontend"), StepId("deploy.jobs")
SET = Mutation("image", "a", "c", Way.BACK, "back to a")
SNAPSHOT: PlanSnapshot = {TAG: None, FRONTEND: (SET,), JOBS: ()}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (SNAPSHOT, []),
        ({}, []),  # a step that a person has done meanwhile
        ({FRONTEND: None}, []),
        ({TAG: ()}, []),
        ({TAG: (SET,)}, ["image: a → c (not shown)"]),
        ({JOBS: (replace(SET, now=""),)}, ["image: nothing → c (not shown)"]),
        ({FRONTEND: ()}, ["image: no longer changes (shown: a → c)"]),
        ({FRONTEND: (replace(SET, now="b", back="back to b"),)}, ["image: b → c (shown: a → c)"]),
        ({FRONTEND: (replace(SET, back="back to b"),)}, ["image: back to b (shown: back to a)"]),
        ({FRONTEND: (replace(SET, way=Way.FINAL, back="no"),)}, ["image: no (shown: back to a)"]),
    ],
)
def test_differences_from_the_plan_that_people_saw_are_named(now: PlanSnapshot, expected: list[str]) -> None:
    """A changed value, another rollback, a new and a missing change are named; an unknown one is not."""
    assert list_differences(differences(from_body(to_body(SNAPSHOT)), now)) == expected
    assert (plan_digest({**SNAPSHOT, **now}) == plan_digest(SNAPSHOT)) is (now in (SNAPSHOT, {}))


def test_a_message_names_some_differences_and_counts_the_others() -> None:
    """A message names a limited number of differences and counts the rest."""
    several = [PlanDifference(None, replace(SET, what=str(number))) for number in range(MAX_LINES + 2)]
    assert list_differences(several)[MAX_LINES:] == ["and 2 more"]
    assert len(list_differences(several[:MAX_LINES])) == MAX_LINES
