"""Store: the connection pool, transactions, and the one seam where psycopg's errors become ours."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
import psycopg.sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from bot.errors import DatabaseError
from bot.store.queries import queries

Tx: TypeAlias = psycopg.Connection[DictRow]

INSTANCE_LOCK = 1919051117  # first key of the advisory lock that says "this instance lives"


class Store:
    """PostgreSQL as the only truth. Holds a pool and, on a session of its own, the lock of this living instance."""

    def __init__(self, url: str, *, size: int = 10) -> None:
        self._url = url
        self._pool: ConnectionPool[Tx] = ConnectionPool(
            url,
            min_size=2,
            max_size=size,
            open=False,
            timeout=10,
            kwargs={"row_factory": dict_row, "options": "-c timezone=UTC -c idle_in_transaction_session_timeout=60000"},
            check=ConnectionPool.check_connection,
        )
        self._life: psycopg.Connection[DictRow] | None = None
        self._life_guard = threading.Lock()
        self.instance = 0  # id of this process in `instances`; 0 until opened

    @property
    def url(self) -> str:
        """The connection string, with its password."""
        return self._url

    def open(self) -> None:
        """Open the pool and take the lock of this instance. Raises DatabaseError when there is no server."""
        try:
            self._pool.open(wait=True, timeout=10)
        except PoolTimeout as error:
            raise DatabaseError(
                "The bot's database does not answer.",
                hint="Check DATABASE_URL and that PostgreSQL accepts connections.",
            ) from error

    def join(self) -> None:
        """Enter `instances` and hold the lock that shows this process to be alive. After the migrations."""
        with self._life_guard:
            self._life = psycopg.connect(self._url, autocommit=True, row_factory=dict_row)
            sql = queries("instances")
            if not self.instance:
                row = self._life.execute(sql["enter"], {"host": socket.gethostname(), "pid": os.getpid()}).fetchone()
                self.instance = int((row or {})["id"])
            self._life.execute(sql["live"], {"class": INSTANCE_LOCK, "id": self.instance})

    def keep_alive(self) -> None:
        """Take the lock of this instance again if its session was lost, as after a restart of the server."""
        with self._life_guard:
            try:
                if self._life is not None:
                    self._life.execute("SELECT 1")
                    return
            except psycopg.OperationalError:
                self._life = None
        self.join()

    def close(self) -> None:
        """Close everything; what this instance had claimed is free at once."""
        if self._life is not None:
            self._life.close()
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """One transaction: committed at the end, rolled back on an exception. Never held across a network call.

        Raises DatabaseError when the server is away; constraint violations pass through as psycopg's, so that the
        store module which knows the constraint translates it.
        """
        try:
            with self._pool.connection() as tx:
                yield tx
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise DatabaseError(
                "The bot's database does not answer.", hint="Nothing was lost: what was stored goes on when it is back."
            ) from error

    @contextmanager
    def exclusive(self, names: Sequence[str]) -> Iterator[bool]:
        """Hold ``names`` against every process for as long as the block runs; yields False, at once, when one is taken.

        The locks live on a session of their own, so they end with the process however it ends.
        """
        if not names:
            yield True
            return
        with psycopg.connect(self._url, autocommit=True) as connection:
            taken = [
                connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name]).fetchone() == (True,)
                for name in sorted(names)
            ]
            yield all(taken)

    @contextmanager
    def listening(self, channel: str) -> Iterator[psycopg.Connection[Any]]:
        """A session of its own that listens on ``channel``."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            yield connection


def only(row: DictRow | None) -> DictRow:
    """The row of a query that always returns one."""
    if row is None:
        raise DatabaseError("A row that must exist is missing.", hint="Was the database changed by hand?")
    return row
