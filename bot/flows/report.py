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
    """Return the format of the pack of a release by its `record`: 3, or 2 if an older bot started it, whose events bind no rows."""
    return 3 if "rows" in record[0]["body"] else 2


def gather(
    tx: Tx, view: ReleaseView, redact: Redact, pack_format: int
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Return the content of `release.json`, without the messages, and of `digests.json`.

    Every text of the facts passes ``redact``; the digests are of the stored values, before redaction.
    """
    release_id = view.release.id
    release, rows = evidence.read_release(tx, release_id), evidence.read_rows(tx, release_id)
    digests = {
        row_name(table, row): column_digests(table, row)
        for table, table_rows in {"release": [release], **rows}.items()
        if table in BOUND_COLUMNS
        for row in table_rows
    }
    clean_rows: dict[str, Any] = redact_values(rows, redact)
    clean_rows["rollback_targets"] = [_without_values(row) for row in clean_rows["rollback_targets"]]
    if pack_format == 2:  # noqa: PLR2004  see bot/evidence/format_2/FORMAT.md
        clean_rows["check_results"] = [
            result if _values(result) == _values(row) else {**result, "redacted": digest_of(_values(row))}
            for result, row in zip(clean_rows["check_results"], rows["check_results"], strict=True)
        ]
    facts = {
        "format": pack_format,
        "made_at": _text(view.now),
        "release": release,
        **evidence.read_rules(tx, release_id),
        "journal": evidence.read_journal(tx, release_id),
    }
    return {**redact_values(facts, redact), "rows": clean_rows}, digests


def _without_values(value: Any) -> Any:
    """Return a recorded pod template without the values of its variables, which may be unrecognised credentials (P10)."""
    if isinstance(value, dict):
        without_value = {**value, "value": MARK} if {"name", "value"} <= value.keys() else value
        return {key: _without_values(item) for key, item in without_value.items()}
    return [_without_values(item) for item in value] if isinstance(value, list) else value


def _values(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in checks.BOUND_COLUMNS}


def record(tx: Tx, view: ReleaseView, redact: Redact) -> list[dict[str, Any]]:
    """Return the rows of the record from the first to the newest of the release, as `record.json` has them.

    A row keeps the hash of what is stored; where ``redact`` removed something it also has the digest of each such value.
    """
    return [_row(event, redact) for event in audit.span(tx, view.release.id)]


def _row(event: AuditEvent, redact: Redact) -> dict[str, Any]:
    body = redact_values(dict(event.body), redact)
    redacted_digests: Any = {key: digest_of(value) for key, value in event.body.items() if body[key] != value}
    if event.hash == first_form_hash(event):
        redacted_digests = bool(redacted_digests)
    return {
        "seq": event.seq,
        "at": _text(event.at),
        "actor": event.actor,
        "event": event.event,
        "release": event.release,
        "body": body,
        "previous": event.previous,
        "hash": event.hash,
        **({"redacted": redacted_digests} if redacted_digests else {}),
    }


def _text(at: datetime) -> str:
    """Return a time in the form that the hash of a row is made of."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
