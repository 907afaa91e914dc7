"""Calls one of the product's verify functions and reads its rows. Shared by the kinds that ask them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from checks.contract import CheckError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

_WORD = re.compile(r"\w+")
_HIDDEN_TABLES = """
SELECT n.nspname || '.' || c.relname, c.relname,
       array(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
  AND NOT pg_has_role(c.relowner, 'USAGE')
  AND NOT has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
  AND NOT has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
  AND NOT EXISTS (SELECT FROM pg_proc WHERE oid = to_regprocedure(%s) AND prosecdef)
ORDER BY 1
"""
FUNCTION = re.compile(r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$")
NAME_COLUMNS = ("check_name", "test_name", "gate_name")
STATUS_COLUMNS = ("status", "check_status", "passed")


@dataclass(frozen=True)
class VerificationRow:
    """One row of a verify function: what it looked at and the word it gave."""

    name: str
    status: str
    text: str = ""  # every column, as it came


@dataclass(frozen=True)
class Verification:
    """All rows of one call."""

    rows: tuple[VerificationRow, ...]
    table: str  # the rows as text, every column

    def refused(self, allow: Sequence[str]) -> list[VerificationRow]:
        """Rows whose status word is not among the allowed ones; an unknown word or none never is."""
        return [row for row in self.rows if row.status not in allow]

    def counts(self) -> str:
        """``all PASS`` or ``10 PASS, 1 INFO, 1 WARN``."""
        words = Counter(row.status for row in self.rows)
        if len(words) == 1:
            return f"all {next(iter(words))}"
        return ", ".join(f"{number} {word}" for word, number in words.most_common())


def call(connection: psycopg.Connection, function: str) -> Verification:
    """``SELECT * FROM function()``. Columns are found by name: their order differs between the functions.

    Raises psycopg.Error as the database gave it, and CheckError when there is no column that tells the status.
    """
    if not FUNCTION.fullmatch(function):
        raise CheckError(f"{function!r} isn't a plain function name")
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT * FROM {}()").format(sql.Identifier(*function.split("."))))
        columns = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
    table = "\n".join([" | ".join(columns), *(" | ".join(_word(value) for value in row) for row in rows)])
    status = next((columns.index(name) for name in STATUS_COLUMNS if name in columns), None)
    if status is None:
        raise CheckError(
            f"{function}() has no column {', '.join(STATUS_COLUMNS[:-1])} or {STATUS_COLUMNS[-1]}",
            hint="Name a verify function: it returns one row a check, with a status.",
            seen=table,
        )
    name = next((columns.index(name) for name in NAME_COLUMNS if name in columns), None)
    return Verification(
        rows=tuple(
            VerificationRow(
                name=f"row {number}" if name is None else str(row[name]),
                status=_word(row[status]),
                text=" ".join(_word(value) for value in row),
            )
            for number, row in enumerate(rows, start=1)
        ),
        table=table,
    )


def refuse_blind_verdict(connection: psycopg.Connection, function: str, rows: Sequence[VerificationRow]) -> None:
    """Raise CheckError when each refused row speaks of a table on which the caller has no right at all.

    A function that runs as its caller and looks into information_schema takes such a table for missing
    (postgresql.org, information_schema.tables: only those that the current user has access to).
    """
    hidden_tables = connection.execute(_HIDDEN_TABLES, (f"{function}()",)).fetchall() if rows else []

    def spoken_of(row: VerificationRow) -> list[str]:
        words = set(_WORD.findall(row.text))
        return [
            full for full, name, columns in hidden_tables if words & {name, *(one for one in columns if "_" in one)}
        ]

    tables_by_row = [spoken_of(row) for row in rows]
    if tables_by_row and all(tables_by_row):  # else at least one row fails for another reason
        role, tables = connection.info.user, ", ".join(sorted({table for names in tables_by_row for table in names}))
        raise CheckError(
            f"role {role} has no right on {tables}, so {function}() reports them as missing",
            hint=f"GRANT SELECT ON {tables} TO {role}, then run this again.",
            seen="\n".join(row.text for row in rows),
        )


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "PASS" if value else "FAIL"
    return "NULL" if value is None else str(value)
