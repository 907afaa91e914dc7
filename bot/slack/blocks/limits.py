"""Slack's limits, and how lines and blocks are shared out within them: what is left out is counted or named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.slack.cut import NOTHING, cut_mrkdwn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Block = dict[str, Any]

# docs.slack.dev/reference/block-kit
MAX_BLOCKS = 50
MAX_MODAL_BLOCKS = 100
MAX_HEADER = 150
MAX_SECTION = 3_000
MAX_FIELDS = 10
MAX_CONTEXT = 2_000
MAX_ACTIONS = 25
MAX_BUTTON = 75
MAX_CONFIRM_TITLE = 100
MAX_CONFIRM_TEXT = 300
MAX_CONFIRM_LABEL = 30
MAX_MODAL_LABEL = 24  # title, submit and close of a modal
MAX_INPUT_LABEL = 2_000
MAX_ALT_TEXT = 2_000  # and the title of an image

# Slack refuses a message over some 12,000 characters in all its blocks (msg_blocks_too_long; the figure is not
# documented, rejections from 11,341 are reported: github.com/slackapi/bolt-js/issues/2509).
MAX_MESSAGE_TEXT = 10_000
MAX_FALLBACK = 3_000  # of the plain `text`; chat.update refuses more than 4,000

_TOO_MUCH = "The rest does not fit into one message."


@dataclass(frozen=True)
class Rendered:
    """A message as it is sent. ``text`` is what a notification shows and says it all on its own."""

    text: str
    blocks: list[Block]


def join_lines(lines: Sequence[str], limit: int, more: str = "… and {} more") -> str:
    """Whole lines of mrkdwn in at most ``limit`` characters; what does not fit is counted in a last line.

    A first line that is too long alone is cut, so that there is always something to read.
    """
    kept_lines: list[str] = []
    room = limit
    for index, line in enumerate(lines):
        hidden_count = len(lines) - index - 1
        tail = len(more.format(hidden_count + 1)) + 1 if hidden_count else 0
        if kept_lines and len(line) + 1 > room - tail:
            kept_lines.append(more.format(hidden_count + 1))
            break
        kept_lines.append(cut_mrkdwn(line, max(room - tail - 1, 1)))
        room -= len(kept_lines[-1]) + 1
    return "\n".join(kept_lines) or NOTHING


def share(total: int, parts: int, *, at_least: int, at_most: int) -> int:
    """How many characters each of ``parts`` may take so that together they stay within ``total``, within bounds."""
    return max(at_least, min(at_most, total // max(1, parts)))


def text_length(value: object) -> int:
    """The characters that Slack counts in blocks: every string under a key ``text``, at any depth."""
    if isinstance(value, dict):
        return sum(
            len(inner) if key == "text" and isinstance(inner, str) else text_length(inner)
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return sum(text_length(inner) for inner in value)
    return 0


def message(text: str, blocks: Iterable[Block]) -> Rendered:
    """The finished message.

    The renderers share out the room themselves; should they ever ask for too much, the last blocks are left out and a
    line says so, because a message that is cut is better than one that Slack refuses.
    """
    all_blocks = list(blocks)
    room = MAX_MESSAGE_TEXT - len(_TOO_MUCH)
    kept_blocks: list[Block] = []
    for index, block in enumerate(all_blocks):
        size = text_length(block)
        full = len(kept_blocks) == MAX_BLOCKS - 1 and index < len(all_blocks) - 1
        if size > room or full:
            line = {"type": "mrkdwn", "text": _TOO_MUCH}
            kept_blocks.append({"type": "context", "block_id": "too_much", "elements": [line]})
            break
        kept_blocks.append(block)
        room -= size
    return Rendered(cut_mrkdwn(text, MAX_FALLBACK), kept_blocks)
