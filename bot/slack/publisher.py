"""Publisher: posts and updates the messages owed to Slack, rendered from rows at that moment (promise P8)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from slack_sdk import WebClient

from bot.domain.ids import ReleaseId
from bot.domain.posts import CardPost, PostSubject, RecordPost, ReminderPost
from bot.domain.release import Release
from bot.domain.view import ReleaseView
from bot.errors import Superseded, UnknownThing
from bot.flows import announce
from bot.flows.deps import Deps, Job
from bot.slack.blocks.limits import Rendered
from bot.slack.blocks.render import render
from bot.slack.client import NO_CHANNEL, SPACING, SlackError, again_at, slack_call, webhook_client
from bot.slack.pace import Pace
from bot.store import posts, releases, replies
from bot.store.posts import PostRow
from bot.store.replies import ReplyRow
from checks.runner import redact_values

logger = logging.getLogger(__name__)

EVENT_TYPE = "release_bot_post"  # of the metadata by which we find our own message after a lost reply
REPLY_LIFE = timedelta(minutes=30)  # how long Slack takes answers at a response_url
IS_DONE_ALREADY = frozenset({"already_pinned", "no_pin", "not_pinned"})
EDITS, EDITS_AT_ONCE = 48, 25  # of all messages together: Slack takes "50 or more" a minute (Tier 3), and a burst


class Publisher:
    """Carries out the queues ``messages`` and ``reply``."""

    def __init__(self, deps: Deps, client: WebClient) -> None:
        self._deps, self._client = deps, client
        self._pause_until: dict[str, datetime] = {}  # method -> when Slack takes it again; a hint, not a truth
        self._edits = Pace(burst=EDITS_AT_ONCE, per_minute=EDITS)

    def execute(self, job: Job) -> datetime | None:
        """Bring the messages of one release (key: its id) up to date. Returns when to look again, or None.

        The card comes first, then what belongs to its thread. One that fails for an unknown reason keeps no other waiting.
        """
        release_id, due = ReleaseId(int(job.claim.key)), []
        with self._deps.store.transaction() as tx:
            view = releases.view(tx, release_id, self._deps.clock.now())
        if view is None:
            return None
        for in_thread in (False, True):
            with self._deps.store.transaction() as tx:
                rows = [post for post in posts.of_release(tx, release_id) if (post.parent is not None) is in_thread]
            for post in rows:
                if job.cancelled.is_set():
                    raise Superseded
                try:
                    due.append(self.bring_up_to_date(post, view))
                except (SlackError, UnknownThing) as error:
                    logger.error("post %d failed and is tried again in a minute: %s", post.id, error)
                    due.append(self._deps.clock.now() + timedelta(minutes=1))
        return min((moment for moment in due if moment is not None), default=None)

    def bring_up_to_date(self, post: PostRow, view: ReleaseView) -> datetime | None:
        """Post one message, or update it where ``view`` shows something else. Returns when to look again, or None.

        Raises SlackError when Slack refuses it for an unknown reason, and UnknownThing when nobody knows what it is about.
        """
        now = self._deps.clock.now()
        if post.parent is not None and post.parent_ts is None:
            return None  # its thread is not there: that has a due of its own
        if post.sent_at is not None and now - post.sent_at < SPACING:
            return post.sent_at + SPACING
        method = "chat.postMessage" if post.ts is None else "chat.update"
        if (pause := self._pause_until.get(method)) is not None and pause > now:
            return pause
        message = render(post.about, view)
        message = Rendered(self._deps.redact(message.text), redact_values(message.blocks, self._deps.redact))
        content = hashlib.sha256(json.dumps([message.text, message.blocks], sort_keys=True).encode()).hexdigest()
        try:
            pinned = is_pinned(post.about, view.release)
            if post.ts is None:
                return self._post(post, message, content, pinned=pinned)
            if content != post.sent_hash or pinned != post.is_pinned:
                if wait := self._edits.take(now):
                    return now + wait  # what changes meanwhile is shown by one edit
                self._update(post, message, content, pinned=pinned)
        except SlackError as error:
            return self._retry_at(post, error)
        return None

    def _post(self, post: PostRow, message: Rendered, content: str, *, pinned: bool) -> datetime | None:
        # Of a direct message it is not looked: that would take the right to read all of them, for a reminder told twice.
        posted_ts = (
            self._find_posted(post)
            if post.attempted_at is not None and not isinstance(post.about, ReminderPost)
            else None
        )
        if posted_ts is not None:
            self._complete_post(post, posted_ts, "", pinned=pinned)
            return self._deps.clock.now()  # it may show an older state: the next look updates it
        post = self._open_direct_channel(post)
        with self._deps.store.transaction() as tx:
            posts.record_attempt(tx, post.id, self._deps.clock.now())
        with slack_call("chat.postMessage"):
            answer = self._client.chat_postMessage(
                channel=post.channel,
                thread_ts=post.parent_ts,
                text=message.text,
                blocks=message.blocks,
                unfurl_links=False,
                unfurl_media=False,
                metadata={"event_type": EVENT_TYPE, "event_payload": _mark(post)},
            )
        self._complete_post(post, str(answer["ts"]), content, pinned=pinned)
        return None

    def _open_direct_channel(self, post: PostRow) -> PostRow:
        """The message with the channel that Slack knows: to a person that is the direct channel, opened by the first one."""
        if not isinstance(post.about, ReminderPost) or not post.channel.startswith(("U", "W")):
            return post
        with slack_call("conversations.open"):
            channel = str(self._client.conversations_open(users=post.channel)["channel"]["id"])
        with self._deps.store.transaction() as tx:
            posts.set_channel(tx, post.id, channel)
        return replace(post, channel=channel)

    def _complete_post(self, post: PostRow, ts: str, content: str, *, pinned: bool) -> None:
        """What belongs to a message that stands, then its row: a crash in between finds the message and does it again."""
        permalink = ""
        with _optional("chat.getPermalink", post):
            permalink = str(self._client.chat_getPermalink(channel=post.channel, message_ts=ts)["permalink"])
        self._pin(post, ts, pinned=pinned)
        now = self._deps.clock.now()
        with self._deps.store.transaction() as tx:
            view = announce.lock_if_awaited(tx, self._deps, post)
            posts.record_posting(tx, post.id, ts=ts, permalink=permalink, content=content, is_pinned=pinned, at=now)
            if view is not None:
                announce.complete_awaited(tx, view, post, permalink)

    def _pin(self, post: PostRow, ts: str, *, pinned: bool) -> None:
        if pinned and not post.is_pinned:
            with _optional("pins.add", post):
                self._client.pins_add(channel=post.channel, timestamp=ts)
        elif post.is_pinned and not pinned:
            with _optional("pins.remove", post):
                self._client.pins_remove(channel=post.channel, timestamp=ts)

    def _find_posted(self, post: PostRow) -> str | None:
        """The ts of a post whose reply was lost, by our own mark in its metadata; None when it was not carried out."""
        since = (post.attempted_at or self._deps.clock.now()) - timedelta(minutes=5)
        window: dict[str, Any] = {
            "channel": post.channel,
            "oldest": f"{since.timestamp():.6f}",
            "include_all_metadata": True,
            "limit": 200,
        }
        cursor = ""
        while True:
            if post.parent_ts is None:
                with slack_call("conversations.history"):
                    answer = self._client.conversations_history(**window, cursor=cursor or None)
            else:
                with slack_call("conversations.replies"):
                    answer = self._client.conversations_replies(ts=post.parent_ts, **window, cursor=cursor or None)
            for message in answer["messages"]:
                metadata = message.get("metadata") or {}
                if metadata.get("event_type") == EVENT_TYPE and metadata.get("event_payload") == _mark(post):
                    return str(message["ts"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor", "")
            if not cursor:
                return None

    def _update(self, post: PostRow, message: Rendered, content: str, *, pinned: bool) -> None:
        with slack_call("chat.update"):
            self._client.chat_update(channel=post.channel, ts=str(post.ts), text=message.text, blocks=message.blocks)
        self._pin(post, str(post.ts), pinned=pinned)
        with self._deps.store.transaction() as tx:
            posts.record_update(tx, post.id, content=content, is_pinned=pinned, at=self._deps.clock.now())

    def _retry_at(self, post: PostRow, error: SlackError) -> datetime | None:
        now = self._deps.clock.now()
        if error.code == "message_not_found" and error.method == "chat.update":
            logger.info("post %d is gone from Slack: posting it anew", post.id)
            with self._deps.store.transaction() as tx:
                view = announce.lock_if_awaited(tx, self._deps, post)
                posts.forget_message(tx, post.id)
                if view is not None:
                    announce.ask_again(tx, view, post)
            return now
        if error.code == "thread_not_found" and post.parent is not None:
            logger.info("the thread of post %d is gone from Slack: beginning it anew", post.id)
            with self._deps.store.transaction() as tx:
                posts.forget_message(tx, post.parent)
            return now + SPACING
        due = again_at(error, now)
        if isinstance(post.about, ReminderPost) and (due is None or error.code in NO_CHANNEL):
            logger.warning("nobody is reminded by post %d: Slack answered %s to %s", post.id, error.code, error.method)
            return None
        if due is None:
            raise error
        if error.retry_after is not None:
            self._pause_until[error.method] = due
        if error.code in NO_CHANNEL:
            logger.error("cannot post to %s: %s. Invite the bot: /invite @Release Bot", post.channel, error.code)
        return due

    def answer(self, job: Job) -> datetime | None:
        """Give one answer (key: id of the reply). Returns when to try again, or None."""
        now = self._deps.clock.now()
        with self._deps.store.transaction() as tx:
            reply = replies.get(tx, int(job.claim.key))
        if reply is None or reply.sent_at is not None:
            return None
        if now - reply.created_at > REPLY_LIFE:
            logger.warning("the answer to %s came too late to be given: %s", reply.user, reply.body.get("text", ""))
            return None
        try:
            self._deliver(reply)
        except SlackError as error:
            if (due := again_at(error, now)) is not None:
                return due
            raise
        with self._deps.store.transaction() as tx:
            replies.mark_sent(tx, reply.id, self._deps.clock.now())
        return None

    def _deliver(self, reply: ReplyRow) -> None:
        body = redact_values(reply.body, self._deps.redact)
        if reply.response_url:
            with slack_call("response_url"):
                answer = webhook_client(reply.response_url).send(
                    text=body["text"], blocks=body.get("blocks"), response_type="ephemeral", replace_original=False
                )
            if answer.status_code == 200:  # noqa: PLR2004  HTTP OK
                return
            logger.info(
                "the response_url is used up (%s): posting the answer instead", self._deps.clean(answer.body, 50)
            )
        with slack_call("chat.postEphemeral"):
            self._client.chat_postEphemeral(
                channel=reply.channel, user=reply.user, text=body["text"], blocks=body.get("blocks")
            )


def is_pinned(about: PostSubject, release: Release) -> bool:
    """Whether a message about ``about`` is pinned to the channel now: the card of a release that is not closed."""
    return isinstance(about, CardPost) and not release.is_closed


def _mark(post: PostRow) -> dict[str, int | str]:
    """What we write into the metadata of a message to know it again; with the head of the record, where it announces one."""
    mark: dict[str, int | str] = {"post": post.id, "release": post.release_id}
    return mark | {"record": post.subject} if isinstance(post.about, RecordPost) else mark


@contextmanager
def _optional(method: str, post: PostRow) -> Iterator[None]:
    """A call that a message can do without. When Slack only asks for a pause, SlackError: it is made again later."""
    try:
        with slack_call(method):
            yield
    except SlackError as error:
        if error.retry_after is not None:
            raise
        if error.code not in IS_DONE_ALREADY:
            logger.warning("post %d goes without %s: %s", post.id, method, error)
