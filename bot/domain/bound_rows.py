"""Bound rows: which columns of a release's rows the record binds, and the digest by which an event does (promise P9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.domain.model import digest_of

# A row that is on record keeps its columns: to bind more of them takes a new format of the pack (bot/evidence/FORMAT.md).
# Left out is what changes without an event, such as progress and what a message shows only while something goes on.
BOUND_COLUMNS: Mapping[str, frozenset[str]] = {
    table: frozenset(columns.split())
    for table, columns in {
        "release": """id environment version state manager notes_url commit_sha image digest checklist_digest policy_digest
            channel started_at deployer deployed_at closed_at reason tagged bound_at bound_after unbound again_because""",
        "check_results": """id release_id check_id outcome summary asked expected seen attachment attachment_name hint data
            started_at finished_at by_whom attested""",
        "waivers": "release_id check_id by_whom reason at",
        "signoffs": """id release_id purpose role by_whom verdict reason fingerprint permalink at ended_at ended_by
            ended_why""",
        "break_glass": "release_id by_whom reason passed at reviewed_by reviewed_at finding",
        "steps": """id release_id plan run ordinal step_id state attempt summary started_at finished_at by_whom note""",
        "mitigations": "id release_id step state what owner reason begun_at resolved_by resolved_at note",
        "watches": "release_id state started_at ends_at polls",
        "alarms": """id release_id issue short_id title permalink kind probe covers at acknowledged_by acknowledged_at
            note""",
    }.items()
}


def row_name(table: str, row: Mapping[str, Any]) -> str:
    """How the record names a row."""
    return f"{table}/{row.get('id') or row.get('check_id') or row['release_id']}"


def column_digests(table: str, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of each bound column of ``row``, whose values are JSON as the database makes it."""
    columns = BOUND_COLUMNS[table]
    if table == "watches" and row["state"] == "running":
        columns -= {"polls"}
    if table == "steps" and row["state"] in {"pending", "running"}:  # no event tells that a step begins
        row, columns = {**row, "state": "pending"}, columns - {"summary", "started_at"}
    return {column: digest_of(row[column]) for column in sorted(columns)}


def row_digest(table: str, row: Mapping[str, Any]) -> str:
    """Return the digest by which an event binds a row that it has changed."""
    return digest_of(column_digests(table, row))
