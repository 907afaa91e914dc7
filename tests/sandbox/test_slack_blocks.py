"""The rules of Block Kit: what Slack refuses is found, with the place and the rule; what it takes passes."""

from typing import Any

import pytest

from sandbox.slack.blocks import check_blocks, check_view, text_length

Json = dict[str, Any]


def plain(text: str) -> Json:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Json:
    """A mrkdwn object."""
    return {"type": "mrkdwn", "text": text}


def section(text: str = "hello", **more: Any) -> Json:
    """A section block."""
    return {"type": "section", "text": mrkdwn(text), **more}


def button(action_id: str = "go", **more: Any) -> Json:
    """A button."""
    return {"type": "button", "action_id": action_id, "text": plain("Go"), **more}


def actions(*elements: Json) -> Json:
    """An actions block."""
    return {"type": "actions", "elements": list(elements)}


def confirm(**more: Any) -> Json:
    """A confirmation dialog."""
    return {"title": plain("Sure?"), "text": plain("Really"), "confirm": plain("Yes"), "deny": plain("No"), **more}


def cell(text: str = "x") -> Json:
    """A cell of a table."""
    return {"type": "raw_text", "text": text}


def table(**more: Any) -> Json:
    """A table block."""
    return {"type": "table", "rows": [[cell(), cell()]], **more}


def marked_cell(*leaves: Json) -> Json:
    """A cell that begins with an emoji."""
    parts = leaves or ({"type": "emoji", "name": "x"}, {"type": "text", "text": " no"})
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(parts)}]}


def field(element: Json | None = None, **more: Any) -> Json:
    """An input block."""
    return {"type": "input", "label": plain("Reason"), "element": element or {"type": "plain_text_input"}, **more}


def modal(*blocks: Json, **more: Any) -> Json:
    """A modal."""
    return {"type": "modal", "title": plain("Title"), "submit": plain("Send"), "blocks": list(blocks), **more}


PICTURE = {"type": "image", "slack_file": {"id": "F1"}, "alt_text": "a"}
GOOD_BLOCKS: list[tuple[str, Json]] = [
    ("section of 3,000 characters", section("x" * 3_000, expand=True)),
    ("section with fields only", {"type": "section", "fields": [mrkdwn("a")] * 10}),
    ("section with a button", section(accessory=button())),
    ("header", {"type": "header", "text": plain("x" * 150) | {"emoji": False}}),
    ("context", {"type": "context", "elements": [mrkdwn("a"), plain("b")]}),
    ("actions", actions(*[button(f"a{n}", value="x" * 2_000, style="danger", confirm=confirm()) for n in range(25)])),
    ("image", PICTURE | {"title": plain("Errors")}),
    ("table", table(rows=[[cell(), marked_cell()]], column_settings=[{"is_wrapped": True}, {}])),
]


@pytest.mark.parametrize("block", [b for _, b in GOOD_BLOCKS], ids=[name for name, _ in GOOD_BLOCKS])
def test_block_within_its_limits_passes(block: Json):
    """Nothing is said about a block that Slack takes."""
    assert check_blocks([block]) == []


BAD_BLOCKS: list[tuple[str, Any, str, str]] = [
    ("no list", {}, "", "wrong_type"),
    ("no object", ["x"], "/0", "wrong_type"),
    ("no type", [{}], "/0", "missing_field"),
    ("unknown type", [{"type": "sektion"}], "/0/type", "unknown_type"),
    ("type that the bot does not send", [{"type": "divider"}], "/0/type", "unknown_type"),
    ("input in a message", [field()], "/0/type", "unknown_type"),
    ("51 blocks", [section()] * 51, "", "too_many"),
    ("empty text", [section("")], "/0/text/text", "too_short"),
    ("text of 3,001", [section("x" * 3_001)], "/0/text/text", "too_long"),
    ("text without type", [{"type": "section", "text": {"text": "a"}}], "/0/text", "missing_field"),
    ("text as a string", [{"type": "section", "text": "a"}], "/0/text", "wrong_type"),
    ("section without content", [{"type": "section"}], "/0", "at_least_one"),
    ("11 fields", [{"type": "section", "fields": [mrkdwn("a")] * 11}], "/0/fields", "too_many"),
    ("long field", [{"type": "section", "fields": [mrkdwn("x" * 2_001)]}], "/0/fields/0/text", "too_long"),
    ("misspelt field", [section(txt="a")], "/0", "unknown_field"),
    ("expand as text", [section(expand="yes")], "/0/expand", "wrong_type"),
    ("menu as accessory", [section(accessory={"type": "overflow"})], "/0/accessory/type", "unknown_type"),
    ("mrkdwn header", [{"type": "header", "text": mrkdwn("a")}], "/0/text/type", "unknown_type"),
    ("long header", [{"type": "header", "text": plain("x" * 151)}], "/0/text/text", "too_long"),
    ("empty context", [{"type": "context", "elements": []}], "/0/elements", "too_few"),
    ("11 in context", [{"type": "context", "elements": [mrkdwn("a")] * 11}], "/0/elements", "too_many"),
    ("long context", [{"type": "context", "elements": [mrkdwn("x" * 2_001)]}], "/0/elements/0/text", "too_long"),
    ("button in context", [{"type": "context", "elements": [button()]}], "/0/elements/0/type", "unknown_type"),
    ("no actions", [actions()], "/0/elements", "too_few"),
    ("26 actions", [actions(*[button(f"a{n}") for n in range(26)])], "/0/elements", "too_many"),
    ("text input in actions", [actions({"type": "plain_text_input"})], "/0/elements/0/type", "unknown_type"),
    ("long button", [actions(button(text=plain("x" * 76)))], "/0/elements/0/text/text", "too_long"),
    ("button style", [actions(button(style="warning"))], "/0/elements/0/style", "not_one_of"),
    ("button value", [actions(button(value="x" * 2_001))], "/0/elements/0/value", "too_long"),
    ("button value number", [actions(button(value=1))], "/0/elements/0/value", "wrong_type"),
    ("button url", [actions(button(url="https://example.com"))], "/0/elements/0", "unknown_field"),
    ("mrkdwn button", [actions(button(text=mrkdwn("a")))], "/0/elements/0/text/type", "unknown_type"),
    (
        "confirm without deny",
        [actions(button(confirm={k: v for k, v in confirm().items() if k != "deny"}))],
        "/0/elements/0/confirm",
        "missing_field",
    ),
    (
        "long confirm",
        [actions(button(confirm=confirm(text=plain("x" * 301))))],
        "/0/elements/0/confirm/text/text",
        "too_long",
    ),
    ("image without alt", [{"type": "image", "slack_file": {"id": "F1"}}], "/0", "missing_field"),
    ("image without file", [{"type": "image", "alt_text": "a"}], "/0", "missing_field"),
    ("image of an address", [PICTURE | {"image_url": "https://example.com/a"}], "/0", "unknown_field"),
    ("same block_id", [section(block_id="b"), section(block_id="b")], "/1/block_id", "duplicate_block_id"),
    ("same action_id", [actions(button(), button())], "/0/elements/1/action_id", "duplicate_action_id"),
    ("long block_id", [section(block_id="x" * 256)], "/0/block_id", "too_long"),
    ("long action_id", [actions(button("x" * 256))], "/0/elements/0/action_id", "too_long"),
    ("two tables", [table(), table()], "", "only_one_table_allowed"),
    ("101 rows", [{"type": "table", "rows": [[cell()]] * 101}], "/0/rows", "too_many"),
    ("21 cells", [{"type": "table", "rows": [[cell()] * 21]}], "/0/rows/0", "too_many"),
    ("21 settings", [table(column_settings=[{}] * 21)], "/0/column_settings", "too_many"),
    ("empty cell", [{"type": "table", "rows": [[cell("")]]}], "/0/rows/0/0/text", "too_short"),
    (
        "empty leaf",
        [table(rows=[[marked_cell({"type": "text", "text": ""})]])],
        "/0/rows/0/0/elements/0/elements/0/text",
        "too_short",
    ),
    (
        "mention in a cell",
        [table(rows=[[marked_cell({"type": "user", "user_id": "U1"})]])],
        "/0/rows/0/0/elements/0/elements/0/type",
        "unknown_type",
    ),
]


@pytest.mark.parametrize(("blocks", "pointer", "code"), [c[1:] for c in BAD_BLOCKS], ids=[c[0] for c in BAD_BLOCKS])
def test_broken_rule_is_named_with_its_place(blocks: Any, pointer: str, code: str):
    """A block that Slack refuses yields the rule and a JSON pointer to what breaks it."""
    assert (f"/blocks{pointer}", code) in {(problem.pointer, problem.code) for problem in check_blocks(blocks)}


BAD_VIEWS: list[tuple[str, Any, str, str]] = [
    ("no type", {}, "", "missing_field"),
    ("long title", modal(section(), title=plain("x" * 25)), "/title/text", "too_long"),
    ("mrkdwn title", modal(section(), title=mrkdwn("a")), "/title/type", "unknown_type"),
    ("input without submit", {"type": "modal", "title": plain("a"), "blocks": [field()]}, "", "missing_field"),
    ("long metadata", modal(section(), private_metadata="x" * 3_001), "/private_metadata", "too_long"),
    ("long callback", modal(section(), callback_id="x" * 256), "/callback_id", "too_long"),
    ("101 blocks", modal(*[section()] * 101), "/blocks", "too_many"),
    ("button", modal(section(accessory=button())), "/blocks/0", "unknown_field"),
    ("table", modal(table()), "/blocks/0/type", "unknown_type"),
    ("same block_id", modal(field(block_id="r"), field(block_id="r")), "/blocks/1/block_id", "duplicate_block_id"),
    (
        "max_length",
        modal(field({"type": "plain_text_input", "max_length": 3_001})),
        "/blocks/0/element/max_length",
        "out_of_range",
    ),
    (
        "lengths",
        modal(field({"type": "plain_text_input", "min_length": 9, "max_length": 8})),
        "/blocks/0/element/min_length",
        "out_of_range",
    ),
    ("button as input", modal(field(button())), "/blocks/0/element/type", "unknown_type"),
    ("asks to be told", modal(section(), notify_on_close=True), "", "unknown_field"),
    ("long label", modal(field(label=plain("x" * 2_001))), "/blocks/0/label/text", "too_long"),
]


@pytest.mark.parametrize(("view", "pointer", "code"), [c[1:] for c in BAD_VIEWS], ids=[c[0] for c in BAD_VIEWS])
def test_broken_rule_of_a_view_is_named(view: Any, pointer: str, code: str):
    """A modal that Slack refuses yields the rule and its place."""
    assert (pointer, code) in {(problem.pointer, problem.code) for problem in check_view(view)}


def test_modal_takes_a_hundred_blocks():
    """A modal holds more than a message."""
    context = {"type": "context", "elements": [mrkdwn("careful")]}

    assert check_view(modal(context, field(optional=True), *[section()] * 98)) == []


def test_problem_is_worded_as_slack_words_it():
    """The line of a problem names the place in Slack's own form."""
    (problem,) = check_blocks([section("x" * 3_001)])

    assert problem.line() == "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"


def test_text_of_all_blocks_is_counted_together():
    """Texts count wherever they are nested; ids and values do not."""
    blocks = [section("12345", accessory=button(value="not counted")), table(rows=[[cell("123"), cell("4")]])]

    assert text_length(blocks) == len("12345") + len("Go") + len("1234")
