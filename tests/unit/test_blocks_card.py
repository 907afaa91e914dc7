"""What the release card says and offers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.plan import PlanKind, StepState
from bot.domain.policy import Policy, Role
from bot.domain.release import ReleaseState
from bot.domain.results import Running
from bot.domain.signoff import Verdict
from bot.slack.blocks.limits import Rendered
from checks.contract import Outcome
from tests.unit.factories import (
    NOW,
    ago,
    in_state,
    make_check_view,
    make_freeze,
    make_release,
    make_result,
    make_signoff,
    make_steps,
    make_view,
    make_waiver,
    render_stored,
    signed,
)
from tests.unit.slack_rules import assert_slack_takes, block, block_ids, buttons, labels

AT_1759 = "<!date^1795543140^{date_short_pretty} {time}|2026-11-24 17:59 UTC>"


def table_of(card: Rendered) -> list[list[str]]:
    """The Go/No-Go table as text, marks as :name:."""
    rows = next(one for one in card.blocks if one["block_id"] == "go_no_go")["rows"]
    return [[cell_text(cell) for cell in row] for row in rows]


def cell_text(cell: dict[str, Any]) -> str:
    """What one sees in a cell."""
    if cell["type"] == "raw_text":
        return str(cell["text"])
    parts = cell["elements"][0]["elements"]
    return "".join(f":{part['name']}:" if part["type"] == "emoji" else part["text"] for part in parts)


@pytest.mark.parametrize(
    ("state", "text", "offered"),
    [
        (
            ReleaseState.OPEN,
            "SOLVEREIGN v4.8.0: OPEN, 10 of 10 checks passed. Go.",
            ["Revoke", "Revoke", "Approve", "Decline", "Deploy", "Abort"],
        ),
        (ReleaseState.DEPLOYING, "SOLVEREIGN v4.8.0: DEPLOYING, step 2 of 3, Deploy backend", ["Roll back"]),
        (
            ReleaseState.DEPLOY_FAILED,
            "SOLVEREIGN v4.8.0: DEPLOY_FAILED, step 2 of 3, Deploy backend: did not become ready",
            ["Roll back"],
        ),
        (ReleaseState.WATCHING, "SOLVEREIGN v4.8.0: WATCHING, until 2026-11-24 18:05 UTC", ["Roll back"]),
        (ReleaseState.DONE, "SOLVEREIGN v4.8.0: DONE, 2026-11-24 18:00 UTC", ["Roll back"]),
        (ReleaseState.ROLLING_BACK, "SOLVEREIGN v4.8.0: ROLLING_BACK, step 1 of 1, Restore backend", []),
        (
            ReleaseState.ROLLBACK_FAILED,
            "SOLVEREIGN v4.8.0: ROLLBACK_FAILED, step 1 of 1, Restore backend: did not become ready",
            ["Roll back"],
        ),
        (
            ReleaseState.ROLLED_BACK,
            "SOLVEREIGN v4.8.0: ROLLED_BACK, 2026-11-24 18:00 UTC: errors after the deploy",
            [],
        ),
        (
            ReleaseState.ABORTED,
            "SOLVEREIGN v4.8.0: ABORTED, nothing was deployed: superseded by v4.8.1",
            [],
        ),
    ],
)
def test_each_state_has_its_sentence_and_its_buttons(state: ReleaseState, text: str, offered: list[str]) -> None:
    """A notification alone tells the state, and nothing is offered that the state does not allow."""
    card = render_stored("card", "", in_state(state))
    assert_slack_takes(card)
    assert card.text == text
    assert labels(card) == offered


def test_the_card_says_what_is_released() -> None:
    """The head of the checklist: version, date, release manager, runbook, notes, commit and image."""
    card = render_stored("card", "", make_view())
    assert card.blocks[0]["text"]["text"] == "SOLVEREIGN v4.8.0"
    assert [field["text"] for field in card.blocks[1]["fields"]] == [
        "*Version*\n`v4.8.0`",
        "*Date*\n<!date^1795539600^{date_num}|2026-11-24>",
        "*Release Manager*\n<@U0RITA0001>",
        "*Runbook*\n<https://example.com/runbook|Runbook>",
        "*Release notes*\n<https://example.com/notes|Release notes>",
        "*Commit*\n`c0ffeec0ffee`",
        "*Image*\n`ghcr.io/solvereign/api@sha256:abababababab`",
        "*Policy*\n`222222222222`",
    ]


@pytest.mark.parametrize("notes", ["", "javascript:alert(1)", "https://example.com/a b", "https://e.com/" + "x" * 900])
def test_an_address_that_is_no_sound_link_is_shown_as_text(notes: str) -> None:
    """No link leads elsewhere than it says, and none is cut in the middle."""
    card = render_stored("card", "", make_view(make_release(notes_url=notes)))
    assert "<" not in card.blocks[1]["fields"][4]["text"]


def test_the_table_has_a_mark_and_a_finding_for_every_row() -> None:
    """All the standings that a check can have."""
    failed = make_result("go.check_2", Outcome.FAIL)
    view = make_view(
        checks={
            "go.check_2": make_check_view("go.check_2", failed),
            "go.check_3": make_check_view("go.check_3", failed, make_waiver("go.check_3")),
            "go.check_4": make_check_view("go.check_4", running=Running.RUNNING, progress="row 3 of 9"),
            "go.check_5": make_check_view("go.check_5", running=Running.WAITING),
            "go.check_6": make_check_view("go.check_6"),
            "go.check_7": make_check_view("go.check_7", make_result("go.check_7", Outcome.ERROR, summary="no access")),
            "go.check_8": make_check_view("go.check_8", make_result("go.check_8", Outcome.INCONCLUSIVE, summary="")),
            "go.check_9": make_check_view("go.check_9", make_result("go.check_9", finished_at=ago(300))),
        }
    )
    rows = table_of(render_stored("card", "", view))
    assert rows[0] == ["#", "Check", "Result", "Expected"]
    assert rows[1] == ["1", "Check of go.check_1", ":white_check_mark: passed: 5 of 5 PASS", "All PASS"]
    assert [row[2] for row in rows[2:]] == [
        ":x: failed: 2 of 5 did not pass",
        ":fast_forward: waived: the drill of yesterday counts",
        ":hourglass_flowing_sand: running: row 3 of 9",
        ":hourglass_flowing_sand: waiting",
        ":white_circle: not run",
        ":warning: could not find out: no access",
        ":raised_hand: needs a person to say",
        ":alarm_clock: passed too long ago: 5 of 5 PASS",
        ":white_check_mark: passed: 5 of 5 PASS",
    ]


def test_the_other_sections_stand_below_with_how_far_they_are() -> None:
    """One line each, marked by the gravest of their checks; the gate's own section is the table."""
    failed = make_check_view("migrations.rls", make_result("migrations.rls", Outcome.FAIL))
    card = render_stored("card", "", make_view(checks={"migrations.rls": failed}))
    assert block(card, "progress") == ":x: Migrations 1/2\n:raised_hand: Post-Deployment 0/2"


def test_no_go_names_every_reason_and_offers_no_deploy() -> None:
    """Checks, the freeze and missing sign-offs, each by name."""
    view = make_view(
        checks={"go.check_2": make_check_view("go.check_2", make_result("go.check_2", Outcome.FAIL))},
        freeze=make_freeze(),
    )
    card = render_stored("card", "", view)
    assert block(card, "gate") == (
        ":no_entry: *No-Go* for 3 reasons. Waits for Release Manager\n"
        "• deploys are frozen: incident under way\n"
        "• Check of go.check_2: failed\n"
        "• Release Manager has not signed off"
    )
    assert card.text == (
        "SOLVEREIGN v4.8.0: OPEN, 9 of 10 checks passed. No-Go, 3 reasons: deploys are frozen: incident under way; "
        "Check of go.check_2: failed; Release Manager has not signed off"
    )
    assert "Deploy" not in labels(card)


def test_a_go_that_rests_on_a_waiver_says_so() -> None:
    """Waived is not passed."""
    waived = make_check_view("go.check_2", make_result("go.check_2", Outcome.FAIL), make_waiver("go.check_2"))
    card = render_stored("card", "", signed(make_view(checks={"go.check_2": waived}), Role.RELEASE_MANAGER))
    assert card.text == "SOLVEREIGN v4.8.0: OPEN, 9 of 10 checks passed, 1 waived. Go."


def test_red_lines_beside_a_go_are_named() -> None:
    """On the card, in its notification and in the question of the deploy button."""
    failed = make_check_view("migrations.billing", make_result("migrations.billing", Outcome.FAIL))
    card = render_stored(
        "card", "", signed(make_view(checks={"migrations.billing": failed}), Role.RELEASE_MANAGER, Role.QA)
    )
    counted = "1 other line is not PASS, and does not hold up the deploy:"
    line = "Migrations: Check of migrations.billing: failed"
    assert block(card, "gate") == f":large_yellow_circle: *Go*, but {counted}\n• {line}"
    assert card.text == f"SOLVEREIGN v4.8.0: OPEN, 10 of 10 checks passed. Go. {counted} {line}."
    deploy = next(button for button in buttons(card) if button["action_id"] == "release.deploy")
    assert deploy["confirm"]["text"]["text"].endswith(f" {counted} {line}")


def test_four_eyes_are_announced_before_somebody_presses_in_vain() -> None:
    """With one approver only, it says who cannot deploy."""
    one = signed(make_view(), Role.RELEASE_MANAGER)
    assert block(render_stored("card", "", one), "gate").endswith(
        "\nFour eyes: only <@U0RITA0001> has approved, so somebody else deploys."
    )
    two = signed(make_view(), Role.RELEASE_MANAGER, Role.QA)
    alone = replace(one, policy=Policy(four_eyes=False))
    for view in (two, alone):
        assert (
            block(render_stored("card", "", view), "gate")
            == ":large_green_circle: *Go*: nothing speaks against a deploy."
        )


def test_the_deploy_asks_once_more_and_names_the_image() -> None:
    """The one button whose click changes production at once."""
    card = render_stored("card", "", signed(make_view(), Role.RELEASE_MANAGER, Role.QA))
    deploy = next(button for button in buttons(card) if button["action_id"] == "release.deploy")
    assert deploy["confirm"]["title"]["text"] == "Deploy v4.8.0?"
    assert deploy["confirm"]["text"]["text"] == "Production gets ghcr.io/solvereign/api@sha256:abababababab."
    assert json.loads(deploy["value"]) == {"release": 12}


@pytest.mark.parametrize(
    ("verdict", "fingerprint", "line", "offered"),
    [
        (None, "", ":white_circle: Not signed", ["Approve", "Decline"]),
        (
            Verdict.DECLINE,
            "0" * 64,
            f":x: Declined by <@U0QUINN001>, {AT_1759}: not on a Friday",
            ["Revoke"],
        ),
        (
            Verdict.APPROVE,
            "0" * 64,
            f":warning: Void: <@U0QUINN001> approved something else, {AT_1759}. Sign again.",
            ["Approve", "Decline"],
        ),
    ],
    ids=["missing", "declined", "void"],
)
def test_a_signature_says_who_when_and_what(
    verdict: Verdict | None, fingerprint: str, line: str, offered: list[str]
) -> None:
    """A sign-off that counts no more is not shown as one that does."""
    signoffs = () if verdict is None else (make_signoff(Role.QA, verdict, fingerprint=fingerprint),)
    card = render_stored("card", "", make_view(signoffs=signoffs))
    assert block(card, "signoff:qa") == f"*QA* (optional)\n{line}"
    row = next(one for one in card.blocks if one["block_id"] == "signoff:qa:buttons")
    assert [button["text"]["text"] for button in row["elements"]] == offered
    assert {button["value"] for button in row["elements"]} == {'{"release":12,"role":"qa"}'}


def test_an_approval_is_shown_with_who_and_when() -> None:
    """And can be taken back."""
    card = render_stored("card", "", signed(make_view(), Role.QA))
    assert block(card, "signoff:qa") == (f"*QA* (optional)\n:white_check_mark: Approved by <@U0QUINN001>, {AT_1759}")


def test_everybody_who_signed_is_shown_and_how_many_are_needed() -> None:
    """Two of QA are needed and one has approved: the other is asked, and either can take it back."""
    policy = Policy.model_validate({"required": ["qa"], "quorum": {"qa": 2}})
    view = replace(signed(make_view(policy=policy), Role.QA), policy=policy)
    card = render_stored("card", "", view)
    assert block(card, "signoff:qa").startswith(
        "*QA* (2 people required)\n:white_check_mark: Approved by <@U0QUINN001>"
    )
    row = next(one for one in card.blocks if one["block_id"] == "signoff:qa:buttons")
    assert [button["text"]["text"] for button in row["elements"]] == ["Approve", "Decline", "Revoke"]
    assert "Waits for QA\n• QA: 1 of 2 people have signed off" in block(card, "gate")


def test_an_expired_approval_is_shown_as_one() -> None:
    """It does not count any more."""
    old = make_signoff(Role.QA, Verdict.APPROVE, at=ago(60 * 25), fingerprint=make_view().fingerprint)
    card = render_stored("card", "", make_view(signoffs=(old,)))
    assert ":alarm_clock: Expired: <@U0QUINN001> approved too long ago" in block(card, "signoff:qa")


def test_what_was_signed_stays_signed_once_the_deploy_has_begun() -> None:
    """A check waived afterwards does not make the card say that nobody had signed."""
    view = in_state(ReleaseState.WATCHING)
    waived = make_check_view("after.health", waiver=make_waiver("after.health"))
    later = replace(view, checks={**view.checks, waived.id: waived})
    assert ":white_check_mark: Approved by <@U0RITA0001>" in block(
        render_stored("card", "", later), "signoff:release_manager"
    )


def test_results_do_not_grow_old_on_the_card_of_a_past_release() -> None:
    """A day later the table still shows what the deploy was decided on."""
    view = in_state(ReleaseState.DONE)
    a_day_later = replace(view, now=ago(-24 * 60))
    assert table_of(render_stored("card", "", a_day_later)) == table_of(render_stored("card", "", view))


def test_a_freeze_is_on_the_card_with_its_end() -> None:
    """Whoever wonders why there is no button reads it."""
    card = render_stored("card", "", make_view(freeze=make_freeze(until=NOW)))
    assert block(card, "state") == (
        ":large_blue_circle: *State*\nOPEN\n"
        ":snowflake: Deploys are frozen until <!date^1795543200^{date_short_pretty} {time}|2026-11-24 18:00 UTC>: "
        "incident under way"
    )


def test_the_blocks_keep_their_ids_while_the_release_goes_on() -> None:
    """A click names the block; what is there all the time is always called the same."""
    cards = [render_stored("card", "", in_state(state)) for state in ReleaseState]
    lasting = ["head", "release", "state", "go_no_go", "progress", "signoff:release_manager", "signoff:qa"]
    for card in cards:
        assert [name for name in block_ids(card) if name in lasting] == lasting


def test_the_same_rows_give_the_same_card() -> None:
    """The publisher sends only what has changed."""
    assert render_stored("card", "", in_state(ReleaseState.OPEN)) == render_stored(
        "card", "", in_state(ReleaseState.OPEN)
    )


def test_a_failed_deploy_says_what_to_do() -> None:
    """The step, why it failed, and the two ways on."""
    view = in_state(ReleaseState.DEPLOY_FAILED)
    steps = make_steps(PlanKind.DEPLOY, view.checklist, [StepState.DONE, StepState.FAILED])
    card = render_stored(
        "card", "", replace(view, steps=steps, release=replace(view.release, reason="repeated by the row"))
    )
    assert block(card, "state") == (
        ":x: *State*\nDEPLOY_FAILED, step 2 of 3, Deploy backend: did not become ready\n"
        "Retry the step in the thread, or roll back."
    )


def test_the_policy_decides_which_roles_are_asked() -> None:
    """A team with one role has one signature on its card."""
    policy = Policy(required=(Role.PRODUCT,), optional=())
    view = replace(signed(make_view(policy=policy), Role.PRODUCT), policy=policy)
    card = render_stored("card", "", view)
    assert [name for name in block_ids(card) if name.startswith("signoff")] == [
        "signoff:product",
        "signoff:product:buttons",
    ]
    assert block(card, "signoff:product").startswith("*Product* (required)")
