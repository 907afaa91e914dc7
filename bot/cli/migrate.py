"""`release-bot migrate`: brings the database up to date."""

from __future__ import annotations

import argparse

from bot.cli.terminal import Commands, database, load_configuration, put
from bot.store.migrate import migrate


def add_to(commands: Commands) -> None:
    """Add the command."""
    commands.add_parser("migrate", help="bring the database up to date").set_defaults(run=_migrate)


def _migrate(options: argparse.Namespace) -> int:
    settings, _ = load_configuration(options)
    with database(settings) as store:
        names = migrate(store)
    put("\n".join(f"applied {name}" for name in names) or "The database is up to date.")
    return 0
