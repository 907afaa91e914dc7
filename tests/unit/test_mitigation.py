"""A mitigation keeps its release open: the rule, what is pinned, and what the messages of the release say meanwhile."""

from dataclasses import replace

import pytest

from bot.domain.mitigation import MitigationState
from bot.domain.posts import CardPost, PostSubject, WatchPost
from bot.domain.release import ACTIVE, ReleaseState
from bot.domain.view import ReleaseView
from bot.slack.publisher import is_pinned
from tests.unit.factories import NOW, QUINN, in_state, make_mitigation, make_release, render_stored
from tests.unit.slack_rules import assert_slack_accepts, block, block_ids

SINCE = "<!date^1795541400^{date_short_pretty} {time}|2026-11-24 17:30 UTC>"
TILL = "<!date^1795543200^{date_short_pretty} {time}|2026-11-24 18:00 UTC>"
LINE = (
    ":warning: *MODE=off* is in force, for a while only. "
    f"<@U0PAT00001> owns it since {SINCE}. It ends by *Put it back* in its message."
)


def held_open() -> ReleaseView:
    """A release that is rolled back, with something in force."""
    view = in_state(ReleaseState.ROLLED_BACK)
    return replace(view, release=replace(view.release, closed_at=None), mitigations=[make_mitigation()])


def put_back() -> ReleaseView:
    """The same once it is put back."""
    view = in_state(ReleaseState.ROLLED_BACK)
    lifted = make_mitigation(state=MitigationState.LIFTED, resolved_by=QUINN, resolved_at=NOW)
    return replace(view, mitigations=[lifted])


@pytest.mark.parametrize("state", ReleaseState)
@pytest.mark.parametrize("stands", MitigationState)
def test_a_release_closes_once_it_is_over_and_nothing_of_it_stands(
    state: ReleaseState, stands: MitigationState
) -> None:
    """One that is being set may be in force already, one that is being put back still is."""
    view = replace(in_state(state), mitigations=[make_mitigation(state=stands)])
    assert view.may_close == (state not in ACTIVE and stands is MitigationState.LIFTED)


def test_all_of_them_have_to_be_put_back() -> None:
    """One of two is not enough."""
    both = [make_mitigation(id=3, state=MitigationState.LIFTED), make_mitigation(id=4, what="MAILS=off")]
    view = replace(held_open(), mitigations=both)
    assert [entry.what for entry in view.standing] == ["MAILS=off"]
    assert not view.may_close


@pytest.mark.parametrize(
    ("about", "closed", "pinned"),
    [(CardPost(), False, True), (CardPost(), True, False), (WatchPost(), False, False)],
)
def test_the_card_is_pinned_until_its_release_is_closed(about: PostSubject, closed: bool, pinned: bool) -> None:
    """Whatever its state is called."""
    release = make_release(ReleaseState.ROLLED_BACK, closed_at=NOW if closed else None)
    assert is_pinned(about, release) is pinned


def test_the_card_says_what_keeps_it_open() -> None:
    """In its first lines: what, whose, since when, and how it ends."""
    card = render_stored("card", "", held_open())
    assert_slack_accepts(card)
    assert card.text == (
        "SOLVEREIGN v4.8.0: ROLLED_BACK, still open until MODE=off is put back: errors after the deploy"
    )
    assert block_ids(card)[:4] == ["head", "release", "state", "standing"]
    assert block(card, "standing") == LINE
    assert "standing" not in block_ids(render_stored("card", "", put_back()))


def test_one_that_is_stuck_says_why() -> None:
    """Its owner has to press again."""
    view = replace(
        held_open(), mitigations=[make_mitigation(state=MitigationState.LIFTING, trouble="no such Deployment")]
    )
    assert " is being put back, and does not go on: no such Deployment. " in block(
        render_stored("card", "", view), "standing"
    )
    reminder = render_stored("notice", "mitigation:3:1", view)
    assert reminder.text.startswith("<@U0PAT00001>: MODE=off, since ")
    assert "does not go on: no such Deployment" in reminder.text


def test_the_word_of_the_rollback_does_not_hide_it() -> None:
    """What production ran before, but for this."""
    assert LINE in render_stored("notice", "rolled_back", held_open()).text
    assert "MODE" not in render_stored("notice", "rolled_back", put_back()).text


def test_the_close_out_lists_it_as_open_then_as_put_back() -> None:
    """With owner and times; how long all of it took is known once it is closed."""
    before, after = render_stored("closeout", "", held_open()), render_stored("closeout", "", put_back())
    assert before.text == "Close-out of SOLVEREIGN v4.8.0: ROLLED_BACK, 0 waived, 3 still open"
    assert LINE in block(before, "open")
    assert "in all" not in block(before, "closeout")
    assert after.text == "Close-out of SOLVEREIGN v4.8.0: ROLLED_BACK, 0 waived, 2 still open"
    assert f"MODE=off: since {SINCE}, owned by <@U0PAT00001>; put back by <@U0QUINN001>, {TILL}" in block(after, "done")
    assert "in all 1 h" in block(after, "closeout")
