"""Which step is next, and where a plan stands."""

from dataclasses import replace

import pytest

from bot.domain.actions import StepSpec
from bot.domain.ids import StepId
from bot.domain.plan import Mutation, PlanKind, Step, StepState, Way, done, failed_step, lasting, next_step
from bot.domain.plan_snapshot import MAX_LINES, PlanSnapshot, differences, from_body, limit_lines, plan_digest, to_body
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
def test_next(states: list[StepState], expected: int | None) -> None:
    """In order; a person's step and a failed one hold up the plan, what somebody may decide on does not."""
    offer = StepSpec(id="deploy.off", title="Off", action={"do": "set_variable", "name": "MODE", "value": "off"})
    specs = (*make_checklist().deploy[:2], offer)
    steps = make_steps(PlanKind.DEPLOY, make_checklist(deploy=specs), states)
    found = next_step(steps[::-1], PlanKind.DEPLOY, specs)
    assert (found.ordinal if found else None) == expected


def test_plans_do_not_mix() -> None:
    """A failed deploy does not stop its rollback."""
    checklist = make_checklist()
    steps = make_steps(PlanKind.DEPLOY, checklist, [FAILED]) + make_steps(PlanKind.ROLLBACK, checklist, [PENDING])
    found = next_step(steps, PlanKind.ROLLBACK, checklist.rollback)
    assert found is not None
    assert found.id == "rollback.backend"
    assert next_step(steps, PlanKind.DEPLOY, checklist.deploy) is None


def test_failed() -> None:
    """The step at which it stopped."""
    steps = make_steps(PlanKind.DEPLOY, make_checklist(), [DONE, FAILED])
    found = failed_step(steps, PlanKind.DEPLOY)
    assert found is not None
    assert found.ordinal == 2
    assert failed_step(steps, PlanKind.ROLLBACK) is None


CHECKLIST = make_checklist()
ADD = Mutation("migration 1.sql", "", "applied", Way.STAYS, "stays: declared additive")
DROP = Mutation("migration 2.sql", "", "applied", Way.FINAL, "cannot be taken back: declared breaking")
IMAGE = Mutation("image of deployment/api", "api:1", "api:2", Way.BACK, "back to revision 7")


def left(state: StepState, **changes: object) -> list[str]:
    """What a rollback leaves where the second step, which sets an image, stands in ``state``."""
    first, second, *_ = make_steps(PlanKind.DEPLOY, CHECKLIST, [TO_ATTEST, state])
    steps: list[Step] = [first, replace(second, **changes)]  # type: ignore[arg-type]
    return [f"{change.way} {change.what}: {change.back}" for change in lasting(steps, CHECKLIST.deploy)]


@pytest.mark.parametrize("state", [RUNNING, FAILED, CANCELLED, PENDING])
def test_what_was_begun_is_unknown_until_its_end_was_seen(state: StepState) -> None:
    """By the journal, in every attempt; what it says is made is made, whatever became of the step. A plan alone changes nothing."""
    assert left(DONE, begun=(ADD, IMAGE, DROP)) == [f"final {DROP.what}: {DROP.back}", f"stays {ADD.what}: {ADD.back}"]
    assert left(state, begun=(ADD, DROP, ADD), made=(ADD,), planned=(DROP,)) == [
        "final migration 2.sql: unknown whether it was done: look before. If it was, it cannot be taken back: declared breaking",
        "stays migration 1.sql: stays: declared additive",
    ]
    assert left(state, begun=(ADD,)) == [
        "unknown migration 1.sql: unknown whether it was done: look before. If it was, it stays: declared additive"
    ]
    assert left(state, planned=(ADD, DROP)) == []


def test_a_job_whose_end_nobody_saw_comes_first() -> None:
    """It may still change something while the rollback begins."""
    named = left(CANCELLED, begun=(DROP,), unended=("migrate-1",))
    assert [line.partition(":")[0] for line in named] == ["unknown job/migrate-1", "final migration 2.sql"]


def test_what_a_journal_says_is_done() -> None:
    """A change that was refused is not there, unless it was tried again; one that is made stays made."""
    tried, refused, made = ("intent", [ADD, DROP]), ("observed", [DROP]), ("acted", [ADD])
    assert done([tried, refused, made]) == {"begun": (ADD,), "made": (ADD,)}
    assert done([tried, made, refused, tried]) == {"begun": (ADD, DROP), "made": (ADD,)}


def test_what_was_done_by_hand_is_unknown() -> None:
    """The bot failed at it and a person went on; or it is a person's step; or nobody saw what it would change."""
    by_hand = "unknown, for it was done by hand: look before"
    assert left(ATTESTED, begun=(ADD,), planned=(ADD, IMAGE)) == [
        f"unknown migration 1.sql: {by_hand}. As planned, it stays: declared additive"
    ]
    assert left(ATTESTED, planned=(IMAGE,)) == left(ATTESTED, planned=()) == []
    assert left(ATTESTED) == [f"unknown Deploy backend: {by_hand}"]
    own = make_steps(PlanKind.DEPLOY, CHECKLIST, [ATTESTED])
    assert [change.what for change in lasting(own, CHECKLIST.deploy)] == ["Create release tag"]


TAG, FRONTEND, JOBS = StepId("deploy.tag"), StepId("deploy.frontend"), StepId("deploy.jobs")
SET = Mutation("image", "a", "c", Way.BACK, "back to a")
SHOWN: PlanSnapshot = {TAG: None, FRONTEND: (SET,), JOBS: ()}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (SHOWN, []),
        ({}, []),  # a step that a person has done meanwhile
        ({FRONTEND: None}, []),
        ({TAG: ()}, []),
        ({TAG: (SET,)}, ["image: a → c (not shown)"]),
        ({JOBS: (replace(SET, now=""),)}, ["image: nothing → c (not shown)"]),
        ({FRONTEND: ()}, ["image: no change any more (shown: a → c)"]),
        ({FRONTEND: (replace(SET, now="b", back="back to b"),)}, ["image: b → c (shown: a → c)"]),
        ({FRONTEND: (replace(SET, back="back to b"),)}, ["image: back to b (shown: back to a)"]),
        ({FRONTEND: (replace(SET, way=Way.FINAL, back="no"),)}, ["image: no (shown: back to a)"]),
    ],
)
def test_what_is_not_as_it_was_shown(now: PlanSnapshot, expected: list[str]) -> None:
    """Values, what takes it back, what is new and what is gone; nothing that nobody can see."""
    assert differences(from_body(to_body(SHOWN)), now) == expected
    assert (plan_digest({**SHOWN, **now}) == plan_digest(SHOWN)) is (now in (SHOWN, {}))


def test_a_message_names_some_differences_and_counts_the_others() -> None:
    """As many as are read."""
    lines = [str(number) for number in range(MAX_LINES + 2)]
    assert limit_lines(lines)[MAX_LINES:] == ["and 2 more"]
    assert limit_lines(lines[:MAX_LINES]) == lines[:MAX_LINES]
