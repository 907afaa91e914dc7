"""Keeps the files of a run in memory if there is room: copying a database is five times as fast there."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ENOUGH = 4 << 30  # bytes free; a run takes about a quarter of it

FOLDER = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put all temporary files of this process, and of the processes that it starts, into memory."""
    if hasattr(config, "workerinput") or "TMPDIR" in os.environ:
        return  # a worker inherits the choice, a person has made another
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH:
        folder = Path(tempfile.mkdtemp(prefix="release-bot-tests-", dir=MEMORY))
        folder.chmod(0o755)  # embedded PostgreSQL goes through it as another user when root runs the tests
        config.stash[FOLDER] = folder
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder in memory."""
    if (folder := config.stash.get(FOLDER, None)) is not None:
        os.environ.pop("TMPDIR")
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)  # a process that was killed may leave files of another user
