"""Reads a Markdown checklist, such as a GitHub issue template: headings, lines with a box, tables of checks, numbered lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_LABEL = re.compile(r"^\s*\*\*([^*]+)\*\*:?\s*$|^\s*\*\*([^*]+):\*\*\s*$")  # a line in bold that ends like a heading
_ITEM = re.compile(r"^(?P<indent>[\s>]*)(?:[-*+]|(?P<number>\d+)[.)])\s+(?:\[(?P<box>[ xX])\](?:\s+|$))?(?P<text>.*)$")
_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_EMPHASIS = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")

# Names of columns, in lower case, by what they hold.
_COLUMNS = {
    "title": ("check", "item", "task", "criterion", "criteria", "what", "description"),
    "action": ("command/action", "command", "action", "how", "step"),
    "expected": ("expected", "expected result", "result expected", "pass criteria", "expectation"),
}


@dataclass(frozen=True)
class Item:
    """One line that somebody ticks."""

    text: str  # Markdown, without the box
    line: int  # in the file, from 1
    action: str = ""
    expected: str = ""
    parent: str = ""  # the line above it in whose list it stands


@dataclass
class Block:
    """What stands under one heading."""

    heading: str
    items: list[Item] = field(default_factory=list)  # with a box, or rows of a table of checks
    numbered: list[Item] = field(default_factory=list)  # of a numbered list without boxes
    is_table: bool = False  # its items are rows


@dataclass
class Template:
    """The whole file. ``runbooks``: heading -> section of the runbook, where a table says so."""

    title: str
    blocks: list[Block]
    runbooks: dict[str, str]


def plain(text: str) -> str:
    """Markdown as people read it in one line: no emphasis, no code marks, links by their words."""
    text = _LINK.sub(r"\1", text)
    text = _EMPHASIS.sub(r"\2", text)
    words = " ".join(text.replace("`", "").split())
    return "".join(character for character in words if character.isprintable())


def read_template(text: str) -> Template:
    """Read the file. Lines in fenced code and comments do not count."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    front = _FRONT_MATTER.match(text)
    title = _front_title(front.group(1)) if front else ""
    body = text
    if front:
        body = "\n" * front.group(0).count("\n") + text[front.end() :]
    body = _COMMENT.sub(lambda found: "\n" * found.group(0).count("\n"), body)
    reader = _Reader()
    for number, line in _outside_fences(body):
        reader.take(number, line)
    reader.take(len(body.splitlines()) + 1, "")
    return Template(title or reader.first_heading, [b for b in reader.blocks if b.items or b.numbered], reader.runbooks)


def _front_title(front: str) -> str:
    found = re.search(r"^name:\s*['\"]?(.*?)['\"]?\s*$", front, re.MULTILINE)
    return found.group(1) if found else ""


def _outside_fences(text: str) -> Iterator[tuple[int, str]]:
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark.group(1).startswith(fence):
                fence = ""
        elif mark:
            fence = mark.group(1)[:3]
        else:
            yield number, line


class _Reader:
    """Goes through the lines and remembers where it is."""

    def __init__(self) -> None:
        self.blocks = [Block("")]
        self.runbooks: dict[str, str] = {}
        self.first_heading = ""
        self._above: list[tuple[int, str]] = []  # indent and text of the lines in whose lists we are
        self._rows: list[tuple[int, str]] = []

    def take(self, number: int, line: str) -> None:
        """The next line."""
        if line.strip().startswith("|"):
            self._rows.append((number, line))
            return
        if self._rows:
            self._table(self._rows)
            self._rows = []
        if heading := _HEADING.match(line):
            self._begin(heading.group(1))
            self.first_heading = self.first_heading or plain(heading.group(1))
        elif label := _LABEL.match(line):
            self._begin((label.group(1) or label.group(2)).rstrip(":"))
        elif item := _ITEM.match(line):
            self._item(number, item)

    def _begin(self, heading: str) -> None:
        self.blocks.append(Block(plain(heading)))
        self._above = []

    def _item(self, number: int, item: re.Match[str]) -> None:
        indent = len(item["indent"].expandtabs(4))
        self._above = [(at, text) for at, text in self._above if at < indent]
        parent = self._above[-1][1] if self._above else ""
        text = item["text"].strip()
        self._above.append((indent, plain(text).rstrip(":")))
        if not plain(text):
            return
        found = Item(text, number, parent=parent)
        if item["box"] is not None:
            self.blocks[-1].items.append(found)
        elif item["number"] is not None:
            self.blocks[-1].numbered.append(found)

    def _table(self, rows: list[tuple[int, str]]) -> None:
        cells = [(number, _cells(line)) for number, line in rows]
        if len(cells) < 3 or not _RULE.match(rows[1][1]):  # noqa: PLR2004  head, rule and a row at least
            return
        head = [plain(cell).lower() for cell in cells[0][1]]
        if len(head) == 2 and "section" in head[0] and "runbook" in head[1]:  # noqa: PLR2004  a table of two columns
            self.runbooks |= {plain(row[0]): plain(row[1]) for _, row in cells[2:] if len(row) == len(head)}
            return
        where = {name: next((head.index(w) for w in words if w in head), None) for name, words in _COLUMNS.items()}
        title = where["title"]
        if title is None or (where["action"] is None and where["expected"] is None):
            return  # a table of something else
        block = self.blocks[-1]
        for number, row in cells[2:]:
            values = {name: row[at] if at is not None and at < len(row) else "" for name, at in where.items()}
            if plain(values["title"]):
                block.is_table = True
                block.items.append(Item(values["title"], number, values["action"], values["expected"]))


def _cells(line: str) -> list[str]:
    """The cells of a row; a pipe after a backslash is no border."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
