"""Delivery: what a stored command or click says of who sent it, from where, with which words."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.slack.payloads import REASON
from bot.store.inbox import InboxRow


@dataclass(frozen=True)
class Sender:
    """Who sent a delivery and where the answer goes, as Slack's payload says it."""

    user: str
    channel: str
    response_url: str
    trigger: str


def sender_of(row: InboxRow, channel: str) -> Sender:
    """Read from any body, however broken: whoever gives up on a delivery still has to answer it. ``channel``: where none is named."""
    body = row.body
    if row.kind == "command":
        user, where = body.get("user_id"), body.get("channel_id")
    else:
        user, where = (body.get("user") or {}).get("id"), (body.get("channel") or {}).get("id")
    return Sender(
        str(user or ""), str(where or channel), str(body.get("response_url") or ""), str(body.get("trigger_id") or "")
    )


def note_in(row: InboxRow) -> str:
    """The reason or note that was typed into a form."""
    values = row.body["view"].get("state", {}).get("values", {})
    return str(values.get(REASON, {}).get(REASON, {}).get("value") or "")


def click_in(row: InboxRow) -> str:
    """The button or form with its value, as JSON for the record."""
    if row.kind == "view":
        return json.dumps(
            {"view": row.body["view"].get("callback_id"), "value": row.body["view"].get("private_metadata")}
        )
    button = row.body["actions"][0]
    return json.dumps({"action": button.get("action_id"), "value": button.get("value")})
