"""`release-bot checklist …`: work with checklists, with no configuration and no bot."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bot.app import load_checklist, load_registry
from bot.checklists.read import read_checklist
from bot.checklists.schema import json_schema
from bot.cli.terminal import Commands, put, say
from bot.domain.checklist import ATTEST_KIND
from bot.errors import ChecklistError
from bot.importer.write import import_template


def add_to(commands: Commands) -> None:
    """Add the commands."""
    group = commands.add_parser("checklist", help="check, import or describe checklists").add_subparsers(
        required=True, metavar="COMMAND"
    )
    lint = group.add_parser("lint", help="check a checklist; faults come with file, line and key")
    lint.add_argument("file", type=Path)
    lint.set_defaults(run=_lint)
    take = group.add_parser("import", help="make a checklist from a GitHub issue template or another list of boxes")
    take.add_argument("template", type=Path)
    take.add_argument("-o", "--output", type=Path, metavar="FILE", help="a new file (default: standard output)")
    take.set_defaults(run=_import)
    schema = group.add_parser("schema", help="print the JSON Schema of checklists for editors, with installed plugins")
    schema.set_defaults(run=_schema)


def _import(options: argparse.Namespace) -> int:
    try:
        text = options.template.read_text(encoding="utf-8")
    except OSError as error:
        raise ChecklistError(f"{options.template}: can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ChecklistError(f"{options.template}: can't be read: it isn't UTF-8.") from error
    draft = import_template(text, options.template.name)
    checklist = read_checklist(draft.yaml, str(options.output or "standard output"), load_registry())
    if options.output is None:
        put(draft.yaml.rstrip("\n"))
    else:
        try:
            with options.output.open("x", encoding="utf-8") as file:
                file.write(draft.yaml)
        except FileExistsError as error:
            raise ChecklistError(f"{options.output} already exists.", hint="Name a new file.") from error
        except OSError as error:
            raise ChecklistError(f"{options.output}: can't be written: {error.strerror}.") from error
    by_bot = sum(entry.kind != ATTEST_KIND for entry in checklist.distinct_checks)
    say(f"{draft.lines} lines of {options.template.name}, and where they went:")
    for heading, number, place in draft.places:
        say(f"  {heading}: {number}, {place}")
    for number, what in ((draft.hidden_boxes, "in comments or code"), (draft.empty_boxes, "with no words")):
        if number:
            say(f"  {number} {'box is' if number == 1 else 'boxes are'} skipped: {what}.")
    say(
        f"{len(checklist.distinct_checks)} checks: {by_bot} are run by the bot, {len(checklist.distinct_checks) - by_bot} by people;"
        f" {draft.proposals} of these have a suggestion in a comment."
    )
    return 0


def _schema(_: argparse.Namespace) -> int:
    registry = load_registry()
    put(json.dumps(json_schema(registry.get(name) for name in registry.names()), indent=1, ensure_ascii=False))
    return 0


def _lint(options: argparse.Namespace) -> int:
    checklist = load_checklist(str(options.file), load_registry())
    by_bot = sum(entry.kind != ATTEST_KIND for entry in checklist.distinct_checks)
    for notice in checklist.notices:
        put(f"{options.file}: {notice}.")
    put(
        f"{options.file}: valid. {len(checklist.checks)} lines, {len(checklist.distinct_checks)} checks, {by_bot} of them asked by"
        f" the bot; digest {checklist.digest[:12]}."
    )
    return 0
