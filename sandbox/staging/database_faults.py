"""What the switches change in the staging database. Moving a switch to where it is changes nothing."""

from collections.abc import Callable

import psycopg
from psycopg import sql

from sandbox.staging.database import BOT_ROLE, record_migrations
from sandbox.staging.versions import migrations

_VERIFY = "verify_billing_schema"
_FIRST, _LAST = min(migrations()), max(migrations())


def _verify_fails(connection: psycopg.Connection, on: bool) -> None:
    """Take away a function that billing.verify_billing_schema() looks for."""
    _away(connection, "cleanup_old_webhook_events", on)


def _verify_missing(connection: psycopg.Connection, on: bool) -> None:
    _away(connection, _VERIFY, on)


def _verify_empty(connection: psycopg.Connection, on: bool) -> None:
    """Put a function without rows in the place of the real one."""
    there = _is_there(connection, f"{_VERIFY}_away")
    if on and not there:
        _rename(connection, _VERIFY, f"{_VERIFY}_away")
        connection.execute(
            "CREATE FUNCTION billing.verify_billing_schema() RETURNS TABLE (check_name text, status text, details text)"
            " LANGUAGE sql STABLE AS $$ SELECT '', '', '' WHERE false $$"
        )
    if not on and there:
        connection.execute("DROP FUNCTION billing.verify_billing_schema()")
        _rename(connection, f"{_VERIFY}_away", _VERIFY)


def _verify_no_rights(connection: psycopg.Connection, on: bool) -> None:
    verb, preposition = ("REVOKE", "FROM") if on else ("GRANT", "TO")
    for tables in ("auth.legal_documents", "ALL TABLES IN SCHEMA billing"):
        connection.execute(f"{verb} SELECT ON {tables} {preposition} {BOT_ROLE}".encode())


def _hardening_complete(connection: psycopg.Connection, on: bool) -> None:
    verb, preposition = ("GRANT", "TO") if on else ("REVOKE", "FROM")
    connection.execute(f"{verb} USAGE ON SCHEMA core {preposition} solvereign_definer".encode())


def _migration_missing(connection: psycopg.Connection, on: bool) -> None:
    if on:
        connection.execute("DELETE FROM schema_migrations WHERE file_name = %s", (_LAST,))
    else:
        record_migrations(connection)


def _migration_changed(connection: psycopg.Connection, on: bool) -> None:
    if on:
        connection.execute("UPDATE schema_migrations SET checksum = repeat('0', 64) WHERE file_name = %s", (_FIRST,))
    else:
        record_migrations(connection)


def _migrations_unrecorded(connection: psycopg.Connection, on: bool) -> None:
    """Version numbers only, as the product's own migrations write them."""
    if on:
        connection.execute(
            "UPDATE schema_migrations SET version = left(file_name, 3), checksum = NULL, file_name = NULL"
        )
    else:
        connection.execute("DELETE FROM schema_migrations WHERE file_name IS NULL")
        record_migrations(connection)


def _webhook_duplicates(connection: psycopg.Connection, on: bool) -> None:
    """Drop the unique key of billing.webhook_events, or remove the doubles and put it back."""
    connection.execute(
        "ALTER TABLE billing.webhook_events DROP CONSTRAINT IF EXISTS webhook_events_stripe_event_id_key"
    )
    if on:
        return
    connection.execute(
        "DELETE FROM billing.webhook_events late USING billing.webhook_events early"
        " WHERE late.stripe_event_id = early.stripe_event_id AND late.id > early.id"
    )
    connection.execute(
        "ALTER TABLE billing.webhook_events ADD CONSTRAINT webhook_events_stripe_event_id_key UNIQUE (stripe_event_id)"
    )


def _boot_table_missing(connection: psycopg.Connection, on: bool) -> None:
    """Take away a table that the product looks for when it starts, and for which only the hardening tests look too."""
    old, new = ("sites", "sites_away") if on else ("sites_away", "sites")
    connection.execute(f"ALTER TABLE IF EXISTS core.{old} RENAME TO {new}".encode())


def _away(connection: psycopg.Connection, name: str, on: bool) -> None:
    """Rename a function of the schema billing out of the way, or back."""
    old, new = (name, f"{name}_away") if on else (f"{name}_away", name)
    if _is_there(connection, old):
        _rename(connection, old, new)


def _is_there(connection: psycopg.Connection, name: str) -> bool:
    row = connection.execute("SELECT to_regprocedure(%s) IS NOT NULL", (f"billing.{name}()",)).fetchone()
    return row is not None and bool(row[0])


def _rename(connection: psycopg.Connection, old: str, new: str) -> None:
    connection.execute(
        sql.SQL("ALTER FUNCTION billing.{}() RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
    )


_CHANGES: dict[str, Callable[[psycopg.Connection, bool], None]] = {
    "verify_fails": _verify_fails,
    "verify_missing": _verify_missing,
    "verify_empty": _verify_empty,
    "verify_no_rights": _verify_no_rights,
    "hardening_complete": _hardening_complete,
    "migration_missing": _migration_missing,
    "migration_changed": _migration_changed,
    "migrations_unrecorded": _migrations_unrecorded,
    "webhook_duplicates": _webhook_duplicates,
    "boot_table_missing": _boot_table_missing,
}
NAMES = frozenset(_CHANGES)


def apply_fault(superuser_url: str, name: str, on: bool) -> None:
    """Move one of the switches in ``NAMES``, in one transaction."""
    with psycopg.connect(superuser_url) as connection:
        _CHANGES[name](connection, on)
