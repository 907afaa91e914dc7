"""Report: everything that is known of one release, gathered for an evidence pack (promise P9). Reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bot.domain.audit import AuditEvent, first_form
from bot.domain.model import digest_of
from bot.domain.view import ReleaseView
from bot.redact import MARK
from bot.store import audit, checks, evidence
from bot.store.pool import Tx
from checks.runner import redact_values

FORMAT = 2  # of bot/evidence/FORMAT.md
Redact = Callable[[str], str]


def gather(tx: Tx, view: ReleaseView, redact: Redact) -> dict[str, Any]:
    """The facts of the release of ``view``, as `release.json` has them but for the messages; every text passes ``redact``.

    A secret may have become known only after a result was stored. The record binds that result as it is stored, so one
    that is shown otherwise carries the digest of what is stored.
    """
    release_id = view.release.id
    rows = evidence.rows(tx, release_id)
    told: dict[str, Any] = redact_values(rows, redact)
    told["rollback_targets"] = [_without_values(row) for row in told["rollback_targets"]]
    told["check_results"] = [
        shown if _bound(shown) == _bound(stored) else {**shown, "redacted": digest_of(_bound(stored))}
        for shown, stored in zip(told["check_results"], rows["check_results"], strict=True)
    ]
    facts = {
        "format": FORMAT,
        "made_at": _text(view.now),
        "release": evidence.release(tx, release_id),
        **evidence.rules(tx, release_id),
        "journal": evidence.journal(tx, release_id),
    }
    return {**redact_values(facts, redact), "rows": told}


def _without_values(value: Any) -> Any:
    """A recorded pod template without the values of its variables, which may be credentials that look like none (P10)."""
    if isinstance(value, dict):
        hidden = {**value, "value": MARK} if {"name", "value"} <= value.keys() else value
        return {key: _without_values(item) for key, item in hidden.items()}
    return [_without_values(item) for item in value] if isinstance(value, list) else value


def _bound(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in checks.BOUND}


def record(tx: Tx, view: ReleaseView, redact: Redact) -> list[dict[str, Any]]:
    """The rows of the record from the first to the newest of the release, as `record.json` has them.

    A row keeps the hash of what is stored; one of which ``redact`` has taken something away has the digest of each such value.
    """
    return [_row(event, redact) for event in audit.span(tx, view.release.id)]


def _row(event: AuditEvent, redact: Redact) -> dict[str, Any]:
    body = redact_values(dict(event.body), redact)
    hidden: Any = {key: digest_of(value) for key, value in event.body.items() if body[key] != value}
    if event.hash == first_form(event):
        hidden = bool(hidden)
    return {
        "seq": event.seq,
        "at": _text(event.at),
        "actor": event.actor,
        "event": event.event,
        "release": event.release,
        "body": body,
        "previous": event.previous,
        "hash": event.hash,
        **({"redacted": hidden} if hidden else {}),
    }


def _text(at: datetime) -> str:
    """A time as the hash of a row has it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
