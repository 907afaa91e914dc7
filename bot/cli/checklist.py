"""`release-bot checklist …`: work with checklists, with no configuration and no bot."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bot.app import load_checklist, load_registry
from bot.cli.terminal import Commands, put
from bot.domain.checklist_schema import json_schema


def add_to(commands: Commands) -> None:
    """Add the commands."""
    group = commands.add_parser("checklist", help="work with checklists").add_subparsers(
        required=True, metavar="COMMAND"
    )
    lint = group.add_parser("lint", help="check a checklist: names file, line and key")
    lint.add_argument("file", type=Path)
    lint.set_defaults(run=_lint)
    schema = group.add_parser(
        "schema", help="print the JSON Schema of checklists, for editors; knows installed plugins"
    )
    schema.set_defaults(run=_schema)


def _schema(_: argparse.Namespace) -> int:
    registry = load_registry()
    put(json.dumps(json_schema(registry.get(name) for name in registry.names()), indent=1, ensure_ascii=False))
    return 0


def _lint(options: argparse.Namespace) -> int:
    checklist = load_checklist(str(options.file), load_registry())
    by_bot = sum(entry.kind != "attest" for entry in checklist.asked)
    put(
        f"{options.file}: good. {len(checklist.checks)} lines, {len(checklist.asked)} checks, {by_bot} of them asked by"
        f" the bot; digest {checklist.digest[:12]}."
    )
    return 0
