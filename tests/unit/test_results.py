"""What a check counts as."""

from datetime import timedelta

import pytest

from bot.domain.results import CheckStatus, CheckView, RunState, check_status
from checks.contract import Outcome
from tests.unit.factories import NOW, ago, make_check_view, make_result, make_waiver

AGE = timedelta(hours=4)
PASS, FAIL = make_result(), make_result(outcome=Outcome.FAIL)
OLD = make_result(finished_at=ago(241))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (make_check_view(), CheckStatus.MISSING),
        (make_check_view(result=PASS), CheckStatus.PASSED),
        (make_check_view(result=make_result(finished_at=ago(240))), CheckStatus.PASSED),
        (make_check_view(result=OLD), CheckStatus.EXPIRED),
        (make_check_view(result=FAIL), CheckStatus.FAILED),
        (make_check_view(result=make_result(outcome=Outcome.ERROR)), CheckStatus.ERROR),
        (make_check_view(result=make_result(outcome=Outcome.INCONCLUSIVE)), CheckStatus.INCONCLUSIVE),
        (make_check_view(waiver=make_waiver()), CheckStatus.WAIVED),
        (make_check_view(result=FAIL, waiver=make_waiver()), CheckStatus.WAIVED),
        (make_check_view(result=OLD, waiver=make_waiver()), CheckStatus.WAIVED),
        (make_check_view(result=PASS, waiver=make_waiver()), CheckStatus.PASSED),
        (make_check_view(result=PASS, running=RunState.WAITING), CheckStatus.WAITING),
        (make_check_view(result=PASS, running=RunState.RUNNING), CheckStatus.RUNNING),
        (make_check_view(waiver=make_waiver(), running=RunState.RUNNING), CheckStatus.RUNNING),
    ],
)
def test_check_status(view: CheckView, expected: CheckStatus) -> None:
    """A running check has no other status, a fresh pass needs no waiver, and a waiver covers everything else."""
    assert check_status(view, AGE, NOW) is expected


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE])
def test_a_bad_result_does_not_expire(outcome: Outcome) -> None:
    """A result that is not PASS keeps its status however old it is."""
    fresh = make_check_view(result=make_result(outcome=outcome))
    old = make_check_view(result=make_result(outcome=outcome, finished_at=ago(1000)))
    assert check_status(old, AGE, NOW) is check_status(fresh, AGE, NOW)
