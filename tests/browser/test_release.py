"""A whole release on the page, from the typed command to its end, by two people; leaves pictures in artifacts/."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.play import Stage
from tests.fix_demo import Demo, running_demo

pytestmark = pytest.mark.browser

ARTIFACTS = Path(__file__).parents[2] / "artifacts"
RITA, QUINN = "U0RITA0001", "U0QUINN001"
SLOW = 90_000.0  # milliseconds for what the bot has to do first


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """What `make demo` starts, with a watch of six seconds."""
    with running_demo(tmp_path_factory.mktemp("page") / "data", "--watch-minutes", "0.1") as demo_now:
        yield demo_now


@pytest.fixture(scope="module")
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    """The page, wide enough for a thread beside the channel; fails when a script of it raises an error."""
    errors: list[str] = []
    with browser.new_context(viewport={"width": 1500, "height": 1400}) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(demo.facts["page"])
        yield page
    assert errors == []


def _picture(page: Page, name: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png")


def _card_says(page: Page, words: str) -> None:
    expect(page.locator("#message-list").get_by_test_id("message").first).to_contain_text(words, timeout=SLOW)


def _press(page: Page, action: str, value: str = "") -> None:
    carrying = f'[data-value*="{value}"]' if value else ""
    page.locator(f'#message-list [data-testid="button-{action}"]{carrying}').click()


def _state(demo: Demo) -> tuple[list[Any], list[Any]]:
    return (
        demo.rows("SELECT version, state, deployer FROM releases"),
        demo.rows("SELECT id, ended_at FROM signoffs ORDER BY id"),
    )


@pytest.fixture(scope="module")
def finished_release(page: Page, demo: Demo) -> Demo:
    """A release that the release manager started and deployed and QA approved too, all on the page, without a reload."""
    page.get_by_test_id("composer").fill("/release start v4.8.0")
    page.get_by_test_id("send").click()
    _card_says(page, "10 of 10 checks passed. Waiting for Release Manager.")
    _picture(page, "1-checked")

    _press(page, "signoff.approve", "release_manager")
    page.get_by_test_id("act-as").select_option(QUINN)
    _press(page, "signoff.approve", "qa")
    page.get_by_test_id("act-as").select_option(RITA)
    _press(page, "release.deploy")
    page.get_by_test_id("confirm-ok").click()
    page.get_by_test_id("thread-open").first.click()
    _card_says(page, "WATCHING")
    _picture(page, "2-watching")

    _card_says(page, "DONE")
    expect(page.locator("#message-list")).to_contain_text("is in production and its watch is over", timeout=SLOW)
    _picture(page, "3-done")
    return demo


def test_from_the_command_to_done(finished_release: Demo) -> None:
    """The release is DONE, signed by two people, and Slack would have taken every message."""
    approvals = finished_release.rows("SELECT by_whom, role FROM signoffs WHERE purpose = 'deploy' ORDER BY id")

    assert [row["state"] for row in finished_release.rows("SELECT state FROM releases")] == ["DONE"]
    assert [(row["by_whom"], row["role"]) for row in approvals] == [(RITA, "release_manager"), (QUINN, "qa")]
    assert finished_release.control("violations") == []


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("signoff.approve", {"role": "qa"}),
        ("signoff.revoke", {"role": "qa"}),
        ("release.deploy", {}),
        ("release.abort", {}),
        ("check.rerun", {"check": "go.migrations"}),
        ("check.waive", {"check": "migrations.applied"}),
    ],
)
def test_a_button_of_the_finished_release_does_nothing(
    finished_release: Demo, action: str, more: dict[str, str]
) -> None:
    """Somebody's screen still shows the card of an hour ago: the click is answered, on record, and changes nothing."""
    before = _state(finished_release)
    value = json.dumps({"release": finished_release.rows("SELECT id FROM releases")[0]["id"], **more})
    ts = finished_release.stage.card()["ts"]

    with contextlib.closing(Stage(finished_release.facts["page"])) as stage:
        if action in {"release.abort", "check.waive"}:
            answer = stage.fill_raw("Rita", action, value, ts, "an hour late")
        else:
            answer = stage.press_raw("Rita", action, value, ts)

    assert "DONE" in answer
    assert _state(finished_release) == before
    refusal = finished_release.rows("SELECT event, actor FROM audit ORDER BY seq DESC LIMIT 1")[0]
    assert (refusal["event"], refusal["actor"]) == ("click.refused", RITA)
