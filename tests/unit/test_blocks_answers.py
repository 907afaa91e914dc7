"""Modals, and the answers that only one person sees."""

from dataclasses import replace
from typing import Any

import pytest

from bot.domain.ids import CheckId, ReleaseId
from bot.domain.policy import Role
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import UnknownThing
from bot.slack import payloads
from bot.slack.blocks import details, status
from bot.slack.blocks.modals import Form
from bot.slack.clicks import read_button
from bot.slack.commands import read_command
from bot.slack.features import BUTTONS, COMMANDS
from bot.slack.grammar import Malformed
from checks.contract import Outcome
from tests.unit.factories import (
    PAT,
    in_state,
    make_alarm,
    make_check_view,
    make_checklist,
    make_mitigation,
    make_release,
    make_result,
    make_view,
    make_waiver,
    make_watch,
    render_stored,
)
from tests.unit.slack_rules import assert_slack_accepts, assert_slack_opens, block, mrkdwn

CHECK = payloads.CheckPayload(release=12, check=CheckId("go.check_1"))
EXAMPLES: dict[type[payloads.Payload], payloads.Payload] = {
    payloads.CheckPayload: CHECK,
    payloads.RolePayload: payloads.RolePayload(release=12, role=Role.QA),
    payloads.StepPayload: payloads.StepPayload(release=12, step=101),
    payloads.MitigationPayload: payloads.MitigationPayload(release=12, mitigation=3),
    payloads.AlarmPayload: payloads.AlarmPayload(release=12, alarm=5),
    payloads.ReleasePayload: payloads.ReleasePayload(release=12),
}
MODALS = sorted(button.id for button in BUTTONS.values() if button.modal is not None)
FORMS = sorted(button.id for button in BUTTONS.values() if isinstance(button.modal, Form))


def open_modal(button_id: str, payload: payloads.Payload, view: ReleaseView) -> dict[str, Any]:
    """The modal that the button opens."""
    modal = BUTTONS[button_id].modal
    assert modal is not None
    return modal.render(button_id, payload, view)


@pytest.mark.parametrize("button_id", MODALS)
def test_a_modal_carries_only_its_action_and_ids(button_id: str) -> None:
    """A submitted modal is read back as the click that opened it."""
    view = make_view(
        in_state(ReleaseState.WATCHING).release,
        steps=in_state(ReleaseState.WATCHING).steps,
        watch=make_watch(alarms=(make_alarm(),)),
        mitigations=[make_mitigation()],
    )
    button = BUTTONS[button_id]
    modal = open_modal(button_id, EXAMPLES[button.payload], view)
    assert_slack_opens(modal)
    assert read_button(modal["callback_id"], modal["private_metadata"]) == (button, EXAMPLES[button.payload])


@pytest.mark.parametrize("button_id", FORMS)
def test_a_form_asks_for_one_text_under_the_published_name(button_id: str) -> None:
    """A reason needs at least three characters; it is optional for a rollback and an abort."""
    view = in_state(ReleaseState.WATCHING)
    watched_view = make_view(
        view.release, steps=view.steps, watch=make_watch(alarms=(make_alarm(),)), mitigations=[make_mitigation()]
    )
    field = open_modal(button_id, EXAMPLES[BUTTONS[button_id].payload], watched_view)["blocks"][-1]
    is_required = button_id not in {"watch.rollback", "release.rollback", "release.abort"}
    assert (field["type"], field["block_id"], field["element"]["action_id"]) == ("input", "reason", "reason")
    assert field["optional"] is not is_required
    assert field["element"].get("min_length") == (3 if is_required else None)


def test_details_show_everything_about_a_check() -> None:
    """Details show what was asked, expected and seen, when and by whom, the hint, the attachment and the waiver."""
    result = make_result(
        "go.check_1",
        Outcome.FAIL,
        hint="Apply 0042.",
        attachment="plans_exist  PASS\nrls  FAIL",
        attachment_name="rows.txt",
        attachment_length=27,
        by=PAT,
    )
    check_view = make_check_view("go.check_1", result, make_waiver("go.check_1"))
    modal = open_modal("check.details", CHECK, make_view(checks={"go.check_1": check_view}))
    assert list(mrkdwn(modal["blocks"])) == [
        ":fast_forward: *Check of go.check_1*  `go.check_1`\nwaived: the drill of yesterday counts",
        "*Asked*\n```\nSELECT * FROM billing.verify_billing_schema()\n```",
        "*Expected*\nAll PASS",
        "*Seen*\n```\nplans_exist PASS\n```",
        "*What to do*\nApply 0042.",
        "<!date^1795543020^{date_short_pretty} {time}|2026-11-24 17:57 UTC>, took 1 min, asked for by <@U0PAT00001>",
        "`rows.txt`\n```\nplans_exist  PASS\nrls  FAIL\n```",
        (
            "*Waived* by <@U0RITA0001>, <!date^1795543080^{date_short_pretty} {time}|2026-11-24 17:58 UTC>\n"
            "the drill of yesterday counts"
        ),
    ]
    assert "submit" not in modal


@pytest.mark.parametrize(
    ("attachment", "length", "whole"),
    [("x" * 2_800, 2_800, True), ("x" * 2_800, 2_801, False), ("<&>" * 900, 2_700, False)],
    ids=["just fits", "one more", "longer once escaped"],
)
def test_details_say_where_the_whole_attachment_is(attachment: str, length: int, *, whole: bool) -> None:
    """Details say when they show only the beginning of an attachment, and where the whole of it is."""
    result = make_result("go.check_1", attachment=attachment, attachment_length=length)
    view = make_view(checks={"go.check_1": make_check_view("go.check_1", result)})
    modal = open_modal("check.details", CHECK, view)
    assert details.fits(result) is whole
    notices = [line for line in mrkdwn(modal["blocks"]) if "are in a file in the thread" in line]
    assert notices == (
        [] if whole else [f"This is only the beginning. All {length:,} characters are in a file in the thread."]
    )
    attachment_text = next(line for line in mrkdwn(modal["blocks"]) if line.startswith("`attachment`"))
    assert attachment_text.endswith("…\n```" if length == 2_700 else "x\n```")


def test_details_of_a_check_that_never_ran_show_what_it_will_ask() -> None:
    """Details of a check without a result show its action and expectation from the checklist."""
    view = make_view(checks={"go.check_1": make_check_view("go.check_1")})
    modal = open_modal("check.details", CHECK, view)
    assert list(mrkdwn(modal["blocks"])) == [
        ":white_circle: *Check of go.check_1*  `go.check_1`\nnot run yet",
        "*Asked*\n```\nSELECT * FROM billing.verify_billing_schema()\n```",
        "*Expected*\nAll PASS",
    ]


@pytest.mark.parametrize(
    ("button_id", "payload"),
    [
        ("check.details", payloads.CheckPayload(release=12, check=CheckId("go.gone"))),
        ("check.waive", payloads.CheckPayload(release=12, check=CheckId("go.gone"))),
        ("step.attest", payloads.StepPayload(release=12, step=999)),
        ("watch.acknowledge", payloads.AlarmPayload(release=12, alarm=999)),
    ],
)
def test_a_modal_about_a_row_that_no_longer_exists_is_refused(button_id: str, payload: payloads.Payload) -> None:
    """An old button that names a row which the release no longer has opens no modal."""
    with pytest.raises(UnknownThing):
        open_modal(button_id, payload, make_view())


def test_status_says_the_state_the_reasons_and_where_the_card_is() -> None:
    """`/release status` shows the state, the reasons of the gate, the progress and a link to the card."""
    answer = status.status(make_view(), "https://team.slack.com/archives/C1/p1")
    assert_slack_accepts(answer)
    assert block(answer, "status") == ":large_blue_circle: *SOLVEREIGN v4.8.0*: OPEN"
    assert block(answer, "gate") == ":hourglass_flowing_sand: 10 of 10 checks passed. Waiting for Release Manager."
    assert block(answer, "progress") == (
        ":white_check_mark: Migrations 2/2\n:white_check_mark: Go/No-Go 10/10\n:raised_hand: Post-Deployment 0/2"
    )
    assert block(answer, "card") == "<https://team.slack.com/archives/C1/p1|Release card>"


def test_status_without_a_release_says_what_to_type() -> None:
    """Without a release, `/release status` says how to start one."""
    assert status.status(None).text == "No release is open. Type `/release start v4.8.0` to begin one."


def test_history_has_a_line_for_each_release() -> None:
    """The history shows of each release its state, time, person and reason."""
    aborted_release = make_release(ReleaseState.ABORTED, version="v4.7.1", reason="superseded")
    answer = status.history([make_release(), aborted_release], [])
    assert answer.text == "2 releases. Latest: v4.8.0, OPEN"
    assert block(answer, "history").splitlines() == [
        (
            ":large_blue_circle: *v4.8.0* OPEN, <!date^1795539600^{date_short_pretty} {time}|2026-11-24 17:00 UTC>, "
            "by <@U0RITA0001>"
        ),
        (
            ":no_entry_sign: *v4.7.1* ABORTED, <!date^1795543200^{date_short_pretty} {time}|2026-11-24 18:00 UTC>, "
            "by <@U0RITA0001>: superseded"
        ),
    ]
    assert status.history([], []).text == "There are no releases yet."


def test_history_names_mitigations_that_are_still_in_force() -> None:
    """The history names an open mitigation on the line of its own release only."""
    open_still = make_release(ReleaseState.ROLLED_BACK, closed_at=None)
    other = make_release(ReleaseState.DONE, id=ReleaseId(11), version="v4.7.0")
    answer = status.history([open_still, other], [make_mitigation()])
    lines = block(answer, "history").splitlines()
    assert answer.text == "2 releases. Latest: v4.8.0, ROLLED_BACK. Still to be put back: MODE=off"
    assert lines[0].endswith(". Open until <@U0PAT00001> puts MODE=off back")
    assert "open" not in lines[1]


def test_status_says_why_a_release_is_still_open() -> None:
    """`/release status` names the open mitigation and its owner in the same words as the card."""
    view = replace(in_state(ReleaseState.ROLLED_BACK), mitigations=[make_mitigation()])
    answer = status.status(view)
    assert answer.text == "SOLVEREIGN v4.8.0: ROLLED_BACK, open until MODE=off is put back: errors after the deploy"
    assert block(answer, "standing") == block(render_stored("card", "", view), "standing")


def test_the_plan_says_whether_the_bot_or_a_person_does_each_step() -> None:
    """The answer lists the steps of the deploy and of the rollback, each with who does it."""
    answer = status.plan(make_checklist())
    assert_slack_accepts(answer)
    assert block(answer, "deploy").splitlines() == [
        "*Deploy*",
        "1. Create release tag (by hand)",
        "2. Deploy backend (the bot)",
        "3. Verify backend logs (the bot)",
    ]
    assert block(answer, "rollback").splitlines() == ["*Rollback*", "1. Restore backend (the bot)"]


def test_help_lists_every_command() -> None:
    """The help is made from the table of commands."""
    answer = status.usage((one.usage, one.summary) for one in COMMANDS.values())
    assert_slack_accepts(answer)
    lines = [f"`/release {one.usage}` {one.summary}" for one in COMMANDS.values()]
    assert block(answer, "help").splitlines() == lines


@pytest.mark.parametrize(
    ("command_text", "text"),
    [
        (
            "strat v4.8.0",
            (
                'There is no command "strat". Did you mean start? Type `/release start v4.8.0`. '
                "`/release help` lists all commands."
            ),
        ),
        ("<!channel>", 'There is no command "&lt;!channel&gt;". Type `/release help`.'),
    ],
)
def test_a_malformed_command_is_answered_with_what_to_type(command_text: str, text: str) -> None:
    """The answer names the mistake and the command to type, and mentions nobody."""
    command = read_command(command_text)
    assert isinstance(command, Malformed)
    answer = status.answer(command.problem, command.hint)
    assert_slack_accepts(answer)
    assert answer.text == text


def test_an_answer_keeps_mentions_by_id_and_lines_and_escapes_the_rest() -> None:
    """An answer keeps mentions by id and line breaks, and escapes all other markup."""
    answer = status.answer("No-Go:\n• declined by <@U0PAT00001>: <!here> & now", "Ask <#C0RELEASES1>.")
    assert_slack_accepts(answer)
    assert block(answer, "answer") == "No-Go:\n• declined by <@U0PAT00001>: &lt;!here&gt; &amp; now"
    assert block(answer, "hint") == "Ask <#C0RELEASES1>."
