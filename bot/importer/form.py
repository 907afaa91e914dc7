"""Reads a GitHub issue form, the YAML kind of issue template, as if it were Markdown: its checkboxes and its texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from bot.document import read_document
from bot.errors import ChecklistError
from bot.importer.read import read_template
from bot.importer.template import Template


def read_form(text: str, source: str) -> Template:
    """Read an issue form from the file ``source``. Raises ChecklistError if it is not one."""
    try:
        _, form = read_document(text)
    except yaml.YAMLError as error:
        raise ChecklistError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(form, dict) or not isinstance(form.get("body"), list):
        raise ChecklistError(
            f"{source}: this isn't a GitHub issue form: it has no body.", hint="Templates in Markdown end in .md."
        )
    template = read_template("\n\n".join(_as_markdown(form["body"])))
    template.title = str(form.get("name") or template.title)
    return template


def _as_markdown(body: list[Any]) -> Iterator[str]:
    """Return each part of the form as Markdown under its label as a heading; a text field may contain boxes."""
    for part in body:
        if not isinstance(part, dict) or not isinstance(part.get("attributes"), dict):
            continue
        attributes = part["attributes"]
        if part.get("type") == "markdown":
            yield str(attributes.get("value") or "")
        elif part.get("type") == "textarea" and attributes.get("value"):
            yield f"###### {attributes.get('label') or ''}"
            yield str(attributes["value"])
        elif part.get("type") == "checkboxes":
            yield f"###### {attributes.get('label') or ''}"
            for option in attributes.get("options") or ():
                if isinstance(option, dict) and option.get("label"):
                    yield f"- [ ] {' '.join(str(option['label']).split())}"
