"""Where the files of the private PostgreSQL lie, and how they are made; whether a server runs is not known here.

A cluster is a folder of PostgreSQL's. Ours is `<data dir>/postgres`, mode 0700, where the account that runs PostgreSQL
can get there. Where it cannot (root with a closed folder above), the cluster is `/var/lib/release-bot/clusters/<id>`,
and the file `<data dir>/postgres.id` alone leads to it: a deleted data directory never finds an old cluster.
"""

import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

from bot.errors import EmbeddedPostgresError
from bot.store import binaries

PORT = 5432  # names the socket only; nothing listens on the network
SOCKET_DIR_PREFIX = "release-bot-"
SOCKET_PATH_LIMIT = 103
"""Bytes of a socket's path that fit into sun_path everywhere: 107 on Linux, 103 on macOS."""

LOG_TAIL = 2000
"""Characters of what PostgreSQL says that go into an error."""


class DatabaseCluster:
    """The cluster of one data directory. The caller makes sure that one process at a time changes it."""

    def __init__(self, data_dir: Path) -> None:
        """Remember the data directory, read nothing."""
        self._data_dir = data_dir
        self._home = data_dir / "postgres"
        self._id_file = data_dir / "postgres.id"

    def folder(self) -> Path | None:
        """Return where the cluster is, or None when the data directory has none yet.

        Raises EmbeddedPostgresError when it had one that is gone: to begin with an empty one is for a person to say.
        """
        if (self._home / "PG_VERSION").exists():
            return self._home
        if not self._id_file.exists():
            return None
        elsewhere = binaries.ROOT_HOME / "clusters" / self._id_file.read_text().strip()
        if (elsewhere / "PG_VERSION").exists():
            return elsewhere
        raise EmbeddedPostgresError(
            f"The database of {self._data_dir} is gone: it is neither in {self._home} nor in {elsewhere}.",
            hint=f"Restore it, or delete {self._id_file} to start with an empty one.",
        )

    def create(self, bin_dir: Path, account: binaries.ServerAccount | None, keep_open: int, *, durable: bool) -> Path:
        """Run initdb beside the final place and rename the result: a cluster is complete or not there.

        `keep_open` is a file descriptor that initdb inherits. Returns the folder; raises EmbeddedPostgresError.
        """
        name = secrets.token_hex(8)
        folder = self._home
        if account is not None and not binaries.can(account, "test", "-x", self._data_dir):
            folder = binaries.ROOT_HOME / "clusters" / name
            for parent, mode in ((binaries.ROOT_HOME, 0o755), (folder.parent, 0o711)):
                parent.mkdir(parents=True, exist_ok=True)
                parent.chmod(mode)
        partial = folder.with_name(f"{folder.name}.partial")
        if partial.exists():  # left by a process that was killed
            shutil.rmtree(partial)
        partial.mkdir(mode=0o700)
        if account is not None:
            os.chown(partial, account.uid, account.gid)
        options = ["-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8"]
        if not durable:
            options.append("--no-sync")
        with tempfile.TemporaryFile() as output:
            command: list[str | Path] = [bin_dir / "initdb", "-D", partial, *options]
            if binaries.spawn(command, account, keep_open, output).wait() != 0:
                output.seek(0)
                log_tail = output.read().decode(errors="replace")[-LOG_TAIL:]
                raise EmbeddedPostgresError(f"initdb can't create a database in {partial}:\n{log_tail}")
        partial.rename(folder)
        self._id_file.write_text(f"{name}\n")
        return folder

    def socket_dir(self, folder: Path, account: binaries.ServerAccount | None) -> Path:
        """Make the folder (0700) of the server's socket: empty, short, and the same for a cluster each time.

        Raises EmbeddedPostgresError when somebody else has taken its name or no place will do.
        """
        if not self._id_file.exists():
            self._id_file.write_text(f"{secrets.token_hex(8)}\n")
        key = hashlib.sha256(f"{self._id_file.read_text()}{folder}".encode()).hexdigest()[:16]
        path = _writable_parent(account) / f"{SOCKET_DIR_PREFIX}{key}"
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
        ours = {os.geteuid()} if account is None else {os.geteuid(), account.uid}
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in ours:
            raise EmbeddedPostgresError(f"{path} belongs to another user.", hint="Remove it.")
        for left_over in path.iterdir():  # a lock file may name a pid that now is a zombie or another program
            left_over.unlink()
        path.chmod(0o700)
        if account is not None:
            os.chown(path, account.uid, account.gid)
        return path

    def delete(self) -> None:
        """Delete the cluster with all its data, and its id."""
        folder = self.folder()
        if folder is not None:
            shutil.rmtree(folder)
        self._id_file.unlink(missing_ok=True)


def remove_socket_dir(path: Path) -> None:
    """Remove the socket's folder of a server that has ended, else they gather in /tmp; touches no other folder."""
    if path.name.startswith(SOCKET_DIR_PREFIX):
        shutil.rmtree(path, ignore_errors=True)


def check_version(folder: Path, bin_dir: Path) -> None:
    """Raise EmbeddedPostgresError when the programs cannot open the cluster: its major version must be theirs."""
    data_version = (folder / "PG_VERSION").read_text().strip()
    ours = binaries.major_version(bin_dir)
    if data_version != ours:
        raise EmbeddedPostgresError(
            f"The data in {folder} was written by PostgreSQL {data_version}; the programs in {bin_dir} are version {ours}.",
            hint=f"Install PostgreSQL {data_version} again, dump the data with its pg_dump and load it into a new data "
            "directory; or set DATABASE_URL to a server that has the data.",
        )


def _writable_parent(account: binaries.ServerAccount | None) -> Path:
    """Choose where socket folders go: root takes /run, where nobody else can take a name first."""
    first = Path(tempfile.gettempdir()) if account is None else Path("/run")
    parents = [first, Path("/tmp")]  # noqa: S108 - the owner of the folder is checked
    for parent in parents:
        longest = parent / f"{SOCKET_DIR_PREFIX}{'0' * 16}" / f".s.PGSQL.{PORT}"
        fits = len(os.fsencode(longest)) <= SOCKET_PATH_LIMIT
        if fits and parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return parent
    raise EmbeddedPostgresError(
        f"No place for PostgreSQL's socket: {' and '.join(map(str, parents))} are too long or not writable.",
        hint="Make /tmp writable for the bot.",
    )
