"""A real Chromium on the page of a real workspace, with a small app connected to it."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from slack_bolt import Ack, App
from slack_sdk import WebClient

from tests.sandbox.slack_world import Json, SlackWorld, no_proxies

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = 5_000
MODAL = {
    "type": "modal",
    "callback_id": "check.waive",
    "title": {"type": "plain_text", "text": "Waive a check"},
    "submit": {"type": "plain_text", "text": "Waive"},
    "close": {"type": "plain_text", "text": "Cancel"},
    "blocks": [
        {"type": "section", "text": {"type": "mrkdwn", "text": "This is *recorded*."}},
        {
            "type": "input",
            "block_id": "reason",
            "label": {"type": "plain_text", "text": "Reason"},
            "element": {"type": "plain_text_input", "action_id": "reason", "multiline": True},
        },
        {
            "type": "input",
            "block_id": "scope",
            "optional": True,
            "label": {"type": "plain_text", "text": "For how long"},
            "element": {"type": "plain_text_input", "action_id": "scope"},
        },
    ],
}


class SmallApp:
    """What the page is tried with: it opens MODAL, refuses the reason "no", and notes whatever it is told."""

    def __init__(self) -> None:
        self.clicks: list[tuple[str, str, str | None]] = []  # user, action_id, value
        self.reasons: list[str] = []

    def listen(self, app: App) -> None:
        """Register the listeners."""
        app.command("/release")(self._command)
        app.action("check.waive")(self._open)
        app.action("signoff.approve")(self._note)
        app.action("release.deploy")(self._note)
        app.view("check.waive")(self._on_submission)

    def _command(self, ack: Ack, command: dict[str, str]) -> None:
        ack(f"You typed `{command['text']}`")

    def _open(self, ack: Ack, body: dict[str, str], client: WebClient) -> None:
        ack()
        client.views_open(trigger_id=body["trigger_id"], view=MODAL)

    def _note(self, ack: Ack, body: Json) -> None:
        action = body["actions"][0]
        self.clicks.append((body["user"]["id"], action["action_id"], action.get("value")))
        ack()

    def _on_submission(self, ack: Ack, view: Json) -> None:
        reason = view["state"]["values"]["reason"]["reason"]["value"]
        self.reasons.append(reason)
        if reason == "no":
            ack(response_action="errors", errors={"reason": "Please say why."})
        else:
            ack()


def _chromium() -> str:
    program = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if program is None:
        reason = "no Chromium on PATH: `make browser` says how to get one"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


# Playwright's loop runs in the main thread, so the browser is closed before other modules run loops of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module."""
    executable = _chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def _direct() -> Iterator[None]:
    yield from no_proxies()


@pytest.fixture(scope="module")
def lonely(_direct: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlackWorld]:
    """A workspace whose app is not connected."""
    world = SlackWorld(tmp_path_factory.mktemp("lonely"))
    yield world
    world.stop()


@pytest.fixture(scope="module")
def _workspace_and_app(
    _direct: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[SlackWorld, SmallApp]]:
    world = SlackWorld(tmp_path_factory.mktemp("workspace"))
    app = SmallApp()
    with world.bot(app.listen):
        yield world, app
    world.stop()


@pytest.fixture
def workspace(_workspace_and_app: tuple[SlackWorld, SmallApp]) -> SlackWorld:
    """The workspace of the module, with SmallApp connected."""
    return _workspace_and_app[0]


@pytest.fixture
def app(_workspace_and_app: tuple[SlackWorld, SmallApp]) -> SmallApp:
    """The app in the workspace, with nothing noted yet."""
    app = _workspace_and_app[1]
    app.clicks.clear()
    app.reasons.clear()
    return app


class Screen:
    """Opens pages, and knows what went wrong in their scripts."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._pages: list[Page] = []
        self.errors: list[str] = []

    def open(self, url: str) -> Page:
        """The page of the workspace at `url`, once it follows it."""
        page = self._context.new_page()
        self._pages.append(page)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url)
        page.get_by_test_id("channel-releases").wait_for()
        return page

    def close(self) -> None:
        """Close the pages. Fails when a script of one of them raised an error."""
        for page in self._pages:
            page.close()
        assert self.errors == []


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """The browser's profile: its cache is shared by the tests, what a page remembers belongs to the page."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(WAIT_MS)
    yield context
    context.close()


@pytest.fixture
def screen(context: BrowserContext) -> Iterator[Screen]:
    """For tests that open pages of their own."""
    screen = Screen(context)
    yield screen
    screen.close()


@pytest.fixture
def page(screen: Screen, workspace: SlackWorld) -> Page:
    """The page of the workspace, as Rita, in #releases."""
    return screen.open(workspace.url)


@pytest.fixture(scope="module")
def reading(context: BrowserContext, _workspace_and_app: tuple[SlackWorld, SmallApp]) -> Iterator[Page]:
    """One page for all tests that only read new messages on it."""
    screen = Screen(context)
    yield screen.open(_workspace_and_app[0].url)
    screen.close()
