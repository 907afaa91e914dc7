"""Which blocks, messages and views Slack accepts: pure functions that list every broken rule.

The numbers are those of docs.slack.dev/reference/block-kit/blocks. Where documentation and practice differ, the
stricter one holds, so that what passes here passes at Slack.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.slack.elements import (
    ELEMENTS,
    ID,
    IN_ACTIONS,
    IN_CARD,
    IN_CONTEXT_ACTIONS,
    IN_INPUT,
    IN_SECTION,
    KIND,
    SLACK_FILE,
    plain,
    text,
)
from sandbox.slack.rich_text import RICH_TEXT
from sandbox.slack.rules import (
    Rule,
    any_object,
    array,
    at_least_one,
    boolean,
    exactly_one,
    integer,
    nullable,
    number,
    one_of,
    record,
    string,
    typed,
    url,
)
from sandbox.slack.shapes import Json, Problem

MAX_MESSAGE_BLOCKS = 50
MAX_VIEW_BLOCKS = 100
MAX_ATTACHMENTS = 100
MAX_MARKDOWN_TEXT = 12_000
MAX_DATA_TEXT = 10_000
MAX_CHARTS = 2
_TABLES = ("table", "data_table")
_SHOWN_TEXT = ("text", "alt_text", "caption", "title", "fallback", "author_name", "description")


def _block(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None, *more: Rule) -> Rule:
    return record({"type": KIND, **required}, {"block_id": ID, **(optional or {})}, *more)


def _not_pending(value: Any, pointer: str) -> Iterator[Problem]:
    if value.get("status") == "pending":
        yield Problem(f"{pointer}/status", "not_one_of", "must not be pending outside of a plan")


def _needs_submit(value: Any, pointer: str) -> Iterator[Problem]:
    blocks = value.get("blocks")
    has_input = isinstance(blocks, list) and any(isinstance(b, dict) and b.get("type") == "input" for b in blocks)
    if has_input and value.get("submit") is None:
        yield Problem(pointer, "missing_field", "missing required field: submit")


def _even_rows(value: Any, pointer: str) -> Iterator[Problem]:
    """In a data table all rows have equally many cells, those of the first row are no rich text."""
    rows = [row for row in value.get("rows") or () if isinstance(row, list)]
    if len({len(row) for row in rows}) > 1:
        yield Problem(f"{pointer}/rows", "uneven_rows", "must have rows of equal length")
    if any(isinstance(cell, dict) and cell.get("type") == "rich_text" for cell in (rows[0] if rows else ())):
        yield Problem(f"{pointer}/rows/0", "not_allowed_here", "unsupported type: rich_text")
    if sum(map(len, _shown_texts(rows))) > MAX_DATA_TEXT:
        yield Problem(f"{pointer}/rows", "too_long", f"must be less than {MAX_DATA_TEXT + 1} characters")


_CELL = typed(
    {
        "raw_text": record({"type": KIND, "text": string(1)}),
        "raw_number": record({"type": KIND, "value": number}, {"text": string(1)}),
        "rich_text": RICH_TEXT,
    }
)
_COLUMN = record({}, {"align": one_of("left", "center", "right"), "is_wrapped": boolean})
_TASK: Mapping[str, Rule] = {
    "details": typed({"rich_text": RICH_TEXT}),
    "output": typed({"rich_text": RICH_TEXT}),
    "sources": array(typed({"url": record({"type": KIND, "url": url(), "text": string(1)})})),
}
_STATUS = one_of("pending", "in_progress", "complete", "error")
_TASK_FIELDS: Mapping[str, Rule] = {"task_id": ID, "title": string(1), "status": _STATUS}
_SERIES = record({"name": string(1, 20), "data": array(any_object, 1)})
_CHART = record(
    {"type": one_of("line", "bar", "area", "pie")},
    {
        "series": array(_SERIES, 1, 6),
        "axis_config": record({"categories": array(string(1, 20), 1, 20)}, {"x_label": string(), "y_label": string()}),
        "segments": array(record({"label": string(1, 20), "value": number}), 1),
    },
    exactly_one("series", "segments"),
)
_IMAGE = typed({"image": ELEMENTS["image"]})
_CARD = _block(
    {},
    {
        "hero_image": _IMAGE,
        "icon": _IMAGE,
        "title": text(150),
        "subtitle": text(150),
        "body": text(200),
        "actions": array(IN_CARD, 1, 2),
    },
    at_least_one("hero_image", "title", "actions", "body"),
)

_EVERYWHERE: dict[str, Rule] = {
    "section": _block(
        {},
        {"text": text(3_000), "fields": array(text(2_000), 1, 10), "accessory": IN_SECTION, "expand": boolean},
        at_least_one("text", "fields"),
    ),
    "divider": _block({}),
    "header": _block({"text": plain(150)}, {"level": integer(1, 4)}),
    "context": _block(
        {
            "elements": array(
                typed({"image": ELEMENTS["image"], "plain_text": text(2_000), "mrkdwn": text(2_000)}), 1, 10
            )
        }
    ),
    "actions": _block({"elements": array(IN_ACTIONS, 1, 25)}),
    "image": _block(
        {"alt_text": string(1, 2_000)},
        {"image_url": url(), "slack_file": SLACK_FILE, "title": plain(2_000)},
        exactly_one("image_url", "slack_file"),
    ),
    "input": _block(
        {"label": plain(2_000), "element": IN_INPUT},
        {"hint": plain(2_000), "optional": boolean, "dispatch_action": boolean},
    ),
    "rich_text": RICH_TEXT,
    "video": _block(
        {"alt_text": string(1), "title": plain(200), "thumbnail_url": url(), "video_url": url()},
        {
            "author_name": string(1, 50),
            "description": plain(200),
            "provider_icon_url": url(),
            "provider_name": string(),
            "title_url": url(),
        },
    ),
}
_IN_CONTAINERS: Mapping[str, Rule] = {
    **_EVERYWHERE,
    "markdown": _block({"text": string(1, MAX_MARKDOWN_TEXT)}),
    "table": _block({"rows": array(array(_CELL, 1, 20), 1, 100)}, {"column_settings": array(nullable(_COLUMN), 0, 20)}),
    "data_table": _block(
        {"caption": string(1), "rows": array(array(_CELL, 1), 2, 101)},
        {"page_size": integer(1, 100), "row_header_column_index": integer(0, 100)},
        _even_rows,
    ),
    "data_visualization": _block({"title": string(1, 50), "chart": _CHART}),
    "card": _CARD,
    "carousel": _block({"elements": array(typed({"card": _CARD}), 1, 10)}),
    "task_card": _block(_TASK_FIELDS, _TASK, _not_pending),
    "plan": _block(
        {"title": string(1), "tasks": array(typed({"task_card": _block(_TASK_FIELDS, _TASK)}), 1, 50)},
    ),
    "context_actions": _block({"elements": array(IN_CONTEXT_ACTIONS, 1, 5)}),
}
_IN_MESSAGES: Mapping[str, Rule] = {
    **_IN_CONTAINERS,
    "container": _block(
        {"child_blocks": array(typed(_IN_CONTAINERS), 1, 10)},
        {
            "title": plain(150),
            "rich_text_title": typed({"rich_text": RICH_TEXT}),
            "subtitle": plain(150),
            "width": one_of("narrow", "standard", "wide", "full"),
            "icon": _IMAGE,
            "is_collapsible": boolean,
            "default_collapsed": boolean,
            "has_header_divider": boolean,
        },
        at_least_one("title", "rich_text_title"),
    ),
}
_IN_VIEWS: Mapping[str, Rule] = {
    **_EVERYWHERE,
    "alert": _block({"text": text(200)}, {"level": one_of("default", "info", "warning", "error", "success")}),
}
_MESSAGE_BLOCKS = array(typed(_IN_MESSAGES), 0, MAX_MESSAGE_BLOCKS)
_VIEW_BLOCKS = array(typed(_IN_VIEWS), 0, MAX_VIEW_BLOCKS)
_VIEW = typed(
    {
        "modal": record(
            {"type": KIND, "title": plain(24), "blocks": _VIEW_BLOCKS},
            {
                "submit": plain(24),
                "close": plain(24),
                "private_metadata": string(0, 3_000),
                "callback_id": string(0, 255),
                "external_id": string(0, 255),
                "clear_on_close": boolean,
                "notify_on_close": boolean,
                "submit_disabled": boolean,
            },
            _needs_submit,
        )
    }
)


def check_blocks(blocks: Any, pointer: str = "") -> list[Problem]:
    """Every rule that the blocks of a message break; an empty list when Slack would take them."""
    problems = list(_MESSAGE_BLOCKS(blocks, pointer))
    found = [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    problems += _repeated_ids(blocks, pointer)
    kinds = [block.get("type") for block in found]
    if sum(kind in _TABLES for kind in kinds) > 1:
        problems.append(Problem(pointer, "only_one_table_allowed", "only_one_table_allowed"))
    if kinds.count("data_visualization") > MAX_CHARTS:
        problems.append(Problem(pointer, "too_many", f"no more than {MAX_CHARTS} charts allowed"))
    markdown = sum(len(str(block.get("text"))) for block in found if block.get("type") == "markdown")
    if markdown > MAX_MARKDOWN_TEXT:
        problems.append(Problem(pointer, "too_long", f"must be less than {MAX_MARKDOWN_TEXT + 1} characters"))
    return problems


def check_message_blocks(blocks: Any) -> list[Problem]:
    """As check_blocks, with pointers from the message that holds the blocks."""
    return check_blocks(blocks, "/blocks")


def check_attachments(attachments: Any) -> list[Problem]:
    """Every rule that the attachments of a message break. Their legacy fields are not looked at."""
    problems = list(array(any_object, 0, MAX_ATTACHMENTS)(attachments, "/attachments"))
    for index, attachment in enumerate(attachments if isinstance(attachments, list) else ()):
        if isinstance(attachment, dict) and "blocks" in attachment:
            problems += check_blocks(attachment["blocks"], f"/attachments/{index}/blocks")
    return problems


def check_message(message: Any) -> list[Problem]:
    """Every rule that a whole message (`{text, blocks, attachments}`) breaks."""
    if not isinstance(message, dict):
        return [Problem("", "wrong_type", "must provide an object")]
    problems = []
    if message.get("blocks") is not None:
        problems += check_message_blocks(message["blocks"])
    if message.get("attachments") is not None:
        problems += check_attachments(message["attachments"])
    return problems


def check_view(view: Any) -> list[Problem]:
    """Every rule that a modal breaks."""
    problems = list(_VIEW(view, ""))
    if isinstance(view, dict):
        problems += _repeated_ids(view.get("blocks"), "/blocks")
    return problems


def text_length(blocks: list[Json]) -> int:
    """The characters that a reader sees in all blocks together."""
    return sum(map(len, _shown_texts(blocks)))


def _repeated_ids(blocks: Any, pointer: str) -> Iterator[Problem]:
    """A block_id may occur once in a message or view, an action_id once in a block."""
    seen: set[str] = set()
    for index, block in enumerate(blocks if isinstance(blocks, list) else ()):
        if not isinstance(block, dict):
            continue
        block_id = block.get("block_id")
        if isinstance(block_id, str):
            if block_id in seen:
                yield Problem(
                    f"{pointer}/{index}/block_id", "duplicate_block_id", f"block_id already exists: {block_id}"
                )
            seen.add(block_id)
        elements = block.get("elements")
        actions: set[str] = set()
        for position, element in enumerate(elements if isinstance(elements, list) else ()):
            action_id = element.get("action_id") if isinstance(element, dict) else None
            if not isinstance(action_id, str):
                continue
            if action_id in actions:
                at = f"{pointer}/{index}/elements/{position}/action_id"
                yield Problem(at, "duplicate_action_id", f"action_id already exists: {action_id}")
            actions.add(action_id)


def _shown_texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _shown_texts(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str):
                if name in _SHOWN_TEXT:
                    yield each
            else:
                yield from _shown_texts(each)
