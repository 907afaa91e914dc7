"""The JSON Schema of checklists: takes what the bot takes, and marks the slips that an editor can see."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bot.app import CHECKLISTS_FOLDER
from bot.checklists.schema import json_schema
from bot.cli import main
from checks.registry import Registry

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "reference" / "checklist.schema.json"
CHECKLISTS = sorted(CHECKLISTS_FOLDER.glob("*.yml"))


def complaints(body: Any) -> list[str]:
    """The errors of a checklist under the published schema."""
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
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
def test_shipped_checklists_are_valid(file):
    """Each shipped checklist is valid under the schema and refers editors to it."""
    text = file.read_text(encoding="utf-8")
    assert complaints(yaml.safe_load(text)) == []
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve() == SCHEMA_FILE


@pytest.mark.parametrize(
    ("changes", "message"),
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
def test_mistakes_are_marked(changes, message):
    """The schema marks the mistakes that the bot would reject, at their place."""
    body = small()
    assert complaints(body) == []
    body["sections"][0]["checks"][0] |= changes
    assert [line for line in complaints(body) if message in line], complaints(body)


def test_the_printed_schema_has_the_kinds_of_plugins(capsys):
    """`release-bot checklist schema` prints a schema with the kinds of installed plugins."""
    assert main(["checklist", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    registry = Registry.load()
    assert schema == json_schema(registry.get(name) for name in registry.names())
    assert "queue_depth" in schema["$defs"]["Check"]["properties"]["kind"]["enum"]
