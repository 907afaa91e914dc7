"""Report: everything that is known of one release, gathered for an evidence pack (promise P9). Reads only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bot.domain.audit import AuditEvent
from bot.domain.view import ReleaseView
from bot.store import audit, evidence
from bot.store.pool import Tx

FORMAT = 1  # of bot/evidence/FORMAT.md


def gather(tx: Tx, view: ReleaseView) -> dict[str, Any]:
    """The facts of the release of ``view``, as `release.json` has them but for the messages."""
    release_id = view.release.id
    return {
        "format": FORMAT,
        "made_at": _text(view.now),
        "release": evidence.release(tx, release_id),
        "checklist": view.checklist.body,
        "policy": view.policy.model_dump(mode="json"),
        "rows": evidence.rows(tx, release_id),
        "journal": evidence.journal(tx, release_id),
    }


def record(tx: Tx, view: ReleaseView) -> list[dict[str, Any]]:
    """The rows of the record from the first to the newest of the release, as `record.json` has them."""
    return [_row(event) for event in audit.span(tx, view.release.id)]


def _row(event: AuditEvent) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "at": _text(event.at),
        "actor": event.actor,
        "event": event.event,
        "release": event.release,
        "body": event.body,
        "previous": event.previous,
        "hash": event.hash,
    }


def _text(at: datetime) -> str:
    """A time as the hash of a row has it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
