"""The pages about trust: every threat names a test that exists, and the hardening policy can be copied."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from bot.domain.policy import Action, Policy, Role
from bot.domain.staffing import find_shortage

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "threat-model.md"
HARDEN = ROOT / "docs" / "howto" / "harden.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def threats() -> list[list[str]]:
    """The cells of each row of the tables that have a column of tests."""
    rows: list[list[str]] = []
    reading = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells[-1:] == ["test"]:
            reading = True
        elif not cells:
            reading = False
        elif reading and set(line) != {"|", "-"}:
            rows.append(cells)
    return rows


THREATS = threats()


def test_there_are_threats_of_each_kind() -> None:
    """The page has five tables with several rows each."""
    assert len(THREATS) >= 40
    assert len({threat for threat, *_ in THREATS}) == len(THREATS)


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row[0][:40])
def test_each_threat_names_a_test_that_exists(row: list[str]) -> None:
    """Each row says what is tried, how it is stopped, and which test proves it."""
    threat, defence, test_cell = row
    match = TEST.fullmatch(test_cell)
    assert threat
    assert defence
    assert match is not None, test_cell
    tree = ast.parse((ROOT / match[1]).read_text(encoding="utf-8"))
    assert match[2] in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_policy_of_the_hardening_guide_is_valid() -> None:
    """The policy in the hardening guide can be met and is stricter than the default."""
    (block,) = re.findall(r"```yaml\n(.*?)```", HARDEN.read_text(encoding="utf-8"), re.DOTALL)
    policy = Policy.model_validate(yaml.safe_load(block)["policy"])
    assert find_shortage(policy, {role: (f"U{role}",) for role in Role}) is None
    assert set(policy.required) > set(Policy().required)
    assert all(set(policy.roles_for(action)) <= set(Policy().roles_for(action)) for action in Action)
    assert policy.roles_for(Action.ROLLBACK) == Policy().roles_for(Action.ROLLBACK)
