"""Template: all that is in somebody's checklist, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bot.importer.words import Words


@dataclass(frozen=True)
class Note:
    """Text, code or a comment under a line or a heading."""

    kind: Literal["text", "code", "comment"]
    words: Words


@dataclass
class TemplateLine:
    """A line of a list, a line with a box wherever it is, or a row of a table of checks."""

    words: Words
    number: int  # in the file, from 1
    has_box: bool = False  # somebody ticks it, as each row of a table of checks
    is_numbered: bool = False
    parent: TemplateLine | None = None  # the line in whose list it is
    cells: dict[str, Words] = field(default_factory=dict)  # of a row, by the name of the column in lower case
    action: Words = field(default_factory=Words)
    expected: Words = field(default_factory=Words)
    notes: list[Note] = field(default_factory=list)


@dataclass
class TemplateBlock:
    """What is under one heading."""

    heading: Words
    parents: tuple[str, ...] = ()  # the headings above it, outermost first, without that of the whole file
    lines: list[TemplateLine] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def tasks(self) -> list[TemplateLine]:
        """The lines that somebody ticks."""
        return [line for line in self.lines if line.has_box]

    @property
    def steps(self) -> list[TemplateLine]:
        """The lines that somebody ticks, or else the numbered ones."""
        return self.tasks or [line for line in self.lines if line.is_numbered and line.words.text]


@dataclass
class Template:
    """A whole file. ``runbooks``: heading, in lower case -> section of the runbook, where a table says so."""

    title: str
    blocks: list[TemplateBlock]
    runbooks: dict[str, str]
    front_matter: dict[str, object]
    about: str = ""  # the one heading of the first level that all others are under
    hidden_boxes: int = 0  # boxes in comments and code
    empty_boxes: int = 0  # boxes with no words
