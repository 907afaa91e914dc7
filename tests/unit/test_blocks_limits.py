"""Cutting to Slack's limits, and hostile content in every field of every message."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.actions import StepSpec
from bot.domain.checklist import Checklist, Probe, Section, WatchSpec
from bot.domain.events import PassedReason
from bot.domain.ids import CheckId, StepId, UserId
from bot.domain.mitigation import MitigationState
from bot.domain.plan import PlanKind, StepState
from bot.domain.policy import Role
from bot.domain.posts import POSTS
from bot.domain.release import ReleaseState
from bot.domain.results import CheckView, RunState
from bot.domain.signoff import Verdict
from bot.domain.view import BreakGlass, ReleaseView
from bot.domain.watch import ProbeStatus, WatchState
from bot.slack import payloads, text
from bot.slack.blocks import elements, limits, status
from bot.slack.blocks.render import RENDERERS
from bot.slack.commands import read_command
from bot.slack.cut import cut_mrkdwn, cut_plain
from bot.slack.features import BUTTONS
from bot.slack.grammar import Malformed
from checks.contract import Outcome
from tests.unit.factories import (
    NOW,
    ago,
    in_state,
    make_alarm,
    make_check,
    make_check_view,
    make_freeze,
    make_mitigation,
    make_reading,
    make_release,
    make_result,
    make_signoff,
    make_steps,
    make_view,
    make_waiver,
    make_watch,
    render_stored,
)
from tests.unit.slack_rules import assert_slack_accepts, assert_slack_opens, block_ids, buttons, labels, mrkdwn

NASTY = [
    "",
    " \n\t ",
    "\u200b\u202e\x00",
    "<!channel> <@U0RITA0001|x> <http://a|b>",
    "&" * 500,
    "<" * 3_000,
    "`" * 400,
    "x" * 5_000,
    "a\n" * 4_000,
    "```\n*bold* _it_ ~no~\n```",
    "\U0001f600" * 3_000,
]
nasty = st.one_of(st.sampled_from(NASTY), st.text(st.characters(codec="utf-8"), max_size=400))


def make_hostile_checklist(outside: str, count: int, title: str) -> Checklist:
    """A checklist with ``count`` checks in each section, with hostile words where the model lets them in."""
    sections = [
        Section(
            id=name,
            title=outside,
            runbook=outside,
            gate=name == "go",
            phase="after" if name == "after" else "before",
            checks=tuple(
                make_check(f"{name}.c{n}", title=title, expected=outside, action=outside, runbook=outside)
                for n in range(count)
            ),
        )
        for name in ("go", "other", "after")
    ]
    steps = [StepSpec(id=StepId(f"s{n}"), title=title, action={"do": "attest"}) for n in range(count)]
    return Checklist(
        id="c",
        title=outside,
        runbook=outside,
        sections=tuple(sections),
        deploy=tuple(steps),
        rollback=(StepSpec(id=StepId("back"), title=title, action={"do": "attest"}),),
        watch=WatchSpec(probes=tuple(Probe(id=CheckId(f"p{n}"), title=title, kind="ask") for n in range(1, count + 1))),
    )


def check_views(checklist: Checklist, outside: str, user: UserId) -> dict[str, CheckView]:
    """A check view in each status in turn, with hostile texts."""
    views: dict[str, CheckView] = {}
    for number, check in enumerate(checklist.checks):
        outcome = list(Outcome)[number % 4]
        result = make_result(
            check.id,
            outcome,
            summary=outside,
            asked=outside,
            expected=outside,
            seen=outside,
            hint=outside,
            attachment=outside,
            attachment_name=outside,
            attachment_length=len(outside),
            by=user,
            is_attested=number % 2 == 0,
            finished_at=ago(600 if number % 5 == 0 else 3),
        )
        views[check.id] = [
            make_check_view(check.id, result),
            make_check_view(check.id, result, make_waiver(check.id, reason=outside, by=user)),
            make_check_view(check.id, running=RunState.RUNNING, progress=outside),
            make_check_view(check.id, running=RunState.WAITING, progress=outside),
            make_check_view(check.id),
        ][number % 5 if number % 2 else 0]
    return views


def make_hostile_view(outside: str, count: int, state: ReleaseState) -> ReleaseView:
    """A release with ``outside`` in every text that comes from outside."""
    checklist = make_hostile_checklist(outside, count, outside[:150])
    user = UserId(outside)
    release = make_release(
        state,
        version=outside,
        manager=user,
        notes_url=outside,
        commit=outside,
        image=outside,
        digest=outside,
        reason=outside,
    )
    states = [list(StepState)[n % len(StepState)] for n in range(count)]
    hostile_steps = [
        replace(step, summary=outside, progress=outside, note=outside, by=user, before={outside: outside, "n": 1})
        for plan in PlanKind
        for step in make_steps(plan, checklist, states)
    ]
    alarms = [
        make_alarm(id=n, issue=outside, short_id=outside, title=outside, permalink=outside, kind=outside, note=outside)
        for n in range(1, count + 1)
    ]
    alarms[0] = replace(alarms[0], acknowledged_by=user, acknowledged_at=NOW)
    return make_view(
        release,
        checklist,
        check_views(checklist, outside, user),
        signoffs=tuple(make_signoff(role, Verdict.DECLINE, by=user, reason=outside) for role in Role),
        steps=tuple(hostile_steps),
        watch=make_watch(
            WatchState.RUNNING,
            readings=tuple(
                make_reading(probe.id, ProbeStatus.CANNOT_TELL, summary=outside) for probe in checklist.watch.probes
            ),
            alarms=tuple(alarms),
        ),
        freeze=make_freeze(reason=outside, by=user),
        mitigations=tuple(
            make_mitigation(
                id=n, what=outside, owner=user, reason=outside, trouble=outside, state=state, resolved_by=user
            )
            for n, state in enumerate(list(MitigationState) * count, start=1)
        ),
        break_glass=BreakGlass(
            user,
            outside,
            tuple(PassedReason(cause="check", about=outside, text=outside) for _ in range(count)),
            NOW,
            *((user, NOW, outside) if state is ReleaseState.ROLLED_BACK else ()),
        ),
    )


def subjects(view: ReleaseView) -> list[tuple[str, str]]:
    """Every post of a release, and some about rows that do not exist."""
    sections = [("section", section.id) for section in view.checklist.sections]
    notices = ["aborted", "done", "rolled_back", "frozen", "failed:101:1", "failed:999:1", "voided:7"]
    notices += ["frozen:1", "moved:1", "unbound", "policy", "mitigation:1:1", "mitigation:4:1"]
    notices += ["gave_way:v4.9.0:U0QUINN001", "gave_way:v4.9.0:<!channel>:channel"]
    notices += ["voided:7:qa:U0QUINN001", "voided:7:qa:<!channel>"]
    return [
        ("card", ""),
        *sections,
        ("section", "gone"),
        ("steps", "deploy"),
        ("steps", "rollback"),
        ("watch", ""),
        ("alarm", "1"),
        ("alarm", "2"),
        ("alarm", "999"),
        *(("mitigation", str(number)) for number in range(6)),
        ("break_glass", ""),
        ("closeout", ""),
        ("record", f"57:{'ab' * 32}"),
        ("reminder", "release_manager:U0RITA0001:1"),
        ("reminder", "qa:U0QUINN001:1"),
        ("reminder", "manager:U0RITA0001:2"),
        *(("notice", notice) for notice in notices),
    ]


@pytest.mark.parametrize("state", ReleaseState)
@pytest.mark.parametrize("outside", NASTY, ids=range(len(NASTY)))
def test_hostile_texts_in_every_field_break_no_message(outside: str, state: ReleaseState) -> None:
    """Slack accepts every message of a release in which all fields are empty, endless or forged."""
    view = make_hostile_view(outside, 25 if state is ReleaseState.OPEN else 4, state)
    for kind, subject in subjects(view):
        assert_slack_accepts(
            render_stored(kind, subject, view), pages=kind == "break_glass" and view.break_glass is not None
        )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(outside=nasty, count=st.integers(1, 4), state=st.sampled_from(ReleaseState))
def test_no_text_breaks_a_message(outside: str, count: int, state: ReleaseState) -> None:
    """Slack accepts every message whatever random text is in its fields."""
    view = make_hostile_view(outside, count, state)
    for kind, subject in subjects(view):
        assert_slack_accepts(
            render_stored(kind, subject, view), pages=kind == "break_glass" and view.break_glass is not None
        )


@pytest.mark.parametrize("count", [1, 10, 24, 25, 26, 60, 61, 150])
@pytest.mark.parametrize("outside", ["A check of quite an ordinary length", "&" * 150], ids=["ordinary", "escaped"])
def test_no_number_of_checks_breaks_a_message(outside: str, count: int) -> None:
    """A message with more checks than Slack has room for is shortened visibly."""
    view = make_hostile_view(outside, count, ReleaseState.OPEN)
    for kind, subject in subjects(view):
        message = render_stored(kind, subject, view)
        assert_slack_accepts(message, pages=kind == "break_glass" and view.break_glass is not None)
        assert "too_much" not in block_ids(message)


def test_the_buttons_of_a_crowded_card_are_never_cut_off() -> None:
    """However long the rest of the card is, people can still sign and abort."""
    view = make_hostile_view("x" * 20_000, 150, ReleaseState.OPEN)
    assert labels(render_stored("card", "", view)) == ["Revoke", "Revoke", "Revoke", "Abort"]


def test_every_button_of_the_registry_is_in_some_message() -> None:
    """The buttons of all messages together are exactly those that are registered."""
    deploying = in_state(ReleaseState.DEPLOYING)
    first, *rest = make_steps(PlanKind.DEPLOY, deploying.checklist, [StepState.TO_ATTEST])
    views = [
        make_view(),
        replace(deploying, steps=(replace(first, started_at=NOW), *rest)),
        *(in_state(state) for state in ReleaseState),
        *(make_hostile_view("x", 30, state) for state in ReleaseState),
    ]
    messages = [render_stored(*subject, view) for view in views for subject in subjects(view)]
    assert {button["action_id"] for message in messages for button in buttons(message)} == set(BUTTONS)


def test_a_release_without_any_rows_renders_everywhere() -> None:
    """Every message can be rendered without results, steps, watch and sign-offs."""
    bare = make_view()
    view = replace(bare, checks={check.id: make_check_view(check.id) for check in bare.checklist.checks})
    for kind, subject in subjects(view):
        assert_slack_accepts(
            render_stored(kind, subject, view), pages=kind == "break_glass" and view.break_glass is not None
        )


@pytest.mark.parametrize("outside", NASTY, ids=range(len(NASTY)))
def test_hostile_texts_break_no_modal(outside: str) -> None:
    """Slack opens every modal with hostile texts in all fields."""
    view = make_hostile_view(outside, 5, ReleaseState.WATCHING)
    examples: dict[type[payloads.Payload], list[payloads.Payload]] = {
        payloads.ReleasePayload: [payloads.ReleasePayload(release=12)],
        payloads.RolePayload: [payloads.RolePayload(release=12, role=Role.QA)],
        payloads.CheckPayload: [payloads.CheckPayload(release=12, check=check.id) for check in view.checklist.checks],
        payloads.StepPayload: [payloads.StepPayload(release=12, step=101)],
        payloads.MitigationPayload: [payloads.MitigationPayload(release=12, mitigation=3)],
        payloads.AlarmPayload: [payloads.AlarmPayload(release=12, alarm=1)],
    }
    for button in BUTTONS.values():
        if button.modal is not None:
            for payload in examples[button.payload]:
                assert_slack_opens(button.modal.render(button.id, payload, view))


@pytest.mark.parametrize("outside", NASTY, ids=range(len(NASTY)))
def test_hostile_texts_break_no_answer(outside: str) -> None:
    """Slack accepts every ephemeral answer with hostile texts."""
    view = make_hostile_view(outside, 5, ReleaseState.OPEN)
    command = read_command(f"zzz{outside}")
    assert isinstance(command, Malformed)
    for message in (
        status.answer(outside, outside),
        status.answer(command.problem, command.hint),
        status.status(view, outside),
        status.history([view.release] * 60, view.open_mitigations),
        status.plan(view.checklist),
    ):
        assert_slack_accepts(message)


def test_each_kind_of_post_has_a_renderer() -> None:
    """The table of renderers has exactly the kinds of posts that can be enqueued."""
    assert set(RENDERERS) == set(POSTS.values())


def test_a_summary_cannot_mention_the_channel() -> None:
    """A mention in the summary of a result is escaped."""
    result = make_result("go.check_1", Outcome.FAIL, summary="<!channel> & <@U0PAT00001>")
    view = make_view(checks={"go.check_1": make_check_view("go.check_1", result)})
    line = next(one for one in mrkdwn(render_stored("section", "go", view).blocks) if "go.check_1" in one)
    assert "failed: &lt;!channel&gt; &amp; &lt;@U0PAT00001&gt;" in line


def test_a_summary_cannot_forge_the_line_of_another_check() -> None:
    """A line break in a summary is replaced, so that it begins no line of its own."""
    result = make_result("go.check_1", Outcome.FAIL, summary="down\n:white_check_mark: *Backup runs*")
    view = make_view(checks={"go.check_1": make_check_view("go.check_1", result)})
    line = next(one for one in mrkdwn(render_stored("section", "go", view).blocks) if "go.check_1" in one)
    assert line.splitlines()[1].startswith("failed: down :white_check_mark: *Backup runs* · ")


@pytest.mark.parametrize(
    ("whole", "limit", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("", 5, "-"),
        (" \n ", 5, "-"),
        ("ab &amp; c", 6, "ab…"),
        ("ab <@U0RITA0001> c", 10, "ab…"),
        ("a &amp; b c d", 9, "a &amp;…"),
    ],
)
def test_a_cut_is_visible_and_leaves_no_half_entity_or_mention(whole: str, limit: int, expected: str) -> None:
    """A cut text ends with an ellipsis and before an entity or mention that does not fit."""
    assert cut_mrkdwn(whole, limit) == expected


@given(st.text(max_size=300), st.integers(1, 100))
def test_a_cut_text_is_within_its_limit_and_never_blank(whole: str, limit: int) -> None:
    """Cut plain text and cut mrkdwn are within the limit and not blank."""
    for cut in (cut_plain(whole, limit), cut_mrkdwn(text.escape(whole), limit)):
        assert 1 <= len(cut) <= limit
        assert cut.strip()


@given(st.lists(st.text(st.characters(exclude_characters="\n<>&"), min_size=1, max_size=60)), st.integers(40, 400))
def test_joined_lines_fit_and_say_how_many_are_missing(lines: list[str], limit: int) -> None:
    """Lines are joined as a whole, and the last line counts those that are missing."""
    result = limits.join_lines(lines, limit)
    assert len(result) <= limit
    result_lines = result.split("\n")
    if len(result_lines) < len(lines):
        assert result_lines[-1] == f"… and {len(lines) - len(result_lines) + 1} more"


def test_a_message_over_the_limits_says_that_it_was_cut() -> None:
    """A message with too many or too long blocks is cut rather than rejected by Slack."""
    many = [elements.section(f"s{number}", "word " * 20) for number in range(80)]
    long = [elements.section(f"s{number}", "x" * 3_000) for number in range(8)]
    for blocks in (many, long):
        message = limits.message("a text", blocks)
        assert_slack_accepts(message)
        assert message.blocks[-1]["elements"][0]["text"] == "The rest does not fit into one message."


def test_fifty_blocks_are_all_sent() -> None:
    """A message with exactly fifty blocks is sent whole."""
    blocks: list[dict[str, Any]] = [elements.section(f"s{number}", "word") for number in range(50)]
    assert limits.message("a text", blocks).blocks == blocks
