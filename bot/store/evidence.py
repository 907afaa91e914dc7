"""Evidence: every row that says something of a release, as JSON, for the pack that leaves the house."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from bot.domain.ids import ReleaseId
from bot.store.pool import Tx, require_row
from bot.store.queries import queries

_SQL = queries("evidence")


def read_release(tx: Tx, release_id: ReleaseId) -> dict[str, Any]:
    """Return the row of the release under the names of columns that the record has."""
    return dict(require_row(tx.execute(_SQL["release"], {"release_id": release_id}).fetchone())["body"])


def read_rules(tx: Tx, release_id: ReleaseId) -> dict[str, Any]:
    """Return the checklist and the policy of the release as they were stored, which is what their digests are of."""
    return dict(require_row(tx.execute(_SQL["rules"], {"release_id": release_id}).fetchone()))


def read_rows(tx: Tx, release_id: ReleaseId) -> dict[str, list[dict[str, Any]]]:
    """Return the rows about the release by table: of every table with the column ``release_id``, future ones too."""
    rows_by_table = {}
    for table in tx.execute(_SQL["tables"]).fetchall():
        query = sql.SQL(_SQL["rows"]).format(sql.Identifier(table["name"]))
        rows_by_table[table["name"]] = [row["body"] for row in tx.execute(query, {"release_id": release_id}).fetchall()]
    return rows_by_table


def read_journal(tx: Tx, release_id: ReleaseId) -> list[dict[str, Any]]:
    """Return the journal of the release's steps, in order."""
    return [row["body"] for row in tx.execute(_SQL["journal"], {"release_id": release_id}).fetchall()]
