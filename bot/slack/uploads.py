"""Uploads: brings the files owed to Slack there, into a thread or for a message to show; each once (promise P8)."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from http import HTTPStatus

import httpx
from slack_sdk import WebClient

from bot.flows.deps import Deps, Job
from bot.slack.client import SlackError, again_at, is_loopback, slack_call
from bot.store import files, posts
from bot.store.files import FileRow
from clients.http import certificates

logger = logging.getLogger(__name__)

WAIT = timedelta(seconds=2)  # until the thread is there, or the next look for a file whose reply was lost
SETTLE = timedelta(seconds=6)  # sharing is asynchronous: so long may a shared file take to stand in its thread
TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class Uploader:
    """Carries out the queue ``file``."""

    def __init__(self, deps: Deps, client: WebClient) -> None:
        self._deps, self._client = deps, client

    def execute(self, job: Job) -> datetime | None:
        """Bring one file (key: its id) to Slack. Returns when to go on, or None."""
        now = self._deps.clock.now()
        with self._deps.store.transaction() as tx:
            file = files.get(tx, int(job.claim.key))
        if file is None or file.sent_at is not None:
            return None
        if file.parent is not None and file.thread_ts is None:
            return now + WAIT  # the message whose thread it belongs to is not there yet
        try:
            if file.attempted_at is not None and file.parent is not None:
                if self._is_in_thread(file):
                    self._complete(file)
                    return None
                if now - file.attempted_at < SETTLE:
                    return now + WAIT
            slack_id = file.slack_id or self._upload(file)
            self._share(file, slack_id)
        except SlackError as error:
            return self._retry_at(file, error)
        self._complete(file)
        return None

    def _upload(self, file: FileRow) -> str:
        """Give Slack the bytes. Nobody sees them before they are shared, so doing it twice harms nobody."""
        with slack_call("files.getUploadURLExternal"):
            place = self._client.files_getUploadURLExternal(
                filename=file.name, length=len(file.content), alt_txt=file.alt_text or None
            )
        url = str(place["upload_url"])
        try:
            with httpx.Client(timeout=TIMEOUT, trust_env=not is_loopback(url), verify=certificates()) as client:
                answer = client.post(url, content=file.content, headers={"Content-Type": "application/octet-stream"})
        except httpx.HTTPError as error:
            raise SlackError("the upload of a file", "no_answer") from error
        if answer.status_code != HTTPStatus.OK:
            raise SlackError("the upload of a file", f"HTTP {answer.status_code}")
        slack_id = str(place["file_id"])
        with self._deps.store.transaction() as tx:
            files.set_slack_id(tx, file.id, slack_id)
        return slack_id

    def _share(self, file: FileRow, slack_id: str) -> None:
        with self._deps.store.transaction() as tx:
            files.record_attempt(tx, file.id, self._deps.clock.now())
        with slack_call("files.completeUploadExternal"):
            self._client.files_completeUploadExternal(
                files=[{"id": slack_id, "title": file.title}],
                channel_id=file.channel,
                thread_ts=file.thread_ts,
                initial_comment=file.comment or None,
            )

    def _is_in_thread(self, file: FileRow) -> bool:
        """Whether the file stands in its thread: it was shared, and only the reply was lost."""
        cursor = ""
        while True:
            with slack_call("conversations.replies"):
                answer = self._client.conversations_replies(
                    channel=str(file.channel), ts=str(file.thread_ts), limit=200, cursor=cursor or None
                )
            for message in answer["messages"]:
                if any(entry["id"] == file.slack_id for entry in message.get("files", [])):
                    return True
            cursor = (answer.get("response_metadata") or {}).get("next_cursor", "")
            if not cursor:
                return False

    def _complete(self, file: FileRow) -> None:
        with self._deps.store.transaction() as tx:
            files.record_sharing(tx, file.id, self._deps.clock.now())
            if file.parent is None:
                posts.mark_stale(tx, file.release_id)  # its messages may show it now

    def _retry_at(self, file: FileRow, error: SlackError) -> datetime:
        now = self._deps.clock.now()
        if error.code == "file_not_found":
            # Not in its thread after the time that takes, and unknown to Slack: its bytes are gone.
            logger.info("Slack does not know file %d any more: uploading it anew", file.id)
            with self._deps.store.transaction() as tx:
                files.set_slack_id(tx, file.id, None)
            return now + WAIT
        due = again_at(error, now)
        if due is None:
            raise error
        return due
