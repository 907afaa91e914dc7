"""The JSON Schema of checklists: takes what the bot takes, and marks the slips that an editor can see."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bot.app import SHIPPED
from bot.checklists.schema import json_schema
from bot.cli import main
from checks.registry import Registry

PUBLISHED = Path(__file__).parents[2] / "docs" / "reference" / "checklist.schema.json"
CHECKLISTS = sorted(SHIPPED.glob("*.yml"))


def complaints(body: Any) -> list[str]:
    """What the published schema says against a checklist."""
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in jsonschema.Draft202012Validator(schema).iter_errors(body)
    ]


def small() -> dict[str, Any]:
    """A checklist with one check."""
    check = {
        "id": "go.health",
        "title": "Healthy",
        "kind": "http_json",
        "params": {"path": "/health"},
        "max_age": "90m",
    }
    return {
        "id": "small",
        "title": "Small",
        "sections": [{"id": "go", "title": "Go", "gate": True, "checks": [check]}],
        "deploy": [{"id": "deploy.it", "title": "Deploy", "action": {"do": "attest"}}],
        "rollback": [{"id": "rollback.it", "title": "Back", "action": {"do": "check", "kind": "pod_logs"}}],
    }


@pytest.mark.parametrize("file", CHECKLISTS, ids=lambda file: file.stem)
def test_shipped_checklists_are_good(file):
    """And they point editors at the schema."""
    text = file.read_text(encoding="utf-8")
    assert complaints(yaml.safe_load(text)) == []
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve() == PUBLISHED


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "http_jsn"}, "kind: 'http_jsn' is not one of"),
        ({"params": {"path": "/health", "stauts": 200}}, "params: Additional properties are not allowed ('stauts'"),
        ({"params": {}}, "params: 'path' is a required property"),
        ({"kind": "sql_verify", "params": {"function": "f", "rows": ["five"]}}, "params.rows.0: 'five' is not of type 'integer'"),
        ({"kind": "http_pages", "params": {"pages": [{"path": "x"}]}}, "params.pages.0.path: 'x' does not match '^/'"),
        ({"max_age": "soon"}, "max_age: 'soon' does not match"),
        ({"id": "Go Health"}, "id: 'Go Health' does not match"),
        ({"titel": "x"}, "Additional properties are not allowed ('titel'"),
    ],
)  # fmt: skip
def test_slips_are_marked(changes, said):
    """As the bot would refuse them, at the very place."""
    body = small()
    assert complaints(body) == []
    body["sections"][0]["checks"][0] |= changes
    assert [line for line in complaints(body) if said in line], complaints(body)


def test_kinds_of_plugins_are_in_what_is_printed(capsys):
    """`release-bot checklist schema` knows what is installed."""
    assert main(["checklist", "schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    registry = Registry.load()
    assert printed == json_schema(registry.get(name) for name in registry.names())
    assert "queue_depth" in printed["$defs"]["Check"]["properties"]["kind"]["enum"]
