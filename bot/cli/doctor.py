"""`release-bot doctor`: says what works, what does not and what to do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from bot.app import configured_checklist, load_registry, read_policy
from bot.cli.terminal import EXIT_BAD, Commands, database, load_configuration, put, say
from bot.domain.checklist import Checklist
from bot.domain.policy import Policy
from bot.errors import ConfigError, DatabaseError
from bot.flows import doctor
from bot.flows.configuration_needs import EVERY_RELEASE, PartFinding
from bot.settings import Settings
from bot.slack import checkup
from checks.checkup.finding import Finding, State

WIDTH = max(map(len, State)) + 2  # of the first column
MAX_LINES = 6  # lines of the checklist that one finding names


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="check every part the bot needs, and say what to do about each fault")
    parser.add_argument("--json", action="store_true", help="print it as one JSON document")
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    settings, redactor = load_configuration(options)
    registry = load_registry()
    checklist = configured_checklist(settings, registry)
    policy, own_findings = _policy(settings, checklist)
    own_questions = [checkup.question(settings.slack, policy)]
    if settings.database_url is not None:
        own_questions.append(doctor.database_question(settings.database_url.get_secret_value()))
    else:
        own_findings += _examine_embedded(settings)
    own = doctor.Examination(tuple(own_questions), tuple(own_findings))
    findings = doctor.examination(settings, checklist, registry, own).carry_out(_wait)
    good = all(one.finding.good for one in findings)
    if options.json:
        body = {"good": good, "findings": [_as_json(one) for one in findings]}
        put(redactor.scrub(json.dumps(body, ensure_ascii=False)))
    else:
        put(redactor.scrub("\n".join(line for one in sorted(findings, key=_is_bad) for line in _in_words(one))))
        bad = sum(map(_is_bad, findings))
        put(f"\n{bad} of {len(findings)} to be put right." if bad else "\nEverything this checklist needs works.")
    return 0 if good else EXIT_BAD


def _policy(settings: Settings, checklist: Checklist) -> tuple[Policy | None, list[PartFinding]]:
    """Return the policy, None if it is not valid, and the findings about the configuration."""
    good, *notes = doctor.configuration_findings(settings, checklist)
    try:
        return read_policy(settings, checklist), [good, *notes]
    except ConfigError as error:
        bad = Finding(State.MISSING, error.user_message.rstrip("."), error.hint, lines=(EVERY_RELEASE,))
        return None, [PartFinding(good.part, bad), *notes]


def _examine_embedded(settings: Settings) -> list[PartFinding]:
    """Start the embedded database, examine it and stop it; one that does not exist is not created."""
    part = doctor.OWN_DATABASE
    if not (Path(settings.data_dir) / "postgres").exists():
        what = f"an embedded one; the first start creates it in {settings.data_dir}"
        return [PartFinding(part, Finding(State.NOTE, what))]
    try:
        with database(settings) as store:
            findings = doctor.examine_own_database(store.url, is_embedded=True)
    except DatabaseError as error:
        findings = [Finding(State.UNREACHABLE, error.user_message.rstrip("."), error.hint, lines=(EVERY_RELEASE,))]
    return [PartFinding(part, finding) for finding in findings]


def _is_bad(one: PartFinding) -> bool:
    return not one.finding.good


def _wait(parts: Sequence[str]) -> None:
    say(f"waiting for {', '.join(parts)}")


def _in_words(one: PartFinding) -> list[str]:
    finding, indent = one.finding, " " * WIDTH
    lines = [f"{finding.state:{WIDTH}}{one.part}: {finding.what}"]
    lines += [indent + text for text in (finding.hint, finding.rule) if text]
    if finding.lines and not finding.good:
        more = len(finding.lines) - MAX_LINES
        line_names = ", ".join(finding.lines[:MAX_LINES]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"{indent}Needed by {line_names}.")
    return lines


def _as_json(one: PartFinding) -> dict[str, object]:
    finding = one.finding
    return {
        "part": one.part,
        "state": finding.state,
        "what": finding.what,
        "hint": finding.hint,
        "rule": finding.rule,
        "lines": finding.lines,
    }
