"""Tables of a template: one of checks gives a line for each row, any other one for each box."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bot.importer.template import TemplateLine
from bot.importer.words import Words

# Names of columns, in lower case, by what they hold.
_TITLES = ("check", "item", "task", "criterion", "criteria", "what", "description")
_ACTIONS = ("command/action", "command", "action", "how", "step")
_EXPECTATIONS = ("expected", "expected result", "result expected", "pass criteria", "expectation")
_NO_TITLES = {
    "",
    "#",
    "no",
    "no.",
    "id",
    "owner",
    "who",
    "assignee",
    "responsible",
    "date",
    "status",
    "done",
    "notes",
    "ok",
}


class TemplateRow(NamedTuple):
    """The cells of a row by their columns, and the columns of its boxes, one for each box."""

    number: int  # of its line in the file, from 1
    cells: dict[str, Words]
    boxes: list[str]


def read_runbooks(rows: list[TemplateRow]) -> dict[str, str]:
    """Return the section of the runbook for each heading (lower case); empty if the table is about something else."""
    names = list(rows[0].cells) if rows else []
    if len(names) != 2 or "section" not in names[0].lower() or "runbook" not in names[1].lower():  # noqa: PLR2004  a pair
        return {}
    return {heading.text.lower(): section.text for heading, section in (row.cells.values() for row in rows)}


def read_rows(rows: list[TemplateRow]) -> Iterator[TemplateLine]:
    """Return a line for each row of a table of checks, or else for each box."""
    for number, cells, boxes in rows:
        title, action, expected = (_find(cells, names) for names in (_TITLES, _ACTIONS, _EXPECTATIONS))
        if title and (action or expected):
            if title.text or boxes:
                yield TemplateLine(
                    title, number, has_box=True, cells=cells, action=action or Words(), expected=expected or Words()
                )
            continue
        rest = {name: words for name, words in cells.items() if name not in boxes and words.text}
        other = next((words for name, words in rest.items() if name.lower() not in _NO_TITLES), Words())
        about = _find(rest, _TITLES) or other
        for name in boxes:
            is_column_needed = len(boxes) > 1 and not cells[name].text
            yield TemplateLine(
                about.join_with(Words(name, name) if is_column_needed else cells[name]), number, has_box=True
            )


def _find(cells: dict[str, Words], names: tuple[str, ...]) -> Words | None:
    """Return the cell of the first of these columns that the row has; None if it has none."""
    return next((words for name in names for column, words in cells.items() if column.lower() == name), None)
