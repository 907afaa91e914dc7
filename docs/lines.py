"""The page docs/reference/checklist-lines.md: every line of SOLVEREIGN's template and what answers it."""  # noqa: INP001  beside a script

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bot.domain.actions import RunCheck
from bot.domain.checklist import IN_A_RELEASE
from bot.domain.policy import Policy, Role
from bot.domain.runbook import places

if TYPE_CHECKING:
    from bot.domain.actions import StepSpec
    from bot.domain.checklist import Checklist

HEAD = """# The lines of the checklist

<!-- Written by docs/generate.py from bot/checklists/solvereign.yml. Do not edit. -->

Every line of SOLVEREIGN's release template, in its wording, and what answers it: the id of a check, of a step or of a
question of the watch, or another part of the bot. A line that shows the result of another check says `= id`: it is asked
once. `attest` is a person, with a name and a note. What each kind asks: [Kinds of checks](kinds.md). The links into the
runbook are those of the example `release-bot.yml`: yours lead into the repository of your `github.repository`.
"""
CARD = "the release card"


class Line(NamedTuple):
    """One row of the page."""

    text: str
    by: str
    kind: str = ""
    target: str = ""
    runbook: str = ""


def page(checklist: Checklist) -> str:
    """The page for the shipped checklist."""
    parts = [HEAD]
    for title, lines in _groups(checklist):
        rows = [
            f"| {_cell(one.text)} | {one.by} | {one.kind} | {one.target} | {_links(checklist, one.runbook)} |"
            for one in lines
        ]
        table = "\n".join(["| line | answered by | kind | target | runbook |", "|---|---|---|---|---|", *rows])
        parts.append(f"## {title}\n\n{table}\n")
    return "\n".join(parts)


def _groups(checklist: Checklist) -> list[tuple[str, list[Line]]]:
    """The template's parts in its order."""
    sections = {section.id: section for section in checklist.sections}
    checks = {name: [_check(checklist, check.id) for check in section.checks] for name, section in sections.items()}
    watched = [
        Line(probe.title, f"`{probe.id}`", f"`{probe.kind}`", probe.target, sections["post"].runbook)
        for probe in checklist.watch.probes
    ]
    return [
        ("Release Information", [Line(name, CARD) for name in ("Version", "Date", "Release Manager", "Runbook")]),
        *((sections[name].title, checks[name]) for name in ("migrations", "staging", "environment", "go")),
        ("Deployment Steps", [_step(step) for step in checklist.deploy]),
        (sections["post"].title, [*checks["post"], *watched]),
        (
            "Rollback Plan",
            [_step(step) for step in checklist.rollback],
        ),
        ("Sign-Off", [_role(role) for role in Policy().roles]),
        (sections["closeout"].title, checks["closeout"]),
    ]


def _check(checklist: Checklist, check_id: str) -> Line:
    check = checklist.check(check_id)
    if check is None:
        raise LookupError(check_id)
    by = f"`{check.id}`" + (f" = `{check.same_as}`" if check.same_as else "")
    return Line(check.title, by, f"`{check.kind}`", "" if check.kind in IN_A_RELEASE else check.target, check.runbook)


def _step(step: StepSpec) -> Line:
    action = step.action
    kind = f"step `{action.do}`" + (f", `{action.kind}`" if isinstance(action, RunCheck) else "")
    return Line(step.title, f"`{step.id}`", kind, getattr(action, "target", ""), step.runbook)


def _role(role: Role) -> Line:
    need = "required" if role in Policy().required else "optional"
    return Line(role.title, f"the policy: sign-off `{role}`, {need}")


def _links(checklist: Checklist, sections: str) -> str:
    return ", ".join(f"[{name}]({at})" if at else name for name, at in places(checklist.runbook, sections))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
