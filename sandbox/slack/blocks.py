"""Which messages and modals Slack accepts: pure functions that list every broken rule.

The numbers are those of docs.slack.dev/reference/block-kit. Where documentation and practice differ, the stricter one holds,
so that what passes here passes at Slack. Only the blocks, elements and fields that the bot sends are known: whoever makes it send
another one adds its rule here and draws it on the page (static/blocks.js).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.slack.rules import (
    Rule,
    array,
    at_least_one,
    boolean,
    by_type,
    integer,
    one_of,
    record,
    string,
)
from sandbox.slack.shapes import BlockProblem, Json

MAX_MESSAGE_BLOCKS = 50
MAX_VIEW_BLOCKS = 100
KIND = string(1)
ID = string(1, 255)
_SHOWN_TEXT = ("text", "alt_text")


def _text(high: int, *kinds: str) -> Rule:
    """A text object of up to `high` characters; `kinds` are plain_text, mrkdwn or (when left out) both."""
    body = string(1, high)
    rules: Mapping[str, Rule] = {
        "plain_text": record({"type": KIND, "text": body}, {"emoji": boolean}),
        "mrkdwn": record({"type": KIND, "text": body}),
    }
    return by_type({kind: rules[kind] for kind in kinds or rules})


def _plain(high: int) -> Rule:
    return _text(high, "plain_text")


def _block(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None, *more: Rule) -> Rule:
    return record({"type": KIND, **required}, {"block_id": ID, **(optional or {})}, *more)


def _needs_submit(value: Any, pointer: str) -> Iterator[BlockProblem]:
    blocks = value.get("blocks")
    has_input = isinstance(blocks, list) and any(isinstance(b, dict) and b.get("type") == "input" for b in blocks)
    if has_input and value.get("submit") is None:
        yield BlockProblem(pointer, "missing_field", "missing required field: submit")


def _lengths_in_order(value: Any, pointer: str) -> Iterator[BlockProblem]:
    low, high = value.get("min_length"), value.get("max_length")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        yield BlockProblem(f"{pointer}/min_length", "out_of_range", "must not be more than max_length")


_CONFIRM = record({"title": _plain(100), "text": _text(300), "confirm": _plain(30), "deny": _plain(30)})
_BUTTON = by_type(
    {
        "button": record(
            {"type": KIND, "text": _plain(75)},
            {"action_id": ID, "value": string(0, 2_000), "style": one_of("primary", "danger"), "confirm": _CONFIRM},
        )
    }
)
_PLAIN_TEXT_INPUT = record(
    {"type": KIND},
    {"action_id": ID, "multiline": boolean, "min_length": integer(0, 3_000), "max_length": integer(1, 3_000)},
    _lengths_in_order,
)
_LEAVES = {
    "text": record({"type": KIND, "text": string(1)}),
    "emoji": record({"type": KIND, "name": string(1)}),
}
_SECTION_OF_RICH_TEXT = by_type({"rich_text_section": record({"type": KIND, "elements": array(by_type(_LEAVES))})})
_CELL = by_type(
    {
        "raw_text": record({"type": KIND, "text": string(1)}),
        "rich_text": record({"type": KIND, "elements": array(_SECTION_OF_RICH_TEXT, 1)}),
    }
)
_SECTION: Mapping[str, Rule] = {"text": _text(3_000), "fields": array(_text(2_000), 1, 10), "expand": boolean}
_HAS_CONTENT = at_least_one("text", "fields")
_CONTEXT = _block({"elements": array(_text(2_000), 1, 10)})
_IN_MESSAGES: Mapping[str, Rule] = {
    "section": _block({}, {**_SECTION, "accessory": _BUTTON}, _HAS_CONTENT),
    "context": _CONTEXT,
    "header": _block({"text": _plain(150)}),
    "actions": _block({"elements": array(_BUTTON, 1, 25)}),
    "image": _block({"alt_text": string(1, 2_000), "slack_file": record({"id": ID})}, {"title": _plain(2_000)}),
    "table": _block(
        {"rows": array(array(_CELL, 1, 20), 1, 100)},
        {"column_settings": array(record({}, {"is_wrapped": boolean}), 0, 20)},
    ),
}
_IN_VIEWS: Mapping[str, Rule] = {
    "section": _block({}, _SECTION, _HAS_CONTENT),
    "context": _CONTEXT,
    "input": _block(
        {"label": _plain(2_000), "element": by_type({"plain_text_input": _PLAIN_TEXT_INPUT})}, {"optional": boolean}
    ),
}
_MESSAGE_BLOCKS = array(by_type(_IN_MESSAGES), 0, MAX_MESSAGE_BLOCKS)
_VIEW = by_type(
    {
        "modal": record(
            {"type": KIND, "title": _plain(24), "blocks": array(by_type(_IN_VIEWS), 0, MAX_VIEW_BLOCKS)},
            {
                "submit": _plain(24),
                "close": _plain(24),
                "private_metadata": string(0, 3_000),
                "callback_id": string(0, 255),
            },
            _needs_submit,
        )
    }
)


def check_blocks(blocks: Any) -> list[BlockProblem]:
    """Every rule that the blocks of a message break, with pointers from the message; an empty list when Slack takes them."""
    problems = [*_MESSAGE_BLOCKS(blocks, "/blocks"), *_duplicate_ids(blocks)]
    kinds = [block.get("type") for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    if kinds.count("table") > 1:
        problems.append(BlockProblem("/blocks", "only_one_table_allowed", "only_one_table_allowed"))
    return problems


def check_view(view: Any) -> list[BlockProblem]:
    """Every rule that a modal breaks."""
    problems = list(_VIEW(view, ""))
    if isinstance(view, dict):
        problems += _duplicate_ids(view.get("blocks"))
    return problems


def text_length(blocks: list[Json]) -> int:
    """The characters that a reader sees in all blocks together."""
    return sum(map(len, _shown_texts(blocks)))


def _duplicate_ids(blocks: Any) -> Iterator[BlockProblem]:
    """A block_id may occur once in a message or view, an action_id once in a block."""
    objects = [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    yield from _duplicates(objects, "block_id", "/blocks")
    for index, block in enumerate(objects):
        elements = block.get("elements")
        yield from _duplicates(elements if isinstance(elements, list) else [], "action_id", f"/blocks/{index}/elements")


def _duplicates(objects: list[Any], name: str, pointer: str) -> Iterator[BlockProblem]:
    ids = [each.get(name) if isinstance(each, dict) else None for each in objects]
    for index, each in enumerate(ids):
        if each is not None and each in ids[:index]:
            yield BlockProblem(f"{pointer}/{index}/{name}", f"duplicate_{name}", f"{name} already exists: {each}")


def _shown_texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _shown_texts(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name in _SHOWN_TEXT and isinstance(each, str):
                yield each
            else:
                yield from _shown_texts(each)
