"""A database that takes no writes for a while, as after a failover: the bot waits for it and goes on."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bot.clock import SystemClock
from bot.errors import DatabaseError
from bot.flows.deps import Job
from bot.store import work
from bot.store.embedded import EmbeddedPostgres
from bot.store.migrate import migrate
from bot.store.pool import Store
from bot.workers import Queue, Workers
from tests.fix_kube import eventually


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[str]:
    """URL of a server that only this test uses: a setting of it is changed."""
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as url:
        yield url


@pytest.fixture
def own_store(own_server: str) -> Iterator[Store]:
    """A store on that server, with its tables."""
    store = Store(own_server, size=8)
    store.open()
    migrate(store)
    store.join()
    yield store
    store.close()


def _set_read_only(url: str, value: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        connection.execute("SELECT pg_reload_conf()")


def _is_read_only(store: Store) -> bool:
    with store.transaction() as tx:
        row = tx.execute("SHOW default_transaction_read_only").fetchone()
        return row is not None and row["default_transaction_read_only"] == "on"


def test_a_read_only_database_ends_no_worker(
    own_server: str, own_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The threads survive, the log says why nothing is done, and the work is done once the database can be written again."""
    done = threading.Event()
    workers = Workers(own_store, SystemClock(), [Queue("q", 2, lambda _job: done.set())])
    workers.start()
    threads = [thread for thread in threading.enumerate() if thread.name in {"q-0", "q-1", "renew", "listen"}]
    try:
        with own_store.transaction() as tx:
            work.enqueue(tx, "q", "a")
        eventually("the first work", done.is_set)
        done.clear()
        _set_read_only(own_server, "on")
        eventually("the server to be read-only", lambda: _is_read_only(own_store))
        with caplog.at_level(logging.WARNING):
            with own_store.transaction() as tx:
                tx.execute("SET TRANSACTION READ WRITE")
                work.enqueue(tx, "q", "b")
            eventually("the log to say so", lambda: "read-only" in caplog.text)
        assert not done.is_set()

        _set_read_only(own_server, "off")

        eventually("the second work", done.is_set)
        assert [thread.is_alive() for thread in threads] == [True] * 4
    finally:
        workers.stop()


def test_an_unforeseen_error_of_the_database_ends_no_worker(own_server: str, own_store: Store) -> None:
    """Even an error that nobody has a name for, as of a table that is gone for a moment, is survived."""
    done = threading.Event()

    def handle(_job: Job) -> None:
        done.set()

    workers = Workers(own_store, SystemClock(), [Queue("q", 2, handle)])
    workers.start()
    try:
        with psycopg.connect(own_server, autocommit=True) as connection:
            connection.execute("ALTER TABLE work RENAME TO work_away")
            workers.wake()
            eventually("the error", lambda: _fails(own_store))
            connection.execute("ALTER TABLE work_away RENAME TO work")
        with own_store.transaction() as tx:
            work.enqueue(tx, "q", "a")
        eventually("the work", done.is_set)
    finally:
        workers.stop()


def _fails(store: Store) -> bool:
    try:
        with store.transaction() as tx:
            work.claim(tx, "q", store.instance)
    except (DatabaseError, psycopg.Error):
        return True
    return False
