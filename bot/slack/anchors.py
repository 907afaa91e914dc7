"""Anchors: the heads of the record that the channel was told, read back from Slack to hold the record against (promise P9)."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from slack_sdk import WebClient

from bot.domain.audit import Head
from bot.domain.posts import RecordPost
from bot.slack.client import slack_call
from bot.slack.publisher import EVENT_TYPE

PAGE = 200  # messages a call, as Slack advises


def read_heads(client: WebClient, channel: str, bot_user: str, since: datetime | None = None) -> list[Head]:
    """The heads that ``bot_user``, the bot itself, announced in ``channel``, the newest first; ``since``: not those before.

    They are read from the metadata of its messages, which nobody but the bot can have written under its name. Raises SlackError.
    """
    heads: list[Head] = []
    window: dict[str, Any] = {"channel": channel, "include_all_metadata": True, "limit": PAGE}
    if since is not None:
        window["oldest"] = f"{since.timestamp():.6f}"
    cursor = ""
    while True:
        with slack_call("conversations.history"):
            answer = client.conversations_history(**window, cursor=cursor or None)
        for message in answer["messages"]:
            metadata = message.get("metadata") or {}
            if message.get("user") == bot_user and metadata.get("event_type") == EVENT_TYPE:
                with suppress(ValueError):  # another message of the bot
                    post = RecordPost.parse(str(metadata.get("event_payload", {}).get("record", "")))
                    heads.append(Head(post.row, post.head))
        cursor = (answer.get("response_metadata") or {}).get("next_cursor", "")
        if not cursor:
            return heads
