"""No line of the template is lost: each stands in the shipped checklist, in its wording, and says what answers it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.app import load_checklist
from bot.domain.actions import Migrate
from bot.domain.policy import Role
from checks.kinds.migrations_declared import MigrationsDeclaredParams
from checks.registry import Registry

TEMPLATE = Path(__file__).with_name("release-checklist.md")
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "checklist-lines.md"
PARTS = {  # heading of the template: heading of the page
    "Release Information": "Release Information",
    "Migrations": "Migrations",
    "Staging Verification": "Staging Verification",
    "Environment Configuration": "Environment Configuration",
    "Go/No-Go Decision": "Go/No-Go Decision",
    "Deployment Steps": "Deployment Steps",
    "Post-Deployment Verification": "Post-Deployment Verification",
    "Rollback Plan": "Rollback Plan",
    "Sign-Off": "Sign-Off",
    "": "Close-out",  # what stands below the last rule
}
BOX = re.compile(r"^\s*(?:-|\d+\.) \[ \] (.+)$")
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|")
NUMBERED_LINE = re.compile(r"^\d+\. (?!\[)(.+)$")
FACT = re.compile(r"^(?:- )?\*\*(Version|Date|Release Manager|Runbook|Release Notes|Related PRs)\*\*: (.+)$")
PERSON = re.compile(r": @username.*$")


def plain(text: str) -> str:
    """A text without markup."""
    return re.sub(r"`|\*\*|\\(?=[|*])", "", text).strip()


def template_lines() -> Iterator[tuple[str, str]]:
    """The part of the page and the words of everything that people fill in, tick or do in the template."""
    part = ""
    for line in TEMPLATE.read_text(encoding="utf-8").split("---", 2)[2].splitlines():
        if line.startswith("#"):
            part = line.strip("# ")
        elif line == "---":
            part = ""
        elif fact := FACT.match(line):
            inside = fact[1] if part else f"{fact[1]}: {fact[2]}"
            yield PARTS[part], plain(inside)
        elif box := BOX.match(line) or (NUMBERED_LINE.match(line) if part == "Rollback Plan" else None):
            yield PARTS[part], plain(PERSON.sub("", box[1]))
        elif row := ROW.match(line):
            yield PARTS[part], plain(row[2])


CHECKLIST = load_checklist("solvereign", Registry.load())
LINES = tuple(template_lines())


def page_rows() -> Iterator[tuple[str, list[str]]]:
    """The part and the cells of each row of the page."""
    part = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            part = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith("| line |"):
            yield part, [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def rows_of(part: str, words: str) -> list[list[str]]:
    """The rows of a part that begin with these words."""
    return [cells for where, cells in page_rows() if where == part and plain(cells[0]).startswith(words)]


def test_the_whole_template_is_read() -> None:
    """The template has 42 boxes, ten rows, four rollback lines, and the facts above and below them."""
    text = TEMPLATE.read_text(encoding="utf-8")
    assert len(re.findall(r"\[ \]", text)) == 42
    assert len(LINES) == 42 + 10 + 4 + 4 + 2
    assert len(set(LINES)) == len(LINES)


@pytest.mark.parametrize(("part", "words"), LINES, ids=[f"{part}: {words}"[:60] for part, words in LINES])
def test_each_line_of_the_template_is_on_the_page(part: str, words: str) -> None:
    """Each line has one row in its part, with what answers it and a link to the runbook."""
    rows = rows_of(part, words)
    assert len(rows) == 1, words
    _, by, _, _, runbook = rows[0]
    assert by
    if part not in {"Release Information", "Sign-Off", "Close-out"} and by.startswith("`"):
        assert re.search(r"\[.+\]\(https://.+#[a-z0-9-]+\)", runbook), words


def test_the_runbook_is_that_of_the_product() -> None:
    """The path of the runbook is the one that the template links."""
    assert f"(/{CHECKLIST.runbook})" in TEMPLATE.read_text(encoding="utf-8")


def test_the_page_names_ids_and_roles_that_exist() -> None:
    """Each id on the page is one of the checklist, and each role one of the policy."""
    all_ids: set[str] = {check.id for check in CHECKLIST.checks} | {probe.id for probe in CHECKLIST.watch.probes}
    all_ids |= {step.id for step in (*CHECKLIST.deploy, *CHECKLIST.rollback)}
    names_on_page = {name for _, cells in page_rows() for name in re.findall(r"`([a-z_.]+)`", cells[1])}
    assert names_on_page == all_ids | set(Role)


def test_the_table_of_the_gate_is_that_of_the_template() -> None:
    """The ten checks of the gate have the action and expectation of the template."""
    rows = [ROW.match(line) for line in TEMPLATE.read_text(encoding="utf-8").splitlines()]
    template_rows = [(plain(row[2]), plain(row[3]), plain(row[4])) for row in rows if row]
    assert [(one.title, one.action, one.expected) for one in CHECKLIST.gate_checks] == template_rows


def test_a_migration_without_a_declaration_closes_the_gate() -> None:
    """The first check of the gate needs the check of declarations, and neither can be waived."""
    first, declaration = CHECKLIST.gate_checks[0], CHECKLIST.check("migrations.declared")
    assert declaration is not None
    assert first.needs == (declaration.id,)
    assert not first.waivable
    assert not declaration.waivable
    (files,) = [step.action.files for step in CHECKLIST.deploy if isinstance(step.action, Migrate)]
    assert files == MigrationsDeclaredParams.model_validate(declaration.params).path


def test_no_line_of_the_checklist_is_attested() -> None:
    """Every check and step of the shipped checklist is done by the bot itself."""
    assert [check.id for check in CHECKLIST.distinct_checks if check.kind == "attest"] == []
    assert [step.id for step in (*CHECKLIST.deploy, *CHECKLIST.rollback) if step.action.do == "attest"] == []
