"""Writes the references that are made from the code; run it as `python docs/generate.py`."""  # noqa: INP001  a script

from __future__ import annotations

import ast
import inspect
import io
import json
import runpy
import textwrap
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.app import configured_checklist
from bot.checklists.schema import json_schema
from checks.contract import Params
from checks.registry import BUILT_IN, Registry

if TYPE_CHECKING:
    from checks.contract import Kind

REFERENCE = Path(__file__).parent / "reference"

HEAD = """# Kinds of checks

<!-- Written by docs/generate.py from the kinds. Do not edit. -->

A check of the checklist names a `kind` and gives it `params`. One file in `checks/kinds/` answers one kind; those that know the
product SOLVEREIGN are in `checks/solvereign/`. An unknown
kind or parameter is refused when the checklist is read. How to write one: [Add a check](../howto/add-a-check.md).

Every kind answers PASS, FAIL, ERROR (could not find out) or INCONCLUSIVE (a person has to say). Only PASS is a pass.

- **Changes data** kinds run only where `targets.<name>.mutable` is true, never on production and never with a live
  Stripe key. What they change is written down first and put back.
- **Touches** names what a check has for itself: no other that touches or reads the same runs beside it.
- **Reads** names what it only looks at, beside others that do.
- **Uses up** names what a target allows only so often, such as logins. When nothing is left, the check waits.
- **Time** is the limit where the check sets no `timeout`.
"""


# What a parameter means that has the same meaning wherever it stands and carries no words of its own.
USUAL = {
    "base": "Which address of the target the path belongs to",
    "event": "Type of the Stripe event",
    "level": "Level of the test event",
    "login_path": "Where the test user logs in",
    "method": "Method of the request",
    "pages": "The pages to visit",
    "path": "Path of the request, from `/`",
    "since": "A moment with its time zone; unset: since the deploy began",
    "status": "Status that is right",
}
OWN = {("billing_gate", "status"): "Billing status that the test tenant gets for the request; must lead to 402"}


def kinds_page(registry: Registry) -> str:
    """The page, for the kinds that ship with the bot."""
    parts = [HEAD, "| kind | what it does |\n|---|---|"]
    kinds = [registry.get(name) for name in sorted(BUILT_IN)]
    parts[-1] += "".join(f"\n| [`{kind.name}`](#{kind.name}) | {kind.summary} |" for kind in kinds)
    parts += [_kind(kind) for kind in kinds]
    return "\n".join(parts) + "\n"


def _kind(kind: Kind) -> str:
    facts = [f"Changes data: {'yes' if kind.mutates else 'no'}"]
    if kind.touches:
        facts.append(f"Touches: {', '.join(kind.touches)}")
    if kind.reads:
        facts.append(f"Reads: {', '.join(kind.reads)}")
    if kind.spends:
        facts.append(f"Uses up: {', '.join(allowance.name for allowance in kind.spends)}")
    facts.append(f"Time: {kind.timeout:g} s")
    doc = (inspect.getdoc(type(kind)) or "").replace("``", "`")
    return f"\n## {kind.name}\n\n{kind.summary}.\n\n{doc}\n\n{'. '.join(facts)}.\n\n{_params(kind)}"


def _params(kind: Kind) -> str:
    """A table of the parameters, and one for each model inside of them."""
    schema = kind.params.model_json_schema()
    tables = [_table(kind.name, kind.params, schema)]
    for name, inner in sorted(schema.get("$defs", {}).items()):
        model = next((sub for sub in Params.__subclasses__() if sub.__name__ == name), None)
        if model is not None and "properties" in inner:
            tables.append(f"Each `{name}`:\n\n{_table(kind.name, model, inner)}")
    return "\n\n".join(tables)


def _table(kind: str, model: type[Params], schema: dict[str, Any]) -> str:
    if not schema.get("properties"):
        return "It has no parameters."
    comments = _comments(model)
    lines = ["| param | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        schema_of_field = schema["properties"][name]
        default = "required" if field.is_required() else f"`{json.dumps(_default(field), ensure_ascii=False)}`"
        meaning = field.description or comments.get(name) or OWN.get((kind, name)) or USUAL[name]
        lines.append(f"| `{name}` | {_type(schema_of_field)} | {default} | {_cell(meaning)} |")
    return "\n".join(lines)


def _default(field: Any) -> Any:
    value = field.get_default(call_default_factory=True)
    return list(value) if isinstance(value, tuple) else value


def _type(schema: dict[str, Any]) -> str:
    """The type in words."""
    if "anyOf" in schema:  # a value that may be left unset
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return "one of " + ", ".join(f"`{word}`" for word in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return "values" if name == "JsonValue" else f"`{name}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties", {})
        return f"mapping of names to {_type(inner) if isinstance(inner, dict) and inner else 'values'}"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    name = words.get(schema.get("type", ""), "any value")
    if schema.get("format") == "date-time":
        name = "time with its zone"
    if "minimum" in schema and "maximum" in schema:
        return f"{name}, {schema['minimum']} to {schema['maximum']}"
    return f"{name}, at least {schema['minimum']}" if "minimum" in schema else name


def _comments(model: type[Params]) -> dict[str, str]:
    """The comment behind each field: where a field needs a word, its author has put it there."""
    source = textwrap.dedent(inspect.getsource(model))
    by_line = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    comments = {}
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]  # a class has a body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.end_lineno is not None:
            lines = [by_line[line] for line in range(node.lineno, node.end_lineno + 1) if line in by_line]
            if lines:
                comments[node.target.id] = " ".join(lines)
    return comments


def _cell(text: str) -> str:
    sentence = (text[:1].upper() + text[1:]).removesuffix(".")
    return sentence.replace("|", "\\|").replace("<", "&lt;").replace("``", "`")


def schema_file(registry: Registry) -> str:
    """The JSON Schema of a checklist with the kinds that ship with the bot."""
    return json.dumps(json_schema(registry.get(name) for name in BUILT_IN), indent=1, ensure_ascii=False) + "\n"


def lines_page() -> str:
    """The page of the shipped checklist's lines; how it is made stands in lines.py beside this file."""
    checklist = configured_checklist(rights()["configuration"](), Registry.load())
    return str(runpy.run_path(str(Path(__file__).with_name("lines.py")))["page"](checklist))


def page_of(script: str) -> str:
    """The page that a script beside this file makes: permissions.py, commands.py, events.py."""
    return str(runpy.run_path(str(Path(__file__).with_name(script)))["page"]())


def rights() -> dict[str, Any]:
    """The names of rights.py beside this file."""
    return runpy.run_path(str(Path(__file__).with_name("rights.py")))


if __name__ == "__main__":
    kinds = Registry.load()
    (REFERENCE / "kinds.md").write_text(kinds_page(kinds), encoding="utf-8")
    (REFERENCE / "checklist.schema.json").write_text(schema_file(kinds), encoding="utf-8")
    (REFERENCE / "checklist-lines.md").write_text(lines_page(), encoding="utf-8")
    for script in ("permissions.py", "commands.py", "events.py"):
        (REFERENCE / script).with_suffix(".md").write_text(page_of(script), encoding="utf-8")
    text = rights()
    text["ROLES"].write_text(text["roles"](), encoding="utf-8")
    text["PAGE"].write_text(text["page"](), encoding="utf-8")
