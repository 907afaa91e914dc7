"""Migration files: where a statement ends, what is carried out, what a file declares."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import StepError
from bot.steps.sqlfile import migration, statements
from checks.kit.declarations import MigrationKind


def body(text: str) -> str:
    """The part of a file that is executed."""
    return migration("061_x.sql", text.encode()).body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 'it''s; so'", ["SELECT ';'", "SELECT 'it''s; so'"]),
        ('SELECT 1 AS "a;b";', ['SELECT 1 AS "a;b"']),
        (r"SELECT E'a\';b'; SELECT 2;", [r"SELECT E'a\';b'", "SELECT 2"]),
        ("-- a; b\nSELECT 1;", ["SELECT 1"]),
        ("/* a; /* b; */ c; */ SELECT 1;", ["SELECT 1"]),
        ("DO $$ BEGIN x := 1; END $$; SELECT 2;", ["DO $$ BEGIN x := 1; END $$", "SELECT 2"]),
        ("DO $do$ SELECT '$$'; $do$; SELECT 2;", ["DO $do$ SELECT '$$'; $do$", "SELECT 2"]),
        ("SELECT 7 - 3 / 2;", ["SELECT 7 - 3 / 2"]),
        ("SELECT $1;", ["SELECT $1"]),
        ("  ;; -- nothing\n", ["", ""]),
    ],
)
def test_a_file_is_split_into_statements(text: str, expected: list[str]) -> None:
    """Semicolons in quotes, dollar quotes and comments do not end a statement."""
    assert [statement.code for statement in statements(text)] == expected


@given(st.text(alphabet="ab;'\"$-/*\n \\E", max_size=60))
def test_every_statement_is_part_of_the_file(text: str) -> None:
    """Statements are in the order of the file, as they are written, and do not overlap."""
    at = 0
    for statement in statements(text):
        position = text.find(statement.text, at)
        assert position >= at
        at = position + len(statement.text)


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN; CREATE TABLE a (); COMMIT;",
        "begin transaction;\nCREATE TABLE a ();\nend;",
        "-- head\nBEGIN;\nCREATE TABLE a ();\nCOMMIT; -- done\n",
        "START TRANSACTION; CREATE TABLE a (); COMMIT WORK;",
        "CREATE TABLE a ()",
    ],
)
def test_a_file_s_own_transaction_is_replaced_by_ours(text: str) -> None:
    """BEGIN and COMMIT are removed, so that the row of the migration is written in the same transaction."""
    assert body(text).endswith("CREATE TABLE a ();")
    assert "BEGIN" not in body(text).upper().replace("-- HEAD", "")
    assert "COMMIT" not in body(text).upper()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("BEGIN; SELECT 1; COMMIT; SELECT 2;", "it contains BEGIN"),
        ("SELECT 1; ROLLBACK;", "it contains ROLLBACK"),
        ("CREATE INDEX CONCURRENTLY i ON a (b);", "CREATE INDEX CONCURRENTLY i must run alone"),
        ("create unique index concurrently i ON a (b);", "must run alone"),
        ("VACUUM a;", "VACUUM a must run alone"),
        ("\\set x 1\nSELECT 1;", r"it has the psql command \\set"),
    ],
)
def test_a_file_that_cannot_run_in_one_transaction_is_refused(text: str, why: str) -> None:
    """The error names the statement and how to apply the file by hand."""
    with pytest.raises(StepError, match=f"061_x.sql can't be applied in one transaction: .*{why}") as error:
        body(text)
    assert "by hand with its row in schema_migrations (version file:061_x.sql, file_name 061_x.sql" in error.value.hint


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("-- migration: additive\n", MigrationKind.ADDITIVE),
        ("-- Reminders\n--Migration:  BREAKING\n", MigrationKind.BREAKING),
        ("-- migration: reversible, see below\n", MigrationKind.REVERSIBLE),
        ("-- migration: harmless\n", None),
        ("-- the migration: additive\n", None),
        ("", None),
    ],
)
def test_the_declaration_of_a_file_is_read(head: str, expected: MigrationKind | None) -> None:
    """The declaration is in a comment of its own near the top of the file."""
    file = migration("061_x.sql", f"{head}SELECT 1;".encode())
    assert file.declared_kind is expected
    assert file.checksum == hashlib.sha256(file.text.encode()).hexdigest()


def test_a_file_that_is_not_utf8_is_refused() -> None:
    """The error names the file."""
    with pytest.raises(StepError, match=r"061_x\.sql isn't UTF-8"):
        migration("061_x.sql", b"\xff")
