"""Brings the schema up to date: numbered files, forward only, each recorded with its checksum, under one lock."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING

from psycopg.errors import InsufficientPrivilege

from bot.errors import DatabaseError
from bot.store.pool import require_row

if TYPE_CHECKING:
    from bot.store.pool import Store, Tx

_FILE = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
_LOCK = 1919051116


def migrations() -> list[tuple[str, str]]:
    """Return (file name, SQL) in order."""
    folder = resources.files("bot.store").joinpath("migrations")
    return sorted(
        (entry.name, entry.read_text(encoding="utf-8")) for entry in folder.iterdir() if _FILE.fullmatch(entry.name)
    )


def list_missing(store: Store) -> list[str]:
    """Return the names of the files that are not applied yet; change nothing."""
    with store.transaction() as tx:
        return list_missing_in(tx)


def list_missing_in(tx: Tx) -> list[str]:
    """Return the names of the files that are not applied yet to the database of a transaction."""
    there = require_row(tx.execute("SELECT to_regclass('schema_migrations') IS NOT NULL AS there").fetchone())["there"]
    applied_names = {row["name"] for row in tx.execute("SELECT name FROM schema_migrations")} if there else set()
    return [name for name, _ in migrations() if name not in applied_names]


def migrate(store: Store) -> list[str]:
    """Apply what is missing and return the names of the applied files.

    Safe to run from several processes at once. A role that may not change the schema can run it where nothing is missing.
    Raises DatabaseError when something is and it may not, when an applied file was changed afterwards, or when the database
    was written by a newer version of the bot.
    """
    try:
        return _migrate(store)
    except InsufficientPrivilege as error:
        raise DatabaseError(
            "The database needs migrations, which the bot's role isn't allowed to apply.",
            hint="Run `release-bot migrate` once with its owner's DATABASE_URL, then deploy/postgres-grants.sql.",
        ) from error


def _migrate(store: Store) -> list[str]:
    applied_names = []
    with store.transaction() as tx:
        tx.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if require_row(tx.execute("SELECT to_regclass('schema_migrations') IS NULL AS new").fetchone())["new"]:
            tx.execute(
                "CREATE TABLE schema_migrations"
                " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
        checksums = {row["name"]: row["checksum"] for row in tx.execute("SELECT name, checksum FROM schema_migrations")}
        files = migrations()
        if newer := sorted(set(checksums) - {name for name, _ in files}):
            raise DatabaseError(
                f"The database has the migration {newer[0]}, which this version of the bot doesn't know.",
                hint="Run the newer version of the bot, or restore an older backup.",
            )
        for name, text in files:
            checksum = hashlib.sha256(text.encode()).hexdigest()
            if name not in checksums:
                tx.execute(text)
                tx.execute("INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", [name, checksum])
                applied_names.append(name)
            elif checksums[name] != checksum:
                raise DatabaseError(
                    f"The migration {name} was changed after it was applied.",
                    hint="Applied migrations never change: restore the file and write a new one.",
                )
    return applied_names
