"""The message of the watch, and those of its alarms."""

from dataclasses import replace
from typing import Any

import pytest

from bot.domain.checklist import Probe, WatchSpec
from bot.domain.ids import SYSTEM, CheckId
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.domain.watch import ProbeStatus, WatchState
from bot.slack.blocks.limits import Rendered
from tests.unit.factories import RITA, ago, in_state, make_alarm, make_reading, make_watch, render_stored
from tests.unit.slack_rules import assert_slack_accepts, block, block_ids, buttons, labels

AT_1758 = "<!date^1795543080^{date_short_pretty} {time}|2026-11-24 17:58 UTC>"
TIME_OF_POLL = "asked <!date^1795543170^{time}|17:59 UTC>"
UNTIL = ":eyes: until <!date^1795543500^{time}|18:05 UTC>, 5 min left"
TITLE = "New and regressed issues in Sentry"
BLIND = make_reading(status=ProbeStatus.CANNOT_TELL, summary="no answer from the vendor", last_answer_at=ago(4))


def watching(**changes: Any) -> ReleaseView:
    """A release in the state WATCHING whose watch has ``changes``."""
    return replace(in_state(ReleaseState.WATCHING), watch=make_watch(**changes))


def render_watch(**changes: Any) -> Rendered:
    """The rendered message of a watch with ``changes``."""
    message = render_stored("watch", "", watching(**changes))
    assert_slack_accepts(message)
    return message


def test_a_watch_shows_its_verdict_end_and_progress() -> None:
    """The end is shown as a time of day, since a number of minutes would be wrong between polls."""
    watch = render_watch()
    assert watch.text == "Watch of SOLVEREIGN v4.8.0: clean, until 18:05 UTC, 5 min left, 0 open alarms"
    assert block(watch, "watch").splitlines() == [
        "*Watch of SOLVEREIGN v4.8.0*",
        f":white_check_mark: *clean*, {TIME_OF_POLL}",
        UNTIL,
        "`▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░░░░ 66 %`",
    ]
    assert block(watch, "probes") == f":white_check_mark: *{TITLE}*: no new issue in the release"
    assert [button["action_id"] for button in buttons(watch)] == ["watch.rollback"]


def test_each_probe_has_its_own_mark() -> None:
    """A probe is shown as clean, regressed, unknown, acknowledged or not asked yet, each with its own mark."""
    probes = [Probe(id=CheckId(f"watch.{name}"), title=name, kind="ask") for name in ("a", "b", "c", "d", "e")]
    readings = [
        make_reading("watch.a", summary="fine"),
        make_reading("watch.b", ProbeStatus.REGRESSED, summary="bad", blames=("1",)),
        make_reading("watch.c", ProbeStatus.CANNOT_TELL, summary="429", last_answer_at=None, wait_until=ago(-1)),
        make_reading("watch.d", ProbeStatus.REGRESSED, summary="known", blames=("2",)),
    ]
    view = watching(readings=tuple(readings), alarms=(make_alarm(acknowledged_by=RITA, covers=("2",)),))
    view = replace(view, checklist=view.checklist.model_copy(update={"watch": WatchSpec(probes=tuple(probes))}))
    assert block(render_stored("watch", "", view), "probes").splitlines() == [
        ":white_check_mark: *a*: fine",
        ":rotating_light: *b*: bad",
        ":warning: *c*: 429 (last data: never; asked to wait until <!date^1795543260^{time}|18:01 UTC>)",
        ":ballot_box_with_check: *d*: acknowledged: known",
        ":white_circle: *e*: no reading yet",
    ]


def test_an_unknown_verdict_is_not_shown_as_clean() -> None:
    """The message says since when the probe has had no answer."""
    watch = render_watch(readings=(BLIND,))
    assert block(watch, "watch").splitlines()[1] == f":warning: *no data*, {TIME_OF_POLL}"
    assert block(watch, "probes") == (
        f":warning: *{TITLE}*: no answer from the vendor (last data: <!date^1795542960^{{time}}|17:56 UTC>)"
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"alarms": (make_alarm(),)}, "time is up: an alarm is open. Acknowledge it, or roll back."),
        ({"readings": (BLIND,)}, "time is up, extended until every probe has data."),
        ({}, "time is up, waiting for the last events."),
    ],
    ids=["alarm", "blind", "late"],
)
def test_a_watch_that_runs_longer_than_planned_says_why(changes: dict[str, Any], why: str) -> None:
    """The message says whether the watch waits for people, for an answer, or for late events."""
    assert block(render_watch(ends_at=ago(0.2), **changes), "watch").splitlines()[2].endswith(why)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (WatchState.CLEAN, "Watch of SOLVEREIGN v4.8.0: over, clean, no alarm"),
        (WatchState.ACCEPTED, "Watch of SOLVEREIGN v4.8.0: over, every alarm was acknowledged"),
        (WatchState.STOPPED, "Watch of SOLVEREIGN v4.8.0: over, stopped, the release is rolled back"),
    ],
)
def test_a_watch_that_has_ended_says_how(state: WatchState, text: str) -> None:
    """A watch ends as clean, as accepted by people, or as stopped by a rollback."""
    assert render_stored("watch", "", replace(in_state(ReleaseState.DONE), watch=make_watch(state))).text == text


def test_an_alarm_names_the_error_the_people_and_both_choices() -> None:
    """An alarm links to the issue, mentions the people, and has the buttons Roll back and Acknowledge."""
    alarm = render_stored("alarm", "5", watching(alarms=(make_alarm(),)))
    assert_slack_accepts(alarm)
    assert alarm.text == "Alarm after the deploy of SOLVEREIGN v4.8.0: API-17 KeyError: 'plan_id'"
    assert block(alarm, "issue") == (
        ":rotating_light: *<https://sentry.example.com/issues/4711/|API-17>* KeyError: 'plan_id'\n"
        f"New error, seen {AT_1758}"
    )
    assert block(alarm, "call").startswith("<@U0QUINN001> <@U0RITA0001>: ")
    assert block(alarm, "lasting").splitlines() == [
        "*A rollback leaves in place*",
        ":grey_question: Create release tag: unknown, because it was done by hand: check first",
    ]
    assert [(button["action_id"], button.get("style"), button["value"]) for button in buttons(alarm)] == [
        ("watch.rollback", "danger", '{"release":12}'),
        ("watch.acknowledge", None, '{"release":12,"alarm":5}'),
    ]


def test_an_alarm_without_an_answer_asks_people_to_check_by_hand() -> None:
    """The alarm of a probe that cannot answer does not claim that there are errors."""
    silent = make_alarm(kind="silent", short_id="Error rate", title="cannot tell: 503", permalink="")
    alarm = render_stored("alarm", "5", watching(alarms=(silent,)))
    assert block(alarm, "issue") == f":rotating_light: *Error rate* cannot tell: 503\nNo answer, seen {AT_1758}"
    assert "check by hand" in block(alarm, "call")


@pytest.mark.parametrize(
    ("by", "text"),
    [
        (RITA, f"Acknowledged by <@U0RITA0001>, {AT_1758}: known, harmless"),
        (SYSTEM, f"Resolved, {AT_1758}: known, harmless"),
    ],
)
def test_an_acknowledged_alarm_names_the_person_and_has_no_buttons(by: Any, text: str) -> None:
    """An acknowledged alarm keeps the person and the note; the rollback is still on the watch and on the card."""
    acknowledged_alarm = make_alarm(acknowledged_by=by, acknowledged_at=ago(2), note="known, harmless")
    alarm = render_stored("alarm", "5", watching(alarms=(acknowledged_alarm,)))
    assert block(alarm, "acknowledged") == text
    assert labels(alarm) == []


def test_an_open_alarm_asks_for_nothing_after_a_rollback() -> None:
    """After a rollback the alarm has no buttons, since its watch is over and an answer would be refused."""
    view = replace(in_state(ReleaseState.ROLLED_BACK), watch=make_watch(WatchState.STOPPED, alarms=(make_alarm(),)))
    alarm = render_stored("alarm", "5", view)
    assert block(alarm, "call") == "Nobody acknowledged it during the watch (ROLLED_BACK)."
    assert labels(alarm) == []
    assert block(render_stored("watch", "", view), "alarms").endswith("plan_id': not answered")


def test_an_alarm_shows_its_plot_once_slack_has_it() -> None:
    """An alarm shows its own plot of the error rate, and not that of another alarm."""
    view = watching(alarms=(make_alarm(), make_alarm(id=6)))
    assert "rate" not in block_ids(render_stored("alarm", "5", view))
    view = replace(view, pictures={("rate", "5"): "F0PLOT"})
    alarm = render_stored("alarm", "5", view)
    assert_slack_accepts(alarm)
    assert [block["slack_file"] for block in alarm.blocks if block["type"] == "image"] == [{"id": "F0PLOT"}]
    assert "rate" not in block_ids(render_stored("alarm", "6", view))


def test_the_card_says_when_the_verdict_is_unknown() -> None:
    """The card names an unknown verdict, so that nobody has to open the thread."""
    card = render_stored("card", "", watching(readings=(BLIND,)))
    assert card.text == "SOLVEREIGN v4.8.0: WATCHING until 2026-11-24 18:05 UTC. 1 probe has no data"


@pytest.mark.parametrize(
    ("by", "ending"),
    [
        (None, "its watch is over."),
        (SYSTEM, "its watch is over."),
        (RITA, "its watch is over. People acknowledged 1 alarm."),
    ],
)
def test_the_notice_of_the_end_counts_alarms_that_people_acknowledged(by: Any, ending: str) -> None:
    """An alarm that ended by itself is not counted as acknowledged by people."""
    alarms = () if by is None else (make_alarm(acknowledged_by=by),)
    view = replace(in_state(ReleaseState.DONE), watch=make_watch(WatchState.CLEAN, alarms=alarms))
    assert render_stored("notice", "done", view).text.endswith(ending)
