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


def state(check_id: CheckId, running: RunState = RunState.IDLE, outcome: Outcome | None = Outcome.PASS) -> CheckView:
    """A check that does this, with a latest result of that outcome."""
    result = None if outcome is None else make_result(check_id, outcome, finished_at=NOW)
    return make_check_view(check_id, result, running=running)


def nothing(_: Check) -> Requirements:
    """A check takes nothing."""
    return Requirements()


def turn_of_last(first: CheckView, second: CheckView) -> Turn:
    """What the last check may do, which needs the two others."""
    states = {FIRST: first, SECOND: second, LAST: state(LAST, RunState.WAITING, None)}
    return decide_turn(CHECKS[2], states, CHECKS, nothing)


def test_it_begins_once_all_that_it_needs_has_passed() -> None:
    """Nothing else is in the way."""
    assert turn_of_last(state(FIRST), state(SECOND)).may_begin


@pytest.mark.parametrize("running", [RunState.WAITING, RunState.RUNNING])
def test_it_waits_for_what_it_needs(running: RunState) -> None:
    """Also where an older result of that is a PASS, and where another one has failed already: all are awaited."""
    assert turn_of_last(state(FIRST), state(SECOND, running)) == Turn(pending_needs=(SECOND,))
    assert turn_of_last(state(FIRST, outcome=Outcome.FAIL), state(SECOND, running)) == Turn(pending_needs=(SECOND,))


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE, None])
def test_it_is_skipped_when_something_that_it_needs_has_not_passed(outcome: Outcome | None) -> None:
    """Unknown is not a pass (promise P2); the first one is named."""
    assert turn_of_last(state(FIRST), state(SECOND, outcome=outcome)) == Turn(failed_need=SECOND)
    assert turn_of_last(state(FIRST, outcome=outcome), state(SECOND, outcome=outcome)) == Turn(failed_need=FIRST)


@pytest.mark.parametrize(
    ("own", "other", "apart"),
    [
        (ALONE, ALONE, True),
        (ALONE, LOOKING, True),
        (LOOKING, ALONE, True),
        (LOOKING, LOOKING, False),
        (ALONE, ELSEWHERE, False),
        (ALONE, Requirements(), False),
    ],
)
def test_what_must_not_run_at_the_same_time(own: Requirements, other: Requirements, apart: bool) -> None:
    """It waits for one that runs, not for one that waits, and is woken when that one ends."""
    requirements: Mapping[CheckId, Requirements] = {FIRST: own, SECOND: other, LAST: Requirements()}
    states = {FIRST: state(FIRST, RunState.WAITING), SECOND: state(SECOND, RunState.RUNNING), LAST: state(LAST)}
    turn = decide_turn(CHECKS[0], states, CHECKS, lambda check: requirements[check.id])
    assert turn == Turn(conflicts=(SECOND,) if apart else ())
    woken = list(find_woken(CHECKS[1], states, CHECKS, lambda check: requirements[check.id]))
    assert woken == ([FIRST] if apart else [])
    states[SECOND] = state(SECOND, RunState.WAITING)
    assert decide_turn(CHECKS[0], states, CHECKS, lambda check: requirements[check.id]).may_begin


def test_who_needs_what_has_ended_is_woken() -> None:
    """As long as it waits."""
    states = {check.id: state(check.id, RunState.WAITING) for check in CHECKS}
    assert list(find_woken(CHECKS[0], states, CHECKS, nothing)) == [LAST]
    states[LAST] = state(LAST, RunState.RUNNING)
    assert list(find_woken(CHECKS[0], states, CHECKS, nothing)) == []
