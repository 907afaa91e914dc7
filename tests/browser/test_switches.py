"""The panel "Break things" on the page of a whole sandbox."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Screen
from tests.fix_sandbox import Sandbox
from tests.sandbox.slack_world import eventually

pytestmark = pytest.mark.browser


def test_switch_on_the_page_moves_the_one_of_the_sandbox(screen: Screen, sandbox: Sandbox) -> None:
    """A switch that is clicked is on in the sandbox, and counted beside the button of the panel."""
    page = screen.open(sandbox["page"])
    page.get_by_test_id("faults-toggle").click()

    page.get_by_test_id("fault-legal_page_missing").check()

    eventually(lambda: sandbox.control("GET", "faults/legal_page_missing")["on"])
    expect(page.get_by_test_id("faults-toggle")).to_have_text("Break things1")


def test_panel_follows_switches_moved_elsewhere(screen: Screen, sandbox: Sandbox) -> None:
    """A switch moved through the control API moves on the page."""
    page = screen.open(sandbox["page"])
    page.get_by_test_id("faults-toggle").click()
    expect(page.get_by_test_id("fault-sentry_down")).not_to_be_checked()

    sandbox.switch("sentry_down", on=True)

    expect(page.get_by_test_id("fault-sentry_down")).to_be_checked()
