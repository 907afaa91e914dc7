"""`release-bot audit …`: work with the record."""

from __future__ import annotations

import argparse

from bot.cli.terminal import EXIT_BAD, Commands, configured, database, put
from bot.domain.audit import first_break
from bot.store import audit


def add_to(commands: Commands) -> None:
    """Add the commands."""
    group = commands.add_parser("audit", help="work with the record").add_subparsers(required=True, metavar="COMMAND")
    group.add_parser("verify", help="check that no row of the record was changed").set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    settings, _ = configured(options)
    with database(settings) as store, store.transaction() as tx:
        events = audit.events(tx)
    broken = first_break(events)
    if broken is not None:
        put(f"The record is broken at row {broken[0]}: {broken[1]}.")
        return EXIT_BAD
    head = events[-1].hash if events else "none"
    put(f"The record holds: {len(events)} rows, head {head}.")
    return 0
