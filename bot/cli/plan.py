"""`release-bot plan`: what a deploy of a version would change now, with no Slack and no release. Reads only."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from bot.app import build_sources, build_target_deps, configured_checklist, load_registry
from bot.cli.terminal import EXIT_BAD, Commands, load_configuration, put
from bot.domain.actions import AttestAction, Notify, RunCheck
from bot.domain.ids import Version
from bot.domain.plan import PlanKind, PlannedStep, Way
from bot.errors import InvalidInput
from bot.flows.step_inspection import preview_plans, version_reference

MARKS = {Way.BACK: "back", Way.COMPATIBLE: "stays", Way.UNKNOWN: "?", Way.FINAL: "FINAL"}


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("plan", help="show what a deploy would change, and how a rollback undoes it")
    parser.add_argument("version", metavar="vX.Y.Z")
    parser.add_argument("--json", action="store_true", help="print it as one JSON document")
    parser.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> int:
    settings, redactor = load_configuration(options)
    version = Version.parse(options.version)
    if version is None:
        raise InvalidInput(f"{options.version} isn't a version.", hint="Such as v4.8.0.")
    registry = load_registry()
    checklist = configured_checklist(settings, registry)
    source = build_sources(settings).resolve(str(version))
    deps = build_target_deps(settings, registry, redactor.scrub)
    steps = preview_plans(deps, checklist, version_reference(version, source), {})
    if options.json:
        put(redactor.scrub(json.dumps([_as_json(step) for step in steps], ensure_ascii=False)))
    else:
        put(redactor.scrub("\n".join(_lines(str(version), steps))))
    return EXIT_BAD if any(step.trouble for step in steps if step.plan is PlanKind.DEPLOY) else 0


def _lines(version: str, steps: Sequence[PlannedStep]) -> list[str]:
    lines = []
    for kind, title in ((PlanKind.DEPLOY, f"Deploy of {version}"), (PlanKind.ROLLBACK, f"Rollback of {version}")):
        lines += [title, ""]
        for number, step in enumerate((step for step in steps if step.plan is kind), start=1):
            lines.append(f"{number:3}. {step.spec.title}{_who(step)}")
            if step.trouble:
                lines.append(f"     the bot can't say what it would change: {step.trouble}")
            for change in step.changes:
                lines.append(f"     {change.what}")
                lines.append(f"       {change.now or 'nothing'}  ->  {change.after}")
                lines.append(f"       {MARKS[change.way]:5}  {change.back}")
        lines.append("")
    return lines


def _who(step: PlannedStep) -> str:
    if isinstance(step.spec.action, AttestAction):
        return " (a person, who attests it)"
    if isinstance(step.spec.action, Notify):
        return " (the bot's message at the end)"
    return " (asks)" if isinstance(step.spec.action, RunCheck) else ""


def _as_json(step: PlannedStep) -> dict[str, object]:
    changes = [change.body for change in step.changes]
    return {
        "plan": step.plan,
        "step": step.spec.id,
        "title": step.spec.title,
        "changes": changes,
        "trouble": step.trouble,
    }
