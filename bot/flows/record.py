"""Record: the last line of a release's record, and the head of the chain that the channel is told with it (promise P9)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bot.domain.release import Release
from bot.store import audit, posts
from bot.store.pool import Tx


def close(tx: Tx, release: Release, at: datetime, actor: str, event: str, **body: Any) -> None:
    """Write the row with which a release is closed, and owe the channel the head.

    Once it stands in Slack, nobody can cut off or rewrite the record up to here without contradicting the channel. A release
    that is opened again for a mitigation is closed again, with another row and another head: both announcements hold.
    """
    head = audit.write(tx, at, actor, event, release.id, **body)
    posts.owe(tx, release.id, "record", f"{head.seq}:{head.hash}", channel=release.channel)
