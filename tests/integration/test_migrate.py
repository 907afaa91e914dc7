"""Migrations against a real PostgreSQL."""

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.domain.release import ACTIVE, ReleaseState
from bot.errors import DatabaseError
from bot.store.migrate import migrate, migrations
from bot.store.pool import Store


@pytest.fixture
def empty(database_url: str) -> Iterator[Store]:
    """A Store on an empty database."""
    store = Store(database_url)
    store.open()
    yield store
    store.close()


def test_no_two_files_have_the_same_number() -> None:
    """The name tells the order, so no two branches can take the same number unseen; a gap is one that was not needed."""
    names = [name for name, _ in migrations()]
    assert len({name[:4] for name in names}) == len(names)
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", name) for name in names)


def test_an_empty_database_gets_everything(empty: Store) -> None:
    """All files are applied, in order, and each is recorded."""
    names = [name for name, _ in migrations()]
    assert migrate(empty) == names
    with empty.transaction() as tx:
        assert [row["name"] for row in tx.execute("SELECT name FROM schema_migrations ORDER BY name")] == names


def test_a_second_time_changes_nothing(empty: Store) -> None:
    """Every start of the bot migrates, so the second has nothing to do."""
    migrate(empty)
    assert migrate(empty) == []


def test_two_processes_at_once(empty: Store) -> None:
    """One applies the files, the other waits and finds nothing to do."""
    with ThreadPoolExecutor(2) as threads:
        applied = [future.result() for future in [threads.submit(migrate, empty) for _ in range(2)]]
    assert sorted(map(len, applied)) == [0, len(migrations())]


def test_a_changed_file_is_refused(empty: Store) -> None:
    """What was applied never changes afterwards."""
    migrate(empty)
    other = hashlib.sha256(b"other").hexdigest()
    with empty.transaction() as tx:
        tx.execute("UPDATE schema_migrations SET checksum = %s WHERE name LIKE '0001%%'", [other])
    with pytest.raises(DatabaseError, match=r"0001_initial\.sql was changed after it had been applied"):
        migrate(empty)


def test_a_newer_database_is_refused(empty: Store) -> None:
    """An older bot must not run on a schema that it does not know."""
    migrate(empty)
    with empty.transaction() as tx:
        tx.execute("INSERT INTO schema_migrations (name, checksum) VALUES ('9999_later.sql', '')")
    with pytest.raises(DatabaseError, match=r"9999_later\.sql, which this version of the bot does not know"):
        migrate(empty)


def test_history_cannot_be_rewritten(store: Store) -> None:
    """The database itself refuses to change or delete what is evidence."""
    for table in ("audit", "check_results", "journal"):
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(Exception, match=f"{table} is append-only"), store.transaction() as tx:
                tx.execute(statement)


def test_the_schema_knows_the_same_states_as_the_code(store: Store) -> None:
    """All of them may stand in the column, and those that hold an environment are in the constraint."""
    with store.transaction() as tx:
        column = tx.execute(
            "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conname = 'releases_state_check'"
        ).fetchone()
        index = tx.execute("SELECT pg_get_indexdef('one_active_release'::regclass) AS text").fetchone()
    assert column is not None
    assert index is not None
    assert set(re.findall(r"'(\w+)'", column["text"])) == set(ReleaseState)
    assert set(re.findall(r"'(\w+)'", index["text"])) == set(ACTIVE)
