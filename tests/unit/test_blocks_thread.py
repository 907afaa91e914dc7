"""What stands in the thread of the card, and the messages of one event each."""

import json
from dataclasses import replace

import pytest

from bot.domain.checklist import Section
from bot.domain.ids import SYSTEM
from bot.domain.plan import Mutation, PlanKind, StepState, Way
from bot.domain.release import ReleaseState
from bot.domain.results import CheckView, RunState
from checks.contract import Outcome
from tests.unit.factories import (
    NOW,
    PAT,
    ago,
    in_state,
    make_check,
    make_check_view,
    make_checklist,
    make_freeze,
    make_release,
    make_result,
    make_steps,
    make_view,
    make_waiver,
    referring_checklist,
    render_stored,
)
from tests.unit.slack_rules import assert_slack_accepts, block, block_ids, buttons, labels

AT_1757 = "<!date^1795543020^{date_short_pretty} {time}|2026-11-24 17:57 UTC>"
AT_2157 = "<!date^1795557420^{date_short_pretty} {time}|2026-11-24 21:57 UTC>"
AT_1758 = "<!date^1795543080^{date_short_pretty} {time}|2026-11-24 17:58 UTC>"

FAIL_RESULT = make_result("go.check_1", Outcome.FAIL, hint="Run the backup job by hand.")
PASS_RESULT = make_result("go.check_1")


# --- sections


@pytest.mark.parametrize(
    ("check_view", "line", "button_labels"),
    [
        (
            make_check_view("go.check_1", PASS_RESULT),
            (
                f":white_check_mark: *Check of go.check_1*  `go.check_1`\npassed: 5 of 5 PASS · {AT_1757}, "
                f"valid until {AT_2157}"
            ),
            ["Run again", "Details"],
        ),
        (
            make_check_view("go.check_1", FAIL_RESULT),
            (
                f":x: *Check of go.check_1*  `go.check_1`\nfailed: 2 of 5 did not pass · {AT_1757}\n"
                "→ Run the backup job by hand."
            ),
            ["Run again", "Details", "Waive"],
        ),
        (
            make_check_view("go.check_1", FAIL_RESULT, make_waiver("go.check_1")),
            (
                ":fast_forward: *Check of go.check_1*  `go.check_1`\nwaived: the drill of yesterday counts · "
                f"by <@U0RITA0001>, {AT_1758}"
            ),
            ["Run again", "Details"],
        ),
        (
            make_check_view("go.check_1", PASS_RESULT, running=RunState.RUNNING, progress="row 3 of 9"),
            ":hourglass_flowing_sand: *Check of go.check_1*  `go.check_1`\nrunning: row 3 of 9",
            ["Cancel", "Details"],
        ),
        (
            make_check_view("go.check_1", running=RunState.WAITING),
            ":hourglass_flowing_sand: *Check of go.check_1*  `go.check_1`\nwaiting for its turn",
            ["Cancel", "Details"],
        ),
        (
            make_check_view("go.check_1"),
            ":white_circle: *Check of go.check_1*  `go.check_1`\nnot run yet",
            ["Run", "Details", "Waive"],
        ),
    ],
    ids=["passed", "failed", "waived", "running", "waiting", "not run"],
)
def test_a_check_has_its_line_and_the_buttons_that_help(
    check_view: CheckView, line: str, button_labels: list[str]
) -> None:
    """A check is shown with mark, title, id, result and time, and with the buttons for its status."""
    section = render_stored("section", "go", make_view(checks={"go.check_1": check_view}))
    assert_slack_accepts(section)
    assert block(section, "check:go.check_1") == line
    row = next(one for one in section.blocks if one["block_id"] == "check:go.check_1:buttons")
    assert [button["text"]["text"] for button in row["elements"]] == button_labels
    assert {button["value"] for button in row["elements"]} == {'{"release":12,"check":"go.check_1"}'}


def test_a_line_that_shows_another_check_acts_on_that_check() -> None:
    """A line with ``same_as`` shows the result of the other check, and its buttons carry the other check's id."""
    check_view = make_check_view("go.check_1", FAIL_RESULT)
    view = make_view(checklist=referring_checklist(), checks={"go.check_1": check_view})
    section = render_stored("section", "migrations", view)
    assert_slack_accepts(section)
    assert block(section, "check:migrations.again") == (
        f":x: *Seen there too*  `migrations.again` = `go.check_1`\nfailed: 2 of 5 did not pass · {AT_1757}\n"
        "→ Run the backup job by hand."
    )
    row = next(one for one in section.blocks if one["block_id"] == "check:migrations.again:buttons")
    assert [button["text"]["text"] for button in row["elements"]] == ["Run again", "Details", "Waive"]
    assert {button["value"] for button in row["elements"]} == {'{"release":12,"check":"go.check_1"}'}
    assert "2/3" in block(section, "section")


def test_an_expired_pass_can_be_run_again_but_not_waived() -> None:
    """An expired pass has no Waive button, since a waiver would not open the gate for it."""
    old = make_check_view("go.check_1", replace(PASS_RESULT, finished_at=ago(300)))
    section = render_stored("section", "go", make_view(checks={"go.check_1": old}))
    assert labels(section)[:4] == ["Run all", "Run again", "Details", "Run again"]
    assert ", expired <!date^" in block(section, "check:go.check_1")


def test_a_check_that_must_pass_offers_no_waiver() -> None:
    """A check that the checklist marks as not waivable has no Waive button."""
    section = Section(id="go", title="Go", gate=True, checks=(make_check("go.a", waivable=False),))
    view = make_view(checklist=make_checklist([section]), checks={"go.a": make_check_view("go.a")})
    assert labels(render_stored("section", "go", view)) == ["Run all", "Run", "Details"]


def test_a_waiting_check_names_what_it_waits_for() -> None:
    """A waiting check names, by title, only those needed checks that have not passed yet."""
    checks = (make_check("go.a"), make_check("go.b"), make_check("go.c", needs=("go.a", "go.b")))
    view = make_view(
        checklist=make_checklist([Section(id="go", title="Go", gate=True, checks=checks)]),
        checks={
            "go.a": make_check_view("go.a", running=RunState.RUNNING),
            "go.c": make_check_view("go.c", running=RunState.WAITING),
        },
    )
    assert block(render_stored("section", "go", view), "check:go.c").endswith("\nwaiting for Check of go.a")


def test_a_check_that_only_a_person_answers_is_attested_and_never_run() -> None:
    """Such a check has an Attest button while the release is OPEN and none later."""
    section = Section(
        id="hand", title="By hand", checks=(make_check("hand.a", kind="attest"), make_check("hand.b", kind="attest"))
    )
    gate = Section(id="go", title="Go", gate=True, checks=(make_check("go.a"),))
    result = make_result("hand.b", summary="looked at it", by=PAT, is_attested=True)
    check_views = {"hand.a": make_check_view("hand.a"), "hand.b": make_check_view("hand.b", result)}
    messages = {
        state: render_stored(
            "section", "hand", make_view(make_release(state), make_checklist([section, gate]), check_views)
        )
        for state in (ReleaseState.OPEN, ReleaseState.WATCHING, ReleaseState.ABORTED)
    }
    assert {state: labels(message) for state, message in messages.items()} == {
        ReleaseState.OPEN: ["Attest", "Details", "Waive", "Details"],
        ReleaseState.WATCHING: ["Details", "Details"],
        ReleaseState.ABORTED: ["Details", "Details"],
    }
    message = messages[ReleaseState.OPEN]
    assert block(message, "check:hand.a").endswith("\nneeds a person")
    assert block(message, "check:hand.b").endswith(f" · {AT_1757}, valid until {AT_2157}, attested by <@U0PAT00001>")


@pytest.mark.parametrize(
    ("state", "button_labels"),
    [
        (ReleaseState.OPEN, ["Details", "Details"]),
        (ReleaseState.DONE, ["Run all", "Run", "Details", "Attest", "Details"]),
        (ReleaseState.ROLLED_BACK, ["Details", "Details"]),
    ],
)
def test_the_section_after_the_deploy_opens_once_the_release_is_done(
    state: ReleaseState, button_labels: list[str]
) -> None:
    """Checks after the deploy have buttons only in the state DONE."""
    assert labels(render_stored("section", "after", in_state(state))) == button_labels


def test_a_running_section_can_be_cancelled_as_a_whole() -> None:
    """The heading has Cancel all while a check of the section is under way, and Run all otherwise."""
    view = make_view(checks={"go.check_1": make_check_view("go.check_1", PASS_RESULT, running=RunState.WAITING)})
    (first, *_) = buttons(render_stored("section", "go", view))
    assert (first["text"]["text"], first["action_id"]) == ("Cancel all", "section.cancel")
    (first, *_) = buttons(render_stored("section", "go", make_view()))
    assert (first["text"]["text"], first["action_id"]) == ("Run all", "section.rerun")
    assert json.loads(first["value"]) == {"release": 12, "section": "go"}


def test_a_section_shows_its_progress_and_its_open_checks() -> None:
    """The message and its notification show how many checks passed and which are open."""
    section = render_stored(
        "section", "go", make_view(checks={"go.check_1": make_check_view("go.check_1", FAIL_RESULT)})
    )
    assert block(section, "section") == "*Go/No-Go* 9/10, decides Go or No-Go"
    assert section.text == "SOLVEREIGN v4.8.0: Go/No-Go 9/10. Open: Check of go.check_1 (failed)"


def test_in_a_crowded_section_failed_checks_keep_their_buttons() -> None:
    """A section of 30 checks fits into 50 blocks; passed checks that do not fit are listed without buttons."""
    checks = tuple(make_check(f"go.c{number}") for number in range(30))
    view = make_view(
        checklist=make_checklist([Section(id="go", title="Go", gate=True, checks=checks)]),
        checks={"go.c29": make_check_view("go.c29", replace(FAIL_RESULT, check=checks[29].id))},
    )
    section = render_stored("section", "go", view)
    assert_slack_accepts(section)
    assert "check:go.c29:buttons" in block_ids(section)
    assert len(section.blocks) == 50
    assert block(section, "rest").splitlines() == [
        "There is no room for buttons on the rest. `/release check ID` runs one again.",
        *(f":white_check_mark: Check of go.c{number}  `go.c{number}`" for number in range(23, 29)),
    ]


def test_a_title_with_asterisks_is_not_set_in_bold() -> None:
    """A title such as `SELECT * FROM` is shown without bold markup."""
    section = Section(
        id="go", title="Go", gate=True, checks=(make_check("go.a", title="SELECT * FROM verify() - All PASS"),)
    )
    message = render_stored("section", "go", make_view(checklist=make_checklist([section])))
    assert block(message, "check:go.a").startswith(":white_check_mark: SELECT * FROM verify() - All PASS  `go.a`\n")


# --- steps


def test_steps_show_the_value_before_and_after() -> None:
    """Each step has one block with mark, title, time and values; a pending step shows what it will change."""
    view = in_state(ReleaseState.DEPLOYING)
    image = Mutation("image", "", "api@sha256:" + "ab" * 32, Way.BACK, "back to revision 7")
    drop = Mutation("migration <1>.sql", "", "applied", Way.FINAL, "cannot be taken back")
    to_come = replace(view.steps[2], planned_changes=(image, drop))
    steps = render_stored("steps", "deploy", replace(view, steps=(*view.steps[:2], to_come, *view.steps[3:])))
    assert_slack_accepts(steps)
    assert steps.text == "Deploy of SOLVEREIGN v4.8.0: step 2 of 3, Deploy backend running: 2 of 3 pods ready"
    assert [block(steps, name) for name in block_ids(steps)] == [
        "*Deploy of SOLVEREIGN v4.8.0* 1/3",
        (
            ":white_check_mark: *Create release tag* · 1 min\nbefore: image ghcr.io/solvereign/api@sha256:cdcdcdcdcdcd, "
            "revision 41\n→ 3 of 3 pods ready\nattested by <@U0RITA0001>: pushed by hand"
        ),
        (
            ":hourglass_flowing_sand: *Deploy backend* · since <!date^1795542480^{time}|17:48 UTC>\n"
            "before: image ghcr.io/solvereign/api@sha256:cdcdcdcdcdcd, revision 41\n→ 2 of 3 pods ready"
        ),
        (
            ":white_circle: *Verify backend logs*\nimage: nothing → api@sha256:abababababab; "
            "migration &lt;1&gt;.sql: nothing → applied (cannot be taken back)"
        ),
    ]
    assert labels(steps) == ["Cancel"]
    view = in_state(ReleaseState.DEPLOYING)
    running = [replace(step, unfinished_jobs=("migrate-1",)) for step in view.steps]
    question = buttons(render_stored("steps", "deploy", replace(view, steps=running)))[0]["confirm"]["text"]["text"]
    assert question == "What it changed so far stays. job/migrate-1 keeps running. You can retry it, or roll back."
    assert json.loads(buttons(steps)[0]["value"]) == {"release": 12, "step": 102}


def test_a_failed_step_offers_retry_and_rollback() -> None:
    """The message of a failed step has the buttons Retry and Roll back."""
    steps = render_stored("steps", "deploy", in_state(ReleaseState.DEPLOY_FAILED))
    assert steps.text == "Deploy of SOLVEREIGN v4.8.0: step 2 of 3, Deploy backend failed: did not become ready"
    assert [button["action_id"] for button in buttons(steps)] == ["step.retry", "release.rollback"]


def test_an_attested_step_names_who_attested_it() -> None:
    """An attested step names the person, says when the bot could not confirm it, and is then listed as open."""
    view = in_state(ReleaseState.DONE)
    unconfirmed_step = replace(view.steps[0], summary="not confirmed: GitHub <answered> 401")
    unconfirmed_view = replace(view, steps=(unconfirmed_step, *view.steps[1:]))
    notice = "not confirmed: GitHub &lt;answered&gt; 401"
    assert block(render_stored("steps", "deploy", unconfirmed_view), "step:101").startswith(
        ":grey_question: *Create release tag* ·"
    )
    assert notice in block(render_stored("steps", "deploy", unconfirmed_view), "step:101")
    open_line = f":grey_question: Create release tag: done by hand by <@U0RITA0001>, {notice}"
    assert open_line in block(render_stored("closeout", "", unconfirmed_view), "open")
    assert "Create release tag" not in block(render_stored("closeout", "", unconfirmed_view), "done")
    steps = render_stored("steps", "deploy", in_state(ReleaseState.DONE))
    assert block(steps, "step:101").endswith("\nattested by <@U0RITA0001>: pushed by hand")
    assert labels(steps) == []


def test_a_plan_says_that_it_waits_for_a_person() -> None:
    """A step for a person names who may do it and has an Attest button once it is its turn."""
    view = in_state(ReleaseState.DEPLOYING)
    first, *rest = make_steps(PlanKind.DEPLOY, view.checklist, [StepState.TO_ATTEST])
    steps = render_stored("steps", "deploy", replace(view, steps=(replace(first, started_at=view.now), *rest)))
    who = "Release Manager or QA or Product"
    head = "Deploy of SOLVEREIGN v4.8.0: step 1 of 3, Create release tag"
    assert steps.text == f"{head} waits: a person does this and attests it"
    assert block(steps, "plan") == "*Deploy of SOLVEREIGN v4.8.0* 0/3"
    assert f"{who}: do this, then press Attest. The deploy waits for it." in block(steps, "step:101")
    assert [button["action_id"] for button in buttons(steps)] == ["step.attest", "release.abort", "release.rollback"]
    assert labels(render_stored("steps", "deploy", replace(view, steps=(first, *rest)))) == []


@pytest.mark.parametrize("state", [ReleaseState.ROLLING_BACK, ReleaseState.ROLLBACK_FAILED, ReleaseState.ROLLED_BACK])
def test_a_failed_deploy_cannot_be_retried_after_a_rollback(state: ReleaseState) -> None:
    """Once a rollback has begun, neither the notice nor the message of the failed step offers a retry."""
    view = in_state(state)
    failed_steps = make_steps(PlanKind.DEPLOY, view.checklist, [StepState.TO_ATTEST, StepState.FAILED])
    view = replace(view, steps=(*failed_steps, *(step for step in view.steps if step.plan is PlanKind.ROLLBACK)))
    assert render_stored("notice", "failed:102:1", view).text == (
        f"Deploy of SOLVEREIGN v4.8.0: Deploy backend failed: did not become ready\n"
        f"Too late to retry: the release has moved on ({state})."
    )
    assert {"Retry", "Done by hand"}.isdisjoint(labels(render_stored("steps", "deploy", view)))


def test_the_steps_of_a_rollback_have_their_own_message() -> None:
    """The steps of a rollback are a message of their own with its own Retry button."""
    steps = render_stored("steps", "rollback", in_state(ReleaseState.ROLLBACK_FAILED))
    assert block(steps, "plan") == "*Rollback of SOLVEREIGN v4.8.0* 0/1"
    assert labels(steps) == ["Retry"]


# --- close-out and notices


def test_the_close_out_lists_what_was_waived_and_is_still_open() -> None:
    """The close-out lists durations, waived checks, and steps and checks that are still open."""
    view = in_state(ReleaseState.DONE)
    check_view = make_check_view("go.check_1", FAIL_RESULT, make_waiver("go.check_1"))
    states = [StepState.TO_ATTEST, StepState.DONE, StepState.DONE]
    view = replace(
        view,
        checks={**view.checks, check_view.id: check_view},
        steps=make_steps(PlanKind.DEPLOY, view.checklist, states),
    )
    closeout = render_stored("closeout", "", view)
    assert_slack_accepts(closeout)
    assert closeout.text == "Close-out of SOLVEREIGN v4.8.0: DONE, 1 waived, 3 still open"
    assert block(closeout, "closeout") == (
        "*Close-out of SOLVEREIGN v4.8.0*\nTook 48 min from start to deploy, 2 min for the deploy, 9 min of watch, 1 h in all."
    )
    assert block(closeout, "waived") == (
        f"*Waived*\n:fast_forward: Check of go.check_1: the drill of yesterday counts (<@U0RITA0001>, {AT_1758})"
    )
    assert block(closeout, "open") == (
        "*Still open*\n:raised_hand: Create release tag: not attested yet\n:white_circle: Check of after.health: not run yet\n"
        ":raised_hand: Check of after.grafana: needs a person"
    )


@pytest.mark.parametrize(
    ("state", "subject", "text"),
    [
        (
            ReleaseState.ABORTED,
            "aborted",
            "SOLVEREIGN v4.8.0 is aborted. Nothing was deployed. Reason: superseded by v4.8.1",
        ),
        (
            ReleaseState.ABORTED,
            "gave_way:v4.7.0:U0QUINN001:channel",
            (
                "<@U0RITA0001> <@U0QUINN001>: SOLVEREIGN v4.8.0 is aborted because <@U0QUINN001> rolls back v4.7.0. "
                "Nothing of it was deployed. Once production is healthy: `/release start v4.8.0`"
            ),
        ),
        (ReleaseState.DONE, "done", "SOLVEREIGN v4.8.0 is in production and its watch is over."),
        (
            ReleaseState.ROLLED_BACK,
            "rolled_back",
            "SOLVEREIGN v4.8.0 is rolled back. Production runs what it ran before. Reason: errors after the deploy",
        ),
        (
            ReleaseState.DEPLOY_FAILED,
            "failed:102:3",
            (
                "Deploy of SOLVEREIGN v4.8.0: Deploy backend failed: did not become ready\n"
                "<@U0QUINN001>: retry it in the thread, or roll back."
            ),
        ),
        (
            ReleaseState.WATCHING,
            "failed:102:3",
            "Deploy of SOLVEREIGN v4.8.0: Deploy backend failed at first, and was retried: done.",
        ),
        (
            ReleaseState.ROLLED_BACK,
            "done",
            (
                "SOLVEREIGN v4.8.0 was in production. Now: ROLLED_BACK, "
                "<!date^1795543200^{date_short_pretty} {time}|2026-11-24 18:00 UTC>: errors after the deploy"
            ),
        ),
        (
            ReleaseState.ABORTED,
            "moved:1",
            (
                "SOLVEREIGN v4.8.0 now points to something else: commit `c0ffeec0ffee`, image "
                "`ghcr.io/solvereign/api@sha256:abababababab`. Earlier sign-offs are void."
            ),
        ),
        (
            ReleaseState.ABORTED,
            "voided:7:qa:U0QUINN001:old",
            "<@U0QUINN001>: your QA sign-off is void: it has expired for SOLVEREIGN v4.8.0.",
        ),
        (
            ReleaseState.OPEN,
            "voided:7",
            "A sign-off is void: SOLVEREIGN v4.8.0 has changed since. Look again and sign again.",
        ),
        (
            ReleaseState.OPEN,
            "voided:7:qa:U0QUINN001",
            (
                "<@U0QUINN001>: your QA sign-off is void: SOLVEREIGN v4.8.0 has changed since. "
                "Look again and sign again."
            ),
        ),
        (ReleaseState.OPEN, "frozen", "The freeze is over. Deploys are allowed again."),
    ],
)
def test_a_notice_is_one_event_in_a_sentence(state: ReleaseState, subject: str, text: str) -> None:
    """A notice says one event in one sentence, the same in the message and in its notification."""
    notice = render_stored("notice", subject, in_state(state))
    assert_slack_accepts(notice)
    assert notice.text == text
    assert block(notice, "notice").endswith(text)


def test_the_notice_of_a_failed_step_in_a_freeze_says_that_a_retry_has_to_wait() -> None:
    """While deploys are frozen, the notice of a failed step names the rollback first, and a retry after the freeze."""
    notice = render_stored(
        "notice", "failed:102:3", replace(in_state(ReleaseState.DEPLOY_FAILED), freeze=make_freeze())
    )
    assert notice.text.endswith("\n<@U0QUINN001>: roll back, or retry it in the thread once the freeze is over.")


def test_a_freeze_is_announced_with_who_until_when_and_why() -> None:
    """The notice of a freeze names person, end and reason; it does not say that a freeze is over while the calendar has
    one.
    """
    calendar = render_stored(
        "notice", "frozen:1", make_view(freeze=make_freeze(by=SYSTEM, id=None, reason="weekend", until=NOW))
    )
    assert calendar.text.startswith("That freeze is over, but the calendar freezes deploys until <!date^")
    notice = render_stored("notice", "frozen", make_view(freeze=make_freeze(until=NOW)))
    assert notice.text == (
        "<@U0PAT00001> froze deploys until <!date^1795543200^{date_short_pretty} {time}|2026-11-24 18:00 UTC>: "
        "incident under way"
    )
