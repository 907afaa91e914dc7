"""The findings of the doctor, as a person in Slack reads them."""

import pytest

from bot.flows.needed import Said
from bot.slack.blocks.doctor import found
from checks.checkup.finding import Finding, State
from tests.unit.slack_rules import assert_slack_takes, block

GOOD = Said("Slack", Finding(State.OK, "the token is good"))
NOTE = Said("Vercel", Finding(State.NOTE, "shows <api>", "The first deploy shows it."))
RULE = "- apiGroups: [apps]\n  verbs: [get]"
LINES = tuple(f"go.check_{number}" for number in range(9))
BAD = Said("Kubernetes of staging", Finding(State.MISSING, "may not get <pods>", "Add to its Role:", RULE, LINES))


def test_what_is_to_be_put_right_comes_first_with_how() -> None:
    """Part, what, hint, who needs it, and what to copy."""
    shown = found([GOOD, BAD, NOTE])
    assert_slack_takes(shown)
    assert shown.text == "1 of 3 to be put right. Kubernetes of staging"
    assert block(shown, "bad:0") == (
        ":x: *Kubernetes of staging*: may not get &lt;pods&gt;. Add to its Role:\n"
        f"Needed by {', '.join(LINES[:6])} and 3 more.\n```\n{RULE}\n```"
    )
    assert block(shown, "good") == (
        ":white_check_mark: *Slack*: the token is good.\n"
        ":information_source: *Vercel*: shows &lt;api&gt;. The first deploy shows it."
    )


def test_what_is_refused_stands_before_what_is_not_configured() -> None:
    """That which worked yesterday is what somebody looks for."""
    unset = Said("Grafana", Finding(State.UNSET, "grafana is not set", "Set it in release-bot.yml."))
    shown = found([unset, BAD])
    assert shown.text == "2 of 2 to be put right. Kubernetes of staging, Grafana"


def test_all_is_well() -> None:
    """One sentence, and what was looked at."""
    shown = found([GOOD])
    assert_slack_takes(shown)
    assert shown.text == "All that this checklist needs works."


@pytest.mark.parametrize("number", [1, 10, 11, 80])
def test_however_much_is_wrong_it_fits(number: int) -> None:
    """What has no room is counted, and found on the command line."""
    long = Finding(State.UNREACHABLE, "w" * 900, "h" * 900, "r\n" * 900, LINES * 20)
    shown = found([Said(f"Part {n} " + "p" * 90, long) for n in range(number)] + [GOOD] * 60)
    assert_slack_takes(shown)
    assert ("`release-bot doctor` says all" in str(shown.blocks)) is (number > 10)
