"""`release-bot audit export` as a person runs it: the file, what verifies it, and what it says when it cannot."""

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from bot import logs
from bot.cli import main
from bot.domain.ids import CheckId
from bot.flows import abort, check
from tests.fix_bot import MANAGER, World

VERIFY = Path(__file__).parents[2] / "bot" / "evidence" / "verify.py"
SECRET = "Zirkel-7/in-the-configuration"
Cli = Callable[..., int]


@pytest.fixture
def release_bot(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The command line with its own configuration, on the database of the world, in an empty folder."""
    config = {"sentry": {"token": SECRET}, "database_url": world.store.url}
    (tmp_path / "release-bot.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    root, chatty = logging.getLogger(), [logging.getLogger(name) for name in logs.CHATTY]
    before = root.handlers[:], root.level, [one.level for one in chatty]
    yield lambda *words: main(["--config", "release-bot.yml", *words])
    root.handlers[:], root.level = before[:2]
    for logger, level in zip(chatty, before[2], strict=True):
        logger.setLevel(level)


def end_release(world: World) -> str:
    """Abort a release that has a secret in its record; returns the announced head."""
    release_id = world.start()
    world.act(check.waive, MANAGER, release_id, CheckId("prep.first"), f"it said {SECRET}")
    world.act(abort.abort, MANAGER, release_id, "enough")
    (post,) = world.rows("SELECT subject FROM posts WHERE kind = 'record'")
    return str(post["subject"]).partition(":")[2]


def everything(world: World) -> list[str]:
    """Every row of the record and of the releases."""
    rows = world.rows("SELECT to_jsonb(a)::text AS row FROM audit a UNION ALL SELECT to_jsonb(r)::text FROM releases r")
    return sorted(row["row"] for row in rows)


def test_export_writes_a_valid_pack(world: World, release_bot: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """The pack is named by its version, its checksum is printed, and it contains no secret of the configuration."""
    head, before = end_release(world), everything(world)
    code = release_bot("audit", "export", "v4.8.0")
    output, content = capsys.readouterr().out, Path("evidence-v4.8.0.zip").read_bytes()
    command = [sys.executable, "-I", "-S", str(VERIFY), "evidence-v4.8.0.zip", "--head", head]
    process = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})

    assert code == 0
    assert output == f"evidence-v4.8.0.zip: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}\n"
    assert process.stdout.endswith(f"The pack holds. Its head is {head}.\n")
    assert process.returncode == 0
    subprocess.run([sys.executable, "-m", "zipfile", "-e", "evidence-v4.8.0.zip", "out"], check=True)
    assert [file.name for file in Path("out").iterdir() if SECRET.encode() in file.read_bytes()] == []
    assert everything(world) == before


def test_export_into_a_named_file(world: World, release_bot: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """With -o the pack is written into the named file."""
    end_release(world)

    assert release_bot("audit", "export", "v4.8.0", "-o", "there.zip") == 0
    assert capsys.readouterr().out.startswith("there.zip: ")
    assert Path("there.zip").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["v9.9.9"], 1, "production has no release v9.9.9."),
        (["latest"], 1, "latest isn't a version."),
        (["v4.8.0", "-o", "no/such/folder.zip"], 1, "no/such/folder.zip can't be written: No such file or directory."),
    ],
)
def test_a_failed_export_writes_no_file(
    world: World, release_bot: Cli, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    """The error is one line."""
    end_release(world)

    assert release_bot("audit", "export", *words) == code
    assert capsys.readouterr().err.splitlines()[0] == f"release-bot: {message}"
    assert list(Path.cwd().glob("*.zip")) == []


def test_verify_offline_accepts_a_record_with_a_secret(
    world: World, release_bot: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record is verified as it is stored, whatever its rows contain."""
    head = end_release(world)

    assert release_bot("audit", "verify", "--offline", "--head", head) == 0
    assert capsys.readouterr().out.endswith("It has the head that you gave.\n")
    assert release_bot("audit", "verify", "--offline", "--head", "0" * 64) == 1
    assert "truncated" in capsys.readouterr().out
