"""AuditEvent: one append-only line, chained by hash to the one before it (promise P9)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64  # what the first row is chained to


@dataclass(frozen=True)
class AuditEvent:
    """One line of the record."""

    seq: int
    at: datetime
    actor: str  # Slack user id, or system
    event: str  # release.started, signoff.approved, click.refused, …
    release: int | None
    body: Mapping[str, Any]
    previous: str
    hash: str


def chain_hash(
    previous: str, seq: int, at: datetime, actor: str, event: str, release: int | None, body: Mapping[str, Any]
) -> str:
    """sha256 in hex over the previous hash and the canonical JSON of the row."""
    row = {
        "seq": seq,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": actor,
        "event": event,
        "release": release,
        "body": body,
    }
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def first_break(events: list[AuditEvent]) -> tuple[int, str] | None:
    """The sequence number and nature of the first row that does not fit, or None when the chain holds."""
    previous, expected = GENESIS, 1
    for event in events:
        if event.seq != expected:
            return expected, "missing or out of order"
        if event.previous != previous:
            return event.seq, "not chained to the row before it"
        if chain_hash(previous, event.seq, event.at, event.actor, event.event, event.release, event.body) != event.hash:
            return event.seq, "changed after it was written"
        previous, expected = event.hash, expected + 1
    return None
