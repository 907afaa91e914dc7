"""Posts: the messages owed to Slack. A row holds no content; what it shows is rendered from the other rows (promise P8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.domain.ids import ReleaseId
from bot.store import work
from bot.store.pool import Tx, only
from bot.store.queries import queries

_SQL = queries("posts")

ANNOUNCEMENT = ("notice", "done")  # kind and subject of the message that tells the channel of the end of a release


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
    pinned: bool  # whether Slack was last asked to pin it


def owe(tx: Tx, release_id: ReleaseId, kind: str, subject: str = "", *, channel: str, parent: int | None = None) -> int:
    """Owe Slack a message and return its id. The same kind and subject of a release is the same message."""
    key = {"release_id": release_id, "kind": kind, "subject": subject}
    tx.execute(_SQL["owe"], {**key, "channel": channel, "parent": parent})
    post_id = int(only(tx.execute(_SQL["find"], key).fetchone())["id"])
    work.ask(tx, "post", post_id)
    return post_id


def find(tx: Tx, release_id: ReleaseId, kind: str, subject: str = "") -> int | None:
    """The id of the message of that kind and subject."""
    row = tx.execute(_SQL["find"], {"release_id": release_id, "kind": kind, "subject": subject}).fetchone()
    return None if row is None else int(row["id"])


def touch(tx: Tx, release_id: ReleaseId) -> None:
    """Ask for every message of a release to be rendered again; those that would not change are not sent."""
    rows = tx.execute(_SQL["of_release"], {"release_id": release_id}).fetchall()
    work.ask_all(tx, "post", [row["id"] for row in rows])


def touch_freezes(tx: Tx, environment: str) -> None:
    """Ask for the messages of the releases to be rendered again that have told of a freeze, whichever release is current."""
    for row in tx.execute(_SQL["of_freezes"], {"environment": environment}).fetchall():
        touch(tx, row["release_id"])


def get(tx: Tx, post_id: int) -> PostRow | None:
    """The message of that id."""
    row = tx.execute(_SQL["get"], {"id": post_id}).fetchone()
    return None if row is None else PostRow(**row)


def every(tx: Tx, release_id: ReleaseId) -> list[PostRow]:
    """All messages of a release, the card first."""
    ids = [row["id"] for row in tx.execute(_SQL["of_release"], {"release_id": release_id}).fetchall()]
    return [found for post_id in ids if (found := get(tx, post_id)) is not None]


def by_message(tx: Tx, channel: str, ts: str) -> PostRow | None:
    """The message that Slack knows by ``channel`` and ``ts``, if it is one of ours."""
    row = tx.execute(_SQL["by_message"], {"channel": channel, "ts": ts}).fetchone()
    return None if row is None else PostRow(**row)


def attempting(tx: Tx, post_id: int, at: datetime) -> None:
    """Write down that a first post is about to be sent: if its reply is lost, look for it before sending again."""
    tx.execute(_SQL["attempting"], {"id": post_id, "at": at})


def addressed(tx: Tx, post_id: int, channel: str) -> None:
    """Write down the direct channel of the person that a message is for."""
    tx.execute(_SQL["addressed"], {"id": post_id, "channel": channel})


def posted(tx: Tx, post_id: int, *, ts: str, permalink: str, content: str, pinned: bool, at: datetime) -> None:
    """Write down where it stands; ``content`` is the hash of what it shows."""
    values = {"ts": ts, "permalink": permalink, "hash": content, "pinned": pinned, "at": at}
    tx.execute(_SQL["posted"], {"id": post_id, **values})


def updated(tx: Tx, post_id: int, *, content: str, pinned: bool, at: datetime) -> None:
    """Write down what it shows now, by hash, and whether it is pinned."""
    tx.execute(_SQL["updated"], {"id": post_id, "hash": content, "pinned": pinned, "at": at})


def where(tx: Tx, release_id: ReleaseId, kind: str, subject: str) -> str:
    """Where the message of that kind and subject stands: its permalink, else channel and ts; empty: it is not in Slack."""
    post_id = find(tx, release_id, kind, subject)
    post = None if post_id is None else get(tx, post_id)
    if post is None or post.ts is None:
        return ""
    return post.permalink or f"{post.channel} at {post.ts}"


def doubt(tx: Tx, release_id: ReleaseId, kind: str, subject: str) -> None:
    """Have Slack asked whether a message still stands, though what it shows has not changed: one that is gone is posted anew."""
    post_id = find(tx, release_id, kind, subject)
    if post_id is not None:
        tx.execute(_SQL["doubt"], {"id": post_id})
        work.ask(tx, "post", post_id)


def lost(tx: Tx, post_id: int) -> None:
    """Forget a message that is no longer in Slack, so that it is posted anew."""
    tx.execute(_SQL["lost"], {"id": post_id})
