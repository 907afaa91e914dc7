"""Evidence: every row that says something of a release, as JSON, for the pack that leaves the house."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from bot.domain.ids import ReleaseId
from bot.store.pool import Tx, require_row
from bot.store.queries import queries

_SQL = queries("evidence")


def read_release(tx: Tx, release_id: ReleaseId) -> dict[str, Any]:
    """The row of the release."""
    return dict(require_row(tx.execute(_SQL["release"], {"release_id": release_id}).fetchone())["body"])


def read_rules(tx: Tx, release_id: ReleaseId) -> dict[str, Any]:
    """The checklist and the policy of the release, as they were stored: their digests fit these, whatever is read into them now."""
    return dict(require_row(tx.execute(_SQL["rules"], {"release_id": release_id}).fetchone()))


def read_rows(tx: Tx, release_id: ReleaseId) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table that names a release: complete by itself, whatever tables there will be."""
    rows_by_table = {}
    for table in tx.execute(_SQL["tables"]).fetchall():
        query = sql.SQL(_SQL["rows"]).format(sql.Identifier(table["name"]))
        rows_by_table[table["name"]] = [row["body"] for row in tx.execute(query, {"release_id": release_id}).fetchall()]
    return rows_by_table


def read_journal(tx: Tx, release_id: ReleaseId) -> list[dict[str, Any]]:
    """What the steps of the release did, in order."""
    return [row["body"] for row in tx.execute(_SQL["journal"], {"release_id": release_id}).fetchall()]
