"""What can be said of the image without building it."""

import json
import re
import shlex
from pathlib import Path

import pytest

from bot.cli import main

ROOT = Path(__file__).parents[2]


def _instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined, comments left out."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8")).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name.upper(), arguments) for name, arguments in lines]


INSTRUCTIONS = _instructions()
LAST_STAGE = INSTRUCTIONS[max(index for index, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]


def _last(wanted: str) -> str:
    return [arguments for name, arguments in LAST_STAGE if name == wanted][-1]


def test_it_does_not_run_as_root():
    """The last USER is a number, so that a cluster can verify it, and not 0."""
    uid, _, gid = _last("USER").partition(":")
    assert uid.isdigit()
    assert int(uid) > 0
    assert int(gid) > 0


@pytest.mark.parametrize("instruction", ["ENTRYPOINT", "HEALTHCHECK"])
def test_it_calls_commands_that_exist(instruction, capsys):
    """Entry point with its default command, and the health check, are what the command line knows."""
    words = json.loads(re.sub(r"^.*?CMD ", "", _last(instruction)))
    if instruction == "ENTRYPOINT":
        words += json.loads(_last("CMD"))
    assert words[0] == "release-bot"
    with pytest.raises(SystemExit) as ended:
        main([*words[1:], "--help"])
    assert ended.value.code == 0, capsys.readouterr().err


def _sources() -> list[str]:
    copies = [shlex.split(arguments) for name, arguments in INSTRUCTIONS if name == "COPY"]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


@pytest.mark.parametrize("source", _sources())
def test_what_it_copies_is_there_and_not_ignored(source):
    """Every source of a COPY exists and is let through by .dockerignore, which ignores all that it does not name."""
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert (ROOT / source).exists()
    assert {f"!{source}", f"!{source}/"} & set(allowed)


def test_dependencies_are_installed_from_the_lock_with_hashes():
    """Nothing that was not locked gets in."""
    installs = [arguments for name, arguments in INSTRUCTIONS if name == "RUN" and "pip install" in arguments]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    assert any("-r requirements.lock" in line for line in installs)


def test_no_secret_is_built_in():
    """Tokens and addresses of databases come at the start, never from the image."""
    built_in = " ".join(arguments for name, arguments in INSTRUCTIONS if name in {"ENV", "ARG"})
    assert re.findall(r"\b(?:SLACK_\w+|DATABASE_URL|\w*TOKEN\w*|\w*PASSWORD\w*)\b", built_in) == []
