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
LINE = f":warning: *MODE=off* is set for now. <@U0PAT00001> has owned it since {SINCE}. Press *Put it back* to end it."


def open_view() -> ReleaseView:
    """A rolled back release with a mitigation in force."""
    view = in_state(ReleaseState.ROLLED_BACK)
    return replace(view, release=replace(view.release, closed_at=None), mitigations=[make_mitigation()])


def closed_view() -> ReleaseView:
    """A rolled back release whose mitigation was put back."""
    view = in_state(ReleaseState.ROLLED_BACK)
    mitigation = make_mitigation(state=MitigationState.LIFTED, resolved_by=QUINN, resolved_at=NOW)
    return replace(view, mitigations=[mitigation])


@pytest.mark.parametrize("state", ReleaseState)
@pytest.mark.parametrize("mitigation_state", MitigationState)
def test_a_release_closes_once_it_is_over_and_its_mitigation_is_lifted(
    state: ReleaseState, mitigation_state: MitigationState
) -> None:
    """A mitigation that is being set or lifted keeps its release open too."""
    view = replace(in_state(state), mitigations=[make_mitigation(state=mitigation_state)])
    assert view.may_close == (state not in ACTIVE and mitigation_state is MitigationState.LIFTED)


def test_every_mitigation_has_to_be_put_back() -> None:
    """With one of two mitigations in force the release stays open."""
    both = [make_mitigation(id=3, state=MitigationState.LIFTED), make_mitigation(id=4, what="MAILS=off")]
    view = replace(open_view(), mitigations=both)
    assert [entry.what for entry in view.open_mitigations] == ["MAILS=off"]
    assert not view.may_close


@pytest.mark.parametrize(
    ("about", "is_closed", "expected"),
    [(CardPost(), False, True), (CardPost(), True, False), (WatchPost(), False, False)],
)
def test_the_card_is_pinned_until_its_release_is_closed(about: PostSubject, is_closed: bool, expected: bool) -> None:
    """The card stays pinned until the release is closed, whatever its state is."""
    release = make_release(ReleaseState.ROLLED_BACK, closed_at=NOW if is_closed else None)
    assert is_pinned(about, release) is expected


def test_the_card_says_what_keeps_the_release_open() -> None:
    """The card names the mitigation, its owner, since when it is in force, and how to end it."""
    card = render_stored("card", "", open_view())
    assert_slack_accepts(card)
    assert card.text == ("SOLVEREIGN v4.8.0: ROLLED_BACK, open until MODE=off is put back: errors after the deploy")
    assert block_ids(card)[:4] == ["head", "release", "state", "standing"]
    assert block(card, "standing") == LINE
    assert "standing" not in block_ids(render_stored("card", "", closed_view()))


def test_a_mitigation_that_cannot_be_lifted_says_why() -> None:
    """Card and reminder name the problem, because its owner has to press again."""
    view = replace(
        open_view(), mitigations=[make_mitigation(state=MitigationState.LIFTING, trouble="no such Deployment")]
    )
    assert " is being put back, but is stuck: no such Deployment. " in block(
        render_stored("card", "", view), "standing"
    )
    reminder = render_stored("notice", "mitigation:3:1", view)
    assert reminder.text.startswith("<@U0PAT00001>: MODE=off is stuck: ")
    assert "is stuck: no such Deployment" in reminder.text


def test_the_notice_of_a_rollback_names_an_open_mitigation() -> None:
    """The notice of a rollback names a mitigation that is still in force."""
    assert LINE in render_stored("notice", "rolled_back", open_view()).text
    assert "MODE" not in render_stored("notice", "rolled_back", closed_view()).text


def test_the_close_out_lists_a_mitigation_as_open_and_then_as_done() -> None:
    """The close-out names owner and times, and the total duration once the release is closed."""
    before, after = render_stored("closeout", "", open_view()), render_stored("closeout", "", closed_view())
    assert before.text == "Close-out of SOLVEREIGN v4.8.0: ROLLED_BACK, 0 waived, 3 still open"
    assert LINE in block(before, "open")
    assert "in all" not in block(before, "closeout")
    assert after.text == "Close-out of SOLVEREIGN v4.8.0: ROLLED_BACK, 0 waived, 2 still open"
    assert f"MODE=off: since {SINCE}, owned by <@U0PAT00001>; put back by <@U0QUINN001>, {TILL}" in block(after, "done")
    assert "1 h in all" in block(after, "closeout")
