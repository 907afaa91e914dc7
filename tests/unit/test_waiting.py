"""For what a deployed release waits for people, and when they are reminded."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.break_glass import REVIEWED_IN
from bot.domain.release import ReleaseState
from bot.domain.view import BreakGlass
from bot.domain.waiting import Waiting, WaitReason, waiting
from bot.texts.waiting import waiting_problem, waiting_way_on
from tests.unit.factories import NOW, QUINN, RITA, ago, in_state, make_alarm, make_watch, render_stored
from tests.unit.slack_rules import assert_slack_accepts

ALARMED = make_watch(alarms=(make_alarm(acknowledged_by=QUINN), make_alarm(at=ago(7)), make_alarm(at=ago(3))))


@pytest.mark.parametrize(
    ("state", "since", "what"),
    [
        (ReleaseState.DEPLOY_FAILED, ago(11), "the deploy stands still at: Deploy backend"),
        (ReleaseState.ROLLBACK_FAILED, ago(11), "the rollback stands still at: Restore backend"),
        (ReleaseState.DEPLOYING, ago(12), "the deploy is still at: Deploy backend"),
        (ReleaseState.ROLLING_BACK, ago(12), "the rollback is still at: Restore backend"),
        (ReleaseState.WATCHING, ago(7), "nobody has answered the alarm API-17 and 1 more"),
    ],
)
def test_what_waits(state: ReleaseState, since: object, what: str) -> None:
    """What failed, what has begun so long ago, or the oldest alarm; the notice names the people and what they can do."""
    view = in_state(state)
    view = replace(view, watch=ALARMED) if state is ReleaseState.WATCHING else view
    found = waiting(view)
    assert found is not None
    assert (found.since, waiting_problem(found)) == (since, what)
    notice = render_stored("notice", f"waiting:{int(found.since.timestamp())}:1", view)
    assert_slack_accepts(notice)
    assert "<@U0RITA0001>: SOLVEREIGN v4.8.0 waits since" in notice.text
    assert f"{what}. {waiting_way_on(found)}" in notice.text
    other = render_stored("notice", "waiting:1:1", view)
    assert other.text == "SOLVEREIGN v4.8.0 had waited for somebody, and does not any more."


@pytest.mark.parametrize("state", ReleaseState)
def test_a_break_glass_waits_for_its_review(state: ReleaseState) -> None:
    """Once the release is over, as often as the policy says; whoever has reviewed it ends that."""
    glass = BreakGlass(RITA, "logins fail for all customers", (), ago(600))
    view = replace(in_state(state), break_glass=glass, watch=None, steps=())
    found = waiting(view)
    assert (found is not None) == (state in REVIEWED_IN)
    if found is not None:
        assert [found.round_at(glass.at + timedelta(hours=hours)) for hours in (0, 3, 4, 7, 8)] == [0, 0, 1, 1, 2]
        notice = render_stored("notice", f"waiting:{int(glass.at.timestamp())}:1", view)
        assert_slack_accepts(notice)
        assert f"nobody has reviewed its break-glass. {waiting_way_on(found)}" in notice.text
    assert waiting(replace(view, break_glass=replace(glass, reviewed_by=QUINN, reviewed_at=NOW))) is None


@pytest.mark.parametrize(
    "state",
    [ReleaseState.OPEN, ReleaseState.WATCHING, ReleaseState.DONE, ReleaseState.ROLLED_BACK, ReleaseState.ABORTED],
)
def test_what_does_not_wait(state: ReleaseState) -> None:
    """What goes on by itself, has ended, or waits for signatures, which is looked after elsewhere."""
    assert waiting(in_state(state)) is None


@pytest.mark.parametrize(
    ("minutes", "number"), [(0, 0), (9, 0), (10, 1), (29, 1), (30, 2), (59, 2), (60, 3), (119, 3), (120, 4), (600, 12)]
)
def test_people_are_reminded_soon_and_then_less_often(minutes: int, number: int) -> None:
    """After ten minutes, half an hour, an hour, and every hour after that."""
    now = NOW + timedelta(minutes=minutes)
    assert Waiting(WaitReason.FAILED_STEP, NOW).round_at(now) == number
    assert Waiting(WaitReason.SLOW_STEP, NOW).round_at(now) == (number if number > 1 else 0)
