"""The command line: reads arguments, calls the command, turns errors into a message and an exit code. One module a command."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from bot.cli.terminal import say
from bot.errors import BotError

# In the order of the help.
COMMANDS = ("serve", "demo", "check", "plan", "checklist", "migrate", "doctor", "audit", "health")
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name (default: those of the process) and return its exit code."""
    options = parser(_select_commands(arguments)).parse_args(arguments)
    try:
        return int(options.run(options))
    except BotError as error:
        say(f"release-bot: {error.user_message}")
        if error.hint:
            say(f"  {error.hint}")
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the command line, with the commands of these names."""
    whole = _before_the_command(prog="release-bot", description="Runs releases by a checklist, from Slack.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name in names:
        importlib.import_module(f"bot.cli.{name}").add_to(commands)
    return whole


def _select_commands(arguments: Sequence[str] | None) -> Sequence[str]:
    """Return the command that is named, or all if none is, so that a container's probe need not import the whole bot."""
    first = _before_the_command(add_help=False)
    first.add_argument("command", nargs="?")
    name = first.parse_known_args(arguments)[0].command
    return (name,) if name in COMMANDS else COMMANDS


def _before_the_command(**settings: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(**settings)  # type: ignore[arg-type]
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: RELEASE_BOT_CONFIG, then release-bot.yml")
    return parser
