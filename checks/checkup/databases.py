"""Checkup of the product's databases: does the server take the role, and does the role have the grants that are needed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from checks.checkup.finding import PATIENCE, Finding, Needs, State, lines_of
from checks.kit import verification
from clients.connections import Clients
from clients.errors import ClientError
from clients.needs import IN_SCHEMA

if TYPE_CHECKING:
    import psycopg

    from clients.target import Target

# By name in the catalogue: to_regclass() and to_regprocedure() raise where the schema may not be used.
_FUNCTION = """
SELECT quote_ident(n.nspname), has_schema_privilege(n.oid, 'USAGE'), has_function_privilege(p.oid, 'EXECUTE')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = %s AND p.proname = %s AND p.pronargs = p.pronargdefaults
"""
_TABLE = """
SELECT quote_ident(n.nspname), has_schema_privilege(n.oid, 'USAGE'),
       has_table_privilege(c.oid, %s) OR (%s IN ('SELECT', 'INSERT', 'UPDATE') AND has_any_column_privilege(c.oid, %s))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_SCHEMA = "SELECT has_schema_privilege(oid, %s) FROM pg_namespace WHERE nspname = %s"
_MAKES_DATABASES = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
ANSWERED = "FATAL"  # how a server's own refusal begins; psycopg has no code of an error at the connection


def database(target: Target, needs: Needs, *, setting: str = "database_url") -> list[Finding]:
    """Functions and tables, each right that is needed of them. ``setting``: which of the target's databases."""
    url: SecretStr = getattr(target, setting)
    target_of_setting = target.model_copy(update={"database_url": url})
    findings: list[Finding] = []
    with Clients(target_of_setting) as clients:
        try:
            with clients.postgres(statement_timeout=PATIENCE) as connection:
                role = connection.info.user
                for use, lines in needs.items():
                    if use.right == "EXECUTE":
                        findings += _function(connection, role, use.on, lines)
                    elif use.on.startswith(IN_SCHEMA):
                        findings += _schema(connection, role, use.right, use.on.removeprefix(IN_SCHEMA), lines)
                    elif use.on:
                        findings += _table(connection, role, use.right, use.on, lines)
        except ClientError as error:
            return [_away(error, f"targets.{target.name}.{setting}", lines_of(needs))]
    all_granted = Finding(State.OK, f"connected as {role}; all {len(needs)} rights granted")
    return findings if any(not finding.good for finding in findings) else [all_granted, *findings]


def restore_server(target: Target, needs: Needs) -> list[Finding]:
    """May its role make databases?"""
    with Clients(target) as clients:
        try:
            with clients.scratch_server(statement_timeout=PATIENCE) as connection:
                role = connection.info.user
                row = connection.execute(_MAKES_DATABASES).fetchone()
        except ClientError as error:
            return [_away(error, f"targets.{target.name}.restore_database_url", lines_of(needs))]
    if row is None or not row[0]:
        what, rule = f"the role {role} can't create databases", f"ALTER ROLE {role} CREATEDB;"
        return [Finding(State.MISSING, what, "Run this there as a superuser:", rule, lines_of(needs))]
    return [Finding(State.OK, f"connected as {role}, which can create databases")]


def _function(connection: psycopg.Connection, role: str, name: str, lines: tuple[str, ...]) -> list[Finding]:
    schema, _, plain = name.rpartition(".")
    row = connection.execute(_FUNCTION, (schema or "public", plain)).fetchone()
    if row is None:
        hint = "Apply the migration that creates it."
        return [Finding(State.MISSING, f"the function {name}() is missing", hint, lines=lines)]
    if findings := _missing_rights(role, row, "EXECUTE", f"FUNCTION {name}()", f"{name}()", lines):
        return findings
    return _call_findings(connection, role, name, lines)


def _call_findings(connection: psycopg.Connection, role: str, name: str, lines: tuple[str, ...]) -> list[Finding]:
    """What a function reads is seen only when it is called; the transaction is read only. What its rows say is no matter here."""
    from psycopg import errors

    try:
        with connection.transaction():
            result = verification.call(connection, name)
            verification.refuse_blind_verdict(connection, name, result.refused(("PASS",)))
    except errors.InsufficientPrivilege as error:
        what = f"the role {role} isn't allowed to run {name}(): {error.diag.message_primary}"
        return [Finding(State.MISSING, what, f"Grant that right to {role}, as the owner of the object.", lines=lines)]
    except errors.QueryCanceled:
        what = f"{name}() took longer than {PATIENCE:.0f} s; its check shows whether it can read everything"
        return [Finding(State.NOTE, what, lines=lines)]
    except ClientError as error:
        return [Finding(State.MISSING, error.summary, error.hint, lines=lines)]
    return []


def _table(connection: psycopg.Connection, role: str, right: str, name: str, lines: tuple[str, ...]) -> list[Finding]:
    schema, _, plain = name.rpartition(".")
    row = connection.execute(_TABLE, (right, right, right, schema or "public", plain)).fetchone()
    if row is None:
        hint = "Apply the migration that creates it."
        return [Finding(State.MISSING, f"the table {name} is missing", hint, lines=lines)]
    return _missing_rights(role, row, right, name, name, lines)


def _schema(connection: psycopg.Connection, role: str, right: str, name: str, lines: tuple[str, ...]) -> list[Finding]:
    row = connection.execute(_SCHEMA, (right, name)).fetchone()
    if row is None:
        hint = "Is this the product's database?"
        return [Finding(State.MISSING, f"the schema {name} is missing", hint, lines=lines)]
    if row[0]:
        return []
    what, rule = (
        f"the role {role} isn't allowed to {right} in the schema {name}",
        f"GRANT {right} ON SCHEMA {name} TO {role};",
    )
    return [Finding(State.MISSING, what, _RUN, rule, lines)]


_RUN = "Run this there as the owner:"


def _missing_rights(
    role: str, row: tuple[object, ...], right: str, on: str, name: str, lines: tuple[str, ...]
) -> list[Finding]:
    """The schema's right and the object's own, each with its statement. ``row``: schema, may it be used, is it granted."""
    schema, is_usable, is_granted = row
    findings = []
    if not is_usable:
        what, rule = (
            f"the role {role} isn't allowed to use the schema {schema}",
            f"GRANT USAGE ON SCHEMA {schema} TO {role};",
        )
        findings.append(Finding(State.MISSING, what, _RUN, rule, lines))
    if not is_granted:
        what, rule = f"the role {role} isn't allowed to {right} {name}", f"GRANT {right} ON {on} TO {role};"
        findings.append(Finding(State.MISSING, what, _RUN, rule, lines))
    return findings


def _away(error: ClientError, setting: str, lines: tuple[str, ...]) -> Finding:
    """A server that refuses the role or the name is there; any other one is not reachable."""
    if ANSWERED in error.summary:
        return Finding(State.MISSING, error.summary, f"Fix the user, password or database in {setting}.", lines=lines)
    return Finding(
        State.UNREACHABLE, error.summary, f"Is the server up, and is the host in {setting} right?", lines=lines
    )
