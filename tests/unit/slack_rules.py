"""What every message and modal must keep: Slack's rules as the workspace of the sandbox checks them, and our own."""

from collections.abc import Iterator
from typing import Any

from bot.slack.blocks.limits import Rendered
from bot.slack.clicks import read_button
from sandbox.slack.blocks import check_message, check_view, text_length

MAX_TEXT = 10_000  # of all blocks together
PAGES = ("<!channel> ", ":rotating_light: <!channel> ")  # how the notification and the first block of a page begin


def assert_slack_takes(message: Rendered, *, pages: bool = False) -> None:
    """Slack would take the message, also as an edit, and a notification of it says something.

    ``pages``: it begins with the one page of the channel that is meant; nothing behind it may page anybody.
    """
    assert check_message({"text": message.text, "blocks": message.blocks}) == []
    assert message.text.strip()
    assert len(message.text) <= 4_000
    assert message.blocks
    assert text_length(message.blocks) < MAX_TEXT
    assert blank_texts(message.blocks) == []
    assert loose_tokens(message, PAGES if pages else ()) == []
    for button in buttons(message):
        read_button(button["action_id"], button["value"])  # raises for one that no feature declares with that payload


def assert_slack_opens(view: dict[str, Any]) -> None:
    """Slack would open the modal."""
    assert check_view(view) == []
    assert blank_texts(view["blocks"]) == []


def blank_texts(value: Any) -> list[str]:
    """Texts that Slack refuses as empty although they have characters."""
    return [text for text in texts(value) if not text.strip()]


def loose_tokens(message: Rendered, begins: tuple[str, ...] = ()) -> list[str]:
    """Mrkdwn in which a < does not begin a token of ours, or a token is not whole: an outside string got through.

    ``begins``: what its notification and its first block must begin with, and nothing else may.
    """
    loose = []
    shown = [message.text, *mrkdwn(message.blocks)]
    for number, begin in enumerate(begins):
        if not shown[number].startswith(begin):
            loose.append(shown[number])
        shown[number] = shown[number].removeprefix(begin)
    for text in shown:
        for part in text.split("<")[1:]:
            token, closed, _ = part.partition(">")
            if not closed or not token.startswith(("@U", "@W", "#C", "!date^", "http://", "https://")):
                loose.append(text)
    return loose


def texts(value: Any) -> Iterator[str]:
    """Every text in blocks, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "text" and isinstance(inner, str):
                yield inner
            else:
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def mrkdwn(value: Any) -> Iterator[str]:
    """Every text in which Slack reads markup."""
    if isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            yield value["text"]
        for inner in value.values():
            yield from mrkdwn(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from mrkdwn(inner)


def buttons(message: Rendered) -> list[dict[str, Any]]:
    """Every button of a message, in order."""
    found: list[dict[str, Any]] = []
    for block in message.blocks:
        found += block.get("elements", []) if block["type"] == "actions" else []
        found += [block["accessory"]] if "accessory" in block else []
    return found


def labels(message: Rendered) -> list[str]:
    """The words on the buttons, in order."""
    return [button["text"]["text"] for button in buttons(message)]


def block(message: Rendered, block_id: str) -> str:
    """The text of one section or context block."""
    found = next(one for one in message.blocks if one["block_id"] == block_id)
    return str(found["text"]["text"] if "text" in found else found["elements"][0]["text"])


def block_ids(message: Rendered) -> list[str]:
    """The ids of all blocks, in order."""
    return [one["block_id"] for one in message.blocks]
