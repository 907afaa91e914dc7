"""Rules of Block Kit's composition objects and elements: texts, options, confirmations, buttons, selects, inputs.

The numbers are those of docs.slack.dev/reference/block-kit (composition-objects, block-elements).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.slack.rules import (
    Rule,
    any_object,
    array,
    at_least_one,
    boolean,
    exactly_one,
    integer,
    one_of,
    record,
    string,
    typed,
    url,
)
from sandbox.slack.shapes import Problem

KIND = string(1)
ID = string(1, 255)


def text(high: int, *kinds: str, low: int = 1) -> Rule:
    """A text object of `low` to `high` characters; `kinds` are plain_text, mrkdwn or (when left out) both."""
    body = string(low, high)
    rules: Mapping[str, Rule] = {
        "plain_text": record({"type": KIND, "text": body}, {"emoji": boolean}),
        "mrkdwn": record({"type": KIND, "text": body}, {"verbatim": boolean}),
    }
    return typed(rules, kinds or None)


def plain(high: int) -> Rule:
    """A plain_text object."""
    return text(high, "plain_text")


CONFIRM = record(
    {"title": plain(100), "text": text(300), "confirm": plain(30), "deny": plain(30)},
    {"style": one_of("primary", "danger")},
)
SLACK_FILE = record({}, {"id": ID, "url": url()}, exactly_one("id", "url"))
DISPATCH = record({}, {"trigger_actions_on": array(one_of("on_enter_pressed", "on_character_entered"), 1, 2)})
FILTER = record(
    {},
    {
        "include": array(one_of("im", "mpim", "private", "public"), 1),
        "exclude_external_shared_channels": boolean,
        "exclude_bot_users": boolean,
    },
    at_least_one("include", "exclude_external_shared_channels", "exclude_bot_users"),
)


def option(*kinds: str, link: bool = False) -> Rule:
    """An option; only those of an overflow menu may carry a link."""
    optional: dict[str, Rule] = {"value": string(1, 150), "description": text(75, *kinds)}
    if link:
        optional["url"] = url()
    return record({"text": text(75, *kinds)}, optional, _option_needs_value)


def _option_needs_value(value: Any, pointer: str) -> Iterator[Problem]:
    if value.get("value") is None:
        yield Problem(pointer, "missing_field", "missing required field: value")


PLAIN_OPTION = option("plain_text")
ANY_OPTION = option()
OPTION_GROUP = record({"label": plain(75), "options": array(PLAIN_OPTION, 1, 100)})


def _initial_is_an_option(value: Any, pointer: str) -> Iterator[Problem]:
    """What is chosen at first must be among the options, word for word."""
    options = list(value.get("options") or ())
    for group in value.get("option_groups") or ():
        options += group.get("options", ()) if isinstance(group, dict) else ()
    one = value.get("initial_option")
    chosen = [("initial_option", one)] if one is not None else []
    chosen += [("initial_options", each) for each in value.get("initial_options") or ()]
    for name, each in chosen:
        if each not in options:
            yield Problem(f"{pointer}/{name}", "not_an_option", "must be one of the options")


def _element(required: Mapping[str, Rule], optional: Mapping[str, Rule], *more: Rule) -> Rule:
    return record({"type": KIND, **required}, {"action_id": ID, **optional}, *more)


_FOCUS: Mapping[str, Rule] = {"focus_on_load": boolean}
_CONFIRM: Mapping[str, Rule] = {"confirm": CONFIRM}
_PLACEHOLDER: Mapping[str, Rule] = {"placeholder": plain(150)}
_MENU: Mapping[str, Rule] = {**_PLACEHOLDER, **_CONFIRM, **_FOCUS}
_MOST: Mapping[str, Rule] = {"max_selected_items": integer(1, 1_000)}
_OPTIONS: Mapping[str, Rule] = {"options": array(PLAIN_OPTION, 1, 100), "option_groups": array(OPTION_GROUP, 1, 100)}
_IDS = array(ID)


def _menu(optional: Mapping[str, Rule], *more: Rule) -> Rule:
    return _element({}, {**_MENU, **optional}, *more)


def _single_text(optional: Mapping[str, Rule]) -> Rule:
    return _element(
        {}, {**_PLACEHOLDER, **_FOCUS, "initial_value": string(), "dispatch_action_config": DISPATCH, **optional}
    )


def _lengths_in_order(value: Any, pointer: str) -> Iterator[Problem]:
    low, high = value.get("min_length"), value.get("max_length")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        yield Problem(f"{pointer}/min_length", "out_of_range", "must not be more than max_length")


BUTTON = _element(
    {"text": plain(75)},
    {
        "value": string(0, 2_000),
        "url": url(),
        "style": one_of("primary", "danger"),
        "accessibility_label": string(1, 75),
        **_CONFIRM,
    },
)
IMAGE = record(
    {"type": KIND, "alt_text": string(1, 2_000)},
    {"image_url": url(), "slack_file": SLACK_FILE},
    exactly_one("image_url", "slack_file"),
)
_FEEDBACK = record({"text": plain(75), "value": string(0, 2_000)}, {"accessibility_label": string(1, 75)})

ELEMENTS: Mapping[str, Rule] = {
    "button": BUTTON,
    "image": IMAGE,
    "overflow": _element({"options": array(option("plain_text", link=True), 1, 5)}, _CONFIRM),
    "static_select": _menu(
        {**_OPTIONS, "initial_option": PLAIN_OPTION}, exactly_one("options", "option_groups"), _initial_is_an_option
    ),
    "multi_static_select": _menu(
        {**_OPTIONS, **_MOST, "initial_options": array(PLAIN_OPTION, 1, 100)},
        exactly_one("options", "option_groups"),
        _initial_is_an_option,
    ),
    "external_select": _menu({"initial_option": PLAIN_OPTION, "min_query_length": integer(0, 255)}),
    "multi_external_select": _menu(
        {**_MOST, "initial_options": array(PLAIN_OPTION, 1, 100), "min_query_length": integer(0, 255)}
    ),
    "users_select": _menu({"initial_user": ID}),
    "multi_users_select": _menu({**_MOST, "initial_users": _IDS}),
    "channels_select": _menu({"initial_channel": ID, "response_url_enabled": boolean}),
    "multi_channels_select": _menu({**_MOST, "initial_channels": _IDS}),
    "conversations_select": _menu(
        {
            "initial_conversation": ID,
            "default_to_current_conversation": boolean,
            "response_url_enabled": boolean,
            "filter": FILTER,
        }
    ),
    "multi_conversations_select": _menu(
        {**_MOST, "initial_conversations": _IDS, "default_to_current_conversation": boolean, "filter": FILTER}
    ),
    "radio_buttons": _element(
        {"options": array(ANY_OPTION, 1, 10)},
        {"initial_option": ANY_OPTION, **_CONFIRM, **_FOCUS},
        _initial_is_an_option,
    ),
    "checkboxes": _element(
        {"options": array(ANY_OPTION, 1, 10)},
        {"initial_options": array(ANY_OPTION, 1, 10), **_CONFIRM, **_FOCUS},
        _initial_is_an_option,
    ),
    "datepicker": _menu({"initial_date": string(10, 10)}),
    "timepicker": _menu({"initial_time": string(5, 5), "timezone": string(1)}),
    "datetimepicker": _element({}, {"initial_date_time": integer(0, 9_999_999_999), **_CONFIRM, **_FOCUS}),
    "plain_text_input": _element(
        {},
        {
            **_PLACEHOLDER,
            **_FOCUS,
            "initial_value": string(),
            "multiline": boolean,
            "min_length": integer(0, 3_000),
            "max_length": integer(1, 3_000),
            "dispatch_action_config": DISPATCH,
        },
        _lengths_in_order,
    ),
    "email_text_input": _single_text({}),
    "url_text_input": _single_text({}),
    "number_input": _element(
        {"is_decimal_allowed": boolean},
        {
            **_PLACEHOLDER,
            **_FOCUS,
            "initial_value": string(),
            "min_value": string(),
            "max_value": string(),
            "dispatch_action_config": DISPATCH,
        },
    ),
    "rich_text_input": _element(
        {}, {**_PLACEHOLDER, **_FOCUS, "initial_value": any_object, "dispatch_action_config": DISPATCH}
    ),
    "file_input": _element({}, {"filetypes": array(string(1)), "max_files": integer(1, 10)}),
    "icon_button": _element(
        {"icon": one_of("trash"), "text": plain(75)},
        {
            "value": string(0, 2_000),
            "accessibility_label": string(1, 75),
            "visible_to_user_ids": _IDS,
            **_CONFIRM,
        },
    ),
    "feedback_buttons": _element({"positive_button": _FEEDBACK, "negative_button": _FEEDBACK}, {}),
    "workflow_button": _element(
        {"text": plain(75), "workflow": any_object},
        {"style": one_of("primary", "danger"), "accessibility_label": string(1, 75)},
    ),
}

_SELECTS = (
    "static_select",
    "external_select",
    "users_select",
    "channels_select",
    "conversations_select",
)
_MULTI_SELECTS = tuple(f"multi_{name}" for name in _SELECTS)
_PICKERS = ("datepicker", "timepicker", "datetimepicker")
_CHOICES = ("radio_buttons", "checkboxes")
_TYPED_IN = (
    "plain_text_input",
    "email_text_input",
    "url_text_input",
    "number_input",
    "rich_text_input",
    "file_input",
)
IN_ACTIONS = typed(ELEMENTS, ("button", "overflow", "workflow_button", *_SELECTS, *_PICKERS, *_CHOICES))
IN_SECTION = typed(
    ELEMENTS,
    (
        "button",
        "image",
        "overflow",
        "workflow_button",
        *_SELECTS,
        *_MULTI_SELECTS,
        *_PICKERS,
        *_CHOICES,
    ),
)
IN_INPUT = typed(ELEMENTS, (*_TYPED_IN, *_SELECTS, *_MULTI_SELECTS, *_PICKERS, *_CHOICES))
IN_CONTEXT_ACTIONS = typed(ELEMENTS, ("icon_button", "feedback_buttons"))
IN_CARD = typed(ELEMENTS, ("button", "overflow", "workflow_button"))
