"""What a person typed into a modal: the values of its inputs, and what Slack's own client refuses to send."""

from typing import Any

from sandbox.slack.shapes import Json, invalid_arguments


def read_values(view: Json, entries: Any) -> Json:
    """`state.values` of a view for what was typed, `entries` ({block_id: {action_id: text}}); an empty input is None.

    Raises MethodError invalid_arguments for a block or input that the view does not have.
    """
    if not isinstance(entries, dict) or not all(isinstance(inputs, dict) for inputs in entries.values()):
        raise invalid_arguments("values must be {block_id: {action_id: text}}")
    values: Json = {}
    for block in input_blocks(view):
        action_id, kind = block["element"]["action_id"], block["element"]["type"]
        text = entries.get(block["block_id"], {}).get(action_id)
        values[block["block_id"]] = {action_id: {"type": kind, "value": text or None}}
    for block_id, inputs in entries.items():
        if unknown := inputs.keys() - values.get(block_id, {}).keys():
            raise invalid_arguments(f"the view has no input {block_id}/{min(unknown)}")
    return values


def input_errors(view: Json, values: Json) -> dict[str, str]:
    """What the client says beside inputs that are required and empty, or too short or too long."""
    errors = {}
    for block in input_blocks(view):
        element = block["element"]
        text = values[block["block_id"]][element["action_id"]]["value"]
        shortest, longest = element.get("min_length", 0), element.get("max_length", 3_000)
        if text is None:
            if not block.get("optional"):
                errors[block["block_id"]] = "Please complete this required field."
        elif not shortest <= len(text) <= longest:
            errors[block["block_id"]] = f"This must be {shortest} to {longest} characters long."
    return errors


def input_blocks(view: Json) -> list[Json]:
    """The blocks of a view into which a person types."""
    return [block for block in view["blocks"] if block["type"] == "input"]
