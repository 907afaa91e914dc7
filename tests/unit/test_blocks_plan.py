"""The plan as people read it before anything happens."""

from dataclasses import replace

from bot.domain.plan import LastingChange, Mutation, PlanKind, PlannedStep, Way
from bot.slack.blocks.plan import plan_message
from tests.unit.factories import make_checklist
from tests.unit.slack_rules import assert_slack_accepts, block, block_ids

CHECKLIST = make_checklist()
TAG, BACKEND, LOGS = (PlannedStep(PlanKind.DEPLOY, spec, ()) for spec in CHECKLIST.deploy)
BACK = PlannedStep(PlanKind.ROLLBACK, CHECKLIST.rollback[0], ())
IMAGE = Mutation(
    "image of deployment/api", "api@sha256:" + "ab" * 32, "api@sha256:" + "cd" * 32, Way.BACK, "back to revision 7"
)
DROP = Mutation("migration 061.sql on production", "", "applied", Way.FINAL, "cannot be taken back: declared breaking")


def test_each_change_is_shown_with_both_values_and_its_rollback() -> None:
    """Each change is shown with the value now, the value after and its rollback; steps without a change are only named."""
    message = plan_message("SOLVEREIGN v4.8.0", [TAG, replace(BACKEND, changes=(IMAGE, DROP)), LOGS, BACK])
    assert_slack_accepts(message)
    assert message.text == "Plan of SOLVEREIGN v4.8.0: 3 steps, 2 changes, 1 can't be undone"
    assert block_ids(message) == ["plan", "step:2", "by_hand", "quiet", "rollback", "marks"]
    assert block(message, "step:2").splitlines() == [
        "2. *Deploy backend*",
        "image of deployment/api: api@sha256:abababababab → *api@sha256:cdcdcdcdcdcd*",
        ":leftwards_arrow_with_hook: back to revision 7",
        "migration 061.sql on production: nothing → *applied*",
        ":warning: cannot be taken back: declared breaking",
    ]
    assert block(message, "quiet").splitlines() == [
        "*Changes nothing*",
        "3. Verify backend logs (checks)",
    ]
    assert block(message, "by_hand").splitlines() == [
        "*By hand: the bot doesn't know what these change, and a rollback leaves them in place*",
        "1. Create release tag (by hand)",
    ]
    assert "stays" not in block(message, "marks")
    under_way = plan_message("SOLVEREIGN v4.8.0", [LOGS, BACK], [LastingChange(DROP.what, DROP.way, DROP.back)])
    assert block(under_way, "lasting") == (
        "*A rollback leaves in place*\n"
        ":warning: migration 061.sql on production: cannot be taken back: declared breaking"
    )


def test_a_step_whose_changes_are_unknown_says_so() -> None:
    """A step whose changes cannot be read is never shown as one without a change."""
    message = plan_message("SOLVEREIGN v4.8.0", [replace(BACKEND, trouble="Vercel <answered> 503. Wait."), BACK])
    assert message.text.endswith("1 step, 0 changes. The bot can't read what 1 step would change")
    assert ":x: the bot can't read what it would change: Vercel &lt;answered&gt; 503. Wait." in block(message, "step:1")


def test_slack_accepts_a_plan_of_many_long_steps() -> None:
    """A plan stays within Slack's limits, however long its texts are."""
    long = Mutation("w" * 900, "n" * 900, "a" * 900, Way.COMPATIBLE, "b" * 900)
    assert_slack_accepts(plan_message("P" * 300, [replace(BACKEND, changes=(long,) * 5)] * 80 + [BACK] * 80))
