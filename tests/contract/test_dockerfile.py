"""What can be said of the image without building it."""

import json
import re
import shlex
from pathlib import Path

import pytest

from bot.cli import main

ROOT = Path(__file__).parents[2]


def _instructions() -> list[tuple[str, str]]:
    """The instructions and arguments of the Dockerfile, with continued lines joined and without comments."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8")).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name.upper(), arguments) for name, arguments in lines]


INSTRUCTIONS = _instructions()
LAST_STAGE = INSTRUCTIONS[max(index for index, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]


def _last(instruction: str) -> str:
    return [arguments for name, arguments in LAST_STAGE if name == instruction][-1]


def test_the_image_does_not_run_as_root():
    """The last USER is a number other than 0, so that a cluster can verify it."""
    uid, _, gid = _last("USER").partition(":")
    assert uid.isdigit()
    assert int(uid) > 0
    assert int(gid) > 0


@pytest.mark.parametrize("instruction", ["ENTRYPOINT", "HEALTHCHECK"])
def test_the_image_calls_commands_that_exist(instruction, capsys):
    """The entry point with its default command, and the health check, are valid command lines."""
    words = json.loads(re.sub(r"^.*?CMD ", "", _last(instruction)))
    if instruction == "ENTRYPOINT":
        words += json.loads(_last("CMD"))
    assert words[0] == "release-bot"
    with pytest.raises(SystemExit) as exit_info:
        main([*words[1:], "--help"])
    assert exit_info.value.code == 0, capsys.readouterr().err


def _sources() -> list[str]:
    copies = [shlex.split(arguments) for name, arguments in INSTRUCTIONS if name == "COPY"]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


@pytest.mark.parametrize("source", _sources())
def test_each_source_of_a_copy_exists_and_is_not_ignored(source):
    """Each source of a COPY exists and is allowed by .dockerignore, which ignores everything else."""
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert (ROOT / source).exists()
    assert {f"!{source}", f"!{source}/"} & set(patterns)


def test_dependencies_are_installed_from_the_lock_with_hashes():
    """Every installation requires hashes or installs no dependencies."""
    installs = [arguments for name, arguments in INSTRUCTIONS if name == "RUN" and "pip install" in arguments]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    assert any("-r requirements.lock" in line for line in installs)


def test_the_image_contains_no_secret():
    """Tokens and database addresses are given at the start and are not part of the image."""
    built_in = " ".join(arguments for name, arguments in INSTRUCTIONS if name in {"ENV", "ARG"})
    assert re.findall(r"\b(?:SLACK_\w+|DATABASE_URL|\w*TOKEN\w*|\w*PASSWORD\w*)\b", built_in) == []
