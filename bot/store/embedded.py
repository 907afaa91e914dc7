"""Starts and stops the private PostgreSQL that serves where no DATABASE_URL is set.

The data directory belongs to us; in it lie

    postgres/         the cluster, and
    postgres.id       its id: see bot.store.cluster
    postgres.log      what the server says, since its last start (postgres.log.1: before that)
    postgres.server   locked by the server itself as long as it lives: a lock cannot go stale, a pid file can
    postgres.users    shared lock of each process that uses the server: the last one out stops it

As a program: `python -m bot.store.embedded --data-dir DIR` prints `{"url": ...}` and serves until it is told to end.
"""

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psycopg

from bot.errors import BotError, EmbeddedPostgresError
from bot.store import binaries, cluster

START_SECONDS = 60.0
"""Recovery after a crash replays at most some minutes of writes; a small database needs well under a second."""

STOP_SECONDS = 20.0
"""How long a fast stop may take before the server is told to drop everything (it recovers at the next start)."""

POLL_SECONDS = 0.01

SOCKET_DIR_LINE = 4
"""Index of the line of postmaster.pid that names the folder of the socket."""

UNSAFE_BUT_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=400")
"""For tests. A killed server still loses nothing so; a machine that loses power does. Many bots share one."""


class EmbeddedPostgres:
    """A PostgreSQL server of our own on a data directory; also a context manager that gives the URL.

    Any number of processes may use one data directory: the first starts the server, the others join it, also when the
    process that started it was killed, and the last one to stop stops it.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        """Prepare, start nothing. `durable=False` trades safety for speed: for tests, never for the bot's own data."""
        self._data_dir = data_dir.absolute()
        self._cluster = cluster.DatabaseCluster(self._data_dir)
        self._durable = durable
        self._users: int | None = None

    def __enter__(self) -> str:
        """Start and return the URL."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> str:
        """Start the server or join the running one, and return a superuser's URL for the database `postgres`.

        Returns when a connection has succeeded. May be called again when the server has died. Raises
        EmbeddedPostgresError, with the end of the server's log where the server says why.
        """
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700 if os.geteuid() else 0o711)
            if self._users is None:
                self._users = self._open_lock("users")
            fcntl.flock(self._users, fcntl.LOCK_SH)
            return self._start_or_join(time.monotonic() + START_SECONDS)
        except OSError as exc:
            self._forget()
            raise EmbeddedPostgresError(
                f"PostgreSQL can't be started on {self._data_dir}: {exc}.",
                hint="Give the bot a writable data directory with free disk space.",
            ) from exc
        except EmbeddedPostgresError:
            self._forget()
            raise

    def stop(self) -> None:
        """Stop using the server; stop the server itself when no other process uses it.

        Also stops a server that a killed process left behind. Does nothing when none runs. Raises EmbeddedPostgresError
        when the server does not end.
        """
        if not self._data_dir.exists():
            return
        if self._users is None:
            self._users = self._open_lock("users")
        try:
            if _try_lock(self._users):
                self._shut_down()
        finally:
            self._forget()

    def destroy(self) -> None:
        """Stop the server and delete the cluster with all its data. Raises EmbeddedPostgresError while it is in use."""
        self.stop()
        if not self._data_dir.exists():
            return
        with self._locked_when_no_server_lives() as server_lock:
            if server_lock is None:
                raise EmbeddedPostgresError(
                    f"The PostgreSQL on {self._data_dir} is in use.", hint="Stop the programs that use it first."
                )
            self._cluster.delete()

    def _start_or_join(self, deadline: float) -> str:
        while True:
            with self._locked_when_no_server_lives() as server_lock:
                if server_lock is not None:
                    return self._launch(server_lock, deadline)
            url = self._url_of_running_server()
            if url is not None and _connection_error(url) is None:
                return url
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"The PostgreSQL on {self._data_dir} is running, but hasn't answered for {START_SECONDS:.0f} s."
                    + self._log_tail()
                )
            time.sleep(POLL_SECONDS)

    def _launch(self, server_lock: int, deadline: float) -> str:
        """Start a server that inherits the lock. Nothing else can: we hold the lock."""
        account = binaries.unprivileged_account()
        bin_dir = binaries.find_binaries(account)
        folder = self._cluster.folder()
        if folder is None:
            folder = self._cluster.create(bin_dir, account, server_lock, durable=self._durable)
        if account is not None:
            owner = folder.stat()  # perhaps a normal user made it
            account = binaries.ServerAccount(owner.st_uid, owner.st_gid)
        cluster.check_version(folder, bin_dir)
        self._refuse_foreign_server(folder)
        (folder / "postmaster.pid").unlink(missing_ok=True)  # stale, and PostgreSQL would believe a recycled pid
        sockets = self._cluster.socket_dir(folder, account)
        command: list[str | Path] = [bin_dir / "postgres", "-D", folder]
        command += ["-k", sockets, "-h", "", "-p", str(cluster.PORT)]
        if not self._durable:
            command += UNSAFE_BUT_FAST
        log = self._data_dir / "postgres.log"
        if log.exists():
            log.replace(log.with_name("postgres.log.1"))
        with log.open("wb") as output:
            server = binaries.spawn(command, account, server_lock, output)
        # Reaps the server whenever it ends, so that it never lingers as a zombie of ours.
        threading.Thread(target=server.wait, name="embedded-postgres", daemon=True).start()
        url = _url(sockets)
        while _connection_error(url) is not None:
            if server.poll() is not None or time.monotonic() > deadline:
                server.send_signal(signal.SIGQUIT)
                cluster.remove_socket_dir(sockets)
                raise EmbeddedPostgresError(
                    f"PostgreSQL doesn't start on {folder}." + self._log_tail(),
                    hint="The end of its log says why. Usual reasons: a full disk or a changed owner.",
                )
            time.sleep(POLL_SECONDS)
        return url

    def _refuse_foreign_server(self, folder: Path) -> None:
        url = self._url_of_running_server()
        if url is not None and _connection_error(url) is None:
            raise EmbeddedPostgresError(
                f"A PostgreSQL that the bot didn't start runs on {folder}.",
                hint="Stop it (`pg_ctl stop -D ...`), or set DATABASE_URL to use it.",
            )

    def _pid_file(self) -> list[str]:
        """Read postmaster.pid: pid, data directory, start time, port, socket directory, address, memory key, status.

        The lines are those of PostgreSQL's src/include/utils/pidfile.h; while it starts, the last ones are missing.
        """
        folder = self._cluster.folder()
        if folder is None:
            return []
        try:
            return (folder / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _url_of_running_server(self) -> str | None:
        lines = self._pid_file()
        ready = bool(lines) and lines[-1].strip() == "ready"
        return _url(Path(lines[SOCKET_DIR_LINE])) if ready else None

    def _shut_down(self) -> None:
        """Stop the server that lives, if any: SIGINT is PostgreSQL's fast stop, SIGQUIT its immediate one."""
        lines: list[str] = []
        for number in (signal.SIGINT, signal.SIGQUIT):
            deadline = time.monotonic() + STOP_SECONDS
            signal_sent = False
            while time.monotonic() < deadline:
                with self._locked_when_no_server_lives() as server_lock:
                    if server_lock is not None:
                        if len(lines) > SOCKET_DIR_LINE:
                            cluster.remove_socket_dir(Path(lines[SOCKET_DIR_LINE]))
                        return
                lines = self._pid_file() or lines
                if lines and not signal_sent:
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.kill(int(lines[0]), number)
                    signal_sent = True
                time.sleep(POLL_SECONDS)
        raise EmbeddedPostgresError(f"The PostgreSQL on {self._data_dir} doesn't stop." + self._log_tail())

    @contextlib.contextmanager
    def _locked_when_no_server_lives(self) -> Iterator[int | None]:
        """Give the locked file, or None while a server (or initdb) of ours lives: it holds the lock by inheritance."""
        lock = self._open_lock("server")
        try:
            yield lock if _try_lock(lock) else None
        finally:
            os.close(lock)

    def _open_lock(self, name: str) -> int:
        return os.open(self._data_dir / f"postgres.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _forget(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None

    def _log_tail(self) -> str:
        log = self._data_dir / "postgres.log"
        return f" The end of its log:\n{log.read_text(errors='replace')[-cluster.LOG_TAIL :]}" if log.exists() else ""


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _url(sockets: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(sockets), safe='')}&port={cluster.PORT}"


def _connection_error(url: str) -> psycopg.OperationalError | None:
    """Try to connect; return why it did not work, or None."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError as exc:
        return exc
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a data directory until SIGTERM, SIGINT or, if wished, the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m bot.store.embedded", description=main.__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input ends")
    parser.add_argument("--unsafe-but-fast", action="store_true", help="no fsync: for tests only")
    options = parser.parse_args(argv)
    told_to_end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_end.set())
    if options.exit_with_stdin:
        threading.Thread(target=_set_at_end_of_stdin, args=(told_to_end,), daemon=True).start()
    try:
        with EmbeddedPostgres(options.data_dir, durable=not options.unsafe_but_fast) as url:
            sys.stdout.write(json.dumps({"url": url}) + "\n")
            sys.stdout.flush()
            told_to_end.wait()
    except BotError as exc:
        sys.stderr.write(f"{exc.user_message}\n{exc.hint}\n")
        return exc.exit_code
    return 0


def _set_at_end_of_stdin(event: threading.Event) -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock a daemon thread would keep at exit
        pass
    event.set()


if __name__ == "__main__":
    sys.exit(main())
