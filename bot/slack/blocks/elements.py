"""The Block Kit elements that we use, each cut to its own limit (docs.slack.dev/reference/block-kit)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bot.slack.blocks import limits
from bot.slack.blocks.limits import Block
from bot.slack.cut import cut_mrkdwn, cut_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.slack.payloads import Payload

Element = dict[str, Any]


def plain(text: str, limit: int) -> Element:
    """Plain text: shown as it is, nothing in it means anything."""
    return {"type": "plain_text", "text": cut_plain(text, limit), "emoji": False}


def mrkdwn(text: str, limit: int = limits.MAX_SECTION) -> Element:
    """Our own mrkdwn, in which every outside string is escaped."""
    return {"type": "mrkdwn", "text": cut_mrkdwn(text, limit)}


def header(block_id: str, text: str) -> Block:
    """A heading in large letters."""
    return {"type": "header", "block_id": block_id, "text": plain(text, limits.MAX_HEADER)}


def section(block_id: str, text: str, *, limit: int = limits.MAX_SECTION, accessory: Element | None = None) -> Block:
    """A paragraph of mrkdwn, with one button beside it at most. Always shown whole, without "see more"."""
    block = {"type": "section", "block_id": block_id, "text": mrkdwn(text, limit), "expand": True}
    return block if accessory is None else {**block, "accessory": accessory}


def fields(block_id: str, pairs: Sequence[tuple[str, str]], *, limit: int) -> Block:
    """Pairs of a name and its value (mrkdwn), two columns on a desktop. At most ten."""
    items = [mrkdwn(f"*{name}*\n{value}", limit) for name, value in pairs[: limits.MAX_FIELDS]]
    return {"type": "section", "block_id": block_id, "fields": items}


def context(block_id: str, text: str, *, limit: int = limits.MAX_CONTEXT) -> Block:
    """A line or more of mrkdwn in small letters."""
    return {"type": "context", "block_id": block_id, "elements": [mrkdwn(text, limit)]}


def actions(block_id: str, buttons: Sequence[Element]) -> list[Block]:
    """A row of buttons; no block at all where there is no button."""
    if not buttons:
        return []
    return [{"type": "actions", "block_id": block_id, "elements": list(buttons[: limits.MAX_ACTIONS])}]


def button(
    button_id: str,
    payload: Payload,
    label: str,
    *,
    style: Literal["primary", "danger"] | None = None,
    confirm: Element | None = None,
) -> Element:
    """A button that carries ``payload``. Its label is a word of ours; keep it under 30 characters, as phones cut it."""
    element: Element = {
        "type": "button",
        "action_id": button_id,
        "text": plain(label, limits.MAX_BUTTON),
        "value": payload.dump(),
    }
    if style is not None:
        element["style"] = style
    if confirm is not None:
        element["confirm"] = confirm
    return element


def confirm(title: str, text: str, yes: str, no: str) -> Element:
    """The question between a click and its effect. Plain text, so that nothing in it needs escaping."""
    return {
        "title": plain(title, limits.MAX_CONFIRM_TITLE),
        "text": plain(text, limits.MAX_CONFIRM_TEXT),
        "confirm": plain(yes, limits.MAX_CONFIRM_LABEL),
        "deny": plain(no, limits.MAX_CONFIRM_LABEL),
    }


def picture(block_id: str, slack_id: str, alt_text: str, title: str = "") -> Block:
    """An uploaded picture (png, jpg or gif) by Slack's id of the file, see `ReleaseView.pictures`."""
    block = {
        "type": "image",
        "block_id": block_id,
        "slack_file": {"id": slack_id},
        "alt_text": cut_plain(alt_text, limits.MAX_ALT_TEXT),
    }
    return {**block, "title": plain(title, limits.MAX_ALT_TEXT)} if title else block


def cell(text: str, limit: int) -> Element:
    """A cell of a table, shown as it is."""
    return {"type": "raw_text", "text": cut_plain(text, limit)}


def marked_cell(emoji: str, text: str, limit: int) -> Element:
    """A cell of a table that begins with an emoji, given by its name without colons."""
    parts = [{"type": "emoji", "name": emoji}, {"type": "text", "text": f" {cut_plain(text, limit - 1)}"}]
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": parts}]}


def table(block_id: str, rows: Sequence[Sequence[Element]], *, wrapped: Sequence[bool]) -> Block:
    """A table of equally long rows, the first of them the heading. Slack takes one table a message."""
    settings = [{"is_wrapped": wrap} for wrap in wrapped]
    return {"type": "table", "block_id": block_id, "column_settings": settings, "rows": [list(row) for row in rows]}
