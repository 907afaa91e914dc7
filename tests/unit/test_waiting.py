"""For what a deployed release waits for people, and when they are reminded."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.break_glass import REVIEWED_IN
from bot.domain.release import ReleaseState
from bot.domain.view import BreakGlass
from bot.domain.waiting import ReleaseWait, WaitReason, find_wait
from bot.texts.waiting import wait_problem, wait_way_on
from tests.unit.factories import NOW, QUINN, RITA, ago, in_state, make_alarm, make_watch, render_stored
from tests.unit.slack_rules import assert_slack_accepts

WATCH_WITH_ALARMS = make_watch(alarms=(make_alarm(acknowledged_by=QUINN), make_alarm(at=ago(7)), make_alarm(at=ago(3))))


@pytest.mark.parametrize(
    ("state", "since", "what"),
    [
        (ReleaseState.DEPLOY_FAILED, ago(11), "the deploy is blocked at: Deploy backend"),
        (ReleaseState.ROLLBACK_FAILED, ago(11), "the rollback is blocked at: Restore backend"),
        (ReleaseState.DEPLOYING, ago(12), "the deploy is still running: Deploy backend"),
        (ReleaseState.ROLLING_BACK, ago(12), "the rollback is still running: Restore backend"),
        (ReleaseState.WATCHING, ago(7), "nobody has answered the alarm API-17 and 1 more"),
    ],
)
def test_a_release_that_waits_for_people_says_since_when_and_why(state: ReleaseState, since: object, what: str) -> None:
    """The reason is a failed step, a step that runs too long, or the oldest alarm; the notice names people and choices."""
    view = in_state(state)
    view = replace(view, watch=WATCH_WITH_ALARMS) if state is ReleaseState.WATCHING else view
    wait = find_wait(view)
    assert wait is not None
    assert (wait.since, wait_problem(wait)) == (since, what)
    notice = render_stored("notice", f"waiting:{int(wait.since.timestamp())}:1", view)
    assert_slack_accepts(notice)
    assert "<@U0RITA0001>: SOLVEREIGN v4.8.0 has been waiting since" in notice.text
    assert f"{what}. {wait_way_on(wait)}" in notice.text
    other = render_stored("notice", "waiting:1:1", view)
    assert other.text == "SOLVEREIGN v4.8.0 no longer waits for anybody."


@pytest.mark.parametrize("state", ReleaseState)
def test_a_release_waits_for_the_review_of_its_break_glass(state: ReleaseState) -> None:
    """Once the release is over it waits for the review, with reminders at the interval of the policy."""
    glass = BreakGlass(RITA, "logins fail for all customers", (), ago(600))
    view = replace(in_state(state), break_glass=glass, watch=None, steps=())
    wait = find_wait(view)
    assert (wait is not None) == (state in REVIEWED_IN)
    if wait is not None:
        assert [wait.round_at(glass.at + timedelta(hours=hours)) for hours in (0, 3, 4, 7, 8)] == [0, 0, 1, 1, 2]
        notice = render_stored("notice", f"waiting:{int(glass.at.timestamp())}:1", view)
        assert_slack_accepts(notice)
        assert f"nobody has reviewed its break-glass. {wait_way_on(wait)}" in notice.text
    assert find_wait(replace(view, break_glass=replace(glass, reviewed_by=QUINN, reviewed_at=NOW))) is None


@pytest.mark.parametrize(
    "state",
    [ReleaseState.OPEN, ReleaseState.WATCHING, ReleaseState.DONE, ReleaseState.ROLLED_BACK, ReleaseState.ABORTED],
)
def test_a_release_that_needs_nobody_does_not_wait(state: ReleaseState) -> None:
    """A release that continues by itself, has ended, or waits for sign-offs only is not reported here."""
    assert find_wait(in_state(state)) is None


@pytest.mark.parametrize(
    ("minutes", "number"), [(0, 0), (9, 0), (10, 1), (29, 1), (30, 2), (59, 2), (60, 3), (119, 3), (120, 4), (600, 12)]
)
def test_reminders_become_less_frequent(minutes: int, number: int) -> None:
    """Reminders come after ten minutes, half an hour, an hour, and then every hour."""
    now = NOW + timedelta(minutes=minutes)
    assert ReleaseWait(WaitReason.FAILED_STEP, NOW).round_at(now) == number
    assert ReleaseWait(WaitReason.SLOW_STEP, NOW).round_at(now) == (number if number > 1 else 0)
