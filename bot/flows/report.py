"""Report: everything that is known of one release, gathered for an evidence pack (promise P9). Reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bot.domain.audit import AuditEvent, first_form_hash
from bot.domain.bound_rows import BOUND_COLUMNS, column_digests, row_name
from bot.domain.model import digest_of
from bot.domain.view import ReleaseView
from bot.redact import MARK
from bot.store import audit, checks, evidence
from bot.store.pool import Tx
from checks.runner import redact_values

Redact = Callable[[str], str]


def format_of(record: Sequence[Mapping[str, Any]]) -> int:
    """The format of the pack of a release with this `record`: 2 where an older bot has started it, whose events bind no rows."""
    return 3 if "rows" in record[0]["body"] else 2


def gather(
    tx: Tx, view: ReleaseView, redact: Redact, pack_format: int
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The facts of the release of ``view``, as `release.json` has them but for the messages, and `digests.json`.

    Every text of the facts passes ``redact``; the digests are of what is stored, also where a secret became known only later.
    """
    release_id = view.release.id
    release, rows = evidence.read_release(tx, release_id), evidence.read_rows(tx, release_id)
    digests = {
        row_name(table, row): column_digests(table, row)
        for table, stored in {"release": [release], **rows}.items()
        if table in BOUND_COLUMNS
        for row in stored
    }
    shown: dict[str, Any] = redact_values(rows, redact)
    shown["rollback_targets"] = [_without_values(row) for row in shown["rollback_targets"]]
    if pack_format == 2:  # noqa: PLR2004  see bot/evidence/format_2/FORMAT.md
        shown["check_results"] = [
            result if _bound(result) == _bound(stored) else {**result, "redacted": digest_of(_bound(stored))}
            for result, stored in zip(shown["check_results"], rows["check_results"], strict=True)
        ]
    facts = {
        "format": pack_format,
        "made_at": _text(view.now),
        "release": release,
        **evidence.read_rules(tx, release_id),
        "journal": evidence.read_journal(tx, release_id),
    }
    return {**redact_values(facts, redact), "rows": shown}, digests


def _without_values(value: Any) -> Any:
    """A recorded pod template without the values of its variables, which may be credentials that look like none (P10)."""
    if isinstance(value, dict):
        hidden = {**value, "value": MARK} if {"name", "value"} <= value.keys() else value
        return {key: _without_values(item) for key, item in hidden.items()}
    return [_without_values(item) for item in value] if isinstance(value, list) else value


def _bound(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in checks.BOUND_COLUMNS}


def record(tx: Tx, view: ReleaseView, redact: Redact) -> list[dict[str, Any]]:
    """The rows of the record from the first to the newest of the release, as `record.json` has them.

    A row keeps the hash of what is stored; one of which ``redact`` has taken something away has the digest of each such value.
    """
    return [_row(event, redact) for event in audit.span(tx, view.release.id)]


def _row(event: AuditEvent, redact: Redact) -> dict[str, Any]:
    body = redact_values(dict(event.body), redact)
    hidden: Any = {key: digest_of(value) for key, value in event.body.items() if body[key] != value}
    if event.hash == first_form_hash(event):
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
