"""Starts and stops the private PostgreSQL that serves where no DATABASE_URL is set.

The data directory belongs to us; in it lie

    postgres/         the cluster (0700), when the account that runs PostgreSQL can get there; else it is kept in
                      /var/lib/release-bot/clusters/<id>
    postgres.id       the id of this cluster, so that a deleted data directory never finds an old one
    postgres.log      what the server says, since its last start (postgres.log.1: before that)
    postgres.server   locked by the server itself as long as it lives: a lock cannot go stale, a pid file can
    postgres.users    shared lock of each process that uses the server: the last one out stops it

As a program: `python -m bot.store.embedded --data-dir DIR` prints `{"url": ...}` and serves until it is told to end.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

import psycopg

from bot.errors import BotError, EmbeddedPostgresError
from bot.store import binaries

START_SECONDS = 60.0
"""Recovery after a crash replays at most some minutes of writes; a small database needs well under a second."""

STOP_SECONDS = 20.0
"""How long a fast stop may take before the server is told to drop everything (it recovers at the next start)."""

POLL_SECONDS = 0.01
PORT = 5432  # names the socket only; nothing listens on the network
SOCKET_DIR_PREFIX = "release-bot-"
SOCKET_PATH_LIMIT = 103  # bytes that fit into sun_path everywhere: 107 on Linux, 103 on macOS
LOG_TAIL = 2000  # characters of the server's log that go into an error

UNSAFE_BUT_FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class EmbeddedPostgres:
    """A PostgreSQL server of our own on a data directory; also a context manager that gives the URL.

    Any number of processes may use one data directory: the first starts the server, the others join it, also when the
    process that started it was killed, and the last one to stop stops it.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        """Prepare, start nothing. `durable=False` trades safety for speed: for tests, never for the bot's own data."""
        self._data_dir = data_dir.absolute()
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
                f"PostgreSQL cannot be started on {self._data_dir}: {exc}.",
                hint="Give the bot a data directory that it may write to, with room on the disk.",
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
            cluster = self._cluster()
            if cluster is not None:
                shutil.rmtree(cluster)
            self._id_file.unlink(missing_ok=True)

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
                    f"The PostgreSQL on {self._data_dir} runs, but has not answered for {START_SECONDS:.0f} s."
                    + self._log_tail()
                )
            time.sleep(POLL_SECONDS)

    def _launch(self, server_lock: int, deadline: float) -> str:
        """Start a server that inherits the lock. Nothing else can: we hold the lock."""
        account = binaries.unprivileged_account()
        bin_dir = binaries.find_binaries(account)
        cluster = self._cluster()
        if cluster is None:
            cluster = self._create_cluster(bin_dir, account, server_lock)
        owner = cluster.stat()
        if account is not None:
            account = binaries.Account(owner.st_uid, owner.st_gid)
        _check_version(cluster, bin_dir)
        self._refuse_foreign_server()
        (cluster / "postmaster.pid").unlink(missing_ok=True)  # stale, and PostgreSQL would believe a recycled pid
        sockets = self._socket_dir(cluster, account)
        command: list[str | Path] = [bin_dir / "postgres", "-D", cluster, "-k", sockets, "-h", "", "-p", str(PORT)]
        if not self._durable:
            command += UNSAFE_BUT_FAST
        log = self._data_dir / "postgres.log"
        if log.exists():
            log.replace(log.with_name("postgres.log.1"))
        with log.open("wb") as output:
            server = _spawn(command, account, server_lock, output)
        # Reaps the server whenever it ends, so that it never lingers as a zombie of ours.
        threading.Thread(target=server.wait, name="embedded-postgres", daemon=True).start()
        url = _url(sockets)
        while _connection_error(url) is not None:
            if server.poll() is not None or time.monotonic() > deadline:
                server.send_signal(signal.SIGQUIT)
                raise EmbeddedPostgresError(
                    f"PostgreSQL does not start on {cluster}." + self._log_tail(),
                    hint="The end of its log says why; a full disk and a changed owner are the usual reasons.",
                )
            time.sleep(POLL_SECONDS)
        return url

    def _cluster(self) -> Path | None:
        """Return where the cluster of this data directory is, or None when it has none yet."""
        home = self._data_dir / "postgres"
        if (home / "PG_VERSION").exists():
            return home
        if not self._id_file.exists():
            return None
        elsewhere = binaries.ROOT_HOME / "clusters" / self._id_file.read_text().strip()
        if (elsewhere / "PG_VERSION").exists():
            return elsewhere
        raise EmbeddedPostgresError(
            f"The database of {self._data_dir} is gone: it is neither in {home} nor in {elsewhere}.",
            hint=f"Restore it, or delete {self._id_file} to begin with an empty one.",
        )

    @property
    def _id_file(self) -> Path:
        return self._data_dir / "postgres.id"

    def _create_cluster(self, bin_dir: Path, account: binaries.Account | None, server_lock: int) -> Path:
        """Run initdb beside the final place and rename: a cluster is complete or not there."""
        name = secrets.token_hex(8)
        cluster = self._data_dir / "postgres"
        if account is not None and not binaries.can(account, "test", "-x", self._data_dir):
            cluster = binaries.ROOT_HOME / "clusters" / name
            for folder, mode in ((binaries.ROOT_HOME, 0o755), (cluster.parent, 0o711)):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(mode)
        partial = cluster.with_name(f"{cluster.name}.partial")
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(mode=0o700)
        if account is not None:
            os.chown(partial, account.uid, account.gid)
        options = ["-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8"]
        if not self._durable:
            options.append("--no-sync")
        with tempfile.TemporaryFile() as output:
            if _spawn([bin_dir / "initdb", "-D", partial, *options], account, server_lock, output).wait() != 0:
                output.seek(0)
                said = output.read().decode(errors="replace")[-LOG_TAIL:]
                raise EmbeddedPostgresError(f"initdb cannot create a database in {partial}:\n{said}")
        partial.rename(cluster)
        self._id_file.write_text(f"{name}\n")
        return cluster

    def _socket_dir(self, cluster: Path, account: binaries.Account | None) -> Path:
        """Make the private folder of the server's socket: the same for a cluster each time, and short."""
        if not self._id_file.exists():
            self._id_file.write_text(f"{secrets.token_hex(8)}\n")
        key = hashlib.sha256(f"{self._id_file.read_text()}{cluster}".encode()).hexdigest()[:16]
        # /run is root's alone, so nobody can take the name there first.
        parents = [Path(tempfile.gettempdir()), Path("/tmp")] if account is None else [Path("/run"), Path("/tmp")]  # noqa: S108 - checked below
        for parent in parents:
            path = parent / f"{SOCKET_DIR_PREFIX}{key}"
            fits = len(os.fsencode(path / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT
            if fits and parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
                break
        else:
            raise EmbeddedPostgresError(
                f"No folder for PostgreSQL's socket: {' and '.join(map(str, parents))} are too long or not writable."
            )
        wanted = os.geteuid() if account is None else account.uid
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {wanted, os.geteuid()}:
            raise EmbeddedPostgresError(f"{path} belongs to somebody else.", hint="Remove it.")
        path.chmod(0o700)
        if account is not None:
            os.chown(path, account.uid, account.gid)
        return path

    def _refuse_foreign_server(self) -> None:
        url = self._url_of_running_server()
        if url is not None and _connection_error(url) is None:
            raise EmbeddedPostgresError(
                f"A PostgreSQL that the bot has not started serves {self._cluster()}.",
                hint="Stop it (`pg_ctl stop -D ...`), or set DATABASE_URL to use it.",
            )

    def _pid_file(self) -> list[str]:
        """Read postmaster.pid: pid, data directory, start time, port, socket directory, address, memory key, status.

        The lines are those of PostgreSQL's src/include/utils/pidfile.h; while it starts, the last ones are missing.
        """
        cluster = self._cluster()
        if cluster is None:
            return []
        try:
            return (cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _url_of_running_server(self) -> str | None:
        match self._pid_file():
            case [_, _, _, _, sockets, _, _, status] if status.strip() == "ready":
                return _url(Path(sockets))
        return None

    def _shut_down(self) -> None:
        """Stop the server that lives, if any: SIGINT is PostgreSQL's fast stop, SIGQUIT its immediate one."""
        lines: list[str] = []
        for number in (signal.SIGINT, signal.SIGQUIT):
            deadline = time.monotonic() + STOP_SECONDS
            signalled = False
            while time.monotonic() < deadline:
                with self._locked_when_no_server_lives() as server_lock:
                    if server_lock is not None:
                        _remove_sockets(lines)
                        return
                lines = self._pid_file() or lines
                if lines and not signalled:
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.kill(int(lines[0]), number)
                    signalled = True
                time.sleep(POLL_SECONDS)
        raise EmbeddedPostgresError(f"The PostgreSQL on {self._data_dir} does not stop." + self._log_tail())

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
        return f" The end of its log:\n{log.read_text(errors='replace')[-LOG_TAIL:]}" if log.exists() else ""


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _spawn(
    command: Sequence[str | Path], account: binaries.Account | None, server_lock: int, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start one of PostgreSQL's programs as the account; it inherits the lock and ignores our terminal's Ctrl-C."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(server_lock,),
        start_new_session=True,
        cwd="/",
        env=binaries.ENVIRONMENT,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        umask=0o077,
    )


def _check_version(cluster: Path, bin_dir: Path) -> None:
    written = (cluster / "PG_VERSION").read_text().strip()
    ours = binaries.major_version(bin_dir)
    if written != ours:
        raise EmbeddedPostgresError(
            f"The data in {cluster} was written by PostgreSQL {written}; the programs in {bin_dir} are version {ours}.",
            hint=f"Install PostgreSQL {written} again, dump the data with its pg_dump and load it into a new data "
            f"directory; or set DATABASE_URL to a server that has the data.",
        )


def _url(sockets: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(sockets), safe='')}&port={PORT}"


def _remove_sockets(pid_file: Sequence[str]) -> None:
    """Remove the socket's folder of a server that has ended, else they gather in /tmp."""
    for sockets in map(Path, pid_file[4:5]):
        if sockets.name.startswith(SOCKET_DIR_PREFIX):
            shutil.rmtree(sockets, ignore_errors=True)


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
