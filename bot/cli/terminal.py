"""What every command uses: standard output and error, the configuration, the bot's database."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from bot import logs
from bot.redact import Redactor
from bot.settings import Settings, load_settings
from bot.store.embedded import EmbeddedPostgres
from bot.store.pool import Store

EXIT_BAD = 1  # the answer is no
POOL = 2  # connections; a command does one thing at a time


class Commands(Protocol):
    """Where a command adds itself; what argparse gives for this has no public name."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002  argparse's word
        """Add a command; ``help`` is its line in the list."""


def say(line: str) -> None:
    """Write a line for the person at the terminal, to standard error."""
    sys.stderr.write(f"{line}\n")


def put(line: str) -> None:
    """Write a line of the result, to standard output, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def load_configuration(options: argparse.Namespace, *, serving: bool = False) -> tuple[Settings, Redactor]:
    """Load the settings, register their secrets with a new redactor, and set up the log; return both. Raises ConfigError.

    ``serving``: log as configured. Other commands print their result themselves, so their log is text and begins at
    warnings, unless debug is configured.
    """
    settings = load_settings(options.config)
    redactor = Redactor()
    for secret in settings.secrets():
        redactor.register(secret)
    level = settings.log_level if serving or settings.log_level in {"debug", "error"} else "warning"
    logs.setup(level.upper(), as_json=serving and settings.log_format == "json", redactor=redactor)
    return settings, redactor


@contextmanager
def database(settings: Settings) -> Iterator[Store]:
    """Open the bot's database for a block; an embedded server runs as long as that. Raises DatabaseError."""
    with ExitStack() as stack:
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
        else:
            postgres = EmbeddedPostgres(Path(settings.data_dir) / "postgres")
            stack.callback(postgres.stop)
            url = postgres.start()
        store = Store(url, size=POOL)
        store.open()
        stack.callback(store.close)
        yield store
