"""What a message says: text, blocks, metadata; read from a request and checked as Slack checks it."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.slack.blocks import check_blocks, text_length
from sandbox.slack.shapes import Json, MethodError

MAX_POST_TEXT = 40_000
MAX_EDIT_TEXT = 4_000
# An undocumented cap of Slack: reports of refused messages begin at 11,341 characters, so we refuse what is not well below.
MAX_BLOCKS_TEXT = 10_000


@dataclass(frozen=True)
class Content:
    """The parts of a message that its author chose. None means "not given", which matters for edits."""

    text: str | None = None
    blocks: list[Json] | None = None
    metadata: Json | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.text or self.blocks)


def read_content(args: Json, *, max_text: int = MAX_POST_TEXT, limit_blocks_text: bool = True) -> Content:
    """The content in the arguments of a posting method.

    `blocks` and `metadata` may be JSON or JSON text. The cap on the text of all blocks together is not applied to response URLs,
    hence `limit_blocks_text`. Raises MethodError: invalid_blocks_format, invalid_blocks, msg_blocks_too_long, msg_too_long,
    invalid_metadata_format.
    """
    text = None if args.get("text") is None else str(args["text"])
    if text is not None and len(text) > max_text:
        raise MethodError("msg_too_long")
    blocks = _decode(args.get("blocks"), list, "invalid_blocks_format")
    metadata = _decode(args.get("metadata"), dict, "invalid_metadata_format")
    if blocks:
        if problems := check_blocks(blocks):
            has_two_tables = any(problem.code == "only_one_table_allowed" for problem in problems)
            # Slack turns a table into an attachment before it counts them.
            raise MethodError("invalid_attachments" if has_two_tables else "invalid_blocks", problems=problems)
        if limit_blocks_text and text_length(blocks) > MAX_BLOCKS_TEXT:
            raise MethodError("msg_blocks_too_long")
        blocks = with_ids(blocks)
    if metadata and not (
        isinstance(metadata.get("event_type"), str) and isinstance(metadata.get("event_payload"), dict)
    ):
        raise MethodError("invalid_metadata_format")
    return Content(text, blocks, metadata)


def with_ids(blocks: list[Json]) -> list[Json]:
    """A copy in which every block has a block_id and every interactive element an action_id, as Slack stores them."""
    copy: list[Json] = json.loads(json.dumps(blocks))
    for block in copy:
        block.setdefault("block_id", secrets.token_urlsafe(4)[:5])
        for element in elements_of(block):
            element.setdefault("action_id", secrets.token_urlsafe(4)[:5])
    return copy


def elements_of(block: Json) -> Iterator[Json]:
    """The elements a person can use in a block: of actions, the accessory of a section, the one of an input."""
    if block["type"] == "actions":
        yield from block["elements"]
    for key in ("accessory", "element"):
        if key in block:
            yield block[key]


def _decode(value: Any, kind: type, error: str) -> Any:
    if value in (None, ""):
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as exc:
            raise MethodError(error) from exc
    if not isinstance(value, kind):
        raise MethodError(error)
    return value
