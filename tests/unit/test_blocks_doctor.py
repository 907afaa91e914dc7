"""The findings of the doctor, as a person in Slack reads them."""

import pytest

from bot.flows.configuration_needs import PartFinding
from bot.slack.blocks.doctor import findings
from checks.checkup.finding import Finding, State
from tests.unit.slack_rules import assert_slack_accepts, block

GOOD = PartFinding("Slack", Finding(State.OK, "the token is good"))
NOTE = PartFinding("Vercel", Finding(State.NOTE, "shows <api>", "The first deploy shows it."))
RULE = "- apiGroups: [apps]\n  verbs: [get]"
LINES = tuple(f"go.check_{number}" for number in range(9))
BAD = PartFinding(
    "Kubernetes of staging", Finding(State.MISSING, "may not get <pods>", "Add to its Role:", RULE, LINES)
)


def test_problems_come_first_with_their_solution() -> None:
    """A problem is listed with part, message, hint, the checks that need it, and the text to copy."""
    message = findings([GOOD, BAD, NOTE])
    assert_slack_accepts(message)
    assert message.text == "Needs attention: 1 of 3. Kubernetes of staging"
    assert block(message, "bad:0") == (
        ":x: *Kubernetes of staging*: may not get &lt;pods&gt;. Add to its Role:\n"
        f"Needed by {', '.join(LINES[:6])} and 3 more.\n```\n{RULE}\n```"
    )
    assert block(message, "good") == (
        ":white_check_mark: *Slack*: the token is good.\n"
        ":information_source: *Vercel*: shows &lt;api&gt;. The first deploy shows it."
    )


def test_refused_access_is_listed_before_missing_configuration() -> None:
    """What is refused is named before what is not configured."""
    unset = PartFinding("Grafana", Finding(State.UNSET, "grafana is not set", "Set it in release-bot.yml."))
    message = findings([unset, BAD])
    assert message.text == "Needs attention: 2 of 2. Kubernetes of staging, Grafana"


def test_a_report_without_problems_is_one_sentence() -> None:
    """If everything works, the message says so in one sentence."""
    message = findings([GOOD])
    assert_slack_accepts(message)
    assert message.text == "Everything this checklist needs works."


@pytest.mark.parametrize("number", [1, 10, 11, 80])
def test_a_report_fits_however_many_problems_it_has(number: int) -> None:
    """Problems that do not fit are left out, and the message names the command that lists all."""
    long = Finding(State.UNREACHABLE, "w" * 900, "h" * 900, "r\n" * 900, LINES * 20)
    message = findings([PartFinding(f"Part {n} " + "p" * 90, long) for n in range(number)] + [GOOD] * 60)
    assert_slack_accepts(message)
    assert ("`release-bot doctor` lists them all" in str(message.blocks)) is (number > 10)
