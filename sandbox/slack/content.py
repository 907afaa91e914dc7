"""What a message says: text, blocks, attachments, metadata; read from a request and checked as Slack checks it."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.slack.blocks import check_attachments, check_message_blocks, text_length
from sandbox.slack.shapes import Json, Problem, SlackError

MAX_POST_TEXT = 40_000
MAX_EDIT_TEXT = 4_000
# An undocumented cap of Slack: reports of refused messages begin at 11,341 characters, so we refuse what is not well below.
MAX_BLOCKS_TEXT = 10_000


@dataclass(frozen=True)
class Content:
    """The parts of a message that its author chose. None means "not given", which matters for edits."""

    text: str | None = None
    blocks: list[Json] | None = None
    attachments: list[Json] | None = None
    metadata: Json | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.text or self.blocks or self.attachments)


def read_content(args: Json, *, max_text: int = MAX_POST_TEXT, limit_blocks_text: bool = True) -> Content:
    """The content in the arguments of a posting method.

    `blocks`, `attachments` and `metadata` may be JSON or JSON text. The cap on the text of all blocks together is not
    applied to response URLs, hence `limit_blocks_text`. Raises SlackError: invalid_blocks_format,
    invalid_blocks, invalid_attachments, msg_blocks_too_long, msg_too_long, invalid_metadata_format.
    """
    text = args.get("text")
    if text is not None and not isinstance(text, str):
        text = str(text)
    if text is not None and len(text) > max_text:
        raise SlackError("msg_too_long")
    blocks = _decoded(args.get("blocks"), list, "invalid_blocks_format")
    attachments = _decoded(args.get("attachments"), list, "invalid_attachments")
    metadata = _decoded(args.get("metadata"), dict, "invalid_metadata_format")
    if blocks:
        _refuse(check_message_blocks(blocks), "invalid_blocks")
        if limit_blocks_text and text_length(blocks) > MAX_BLOCKS_TEXT:
            raise SlackError("msg_blocks_too_long")
        blocks = with_ids(blocks)
    if attachments:
        _refuse(check_attachments(attachments), "invalid_attachments")
    if metadata and not (
        isinstance(metadata.get("event_type"), str) and isinstance(metadata.get("event_payload"), dict)
    ):
        raise SlackError("invalid_metadata_format")
    return Content(text, blocks, attachments, metadata)


def with_ids(blocks: list[Json]) -> list[Json]:
    """A copy in which every block has a block_id and every interactive element an action_id, as Slack stores them."""
    copy: list[Json] = json.loads(json.dumps(blocks))
    for block in copy:
        block.setdefault("block_id", secrets.token_urlsafe(4)[:5])
        for element in elements_of(block):
            if element.get("type") != "image":
                element.setdefault("action_id", secrets.token_urlsafe(4)[:5])
    return copy


def elements_of(block: Json) -> Iterator[Json]:
    """The elements a person can use in a block: of actions, the accessory of a section, the one of an input."""
    if block.get("type") in ("actions", "context_actions"):
        yield from block.get("elements", ())
    for key in ("accessory", "element"):
        if isinstance(block.get(key), dict):
            yield block[key]


def slack_files_in(value: Any) -> Iterator[Json]:
    """Every `slack_file` that blocks refer to."""
    if isinstance(value, dict):
        if isinstance(value.get("slack_file"), dict):
            yield value["slack_file"]
        for inner in value.values():
            yield from slack_files_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from slack_files_in(inner)


def _decoded(value: Any, kind: type, error: str) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        if not value:
            return None
        try:
            value = json.loads(value)
        except json.JSONDecodeError as exc:
            raise SlackError(error) from exc
    if not isinstance(value, kind):
        raise SlackError(error)
    return value


def _refuse(problems: list[Problem], error: str) -> None:
    if not problems:
        return
    if any(problem.code == "only_one_table_allowed" for problem in problems):
        error = "invalid_attachments"  # Slack turns a table into an attachment before it counts them
    raise SlackError(error, problems=problems)
