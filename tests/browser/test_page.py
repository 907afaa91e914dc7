"""The page of the sandbox workspace, seen and used in a real browser."""

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Screen, SmallApp
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, GENERAL, QUINN, RELEASES, RITA, SlackWorld, eventually

pytestmark = [pytest.mark.browser, CLIENT_LEAKS_SOCKETS]

HOSTILE = "<img src=x onerror=\"document.title='hit'\">"
DAY = 1_767_225_600  # 1 January 2026


def text(value: str, kind: str = "mrkdwn") -> dict[str, str]:
    """A text object."""
    return {"type": kind, "text": value}


def button(action_id: str, label: str, value: str = "{}", **more: Any) -> dict[str, Any]:
    """A button element."""
    return {"type": "button", "action_id": action_id, "text": text(label, "plain_text"), "value": value, **more}


def post(world: SlackWorld, page: Page, blocks: list[dict[str, Any]], fallback: str = "fallback") -> Locator:
    """Post blocks as the app and find the message on the page."""
    return shown(page, world.client.chat_postMessage(channel=RELEASES, text=fallback, blocks=blocks)["ts"])


def shown(page: Page, ts: str) -> Locator:
    """A message in the channel, not its copy in the thread."""
    return page.locator(f'#message-list [data-testid="message"][data-ts="{ts}"]')


def a_png() -> bytes:
    """A blue picture, 4 pixels wide."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x1d\x7f\xc9" * 4) * 4)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


# Messages


def block_of_every_type(file_id: str) -> dict[str, tuple[dict[str, Any], str, str]]:
    """Type -> a block of it, where to look inside of it, and what must be read there."""
    parts = [{"type": "emoji", "name": "x"}, {"type": "text", "text": " Webhook"}]
    marked_cell = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": parts}]}
    cells = [[text("Check", "raw_text"), text("Took", "raw_text")], [marked_cell, text("4", "raw_text")]]
    picture = {"slack_file": {"id": file_id}, "alt_text": "a plot"}
    return {
        "header": ({"text": text("Release v4.8.0", "plain_text")}, "", "Release v4.8.0"),
        "section": (
            {"fields": [text("*A*"), text("*B*")], "accessory": button("x", "Go")},
            ".fields strong >> nth=1",
            "B",
        ),
        "actions": ({"elements": [button("y", "Yes", style="primary")]}, ".btn.primary", "Yes"),
        "context": ({"elements": [text("_small_")]}, "em", "small"),
        "table": ({"rows": cells, "column_settings": [{"is_wrapped": True}, {}]}, "td.wrapped", ":x: Webhook"),
        "image": ({**picture, "title": text("Errors", "plain_text")}, "figcaption", "Errors"),
    }


def test_every_block_type_is_drawn(reading: Page, workspace: SlackWorld, tmp_path: Path) -> None:
    """Each type of block that a message may have is drawn as what it is, pictures included."""
    picture = tmp_path / "plot.png"
    picture.write_bytes(a_png())
    file_id = workspace.client.files_upload_v2(file=str(picture), filename="plot.png")["file"]["id"]
    blocks = block_of_every_type(file_id)

    message = post(workspace, reading, [{"type": kind, **block} for kind, (block, _, _) in blocks.items()])

    for kind, (_, inside, words) in blocks.items():
        block = message.locator(f".block-{kind}")
        expect(block.locator(inside) if inside else block).to_have_text(words)
    reading.wait_for_function("image => image.naturalWidth === 4", arg=message.locator("figure img").element_handle())


@pytest.mark.parametrize(
    ("source", "selector", "drawn"),
    [
        ("*bold*", "strong", "bold"),
        ("_slanted_", "em", "slanted"),
        ("~gone~", "del", "gone"),
        ("`a *b*`", "code", "a *b*"),
        ("```line\nnext```", "pre", "line\nnext"),
        ("> quoted", "blockquote", "quoted"),
        ("• item", ".bullet span >> nth=1", "item"),
        ("<http://127.0.0.1/x?a=1&amp;b=2|notes>", "a[href='http://127.0.0.1/x?a=1&b=2']", "notes"),
        (f"<@{QUINN}>", ".mention", "@Quinn Quist"),
        (f"<#{GENERAL}>", ".mention", "#general"),
        ("<!here>", ".mention.broadcast", "@here"),
        (f"<!date^{DAY}^{{date_num}}|then>", "time", re.compile(r"0?1/01/2026|31/12/2025")),
        (":rocket:", ".emoji[aria-label=rocket]", ":rocket:"),
    ],
)
def test_mrkdwn_is_drawn(reading: Page, workspace: SlackWorld, source: str, selector: str, drawn: Any) -> None:
    """Slack's marks become what they stand for."""
    message = post(workspace, reading, [{"type": "section", "text": text(source)}])

    expect(message.locator(f".text {selector}")).to_have_text(drawn)


@pytest.mark.parametrize(
    "source", ["snake_case_name", "snake_case_ name", "2*3*4", ":no_such_emoji:", "10:30:45", "a * b * c"]
)
def test_what_only_looks_like_a_mark_stays(reading: Page, workspace: SlackWorld, source: str) -> None:
    """Marks inside of words and unknown names are ordinary text."""
    message = post(workspace, reading, [{"type": "section", "text": text(source)}])

    expect(message.locator(".text")).to_have_text(source)
    expect(message.locator(".text *")).to_have_count(0)


@pytest.mark.parametrize("kind", ["mrkdwn", "plain_text"])
def test_hostile_text_of_the_app_stays_text(reading: Page, workspace: SlackWorld, kind: str) -> None:
    """Markup, and a broadcast that was escaped, are read as they were written."""
    broadcast = "&lt;!channel&gt;" if kind == "mrkdwn" else "<!channel>"

    message = post(workspace, reading, [{"type": "section", "text": text(f"{HOSTILE} {broadcast}", kind)}])

    expect(message.locator(".text")).to_have_text(f"{HOSTILE} <!channel>")
    expect(message.locator(".text *")).to_have_count(0)
    assert reading.title() != "hit"


def test_hostile_text_of_a_person_stays_text(page: Page, workspace: SlackWorld) -> None:
    """What somebody types reaches the others as text, and a link runs no script."""
    page.get_by_test_id("composer").fill(f"{HOSTILE} <javascript:alert(1)|click>")
    page.get_by_test_id("send").click()

    newest = page.get_by_test_id("message").last
    expect(newest.locator(".text")).to_have_text(f"{HOSTILE} <javascript:alert(1)|click>")
    expect(newest.locator(".text *")).to_have_count(0)


def test_message_follows_edits_and_deletion(reading: Page, workspace: SlackWorld) -> None:
    """An edit and a deletion show without a reload."""
    ts = workspace.client.chat_postMessage(channel=RELEASES, text="first")["ts"]
    expect(shown(reading, ts)).to_contain_text("first")

    workspace.client.chat_update(channel=RELEASES, ts=ts, text="second")
    expect(shown(reading, ts)).to_contain_text("second (edited)")

    workspace.post("delete", user=QUINN, channel=RELEASES, ts=ts)
    expect(shown(reading, ts)).to_have_count(0)


def test_thread_opens_beside_the_channel(page: Page, workspace: SlackWorld) -> None:
    """The parent counts its replies; the thread shows them and takes one."""
    ts = workspace.client.chat_postMessage(channel=RELEASES, text="the card")["ts"]
    workspace.client.chat_postMessage(channel=RELEASES, text="step one", thread_ts=ts)
    expect(shown(page, ts).get_by_test_id("thread-open")).to_contain_text("1 reply")

    shown(page, ts).get_by_test_id("thread-open").click()
    page.get_by_test_id("thread-composer").fill("thank you")
    page.get_by_test_id("thread-composer").press("Enter")

    expect(page.get_by_test_id("thread").get_by_test_id("message")).to_contain_text(
        ["the card", "step one", "thank you"]
    )
    expect(shown(page, ts).get_by_test_id("thread-open")).to_contain_text("2 replies")


# Acting


def test_answer_to_a_command_is_for_one_person_until_reload(page: Page, workspace: SlackWorld, screen: Screen) -> None:
    """An ephemeral message is seen by the one who typed, and is gone after a reload."""
    page.get_by_test_id("composer").fill("/release status")
    page.get_by_test_id("composer").press("Enter")
    expect(page.get_by_test_id("ephemeral")).to_contain_text(["Only visible to youRelease BotAPP"])
    expect(page.get_by_test_id("ephemeral")).to_contain_text(["You typed status"])

    page.get_by_test_id("act-as").select_option(QUINN)
    expect(page.get_by_test_id("ephemeral")).to_have_count(0)

    page.get_by_test_id("act-as").select_option(RITA)
    expect(page.get_by_test_id("ephemeral")).to_have_count(1)
    page.reload()
    expect(page.get_by_test_id("bot-status")).to_have_attribute("data-online", "true")
    expect(page.get_by_test_id("ephemeral")).to_have_count(0)


def test_click_is_sent_as_the_acting_person(page: Page, workspace: SlackWorld, app: SmallApp) -> None:
    """After a switch, the click, its value and the line to type in are the other person's."""
    value = '{"role": "qa"}'
    message = post(workspace, page, [{"type": "actions", "elements": [button("signoff.approve", "Approve", value)]}])
    approve = message.get_by_test_id("button-signoff.approve")
    expect(approve).to_have_attribute("data-value", value)

    page.get_by_test_id("act-as").select_option(QUINN)
    expect(page.get_by_test_id("composer")).to_have_attribute("placeholder", re.compile("as Quinn Quist"))
    approve.click()

    eventually(lambda: app.clicks == [(QUINN, "signoff.approve", value)])


def test_click_right_after_the_switch_is_the_other_persons(page: Page, workspace: SlackWorld, app: SmallApp) -> None:
    """Whoever clicks before the page has read what the other person sees does not click as the one before."""
    message = post(workspace, page, [{"type": "actions", "elements": [button("signoff.approve", "Approve")]}])
    expect(message.get_by_test_id("button-signoff.approve")).to_be_visible()
    routes: list[Route] = []
    page.route("**/state?*", lambda route: routes.append(route))  # noqa: PLW0108  it asks a function for its code

    page.get_by_test_id("act-as").select_option(QUINN)
    message.get_by_test_id("button-signoff.approve").click()

    eventually(lambda: [user for user, _, _ in app.clicks] == [QUINN])
    assert len(routes) == 1
    routes[0].continue_()


def test_confirmation_is_asked_first(page: Page, workspace: SlackWorld, app: SmallApp) -> None:
    """A button with `confirm` sends nothing until the person has agreed."""
    words = {"confirm": "Deploy", "deny": "Not now", "title": "Deploy v4.8.0?"}
    confirm = {key: text(value, "plain_text") for key, value in words.items()} | {"text": text("To *production*")}
    deploy = button("release.deploy", "Deploy", "7", confirm=confirm)
    message = post(workspace, page, [{"type": "actions", "elements": [deploy]}])

    message.get_by_test_id("button-release.deploy").click()
    expect(page.get_by_test_id("confirm")).to_contain_text("To production")
    page.get_by_test_id("confirm-cancel").click()
    expect(page.get_by_test_id("confirm")).to_have_count(0)
    assert app.clicks == []
    message.get_by_test_id("button-release.deploy").click()
    page.get_by_test_id("confirm-ok").click()

    eventually(lambda: app.clicks == [(RITA, "release.deploy", "7")])


def test_modal_shows_the_error_under_its_input(page: Page, workspace: SlackWorld, app: SmallApp) -> None:
    """A refused submission keeps the modal and what was typed; a good one closes it."""
    message = post(workspace, page, [{"type": "actions", "elements": [button("check.waive", "Waive")]}])
    message.get_by_test_id("button-check.waive").click()
    modal = page.get_by_test_id("modal")
    expect(modal.locator(".block-section")).to_have_text("This is recorded.")

    modal.get_by_test_id("modal-submit").click()
    expect(modal.get_by_test_id("error-reason")).to_have_text("Please complete this required field.")
    modal.get_by_label("Reason").fill("no")
    modal.get_by_test_id("modal-submit").click()
    expect(modal.get_by_test_id("error-reason")).to_have_text("Please say why.")
    expect(modal.get_by_label("Reason")).to_have_value("no")
    expect(modal.get_by_label("Reason")).to_have_attribute("aria-invalid", "true")

    modal.get_by_label("Reason").fill("known flake")
    modal.get_by_test_id("modal-submit").click()
    expect(modal).to_be_hidden()
    assert app.reasons == ["no", "known flake"]


def test_cancelled_modal_is_closed_for_the_workspace_too(page: Page, workspace: SlackWorld, app: SmallApp) -> None:
    """Cancel takes the view off the person's screen, also for the server."""
    message = post(workspace, page, [{"type": "actions", "elements": [button("check.waive", "Waive")]}])
    message.get_by_test_id("button-check.waive").click()

    page.get_by_test_id("modal-cancel").click()

    expect(page.get_by_test_id("modal")).to_be_hidden()
    eventually(lambda: workspace.state()["views"] == [])


def test_hints_complete_a_command(page: Page) -> None:
    """Typing a part of a subcommand offers it, Tab takes it over."""
    page.get_by_test_id("composer").fill("/release ro")
    expect(page.get_by_role("listbox", name="Commands").get_by_role("option")).to_have_text(
        [re.compile("^/release rollback")]
    )

    page.get_by_test_id("composer").press("Tab")

    expect(page.get_by_test_id("composer")).to_have_value("/release rollback ")


# Trouble


def test_app_that_is_away_is_told_plainly(screen: Screen, lonely: SlackWorld) -> None:
    """Without a connected app the page says so; a command and a click fail as in Slack."""
    page = screen.open(lonely.url)
    expect(page.get_by_test_id("bot-status")).to_have_attribute("data-online", "false")
    message = post(lonely, page, [{"type": "actions", "elements": [button("release.deploy", "Deploy")]}])

    message.get_by_test_id("button-release.deploy").click()
    expect(message.get_by_test_id("notice")).to_contain_text("dispatch_failed")
    page.get_by_test_id("composer").fill("/release deploy")
    page.get_by_test_id("composer").press("Enter")

    expect(page.get_by_test_id("ephemeral")).to_contain_text("/release failed with the error “dispatch_failed”")


@pytest.mark.usefixtures("_direct")
def test_page_comes_back_after_a_restart(screen: Screen, tmp_path: Path) -> None:
    """When the server goes away the page says so, and goes on by itself with what it missed."""
    world = SlackWorld(tmp_path)
    page = screen.open(world.url)
    world.stop()
    expect(page.get_by_text("Reconnecting")).to_be_visible()

    world = SlackWorld(tmp_path)
    try:
        world.post("message", user=QUINN, channel=RELEASES, text="while you were away")
        expect(page.get_by_test_id("message")).to_contain_text(["while you were away"])
        expect(page.get_by_text("Reconnecting")).to_be_hidden()
    finally:
        world.stop()


def test_page_fits_a_small_window(page: Page, workspace: SlackWorld) -> None:
    """At 1000 by 700, with a thread open, nothing is wider than the window and the line to type in can be seen."""
    wide = text("w" * 400)
    ts = workspace.client.chat_postMessage(channel=RELEASES, text="wide", blocks=[{"type": "section", "text": wide}])[
        "ts"
    ]
    workspace.client.chat_postMessage(channel=RELEASES, text="reply", thread_ts=ts)
    page.set_viewport_size({"width": 1000, "height": 700})

    shown(page, ts).get_by_test_id("thread-open").click()

    expect(page.get_by_test_id("thread-composer")).to_be_in_viewport(ratio=1)
    expect(page.get_by_test_id("composer")).to_be_in_viewport(ratio=1)
    parts = page.locator(".channel-view, .pane:visible, .scroll:visible")
    assert parts.evaluate_all("parts => parts.filter(one => one.scrollWidth > one.clientWidth).length") == 0
