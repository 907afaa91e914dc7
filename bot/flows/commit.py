"""Commit: the one function that records a change and enqueues its messages (promises P8 and P9)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bot.domain.events import Event, closes_release
from bot.domain.ids import ReleaseId
from bot.domain.posts import PostSubject, RecordPost
from bot.store import audit, posts
from bot.store.pool import Tx


def commit_change(
    tx: Tx, release_id: ReleaseId | None, event: Event, *, at: datetime, by: str, new_posts: Sequence[PostSubject] = ()
) -> None:
    """Record ``event`` with the rows that this transaction has changed, enqueue ``new_posts``, mark the other messages stale.

    ``release_id``: None for an event of no release; ``by``: a user id, or system. Call it after the rows are changed; it
    serialises all writers of the record until the commit.

    An event that closes the release also posts the head of the record to the channel: from then on nobody can cut off or
    rewrite the record up to there without contradicting the channel.
    """
    if release_id is not None and (new_posts or event.changes_messages):
        posts.enqueue_posts(tx, release_id, new_posts)
    head = audit.append(tx, release_id, event, at, by)  # takes its lock behind all others, as every writer does
    if release_id is not None and closes_release(event):
        posts.enqueue_posts(tx, release_id, [RecordPost(row=head.seq, head=head.hash)])
