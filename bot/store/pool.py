"""Store: the connection pool, transactions, and the one seam where psycopg's errors become ours."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeAlias

import psycopg
import psycopg.sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from bot.errors import DatabaseError
from bot.store.queries import queries

logger = logging.getLogger(__name__)

Tx: TypeAlias = psycopg.Connection[DictRow]

INSTANCE_LOCK = 1919051117  # first key of the advisory lock that says "this instance lives"
_ABANDONED_PREFIX = "did not stop: "  # how the session is called of something that was given up
_NAME_LIMIT = 63  # bytes of such a name: the server cuts what is longer

# A server that went away without a word, as in a failover, is noticed within about ten seconds (libpq: connection parameters).
_LIVENESS = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 5,  # seconds without traffic before the first probe
    "keepalives_interval": 2,  # seconds between two probes
    "keepalives_count": 3,  # probes without an answer
    "tcp_user_timeout": 10_000,  # milliseconds for which sent data may stay unacknowledged
}


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
            kwargs={
                "row_factory": dict_row,
                "options": "-c timezone=UTC -c idle_in_transaction_session_timeout=60000",
                **_LIVENESS,
            },
            check=ConnectionPool.check_connection,
        )
        self._life: psycopg.Connection[DictRow] | None = None
        self._life_guard = threading.Lock()
        self.instance = 0  # id of this process in `instances`; 0 until opened

    @property
    def url(self) -> str:
        """The connection string of the database, with its password."""
        return self._url

    def open(self) -> None:
        """Open the pool and take the lock of this instance. Raises DatabaseError when there is no server."""
        try:
            self._pool.open(wait=True, timeout=10)
        except PoolTimeout as error:
            raise DatabaseError(
                "The bot's database doesn't answer.",
                hint="Check DATABASE_URL and that PostgreSQL accepts connections.",
            ) from error

    def join(self) -> None:
        """Enter `instances` and hold the lock that shows this process to be alive. After the migrations."""
        with self._life_guard, _our_errors():
            life = self._session()
            sql = queries("instances")
            try:
                if not self.instance:
                    host = {"host": socket.gethostname(), "pid": os.getpid()}
                    self.instance = int(require_row(life.execute(sql["enter"], host).fetchone())["id"])
                # A session of ours that the server has not given up yet may still hold it: do not wait for that forever.
                life.execute("SET lock_timeout = '5s'")
                life.execute(sql["live"], {"class": INSTANCE_LOCK, "id": self.instance})
            except BaseException:
                life.close()
                raise
            self._life = life

    def leave(self) -> None:
        """Give up this instance: what it had claimed is free at once. The pool stays, and may join again as another one."""
        with self._life_guard:
            if self._life is not None:
                self._life.close()
            self._life, self.instance = None, 0

    def now(self) -> datetime:
        """Return the time of the server. Raises DatabaseError when it cannot be reached."""
        with self.transaction() as tx:
            moment: datetime = require_row(tx.execute("SELECT clock_timestamp() AS now").fetchone())["now"]
            return moment

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

    def _session(self, **settings: str) -> Tx:
        """A session of its own, outside of the pool and of transactions."""
        return psycopg.connect(self._url, autocommit=True, row_factory=dict_row, **_LIVENESS, **settings)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close everything; what this instance had claimed is free at once."""
        if self._life is not None:
            self._life.close()
        self._pool.close()

    @contextmanager
    def transaction(self, *, wait: float | None = None) -> Iterator[Tx]:
        """One transaction: committed at the end, rolled back on an exception. Never held across a network call.

        ``wait``: seconds for a connection to be had (default: ten).

        Raises DatabaseError when the server is away; constraint violations pass through as psycopg's, so that the
        store module which knows the constraint translates it.
        """
        with _our_errors(), self._pool.connection(timeout=wait) as tx:
            yield tx

    @contextmanager
    def lock(
        self, names: Collection[str], *, shared: Collection[str] = (), by: str = "release-bot"
    ) -> Iterator[ResourceLock]:
        """Lock ``names`` against every process for as long as the block runs, if all are free; the lock says at once whether.

        Those of ``shared`` are locked beside others that share them. The locks live on a session of their own, so they end
        with the process however it ends. ``by``: whose they are.
        """
        modes = [(name, "lock_shared" if name in shared else "lock") for name in sorted({*names, *shared})]
        if not modes:
            yield ResourceLock(None, by)
            return
        with _our_errors(), self._session(application_name=by[:_NAME_LIMIT]) as session:
            lock, sql = ResourceLock(session, by), queries("locks")
            try:
                rows = (session.execute(sql[mode], {"name": name}).fetchone() for name, mode in modes)
                lock.acquired = all(require_row(row)["acquired"] for row in rows)
                yield lock
            finally:
                if not session.broken:
                    session.execute(sql["unlock"])

    def find_abandoned(self, names: Collection[str]) -> list[str]:
        """Return who, in any process, holds one of the locks ``names`` and was given up (`ResourceLock.mark_abandoned`)."""
        with self.transaction() as tx:
            rows = tx.execute(queries("locks")["holders"], {"names": list(names)}).fetchall()
        return [
            row["name"].removeprefix(_ABANDONED_PREFIX) for row in rows if row["name"].startswith(_ABANDONED_PREFIX)
        ]

    @contextmanager
    def listening(self, channel: str) -> Iterator[Tx]:
        """A session of its own that listens on ``channel``. Raises DatabaseError when the server goes away."""
        with _our_errors(), self._session() as session:
            session.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            yield session


class ResourceLock:
    """What `Store.lock` locks; ``acquired`` is false where one of the names is somebody else's."""

    def __init__(self, session: Tx | None, by: str) -> None:
        self._session, self._by = session, by
        self.acquired = True

    def mark_abandoned(self) -> None:
        """Tell the others that whoever has locked it was given up, so that they need not wait for its end."""
        if self._session is None:
            return
        try:
            name = f"{_ABANDONED_PREFIX}{self._by}"[:_NAME_LIMIT]
            self._session.execute(queries("locks")["name_session"], {"name": name})
        except psycopg.OperationalError as error:
            logger.info("%s has unlocked it meanwhile: %s", self._by, error)


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise DatabaseError(
            "The bot's database is read-only at the moment, as after a failover.",
            hint="Nothing was lost: the bot continues when it can write again.",
        ) from error
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise DatabaseError(
            "The bot's database doesn't answer.", hint="Nothing was lost: stored work continues when it is back."
        ) from error


def require_row(row: DictRow | None) -> DictRow:
    """Return the row of a query that always has one."""
    if row is None:
        raise DatabaseError("A row that must exist is missing.", hint="Was the database changed by hand?")
    return row
