"""The state of the workspace: channels, messages, threads, pins; kept over a restart."""

import secrets
import time
from pathlib import Path
from typing import Any

from sandbox.persist import Snapshot
from sandbox.slack.content import Content
from sandbox.slack.events import Hub
from sandbox.slack.files import Files
from sandbox.slack.grants import Clock, ResponseUrls, Tickets, Triggers
from sandbox.slack.manifest import Manifest
from sandbox.slack.people import APP_ID, BOT_ID, BOT_USER_ID, EVERYBODY, TEAM_ID, first_channels
from sandbox.slack.shapes import BlockProblem, Json, MethodError
from sandbox.slack.views import Views

MAX_PINS = 100
_EPHEMERALS_KEPT = 500


class Workspace:
    """Everything the workspace knows. Use it from the thread of the event loop only."""

    def __init__(self, data_dir: Path, manifest: Manifest, clock: Clock = time.time) -> None:
        self.manifest = manifest
        self.clock = clock
        self.base_url = ""  # of the server, known once it listens
        self.hub = Hub()
        self._snapshot = Snapshot(data_dir / "slack.json")
        self._document: Json = self._snapshot.load() or _new_document()
        self.port: int = self._document["port"]
        self.channels: dict[str, Json] = self._document["channels"]
        self._messages: dict[str, dict[str, Json]] = self._document["messages"]
        self._ephemerals: list[Json] = []  # Slack does not store them either
        self.triggers = Triggers(clock)
        self.tickets = Tickets(clock)
        self.response_urls = ResponseUrls(self._document["response_urls"], clock)
        self.views = Views(self._document["views"], self.hub)
        self.files = Files(self._document["files"], data_dir / "slack-files", clock)
        self.save()

    def secret(self, name: str) -> str:
        """The bot_token, app_token or signing_secret of the installed app."""
        return str(self._document["secrets"][name])

    @property
    def request_url(self) -> str:
        """Where deliveries are sent; empty in Socket Mode."""
        return str(self._document.get("request_url", self.manifest.request_url))

    def set_request_url(self, url: str) -> None:
        """Set it, as on the page of the app's settings."""
        self._document["request_url"] = url
        self.save()

    def serve_at(self, base_url: str, port: int) -> None:
        """Note where the server listens. The port is kept, so that addresses in old messages stay good."""
        self.base_url = base_url
        self._document["port"] = port
        self.save()

    def save(self) -> None:
        """Have the state written soon. Call it after every change."""
        self._snapshot.save(self._document)

    def flush(self) -> None:
        """Write the state now."""
        self._snapshot.flush()

    # Channels

    def channel(self, channel_id: str) -> Json:
        """A channel by its id. Raises MethodError channel_not_found."""
        channel = self.channels.get(channel_id)
        if channel is None:
            raise MethodError("channel_not_found")
        return channel

    def direct_channel(self, user: str) -> Json:
        """The direct channel between the bot and `user`, made when it is missing. Raises MethodError user_not_found."""
        if user not in EVERYBODY or user == BOT_USER_ID:
            raise MethodError("user_not_found")
        channel_id = "D" + user[1:]
        if channel_id not in self.channels:
            self.channels[channel_id] = {
                "id": channel_id,
                "name": EVERYBODY[user].handle,
                "members": [BOT_USER_ID, user],
                "user": user,
            }
            self.save()
        return self.channels[channel_id]

    # Messages

    def next_ts(self) -> str:
        """A new timestamp: unique, increasing, a string with six digits after the point."""
        micros = max(int(self.clock() * 1_000_000), self._document["last_ts"] + 1)
        self._document["last_ts"] = micros
        return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"

    def messages(self, channel_id: str) -> list[Json]:
        """Every message of a channel with those in threads, oldest first."""
        return list(self._messages.get(channel_id, {}).values())

    def message(self, channel_id: str, ts: str) -> Json:
        """One message. Raises MethodError message_not_found."""
        message = self._messages.get(channel_id, {}).get(ts)
        if message is None or message.get("subtype") == "tombstone":
            raise MethodError("message_not_found")
        return message

    def thread(self, channel_id: str, ts: str) -> list[Json]:
        """A parent and its replies, oldest first. Raises MethodError thread_not_found."""
        messages = self._messages.get(channel_id, {})
        if ts not in messages:
            raise MethodError("thread_not_found")
        return [message for message in messages.values() if message["ts"] == ts or message.get("thread_ts") == ts]

    def post(self, channel_id: str, user: str, content: Content, **placing: Any) -> Json:
        """Add a message of `user` to a channel.

        `placing`: thread_ts (ts of the parent), files (file objects).
        Raises MethodError thread_not_found, and invalid_blocks for an image that cannot be shown.
        """
        self._require_images(content.blocks)
        message = self._new_message(user, content)
        if placing.get("files"):
            message["files"] = placing["files"]
        thread_ts = placing.get("thread_ts")
        parent = None
        if thread_ts:
            parent = self._messages.get(channel_id, {}).get(thread_ts)
            if parent is None:
                raise MethodError("thread_not_found")
            message["thread_ts"] = thread_ts
            message["parent_user_id"] = parent.get("user")
        self._messages.setdefault(channel_id, {})[message["ts"]] = message
        self.save()
        self._publish("message", channel_id, message)
        if parent is not None:
            _count_replies(parent, self.thread(channel_id, parent["ts"])[1:])
            self._publish("message_changed", channel_id, parent)
        return message

    def edit(self, channel_id: str, ts: str, content: Content) -> Json:
        """Change a message as chat.update does: text alone takes the blocks away, blocks alone keep the text,
        metadata stays unless given, and `{}` removes it.
        """
        message = self.message(channel_id, ts)
        self._require_images(content.blocks)
        if content.text is not None:
            message["text"] = content.text
        if content.blocks:
            message["blocks"] = content.blocks
        elif content.blocks is not None or content.text is not None:
            message.pop("blocks", None)
        if content.metadata is not None:
            message.pop("metadata", None)
            if content.metadata:
                message["metadata"] = content.metadata
        if not content.blocks:  # an edit with blocks bears no mark
            message["edited"] = {"user": message.get("user"), "ts": self.next_ts()}
        self.save_message(channel_id, message)
        return message

    def delete(self, channel_id: str, ts: str) -> None:
        """Remove a message; a parent with replies leaves an empty place, as in Slack."""
        message = self.message(channel_id, ts)
        if message.get("reply_count"):
            for key in ("blocks", "metadata", "files", "pinned_to", "bot_id"):
                message.pop(key, None)
            message |= {"subtype": "tombstone", "text": "This message was deleted.", "user": "USLACKBOT"}
            self.save_message(channel_id, message)
            return
        del self._messages[channel_id][ts]
        parent = self._messages[channel_id].get(message.get("thread_ts", ""))
        self.save()
        self.hub.publish({"type": "message_deleted", "channel": channel_id, "ts": ts})
        if parent is not None:
            _count_replies(parent, self.thread(channel_id, parent["ts"])[1:])
            self.save_message(channel_id, parent)

    def save_message(self, channel_id: str, message: Json) -> None:
        """Keep a message that was changed in place, and tell the pages."""
        self.save()
        self._publish("message_changed", channel_id, message)

    # Ephemeral messages

    def post_ephemeral(
        self,
        channel_id: str,
        user: str,
        content: Content,
        author: str = BOT_USER_ID,
    ) -> Json:
        """Show `user` a message that nobody else sees and that is not stored."""
        self._require_images(content.blocks)
        message = self._new_message(author, content) | {"ephemeral": True}
        self._ephemerals.append({"channel": channel_id, "user": user, "message": message})
        del self._ephemerals[:-_EPHEMERALS_KEPT]
        self._publish("ephemeral", channel_id, message, user)
        return message

    def ephemerals(self, user: str, channel_id: str) -> list[Json]:
        """The ephemeral messages that `user` still sees in a channel."""
        return [e["message"] for e in self._ephemerals if (e["user"], e["channel"]) == (user, channel_id)]

    def ephemeral(self, user: str, channel_id: str, ts: str) -> Json | None:
        """One ephemeral message of `user`, or None."""
        return next((m for m in self.ephemerals(user, channel_id) if m["ts"] == ts), None)

    # What others see

    def for_page(self, message: Json) -> Json:
        """A message as the page gets it: with the author's name and whether it is pinned."""
        author = EVERYBODY.get(message.get("user", ""))
        name = author.name if author else "Slackbot"
        return {**message, "username": name, "pinned": bool(message.get("pinned_to"))}

    def _publish(self, kind: str, channel_id: str, message: Json, user: str | None = None) -> None:
        self.hub.publish({"type": kind, "channel": channel_id, "message": self.for_page(message)}, user=user)

    def _new_message(self, user: str, content: Content) -> Json:
        message: Json = {"type": "message", "user": user, "ts": self.next_ts(), "text": content.text or ""}
        if user == BOT_USER_ID:
            message |= {"bot_id": BOT_ID, "app_id": APP_ID}
        message["team"] = TEAM_ID
        for key in ("blocks", "metadata"):
            if getattr(content, key):
                message[key] = getattr(content, key)
        return message

    def _require_images(self, blocks: list[Json] | None) -> None:
        for block in blocks or ():
            if block["type"] == "image" and not self.files.can_be_shown(block["slack_file"]["id"]):
                problem = BlockProblem("/blocks", "invalid_slack_file", "invalid slack file")
                raise MethodError("invalid_blocks", problems=[problem])


def _count_replies(parent: Json, replies: list[Json]) -> None:
    users = list(dict.fromkeys(reply["user"] for reply in replies))
    counts = {"thread_ts": parent["ts"], "reply_count": len(replies), "reply_users": users}
    for key in ("thread_ts", "reply_count", "reply_users", "reply_users_count", "latest_reply"):
        parent.pop(key, None)
    if replies:
        parent |= counts | {"reply_users_count": len(users), "latest_reply": replies[-1]["ts"]}


def _new_document() -> Json:
    number = secrets.randbelow(10**12)
    return {
        "secrets": {
            "bot_token": f"xoxb-{number:012d}-{secrets.token_hex(12)}",
            "app_token": f"xapp-1-{APP_ID}-{number:012d}-{secrets.token_hex(16)}",
            "signing_secret": secrets.token_hex(16),
        },
        "port": 0,
        "last_ts": 0,
        "channels": first_channels(),
        "messages": {},
        "views": {},
        "files": {},
        "response_urls": {},
    }
