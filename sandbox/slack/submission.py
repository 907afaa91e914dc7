"""What a person typed into a modal: the values of its inputs, and what Slack's own client refuses to send."""

from typing import Any

from sandbox.slack.content import elements_of
from sandbox.slack.payloads import input_state
from sandbox.slack.shapes import Json, invalid_arguments

_INITIAL_KEYS = (
    "initial_value",
    "initial_option",
    "initial_options",
    "initial_date",
    "initial_time",
    "initial_date_time",
    "initial_user",
    "initial_users",
    "initial_channel",
    "initial_channels",
    "initial_conversation",
    "initial_conversations",
)
_NO_INPUT = ("button", "overflow", "image", "icon_button", "feedback_buttons", "workflow_button")


def read_values(view: Json, typed: Any) -> Json:
    """`state.values` of a view for `typed` ({block_id: {action_id: value}}); what was not typed has its initial value.

    Raises SlackError: invalid_arguments for a block or input that the view does not have, no_such_option.
    """
    if not isinstance(typed, dict) or not all(isinstance(inputs, dict) for inputs in typed.values()):
        raise invalid_arguments("values must be {block_id: {action_id: value}}")
    values: Json = {}
    for block in view["blocks"]:
        for element in elements_of(block):
            if element["type"] in _NO_INPUT:
                continue
            initial = next((element[key] for key in _INITIAL_KEYS if key in element), None)
            wanted = typed.get(block["block_id"], {}).get(element["action_id"], initial)
            values.setdefault(block["block_id"], {})[element["action_id"]] = input_state(element, wanted)
    for block_id, inputs in typed.items():
        for action_id in inputs:
            if action_id not in values.get(block_id, {}):
                raise invalid_arguments(f"the view has no input {block_id}/{action_id}")
    return values


def missing_inputs(view: Json, values: Json) -> dict[str, str]:
    """What the client says beside inputs that are required and empty, or too short or too long."""
    errors = {}
    for block in view["blocks"]:
        if block["type"] != "input":
            continue
        element = block["element"]
        value = _value(values[block["block_id"]][element["action_id"]])
        if value in (None, "", []):
            if not block.get("optional"):
                errors[block["block_id"]] = "Please complete this required field."
        elif element["type"] == "plain_text_input":
            shortest, longest = element.get("min_length", 0), element.get("max_length", 3_000)
            if not shortest <= len(value) <= longest:
                errors[block["block_id"]] = f"This must be {shortest} to {longest} characters long."
    return errors


def _value(state: Json) -> Any:
    return next((value for key, value in state.items() if key != "type"), None)
