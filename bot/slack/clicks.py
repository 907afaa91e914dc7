"""Clicks: finds the button in a click or a submitted form, and refuses one that the bot did not put there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from bot.domain.ids import ReleaseId
from bot.errors import StaleButton
from bot.slack.entries import AnyButton
from bot.slack.features import BUTTONS
from bot.slack.payloads import AlarmPayload, MitigationPayload, Payload, StepPayload
from bot.store import mitigations, posts, steps, watches
from bot.store.inbox import InboxRow
from bot.store.pool import Tx

_USE_THE_NEWEST = "Nothing was done. Use the newest message."


def read_click(row: InboxRow) -> tuple[AnyButton, Payload]:
    """The button that was pressed, or whose form was submitted, with its payload. Raises StaleButton."""
    if row.kind == "view":
        view = row.body["view"]
        return read_button(view.get("callback_id", ""), view.get("private_metadata", ""))
    action = row.body["actions"][0]
    return read_button(action.get("action_id", ""), action.get("value"))


def read_button(button_id: str, value: str | None) -> tuple[AnyButton, Payload]:
    """Read the action id and value of a button, or the callback id and private_metadata of a modal.

    Raises StaleButton, without repeating what it read, for an unknown id and for everything but the exact payload of that button.
    """
    button = BUTTONS.get(button_id)
    if button is None:
        raise _forgery("unknown action id")
    try:
        return button, button.payload.model_validate_json(value or "")
    except ValidationError as error:
        detail = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in detail["loc"]) or "value"
        raise _forgery(f"malformed value of {button.id}: {place}: {detail['type']}") from error


def _forgery(problem: str) -> StaleButton:
    return StaleButton(f"The bot never made that button: {problem}.", hint=_USE_THE_NEWEST)


def _release_of_step(tx: Tx, payload: StepPayload) -> ReleaseId | None:
    step = steps.get(tx, payload.step)
    return None if step is None else step[0]


def _release_of_mitigation(tx: Tx, payload: MitigationPayload) -> ReleaseId | None:
    mitigation = mitigations.get(tx, payload.mitigation)
    return None if mitigation is None else mitigation.release_id


_OWNERS: dict[type[Payload], Callable[[Tx, Any], ReleaseId | None]] = {
    StepPayload: _release_of_step,
    AlarmPayload: lambda tx, payload: watches.release_of(tx, payload.alarm),
    MitigationPayload: _release_of_mitigation,
}


def ensure_genuine(tx: Tx, row: InboxRow, payload: Payload) -> None:
    """Refuse a button that isn't on a message of the release it names, or is about a row of another one. Raises StaleButton."""
    if row.kind == "action":
        container = row.body.get("container", {})
        post = posts.by_message(tx, str(container.get("channel_id", "")), str(container.get("message_ts", "")))
        if post is None or post.release_id != payload.release:
            raise StaleButton("That button doesn't belong to this message.", hint=_USE_THE_NEWEST)
    owner = _OWNERS.get(type(payload))
    if owner is not None and owner(tx, payload) != payload.release:
        raise StaleButton("That belongs to another release.", hint=_USE_THE_NEWEST)
