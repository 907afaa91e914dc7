"""Posts: the messages owed to Slack. A row holds no content; what it shows is rendered from the other rows (promise P8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from bot.domain.ids import ReleaseId
from bot.domain.posts import CardPost, PostSubject, ReminderPost, read_subject
from bot.store import work
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("posts")

QUEUE = "messages"  # its keys are ids of releases


@dataclass(frozen=True)
class PostRow:
    """One message owed to Slack."""

    id: int
    release_id: ReleaseId
    kind: str
    subject: str
    channel: str
    parent: int | None
    parent_ts: str | None
    ts: str | None  # Slack's id of the message once it is there
    permalink: str
    sent_hash: str
    attempted_at: datetime | None
    sent_at: datetime | None
    is_pinned: bool  # whether Slack was last asked to pin it

    @cached_property
    def about(self) -> PostSubject:
        """What it is about. Raises UnknownThing when no message is about that."""
        return read_subject(self.kind, self.subject)


def enqueue_posts(tx: Tx, release_id: ReleaseId, subjects: Sequence[PostSubject]) -> None:
    """Enqueue a message about each of ``subjects`` that there is none of yet, and mark those of the release stale.

    It is for the channel of the release; a reminder is for its person.
    """
    for is_card in (True, False):  # the others may belong to its thread
        if batch := [subject for subject in subjects if isinstance(subject, CardPost) is is_card]:
            values = {
                "release_id": release_id,
                "kinds": [subject.kind for subject in batch],
                "subjects": [subject.text for subject in batch],
                "people": [subject.user if isinstance(subject, ReminderPost) else None for subject in batch],
                "threaded": [subject.belongs_in_thread for subject in batch],
            }
            tx.execute(_SQL["enqueue"], values)
    mark_stale(tx, release_id)


def find(tx: Tx, release_id: ReleaseId, subject: PostSubject) -> PostRow | None:
    """Return the message about ``subject``, or None."""
    key = {"release_id": release_id, "kind": subject.kind, "subject": subject.text}
    row = tx.execute(_SQL["find"], key).fetchone()
    return None if row is None else PostRow(**row)


def mark_stale(tx: Tx, release_id: ReleaseId) -> None:
    """Have every message of a release rendered again; those that would not change are not sent."""
    work.enqueue(tx, QUEUE, release_id)


def mark_freezes_stale(tx: Tx, environment: str) -> None:
    """Have the messages of the releases rendered again that have told of a freeze, whichever release is current."""
    for row in tx.execute(_SQL["of_freezes"], {"environment": environment}).fetchall():
        mark_stale(tx, row["release_id"])


def of_release(tx: Tx, release_id: ReleaseId) -> list[PostRow]:
    """Return all messages of a release, the card first."""
    return [PostRow(**row) for row in tx.execute(_SQL["of_release"], {"release_id": release_id}).fetchall()]


def by_message(tx: Tx, channel: str, ts: str) -> PostRow | None:
    """Return the message that Slack knows by ``channel`` and ``ts``; None when it is not one of ours."""
    row = tx.execute(_SQL["by_message"], {"channel": channel, "ts": ts}).fetchone()
    return None if row is None else PostRow(**row)


def record_attempt(tx: Tx, post_id: int, at: datetime) -> None:
    """Write down that a first post is about to be sent: if its reply is lost, look for it before sending again."""
    tx.execute(_SQL["record_attempt"], {"id": post_id, "at": at})


def set_channel(tx: Tx, post_id: int, channel: str) -> None:
    """Write down the direct channel of the person that a message is for."""
    tx.execute(_SQL["set_channel"], {"id": post_id, "channel": channel})


def record_posting(
    tx: Tx, post_id: int, *, ts: str, permalink: str, content: str, is_pinned: bool, at: datetime
) -> None:
    """Write down where it stands; ``content`` is the hash of what it shows."""
    values = {"ts": ts, "permalink": permalink, "hash": content, "is_pinned": is_pinned, "at": at}
    tx.execute(_SQL["record_posting"], {"id": post_id, **values})


def record_update(tx: Tx, post_id: int, *, content: str, is_pinned: bool, at: datetime) -> None:
    """Write down what it shows now, by hash, and whether it is pinned."""
    tx.execute(_SQL["record_update"], {"id": post_id, "hash": content, "is_pinned": is_pinned, "at": at})


def place_of(tx: Tx, release_id: ReleaseId, subject: PostSubject) -> str:
    """Return where the message about ``subject`` is: its permalink, else channel and ts; empty when it is not in Slack."""
    post = find(tx, release_id, subject)
    if post is None or post.ts is None:
        return ""
    return post.permalink or f"{post.channel} at {post.ts}"


def recheck(tx: Tx, release_id: ReleaseId, subject: PostSubject) -> None:
    """Have Slack asked whether a message still stands, though what it shows has not changed: one that is gone is posted anew."""
    post = find(tx, release_id, subject)
    if post is not None:
        tx.execute(_SQL["recheck"], {"id": post.id})
        mark_stale(tx, release_id)


def forget_message(tx: Tx, post_id: int) -> None:
    """Forget a message that is no longer in Slack, so that it is posted anew."""
    tx.execute(_SQL["forget_message"], {"id": post_id})
