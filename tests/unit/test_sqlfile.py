"""Migration files: where a statement ends, what is carried out, what a file declares."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import StepError
from bot.steps.sqlfile import migration, statements
from checks.kit.declarations import Declared


def body(text: str) -> str:
    """What would be carried out of a file."""
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
def test_statements(text: str, expected: list[str]) -> None:
    """Quotes, dollar quotes and comments hide semicolons."""
    assert [statement.code for statement in statements(text)] == expected


@given(st.text(alphabet="ab;'\"$-/*\n \\E", max_size=60))
def test_every_statement_stands_in_the_file(text: str) -> None:
    """Whatever stands there: in its order, each as it is written, nothing twice."""
    at = 0
    for statement in statements(text):
        found = text.find(statement.text, at)
        assert found >= at
        at = found + len(statement.text)


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
def test_its_own_transaction_is_ours(text: str) -> None:
    """The row that says that it is applied is written in the same one."""
    assert body(text).endswith("CREATE TABLE a ();")
    assert "BEGIN" not in body(text).upper().replace("-- HEAD", "")
    assert "COMMIT" not in body(text).upper()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("BEGIN; SELECT 1; COMMIT; SELECT 2;", "it has BEGIN in its middle"),
        ("SELECT 1; ROLLBACK;", "it has ROLLBACK in its middle"),
        ("CREATE INDEX CONCURRENTLY i ON a (b);", "CREATE INDEX CONCURRENTLY i has to run alone"),
        ("create unique index concurrently i ON a (b);", "has to run alone"),
        ("VACUUM a;", "VACUUM a has to run alone"),
        ("\\set x 1\nSELECT 1;", r"it has the psql command \\set"),
    ],
)
def test_what_cannot_be_one_transaction_is_refused(text: str, why: str) -> None:
    """By name, with what to do."""
    with pytest.raises(StepError, match=f"061_x.sql cannot be applied in one transaction: .*{why}") as refused:
        body(text)
    assert (
        "by hand with its row in schema_migrations (version file:061_x.sql, file_name 061_x.sql" in refused.value.hint
    )


@pytest.mark.parametrize(
    ("head", "declared"),
    [
        ("-- migration: additive\n", Declared.ADDITIVE),
        ("-- Reminders\n--Migration:  BREAKING\n", Declared.BREAKING),
        ("-- migration: reversible, see below\n", Declared.REVERSIBLE),
        ("-- migration: harmless\n", None),
        ("-- the migration: additive\n", None),
        ("", None),
    ],
)
def test_declared(head: str, declared: Declared | None) -> None:
    """In a comment of its own near the top."""
    file = migration("061_x.sql", f"{head}SELECT 1;".encode())
    assert file.declared is declared
    assert file.checksum == hashlib.sha256(file.text.encode()).hexdigest()


def test_not_utf8() -> None:
    """Refused by name."""
    with pytest.raises(StepError, match=r"061_x\.sql is not in UTF-8"):
        migration("061_x.sql", b"\xff")
