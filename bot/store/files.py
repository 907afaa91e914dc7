"""Files: what is owed to Slack besides messages. Asked for once, uploaded once, whatever dies in between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.domain.ids import ReleaseId
from bot.store import work
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("files")


@dataclass(frozen=True)
class File:
    """A file as Slack is to have it. Every text and the content are redacted by whoever makes it."""

    name: str  # with a suffix that tells the format, such as rows.txt
    title: str
    content: bytes  # at least one: Slack refuses an empty file
    alt_text: str = ""  # what an image shows, for those who cannot see it
    comment: str = ""  # said above it in the thread (mrkdwn)


@dataclass(frozen=True)
class FileRow:
    """One file owed to Slack."""

    id: int
    release_id: ReleaseId
    kind: str
    subject: str
    name: str
    title: str
    alt_text: str
    comment: str
    content: bytes
    parent: int | None
    channel: str | None
    thread_ts: str | None
    slack_id: str | None
    attempted_at: datetime | None
    sent_at: datetime | None


def enqueue_file(tx: Tx, release_id: ReleaseId, kind: str, subject: str, file: File, *, parent: int | None) -> bool:
    """Owe Slack a file; False when it was owed before. The same kind and subject of a release is the same file.

    ``parent``: the post in whose thread it is shared. None: it is not shared, but the messages of the release may show
    it as a picture (`ReleaseView.pictures`), and are rendered again once Slack has it.
    """
    values = {
        "release_id": release_id,
        "kind": kind,
        "subject": subject,
        "name": file.name,
        "title": file.title,
        "alt_text": file.alt_text,
        "comment": file.comment,
        "content": file.content,
        "parent": parent,
    }
    row = tx.execute(_SQL["enqueue"], values).fetchone()
    if row is None:
        return False
    work.enqueue(tx, "file", row["id"])
    return True


def get(tx: Tx, file_id: int) -> FileRow | None:
    """Return the file of that id, or None."""
    row = tx.execute(_SQL["get"], {"id": file_id}).fetchone()
    return None if row is None else FileRow(**row)


def pictures(tx: Tx, release_id: ReleaseId) -> dict[tuple[str, str], str]:
    """(kind, subject) -> Slack's id of each file that messages of the release may show."""
    rows = tx.execute(_SQL["pictures"], {"release_id": release_id}).fetchall()
    return {(row["kind"], row["subject"]): row["slack_id"] for row in rows}


def set_slack_id(tx: Tx, file_id: int, slack_id: str | None) -> None:
    """Write down that Slack has the bytes under ``slack_id``; None: it has lost them, upload them anew."""
    tx.execute(_SQL["set_slack_id"], {"id": file_id, "slack_id": slack_id})


def record_attempt(tx: Tx, file_id: int, at: datetime) -> None:
    """Write down that it is about to be shared: if the reply is lost, look for it before sharing it again."""
    tx.execute(_SQL["record_attempt"], {"id": file_id, "at": at})


def record_sharing(tx: Tx, file_id: int, at: datetime) -> None:
    """Write down that it is there, and let go of the bytes."""
    tx.execute(_SQL["record_sharing"], {"id": file_id, "at": at})
