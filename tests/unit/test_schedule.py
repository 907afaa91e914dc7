"""Whose turn it is: what is needed first, what must not run at the same time, what is skipped."""

from collections.abc import Mapping

import pytest

from bot.domain.checklist import Check
from bot.domain.ids import CheckId
from bot.domain.results import CheckView, RunState
from bot.domain.schedule import Requirements, Turn, decide_turn, find_woken
from checks.outcome import Outcome
from tests.unit.factories import NOW, make_check, make_check_view, make_result

FIRST, SECOND, LAST = (CheckId(f"go.{name}") for name in ("first", "second", "last"))
CHECKS = (make_check(FIRST), make_check(SECOND), make_check(LAST, needs=(FIRST, SECOND)))
ALONE = Requirements(exclusive=frozenset({"staging/tenant"}))
LOOKING = Requirements(shared=frozenset({"staging/tenant"}))
ELSEWHERE = Requirements(exclusive=frozenset({"production/tenant"}))


def state_of(check_id: CheckId, running: RunState = RunState.IDLE, outcome: Outcome | None = Outcome.PASS) -> CheckView:
    """A check in this state whose latest result has this outcome."""
    result = None if outcome is None else make_result(check_id, outcome, finished_at=NOW)
    return make_check_view(check_id, result, running=running)


def no_requirements(_: Check) -> Requirements:
    """The requirements of a check that uses no resource."""
    return Requirements()


def turn_of_last(first: CheckView, second: CheckView) -> Turn:
    """The turn of the last check, which needs the two others."""
    states = {FIRST: first, SECOND: second, LAST: state_of(LAST, RunState.WAITING, None)}
    return decide_turn(CHECKS[2], states, CHECKS, no_requirements)


def test_a_check_may_begin_once_all_its_needs_have_passed() -> None:
    """A check whose needs have all passed may begin."""
    assert turn_of_last(state_of(FIRST), state_of(SECOND)).may_begin


@pytest.mark.parametrize("running", [RunState.WAITING, RunState.RUNNING])
def test_a_check_waits_until_all_its_needs_have_ended(running: RunState) -> None:
    """A check waits for a need that is running or waiting, even if its older result is a PASS or another need has
    failed.
    """
    assert turn_of_last(state_of(FIRST), state_of(SECOND, running)) == Turn(pending_needs=(SECOND,))
    assert turn_of_last(state_of(FIRST, outcome=Outcome.FAIL), state_of(SECOND, running)) == Turn(
        pending_needs=(SECOND,)
    )


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE, None])
def test_a_check_is_skipped_if_a_need_has_not_passed(outcome: Outcome | None) -> None:
    """A check is skipped if a need has any other outcome than PASS or none (promise P2), and the first such need is
    named.
    """
    assert turn_of_last(state_of(FIRST), state_of(SECOND, outcome=outcome)) == Turn(failed_need=SECOND)
    assert turn_of_last(state_of(FIRST, outcome=outcome), state_of(SECOND, outcome=outcome)) == Turn(failed_need=FIRST)


@pytest.mark.parametrize(
    ("own", "other", "excludes"),
    [
        (ALONE, ALONE, True),
        (ALONE, LOOKING, True),
        (LOOKING, ALONE, True),
        (LOOKING, LOOKING, False),
        (ALONE, ELSEWHERE, False),
        (ALONE, Requirements(), False),
    ],
)
def test_checks_that_exclude_each_other_do_not_run_at_the_same_time(
    own: Requirements, other: Requirements, excludes: bool
) -> None:
    """A check waits for a running check whose requirements exclude its own, and is woken when that one ends; it does
    not wait for a waiting one.
    """
    requirements: Mapping[CheckId, Requirements] = {FIRST: own, SECOND: other, LAST: Requirements()}
    states = {
        FIRST: state_of(FIRST, RunState.WAITING),
        SECOND: state_of(SECOND, RunState.RUNNING),
        LAST: state_of(LAST),
    }
    turn = decide_turn(CHECKS[0], states, CHECKS, lambda check: requirements[check.id])
    assert turn == Turn(conflicts=(SECOND,) if excludes else ())
    woken_checks = list(find_woken(CHECKS[1], states, CHECKS, lambda check: requirements[check.id]))
    assert woken_checks == ([FIRST] if excludes else [])
    states[SECOND] = state_of(SECOND, RunState.WAITING)
    assert decide_turn(CHECKS[0], states, CHECKS, lambda check: requirements[check.id]).may_begin


def test_a_waiting_check_is_woken_when_its_need_ends() -> None:
    """The end of a check wakes the checks that need it and wait, and no others."""
    states = {check.id: state_of(check.id, RunState.WAITING) for check in CHECKS}
    assert list(find_woken(CHECKS[0], states, CHECKS, no_requirements)) == [LAST]
    states[LAST] = state_of(LAST, RunState.RUNNING)
    assert list(find_woken(CHECKS[0], states, CHECKS, no_requirements)) == []
