"""What the release card says and offers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.plan import PlanKind, StepState
from bot.domain.policy import Policy, Role
from bot.domain.release import ReleaseState
from bot.domain.results import RunState
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
    with_signoffs,
)
from tests.unit.slack_rules import assert_slack_accepts, block, block_ids, buttons, labels

AT_1759 = "<!date^1795543140^{date_short_pretty} {time}|2026-11-24 17:59 UTC>"


def table_of(card: Rendered) -> list[list[str]]:
    """The text of each cell of the Go/No-Go table, with marks as :name:."""
    rows = next(one for one in card.blocks if one["block_id"] == "go_no_go")["rows"]
    return [[cell_text(cell) for cell in row] for row in rows]


def cell_text(cell: dict[str, Any]) -> str:
    """The visible text of a cell."""
    if cell["type"] == "raw_text":
        return str(cell["text"])
    parts = cell["elements"][0]["elements"]
    return "".join(f":{part['name']}:" if part["type"] == "emoji" else part["text"] for part in parts)


@pytest.mark.parametrize(
    ("state", "text", "button_labels"),
    [
        (
            ReleaseState.OPEN,
            "SOLVEREIGN v4.8.0: OPEN. 10 of 10 checks passed. Go.",
            ["Revoke", "Revoke", "Approve", "Decline", "Deploy", "Abort"],
        ),
        (ReleaseState.DEPLOYING, "SOLVEREIGN v4.8.0: DEPLOYING, step 2 of 3, Deploy backend", ["Roll back"]),
        (
            ReleaseState.DEPLOY_FAILED,
            "SOLVEREIGN v4.8.0: DEPLOY_FAILED, step 2 of 3, Deploy backend: did not become ready",
            ["Roll back"],
        ),
        (ReleaseState.WATCHING, "SOLVEREIGN v4.8.0: WATCHING until 2026-11-24 18:05 UTC", ["Roll back"]),
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
def test_each_state_has_its_sentence_and_its_buttons(state: ReleaseState, text: str, button_labels: list[str]) -> None:
    """The notification names the state, and the card shows only buttons that the state allows."""
    card = render_stored("card", "", in_state(state))
    assert_slack_accepts(card)
    assert card.text == text
    assert labels(card) == button_labels


def test_the_card_says_what_is_released() -> None:
    """The card shows version, date, release manager, runbook, notes, commit, image and policy."""
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
def test_an_invalid_address_is_shown_as_text(notes: str) -> None:
    """An address that is not a valid http link, or is too long, is not made a link."""
    card = render_stored("card", "", make_view(make_release(notes_url=notes)))
    assert "<" not in card.blocks[1]["fields"][4]["text"]


def test_the_table_has_a_mark_and_a_result_for_every_row() -> None:
    """The table shows a mark and a text for each status that a check can have."""
    result = make_result("go.check_2", Outcome.FAIL)
    view = make_view(
        checks={
            "go.check_2": make_check_view("go.check_2", result),
            "go.check_3": make_check_view("go.check_3", result, make_waiver("go.check_3")),
            "go.check_4": make_check_view("go.check_4", running=RunState.RUNNING, progress="row 3 of 9"),
            "go.check_5": make_check_view("go.check_5", running=RunState.WAITING),
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
        ":white_circle: not run yet",
        ":warning: couldn't be checked: no access",
        ":raised_hand: needs a person",
        ":alarm_clock: expired: 5 of 5 PASS",
        ":white_check_mark: passed: 5 of 5 PASS",
    ]


def test_the_other_sections_are_listed_with_their_progress() -> None:
    """Each section but the gate's has one line, with the mark of its worst check."""
    check_view = make_check_view("migrations.rls", make_result("migrations.rls", Outcome.FAIL))
    card = render_stored("card", "", make_view(checks={"migrations.rls": check_view}))
    assert block(card, "progress") == ":x: Migrations 1/2\n:raised_hand: Post-Deployment 0/2"


def test_no_go_names_every_reason_and_offers_no_deploy() -> None:
    """A closed gate names each reason, and the card has no Deploy button."""
    view = make_view(
        checks={"go.check_2": make_check_view("go.check_2", make_result("go.check_2", Outcome.FAIL))},
        freeze=make_freeze(),
    )
    card = render_stored("card", "", view)
    assert block(card, "gate") == (
        ":no_entry: *No-Go* for 3 reasons. Waiting for Release Manager.\n"
        "• deploys are frozen: incident under way\n"
        "• Check of go.check_2: failed\n"
        "• Release Manager has not signed off"
    )
    assert card.text == (
        "SOLVEREIGN v4.8.0: OPEN. 9 of 10 checks passed. No-Go, 3 reasons: deploys are frozen: incident under way; "
        "Check of go.check_2: failed; Release Manager has not signed off"
    )
    assert "Deploy" not in labels(card)


def test_a_go_with_a_waiver_says_so() -> None:
    """The card counts waived checks apart from those that passed."""
    check_view = make_check_view("go.check_2", make_result("go.check_2", Outcome.FAIL), make_waiver("go.check_2"))
    card = render_stored("card", "", with_signoffs(make_view(checks={"go.check_2": check_view}), Role.RELEASE_MANAGER))
    assert card.text == "SOLVEREIGN v4.8.0: OPEN. 9 of 10 checks passed, 1 waived. Go."


def test_failures_that_do_not_block_are_named_beside_go() -> None:
    """The card, its notification and the confirmation of Deploy name failed checks that do not block."""
    check_view = make_check_view("migrations.billing", make_result("migrations.billing", Outcome.FAIL))
    card = render_stored(
        "card", "", with_signoffs(make_view(checks={"migrations.billing": check_view}), Role.RELEASE_MANAGER, Role.QA)
    )
    summary = "1 check that doesn't block the deploy hasn't passed:"
    line = "Migrations: Check of migrations.billing: failed"
    assert block(card, "gate") == f":large_yellow_circle: *Go*, but {summary}\n• {line}"
    assert card.text == f"SOLVEREIGN v4.8.0: OPEN. 10 of 10 checks passed. Go. {summary} {line}."
    deploy = next(button for button in buttons(card) if button["action_id"] == "release.deploy")
    assert deploy["confirm"]["text"]["text"].endswith(f" {summary} {line}")


def test_the_card_says_who_cannot_deploy_under_the_four_eyes_rule() -> None:
    """With a single approver the card says that someone else must deploy."""
    one = with_signoffs(make_view(), Role.RELEASE_MANAGER)
    assert block(render_stored("card", "", one), "gate").endswith(
        "\n<@U0RITA0001> approved, so someone else must deploy."
    )
    two = with_signoffs(make_view(), Role.RELEASE_MANAGER, Role.QA)
    alone = replace(one, policy=Policy(four_eyes=False))
    for view in (two, alone):
        assert block(render_stored("card", "", view), "gate") == ":large_green_circle: *Go*: ready to deploy."


def test_deploy_asks_for_confirmation_and_names_the_image() -> None:
    """The confirmation of the Deploy button names the version and the image."""
    card = render_stored("card", "", with_signoffs(make_view(), Role.RELEASE_MANAGER, Role.QA))
    deploy = next(button for button in buttons(card) if button["action_id"] == "release.deploy")
    assert deploy["confirm"]["title"]["text"] == "Deploy v4.8.0?"
    assert deploy["confirm"]["text"]["text"] == "Production will run ghcr.io/solvereign/api@sha256:abababababab."
    assert json.loads(deploy["value"]) == {"release": 12}


@pytest.mark.parametrize(
    ("verdict", "fingerprint", "line", "button_labels"),
    [
        (None, "", ":white_circle: Not signed yet", ["Approve", "Decline"]),
        (
            Verdict.DECLINE,
            "0" * 64,
            f":x: Declined by <@U0QUINN001>, {AT_1759}: not on a Friday",
            ["Revoke"],
        ),
        (
            Verdict.APPROVE,
            "0" * 64,
            f":warning: Void: <@U0QUINN001> approved it {AT_1759}, and it has changed since. Sign again.",
            ["Approve", "Decline"],
        ),
    ],
    ids=["missing", "declined", "void"],
)
def test_a_signoff_is_shown_with_person_time_and_verdict(
    verdict: Verdict | None, fingerprint: str, line: str, button_labels: list[str]
) -> None:
    """A missing, declined or void sign-off is shown as such, with the buttons that help."""
    signoffs = () if verdict is None else (make_signoff(Role.QA, verdict, fingerprint=fingerprint),)
    card = render_stored("card", "", make_view(signoffs=signoffs))
    assert block(card, "signoff:qa") == f"*QA* (optional)\n{line}"
    row = next(one for one in card.blocks if one["block_id"] == "signoff:qa:buttons")
    assert [button["text"]["text"] for button in row["elements"]] == button_labels
    assert {button["value"] for button in row["elements"]} == {'{"release":12,"role":"qa"}'}


def test_an_approval_is_shown_with_who_and_when() -> None:
    """The card shows who approved and when."""
    card = render_stored("card", "", with_signoffs(make_view(), Role.QA))
    assert block(card, "signoff:qa") == (f"*QA* (optional)\n:white_check_mark: Approved by <@U0QUINN001>, {AT_1759}")


def test_every_approver_and_the_required_number_are_shown() -> None:
    """With one of two required approvals, the card offers Approve, Decline and Revoke."""
    policy = Policy.model_validate({"required": ["qa"], "quorum": {"qa": 2}})
    view = replace(with_signoffs(make_view(policy=policy), Role.QA), policy=policy)
    card = render_stored("card", "", view)
    assert block(card, "signoff:qa").startswith(
        "*QA* (2 people required)\n:white_check_mark: Approved by <@U0QUINN001>"
    )
    row = next(one for one in card.blocks if one["block_id"] == "signoff:qa:buttons")
    assert [button["text"]["text"] for button in row["elements"]] == ["Approve", "Decline", "Revoke"]
    assert "Waiting for QA." in block(card, "gate")


def test_an_expired_approval_is_shown_as_one() -> None:
    """An approval that was given too long ago is shown as expired."""
    old = make_signoff(Role.QA, Verdict.APPROVE, at=ago(60 * 25), fingerprint=make_view().fingerprint)
    card = render_stored("card", "", make_view(signoffs=(old,)))
    assert ":alarm_clock: Expired: <@U0QUINN001> approved it" in block(card, "signoff:qa")


def test_a_waiver_after_the_deploy_leaves_the_approvals_in_place() -> None:
    """A check that is waived after the deploy began does not make the approvals void on the card."""
    view = in_state(ReleaseState.WATCHING)
    check_view = make_check_view("after.health", waiver=make_waiver("after.health"))
    later = replace(view, checks={**view.checks, check_view.id: check_view})
    assert ":white_check_mark: Approved by <@U0RITA0001>" in block(
        render_stored("card", "", later), "signoff:release_manager"
    )


def test_results_do_not_expire_on_the_card_of_a_past_release() -> None:
    """A day later the table still shows the results that the deploy was decided on."""
    view = in_state(ReleaseState.DONE)
    a_day_later = replace(view, now=ago(-24 * 60))
    assert table_of(render_stored("card", "", a_day_later)) == table_of(render_stored("card", "", view))


def test_a_freeze_is_on_the_card_with_its_end() -> None:
    """The card shows the end and the reason of a freeze."""
    card = render_stored("card", "", make_view(freeze=make_freeze(until=NOW)))
    assert block(card, "state") == (
        ":large_blue_circle: *State*\nOPEN\n"
        ":snowflake: Deploys are frozen until <!date^1795543200^{date_short_pretty} {time}|2026-11-24 18:00 UTC>: "
        "incident under way"
    )


def test_the_blocks_keep_their_ids_in_every_state() -> None:
    """A click names its block, so a block has the same id in all states of a release."""
    cards = [render_stored("card", "", in_state(state)) for state in ReleaseState]
    lasting = ["head", "release", "state", "go_no_go", "progress", "signoff:release_manager", "signoff:qa"]
    for card in cards:
        assert [name for name in block_ids(card) if name in lasting] == lasting


def test_the_same_rows_give_the_same_card() -> None:
    """The card depends on the rows only, so the publisher can skip an update that changes nothing."""
    assert render_stored("card", "", in_state(ReleaseState.OPEN)) == render_stored(
        "card", "", in_state(ReleaseState.OPEN)
    )


def test_a_failed_deploy_says_what_to_do() -> None:
    """The card of a failed deploy names the step, the reason, and the choice between retry and rollback."""
    view = in_state(ReleaseState.DEPLOY_FAILED)
    steps = make_steps(PlanKind.DEPLOY, view.checklist, [StepState.DONE, StepState.FAILED])
    card = render_stored(
        "card", "", replace(view, steps=steps, release=replace(view.release, reason="repeated by the row"))
    )
    assert block(card, "state") == (
        ":x: *State*\nDEPLOY_FAILED, step 2 of 3, Deploy backend: did not become ready\n"
        "Retry the step in the thread, or roll back."
    )


def test_the_policy_decides_which_roles_sign() -> None:
    """The card shows only the roles that the policy names."""
    policy = Policy(required=(Role.PRODUCT,), optional=())
    view = replace(with_signoffs(make_view(policy=policy), Role.PRODUCT), policy=policy)
    card = render_stored("card", "", view)
    assert [name for name in block_ids(card) if name.startswith("signoff")] == [
        "signoff:product",
        "signoff:product:buttons",
    ]
    assert block(card, "signoff:product").startswith("*Product* (required)")
