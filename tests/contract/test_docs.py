"""What the documents say is there: links resolve, the command lines parse, the references know every key, kind and command."""

import argparse
import importlib
import operator
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.checklists.read import read_checklist
from bot.cli import main, parser
from bot.domain.actions import StepSpec
from bot.domain.checklist import Check, Checklist
from bot.domain.checklist import Section as ChecklistSection
from bot.domain.policy import Action, Policy
from bot.domain.reasons import Cause
from bot.domain.release import TRANSITIONS
from bot.settings import Settings
from bot.slack.features import BUTTONS, COMMANDS
from checks.contract import Kind, Outcome
from checks.registry import Registry
from clients.target import Target
from tests.checks.replies import Replies, Reply
from tests.contract.test_example_config import _keys
from tests.fix_checks import run

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"```.*?```", re.DOTALL)
LINE = re.compile(r"(?:^ {4}|^|`)(?:\.venv/bin/)?(release-bot [a-z][^`\n#]*|make [a-z]+)", re.MULTILINE)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _page_text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_resolve(page):
    """Every link to a file, and to a heading of a page, leads to something that exists."""
    broken_links = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken_links.append(target)
    assert broken_links == []


def _command_lines() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in LINE.findall(page.read_text(encoding="utf-8")):
            yield _name(page), line.strip()


@pytest.mark.parametrize(("page", "line"), sorted(set(_command_lines())))
def test_command_lines_are_valid(page, line, capsys):
    """Every command line on a page is a make target that exists or a command with valid arguments."""
    words = shlex.split(line)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return
    with pytest.raises(SystemExit) as exit_info:
        main([*words[1:], "--help"])
    assert exit_info.value.code == 0, capsys.readouterr().err


def test_every_package_is_in_the_overview_of_the_tree():
    """CONTRIBUTING.md says for each package what belongs there; a package inside of another one may be left out."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    packages = {page.parent.relative_to(ROOT).as_posix() for page in ROOT.glob("bot/*/__init__.py")}
    assert [package for package in sorted({*packages, "clients", "sandbox"}) if f"| `{package}/` |" not in text] == []


def test_the_page_of_kinds_is_up_to_date():
    """The page is the one that docs/generate.py makes of the kinds."""
    page = runpy.run_path(str(DOCS / "generate.py"))["kinds_page"](Registry.load())
    assert page == _page_text("reference/kinds.md")


def test_the_schema_is_up_to_date():
    """The file is the one that docs/generate.py makes of the checklist's models and the kinds' parameters."""
    text = runpy.run_path(str(DOCS / "generate.py"))["schema_file"](Registry.load())
    assert text == _page_text("reference/checklist.schema.json")


def test_the_page_of_lines_is_up_to_date():
    """The page is the one that docs/generate.py makes of the shipped checklist."""
    page = runpy.run_path(str(DOCS / "generate.py"))["lines_page"]()
    assert page == _page_text("reference/checklist-lines.md")


@pytest.mark.parametrize("name", ["permissions", "commands", "events"])
def test_the_pages_of_the_entries_are_up_to_date(name):
    """The page is the one that docs/generate.py makes of the entries in bot/slack/features, or of the events."""
    page = runpy.run_path(str(DOCS / "generate.py"))["page_of"](f"{name}.py")
    assert page == _page_text(f"reference/{name}.md")


def test_every_setting_is_described():
    """The reference has a row for each key of the configuration."""
    text = _page_text("reference/configuration.md")
    assert [key for key in _keys(Settings) if f"`{key.replace('targets.*', 'targets.NAME')}`" not in text] == []


def test_every_key_of_the_policy_is_described():
    """The reference has a row for each key of the policy, which is read apart from the settings."""
    text = _page_text("reference/configuration.md")
    assert [key for key in Policy.model_fields if f"`policy.{key}`" not in text] == []


def test_every_key_of_a_checklist_is_described():
    """The reference has a row for each key of a checklist."""
    text = _page_text("reference/checklist.md")
    models = (Checklist, ChecklistSection, Check, StepSpec)
    keys = {key for model in models for key in model.model_fields}
    assert sorted(key for key in keys if f"| `{key}` |" not in text) == []


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The commands below a parser, as people type them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                below = list(_commands(inner))
                yield from (f"{name} {word}" for word in below) if below else [name]


def test_every_command_of_the_terminal_is_described():
    """The page has a row for each command."""
    text = _page_text("reference/command-line.md")
    assert [name for name in _commands(parser()) if f"| `{name}` |" not in text] == []


def test_every_command_and_button_is_described():
    """The reference lists each command with its usage, and the id of each button."""
    text = _page_text("reference/commands.md")
    usages = [command.usage.replace("|", "\\|") for command in COMMANDS.values()]
    assert [usage for usage in usages if f"`{usage}`" not in text] == []
    assert [button for button in BUTTONS if f"`{button}`" not in text] == []


@pytest.mark.parametrize("action", Action)
def test_the_table_of_permissions_is_that_of_the_policy(action):
    """The row of each action names the roles that the default policy allows."""
    _, _, table = _page_text("reference/commands.md").partition("## Who may do what")
    row = re.search(rf"^\| `{action}` \|(.*)\|$", table, re.MULTILINE)
    assert row is not None
    roles = Policy().roles_for(action)
    everybody = "any of the three roles"
    assert row[1].split("|")[-1].strip() == (everybody if len(roles) == 3 else ", ".join(role.title for role in roles))


def test_the_table_of_states_is_that_of_the_code():
    """The transitions on the architecture page are those of bot.domain.release."""
    rows = re.findall(r"^\| `([A-Z_]+)` \|([^|]*)\|", _page_text("explanation/architecture.md"), re.MULTILINE)
    table = {state: set(re.findall(r"`([A-Z_]+)`", after)) for state, after in rows}
    assert table == {str(state): {str(one) for one in after} for state, after in TRANSITIONS.items()}


def test_each_stop_of_a_walk_through_the_code_exists():
    """Each stop of a walk on the architecture page is a file with a function or method of that name."""
    stops = re.findall(r"^\d+\. `([\w/]+)\.py`, `([\w.]+)`", _page_text("explanation/architecture.md"), re.MULTILINE)
    assert len(stops) >= 12
    for path, name in stops:
        module = importlib.import_module(path.replace("/", "."))
        assert callable(operator.attrgetter(name)(module)), f"{path}: {name}"


def test_every_reason_of_the_gate_is_explained():
    """The glossary explains every cause for which the gate can be closed."""
    text = _page_text("glossary.md")
    assert [cause for cause in Cause if f"`{cause}`" not in text] == []


def _code(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _page_text(name), re.DOTALL | re.MULTILINE)


def test_the_smallest_checklist_is_valid():
    """The bot accepts the checklist that the reference shows as the smallest one."""
    (text,) = _code("reference/checklist.md", "yaml")
    checklist = read_checklist(text, "checklist.md", Registry.load())
    assert [check.id for check in checklist.gate_checks] == ["go.health"]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(200, {"waiting": 3}), Outcome.PASS),
        (Reply(200, {"waiting": 101}), Outcome.FAIL),
        (Reply(404, "no such page"), Outcome.ERROR),
    ],
)
def test_the_kind_of_the_how_to_works(reply, outcome, tmp_path):
    """The code on the page is that of the sample plugin, and the kind passes, fails and reports an error."""
    (code,) = _code("howto/add-a-check.md", "python")
    assert code == (ROOT / "tests" / "plugin" / "our_checks" / "queue_depth.py").read_text(encoding="utf-8")
    file = tmp_path / "queue_depth.py"
    file.write_text(code, encoding="utf-8")
    kind: Kind = runpy.run_path(str(file))["QueueDepth"]()
    with Replies({"GET /api/queue": reply}) as server:
        result = run(kind, {"at_most": 100}, target=Target.model_validate({"name": "staging", "api_url": server.url}))
    assert result.outcome is outcome
