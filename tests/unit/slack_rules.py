"""What every message and modal must keep: Slack's rules as the workspace of the sandbox checks them, and our own."""

from collections.abc import Iterator
from typing import Any

from bot.slack.blocks.limits import Rendered
from bot.slack.clicks import read_button
from sandbox.slack.blocks import check_blocks, check_view, text_length

MAX_TEXT = 10_000  # of all blocks together
PAGES = ("<!channel> ", ":rotating_light: <!channel> ")  # how the notification and the first block of a page begin


def assert_slack_accepts(message: Rendered, *, pages: bool = False) -> None:
    """Assert that Slack accepts the message, also as an edit, and that its notification is not blank. With ``pages``
    the message begins with the one intended mention of the channel, and nothing behind it mentions anyone.
    """
    assert check_blocks(message.blocks) == []
    assert message.text.strip()
    assert len(message.text) <= 4_000
    assert message.blocks
    assert text_length(message.blocks) < MAX_TEXT
    assert blank_texts(message.blocks) == []
    assert loose_tokens(message, PAGES if pages else ()) == []
    for button in buttons(message):
        read_button(button["action_id"], button["value"])  # raises for one that no feature declares with that payload


def assert_slack_opens(view: dict[str, Any]) -> None:
    """Assert that Slack opens the modal."""
    assert check_view(view) == []
    assert blank_texts(view["blocks"]) == []


def blank_texts(value: Any) -> list[str]:
    """The texts that Slack rejects as empty although they have characters."""
    return [text for text in texts(value) if not text.strip()]


def loose_tokens(message: Rendered, prefixes: tuple[str, ...] = ()) -> list[str]:
    """The texts with markup that we did not write: a < that begins no known token, or a token without its end. The
    notification and the first block must begin with ``prefixes``; no other text may.
    """
    loose = []
    all_texts = [message.text, *mrkdwn(message.blocks)]
    for number, prefix in enumerate(prefixes):
        if not all_texts[number].startswith(prefix):
            loose.append(all_texts[number])
        all_texts[number] = all_texts[number].removeprefix(prefix)
    for text in all_texts:
        for part in text.split("<")[1:]:
            token, bracket, _ = part.partition(">")
            if not bracket or not token.startswith(("@U", "@W", "#C", "!date^", "http://", "https://")):
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
    """All buttons of a message, in order."""
    all_buttons: list[dict[str, Any]] = []
    for block in message.blocks:
        all_buttons += block.get("elements", []) if block["type"] == "actions" else []
        all_buttons += [block["accessory"]] if "accessory" in block else []
    return all_buttons


def labels(message: Rendered) -> list[str]:
    """The labels of all buttons, in order."""
    return [button["text"]["text"] for button in buttons(message)]


def block(message: Rendered, block_id: str) -> str:
    """The text of one section or context block."""
    match = next(one for one in message.blocks if one["block_id"] == block_id)
    return str(match["text"]["text"] if "text" in match else match["elements"][0]["text"])


def block_ids(message: Rendered) -> list[str]:
    """The ids of all blocks, in order."""
    return [one["block_id"] for one in message.blocks]
