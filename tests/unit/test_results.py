"""What a check counts as."""

from datetime import timedelta

import pytest

from bot.domain.results import CheckView, Running, Standing, standing
from checks.contract import Outcome
from tests.unit.factories import NOW, ago, make_check_view, make_result, make_waiver

AGE = timedelta(hours=4)
PASS, FAIL = make_result(), make_result(outcome=Outcome.FAIL)
OLD = make_result(finished_at=ago(241))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (make_check_view(), Standing.MISSING),
        (make_check_view(result=PASS), Standing.PASSED),
        (make_check_view(result=make_result(finished_at=ago(240))), Standing.PASSED),
        (make_check_view(result=OLD), Standing.EXPIRED),
        (make_check_view(result=FAIL), Standing.FAILED),
        (make_check_view(result=make_result(outcome=Outcome.ERROR)), Standing.ERROR),
        (make_check_view(result=make_result(outcome=Outcome.INCONCLUSIVE)), Standing.INCONCLUSIVE),
        (make_check_view(waiver=make_waiver()), Standing.WAIVED),
        (make_check_view(result=FAIL, waiver=make_waiver()), Standing.WAIVED),
        (make_check_view(result=OLD, waiver=make_waiver()), Standing.WAIVED),
        (make_check_view(result=PASS, waiver=make_waiver()), Standing.PASSED),
        (make_check_view(result=PASS, running=Running.WAITING), Standing.WAITING),
        (make_check_view(result=PASS, running=Running.RUNNING), Standing.RUNNING),
        (make_check_view(waiver=make_waiver(), running=Running.RUNNING), Standing.RUNNING),
    ],
)
def test_standing(view: CheckView, expected: Standing) -> None:
    """A run under way hides all; a fresh pass needs no waiver; a waiver covers everything else."""
    assert standing(view, AGE, NOW) is expected


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE])
def test_a_bad_answer_does_not_expire_into_a_better_one(outcome: Outcome) -> None:
    """It stays what it was."""
    fresh = make_check_view(result=make_result(outcome=outcome))
    old = make_check_view(result=make_result(outcome=outcome, finished_at=ago(1000)))
    assert standing(old, AGE, NOW) is standing(fresh, AGE, NOW)
