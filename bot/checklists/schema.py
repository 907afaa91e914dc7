"""The checklist as a JSON Schema, for editors: generated from the models, with the params of each kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bot.domain.checklist import ID, ID_LIMIT, Checklist
from bot.domain.model import DURATION

if TYPE_CHECKING:
    from checks.contract import Kind

_WITH_AN_ID = ("Section", "Check", "Probe", "StepSpec")
_WITH_A_KIND = ("Check", "Probe", "RunCheck")


def json_schema(kinds: Iterable[Kind]) -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of checklists that use these kinds.

    It knows each line by itself. What holds between lines, such as `needs`, only `release-bot checklist lint` sees.
    """
    schema = Checklist.model_json_schema()
    models: dict[str, Any] = schema.pop("$defs")
    schema["title"] = "Checklist of release-bot"
    for model_with_id in (schema, *(models[name] for name in _WITH_AN_ID)):
        model_with_id["properties"]["id"] |= {"pattern": f"^{ID.pattern}$", "maxLength": ID_LIMIT}
    check = models["Check"]
    check["properties"]["max_age"] = {"type": "string", "pattern": rf"^{DURATION.pattern}$", "default": "4h"}
    check["anyOf"] = [{"required": ["kind"]}, {"required": ["same_as"]}]
    kinds_by_name = sorted(kinds, key=lambda kind: kind.name)
    for name in _WITH_A_KIND:
        models[name]["properties"]["kind"] = {"enum": [kind.name for kind in kinds_by_name]}
        models[name]["allOf"] = [_params_of(kind) for kind in kinds_by_name]
    for kind in kinds_by_name:
        models |= _models_of(kind)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_without_titles(schema),
        "$defs": {name: _without_titles(models[name]) for name in sorted(models)},
    }


def _params_of(kind: Kind) -> dict[str, Any]:
    """Which params a check of this kind takes."""
    required_keys = ["params"] if kind.params.model_json_schema().get("required") else []
    return {
        "if": {"properties": {"kind": {"const": kind.name}}, "required": ["kind"]},
        "then": {"properties": {"params": {"$ref": f"#/$defs/{kind.name}"}}, "required": required_keys},
    }


def _models_of(kind: Kind) -> dict[str, Any]:
    """The kind's params under its own name, and the models inside of them under names that no other kind has."""
    schema = kind.params.model_json_schema(ref_template=f"#/$defs/{kind.name}.{{model}}")
    inner = {f"{kind.name}.{name}": model for name, model in schema.pop("$defs", {}).items()}
    return {kind.name: {**schema, "description": kind.summary}, **inner}


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the titles that only repeat the name of a property."""
    for value in schema.get("properties", {}).values():
        value.pop("title", None)
    return {key: value for key, value in schema.items() if key != "title" or value == "Checklist of release-bot"}
