"""The command line: reads arguments, calls the command, turns errors into a message and an exit code. One module a command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bot.cli import audit, check, checklist, demo, doctor, health, migrate, plan, serve
from bot.cli.terminal import say
from bot.errors import BotError

COMMANDS = (serve, demo, check, plan, checklist, migrate, doctor, audit, health)  # in the order of the help
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name (default: those of the process) and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except BotError as error:
        say(f"release-bot: {error.user_message}")
        if error.hint:
            say(f"  {error.hint}")
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """What understands the command line."""
    whole = argparse.ArgumentParser(prog="release-bot", description="Runs releases by a checklist, from Slack.")
    whole.add_argument("--config", type=Path, metavar="FILE", help="default: RELEASE_BOT_CONFIG, then release-bot.yml")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return whole
