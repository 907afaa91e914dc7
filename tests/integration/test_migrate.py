"""Migrations against a real PostgreSQL."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.domain.release import ACTIVE, ReleaseState
from bot.errors import DatabaseError
from bot.store import releases
from bot.store.migrate import migrate, migrations
from bot.store.pool import Store, Tx
from tests.fix_tags import OTHER_COMMIT

DATABASES = Path(__file__).with_name("databases")


@pytest.fixture
def empty_store(database_url: str) -> Iterator[Store]:
    """A Store on an empty database."""
    store = Store(database_url)
    store.open()
    yield store
    store.close()


def migrate_until(tx: Tx, number: str) -> None:
    """Bring an empty database to the schema of an older version: up to the migration of that number."""
    tx.execute("CREATE TABLE schema_migrations (name text PRIMARY KEY, checksum text NOT NULL)")
    for name, text in migrations():
        if name[:4] <= number:
            tx.execute(text)
            digest = hashlib.sha256(text.encode()).hexdigest()
            tx.execute("INSERT INTO schema_migrations VALUES (%s, %s)", [name, digest])


def test_each_migration_has_its_own_number() -> None:
    """The names give the order, so two branches cannot use the same number unnoticed."""
    names = [name for name, _ in migrations()]
    assert len({name[:4] for name in names}) == len(names)
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", name) for name in names)


def test_an_empty_database_gets_all_migrations(empty_store: Store) -> None:
    """All files are applied in order, and each is recorded."""
    names = [name for name, _ in migrations()]
    assert migrate(empty_store) == names
    with empty_store.transaction() as tx:
        assert [row["name"] for row in tx.execute("SELECT name FROM schema_migrations ORDER BY name")] == names


def test_a_second_migration_changes_nothing(empty_store: Store) -> None:
    """Every start of the bot migrates, so the second one has nothing to do."""
    migrate(empty_store)
    assert migrate(empty_store) == []


def test_two_processes_migrate_once(empty_store: Store) -> None:
    """One process applies the files, and the other one waits and has nothing to do."""
    with ThreadPoolExecutor(2) as threads:
        file_lists = [future.result() for future in [threads.submit(migrate, empty_store) for _ in range(2)]]
    assert sorted(map(len, file_lists)) == [0, len(migrations())]


def test_a_changed_migration_is_refused(empty_store: Store) -> None:
    """A file that was applied must not change."""
    migrate(empty_store)
    other = hashlib.sha256(b"other").hexdigest()
    with empty_store.transaction() as tx:
        tx.execute("UPDATE schema_migrations SET checksum = %s WHERE name LIKE '0001%%'", [other])
    with pytest.raises(DatabaseError, match=r"0001_initial\.sql was changed after it was applied"):
        migrate(empty_store)


def test_a_newer_database_is_refused(empty_store: Store) -> None:
    """An older bot does not run on a schema that it does not know."""
    migrate(empty_store)
    with empty_store.transaction() as tx:
        tx.execute("INSERT INTO schema_migrations (name, checksum) VALUES ('9999_later.sql', '')")
    with pytest.raises(DatabaseError, match=r"9999_later\.sql, which this version of the bot doesn't know"):
        migrate(empty_store)


def test_a_release_with_a_mitigation_is_open_after_the_migration(empty_store: Store) -> None:
    """Releases that an older bot closed over a mitigation, or left waiting, are as this one would have them."""
    states = {1: "ROLLED_BACK", 2: "ROLLED_BACK", 3: "ROLLING_BACK"}
    with empty_store.transaction() as tx:
        migrate_until(tx, "0013")
        tx.execute("INSERT INTO checklists VALUES ('c', '{}')")
        tx.execute("INSERT INTO policies VALUES ('p', '{}')")
        for number, state in states.items():
            tx.execute(
                "INSERT INTO releases (environment, version, state, manager, commit_sha, image, digest, checklist_digest,"
                " policy_digest, channel, started_at, closed_at) VALUES (%s, 'v1.0.0', %s, 'U1', '', '', '', 'c', 'p', 'C1',"
                " now(), CASE WHEN %s = 'ROLLED_BACK' THEN now() END)",
                [str(number), state, state],
            )
            tx.execute(
                "INSERT INTO posts (release_id, kind, channel, ts) VALUES (%s, 'card', 'C1', %s)", [number, str(number)]
            )
            tx.execute(
                "INSERT INTO steps (release_id, plan, run, ordinal, step_id, state) VALUES (%s, 'rollback', 1, 1, 's', 'done')",
                [number],
            )
            tx.execute(
                "INSERT INTO mitigations (release_id, step, state, what, owner, reason, begun_at, due_at)"
                " SELECT release_id, id, %s, 'MODE=off', 'U1', '', now(), now() FROM steps WHERE release_id = %s",
                ["lifted" if number == 2 else "set", number],
            )
    assert migrate(empty_store)[0].startswith("0014")
    with empty_store.transaction() as tx:
        closed_rows = tx.execute("SELECT id FROM releases WHERE closed_at IS NOT NULL").fetchall()
        pinned_rows = tx.execute("SELECT release_id FROM posts WHERE pinned").fetchall()
        work_rows = tx.execute("SELECT queue, key FROM work").fetchall()
    assert [row["id"] for row in closed_rows] == [2]
    assert [row["release_id"] for row in pinned_rows] == [3]  # the card of release 1 is still to be pinned again
    assert work_rows == [{"queue": "advance", "key": "3"}]


@pytest.mark.parametrize(("number", "pack_format"), [("0018", 2), ("0021", 3)])
def test_a_database_of_an_older_version_keeps_its_evidence(
    empty_store: Store, tmp_path: Path, number: str, pack_format: int
) -> None:
    """The rows that an older version wrote are migrated, its record holds, and the packs of its releases are valid.

    `databases/` has the rows: a release with a break-glass, a rollback, two mitigations and a review, and an open one whose
    commit has changed and whose tag is gone.
    """
    with empty_store.transaction() as tx:
        migrate_until(tx, number)
        tx.execute((DATABASES / f"{number}.sql").read_text(encoding="utf-8"))
    migrate(empty_store)

    config = tmp_path / "release-bot.yml"
    config.write_text(f"database_url: {empty_store.url}\n", encoding="utf-8")
    assert run_bot(tmp_path, "audit", "verify", "--offline").startswith("The record is intact: ")
    for version in ("v4.8.0", "v4.8.1"):
        run_bot(tmp_path, "audit", "export", version)
        with zipfile.ZipFile(tmp_path / f"evidence-{version}.zip") as pack:
            pack.extractall(tmp_path / version)
        assert json.loads((tmp_path / version / "release.json").read_text(encoding="utf-8"))["format"] == pack_format
        assert "The pack holds." in run_python(tmp_path, "-I", "-S", f"{version}/verify.py")
    with empty_store.transaction() as tx:
        release = releases.latest(tx, "production")
    assert release is not None
    assert (release.commit, release.results_valid_after > 0) == (OTHER_COMMIT, True)
    assert release.source_problem.startswith("There is no tag v4.8.1")


def run_bot(folder: Path, *words: str) -> str:
    """Run the command line of the bot in a folder with its configuration; returns what it prints."""
    return run_python(folder, "-m", "bot", "--config", "release-bot.yml", *words)


def run_python(folder: Path, *words: str) -> str:
    """Run Python in a folder, which must end well; returns what it prints."""
    process = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_the_database_protects_the_evidence(store: Store) -> None:
    """Rows of evidence cannot be changed or deleted."""
    for table in ("audit", "check_results", "journal"):
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(Exception, match=f"{table} is append-only"), store.transaction() as tx:
                tx.execute(statement)


def test_the_states_in_the_schema_are_those_of_the_code(store: Store) -> None:
    """The column allows all states, and the constraint has those that hold an environment."""
    with store.transaction() as tx:
        column = tx.execute(
            "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conname = 'releases_state_check'"
        ).fetchone()
        index = tx.execute("SELECT pg_get_indexdef('one_active_release'::regclass) AS text").fetchone()
    assert column is not None
    assert index is not None
    assert set(re.findall(r"'(\w+)'", column["text"])) == set(ReleaseState)
    assert set(re.findall(r"'(\w+)'", index["text"])) == set(ACTIVE)
