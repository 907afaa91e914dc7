"""Reads a Markdown checklist, such as a GitHub issue template: headings, lines with a box, tables of checks, numbered lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_HTML_HEADING = re.compile(r"^\s*<h([1-6])[^>]*>(.*?)</h\1>\s*$", re.IGNORECASE)
_UNDERLINE = re.compile(r"^\s{0,3}(=+|-+)\s*$")  # makes the line above it a heading
_LABEL = re.compile(  # a line in bold that ends like a heading, and what one folds a part of an issue under
    r"^\s*\*\*([^*]+)\*\*:?\s*$|^\s*\*\*([^*]+):\*\*\s*$|^.*<summary>(.*?)</summary>\s*$", re.IGNORECASE
)
_ITEM = re.compile(r"^(?P<indent>[\s>]*)(?:[-*+]|(?P<number>\d+)[.)])\s+(?:\[(?P<box>[ xX])\](?:\s+|$))?(?P<text>.*)$")
_BOX = re.compile(r"(?<![\w\])])\[[ xX]?\](?![(\[:])|[☐☑☒⬜🔲]|<input[^>]*checkbox[^>]*>", re.IGNORECASE)
_CODE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_EMPHASIS = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")
_LABEL_LEVEL = 7  # below every heading

# Names of columns, in lower case, by what they hold.
_COLUMNS = {
    "title": ("check", "item", "task", "criterion", "criteria", "what", "description"),
    "action": ("command/action", "command", "action", "how", "step"),
    "expected": ("expected", "expected result", "result expected", "pass criteria", "expectation"),
}
_NOT_A_TITLE = {
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
    parents: tuple[str, ...] = ()  # the headings above it, outermost first, without that of the whole file
    items: list[Item] = field(default_factory=list)  # with a box, or rows of a table of checks
    numbered: list[Item] = field(default_factory=list)  # of a numbered list without boxes
    is_table: bool = False  # its items are rows


@dataclass
class Template:
    """The whole file. ``runbooks``: heading -> section of the runbook, where a table says so."""

    title: str
    blocks: list[Block]
    runbooks: dict[str, str]
    about: str = ""  # the one heading of the first level that all others stand under
    hidden: int = 0  # boxes in comments and fenced code
    empty: int = 0  # boxes with no words


def plain(text: str) -> str:
    """Markdown as people read it in one line: no emphasis, no code marks, links by their words."""
    text = _LINK.sub(r"\1", text)
    text = _EMPHASIS.sub(r"\2", text)
    words = " ".join(text.replace("`", "").split())
    return "".join(character for character in words if character.isprintable())


def read_template(text: str) -> Template:
    """Read the file. Lines in fenced code and comments are counted only; each other box is an item of a block."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    front = _FRONT_MATTER.match(text)
    title = _front_title(front.group(1)) if front else ""
    body = text
    if front:
        body = "\n" * front.group(0).count("\n") + text[front.end() :]
    reader = _Reader()
    for number, line, hidden in _lines(body):
        reader.hidden += len(_boxes(hidden))
        reader.take(number, line)
    reader.take(len(body.splitlines()) + 1, "")
    about = reader.first_heading if reader.of_first_level == 1 and reader.first_level == 1 else ""
    for block in reader.blocks:
        block.parents = tuple(above for above in block.parents if above != about)
    blocks = [block for block in reader.blocks if block.items or block.numbered]
    return Template(title or reader.first_heading, blocks, reader.runbooks, about, reader.hidden, reader.empty)


def _front_title(front: str) -> str:
    found = re.search(r"^name:\s*['\"]?(.*?)['\"]?\s*$", front, re.MULTILINE)
    return found.group(1) if found else ""


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Number of each line, what is seen of it, and what is hidden in a comment or fenced."""
    fence, comment = "", False
    for number, line in enumerate(text.splitlines(), start=1):
        if fence:
            mark = _FENCE.match(line)
            fence = "" if mark and mark.group(1).startswith(fence) else fence
            yield number, "", line
            continue
        seen, hidden, rest = "", "", line
        while rest:
            end = rest.find("-->") if comment else _without_code(rest).find("<!--")
            part, rest = (rest, "") if end < 0 else (rest[:end], rest[end + 3 :])
            seen, hidden = (seen, f"{hidden} {part}") if comment else (seen + part, hidden)
            comment = comment != (end >= 0)
        if mark := _FENCE.match(seen):
            fence, seen, hidden = mark.group(1)[:3], "", line
        yield number, seen, hidden


def _without_code(line: str) -> str:
    """The line with as many characters, and nothing in its spans of code."""
    return _CODE.sub(lambda found: "_" * len(found.group(0)), line)


def _boxes(line: str) -> list[re.Match[str]]:
    """The boxes in it; one that is shown as code is none."""
    return list(_BOX.finditer(_without_code(line)))


def _heading(line: str, said: list[str]) -> tuple[int, str] | None:
    """Level and words of a heading, on this line or underlined by it; ``said``: the paragraph before."""
    if found := _HEADING.match(line):
        return len(found.group(1)), found.group(2)
    if found := _HTML_HEADING.match(line):
        return int(found.group(1)), _TAG.sub(" ", found.group(2))
    if len(said) == 1 and _UNDERLINE.match(line):
        return 1 if "=" in line else 2, said[0]
    return None


class _Reader:
    """Goes through the lines and remembers where it is."""

    def __init__(self) -> None:
        self.blocks = [Block("")]
        self.runbooks: dict[str, str] = {}
        self.first_heading, self.first_level = "", 0
        self.of_first_level = self.hidden = self.empty = 0  # headings; boxes
        self._path: list[tuple[int, str]] = []  # level and words of the headings we are under
        self._above: list[tuple[int, str]] = []  # indent and text of the lines in whose lists we are
        self._rows: list[tuple[int, str]] = []
        self._said: list[str] = []  # the lines of the paragraph before this line

    def take(self, number: int, line: str) -> None:
        """The next line."""
        if self._is_row(number, line):
            return
        if self._rows:
            self._table(self._rows)
            self._rows = []
        said, self._said = self._said, []
        if heading := _heading(line, said):
            self._begin(*heading)
        elif label := _LABEL.match(line):
            words = (label.group(1) or label.group(2) or label.group(3)).rstrip(":")
            self._begin(_LABEL_LEVEL, _TAG.sub(" ", words))
            self._said = [words]
        elif item := _ITEM.match(line):
            self._item(number, item)
        elif _boxes(line):
            self._loose(number, line)
        elif line.strip() and not _UNDERLINE.match(line):  # under more lines than one it is drawn between two parts
            self._said = [*said, line]

    def _is_row(self, number: int, line: str) -> bool:
        """Whether the line belongs to a table; if so it is kept until the table ends."""
        if not self._rows and self._said and "|" in self._said[-1] and "|" in line and _RULE.match(line):
            self._rows = [(number - 1, self._said[-1])]  # a table with no outer borders
        elif not (line.strip().startswith("|") or (self._rows and "|" in line)):
            return False
        self._rows.append((number, line))
        return True

    def _begin(self, level: int, heading: str) -> None:
        words = plain(heading)
        if level < _LABEL_LEVEL:
            self.first_level = self.first_level or level
            self.first_heading = self.first_heading or words
            self.of_first_level += level == 1
        self._path = [(at, above) for at, above in self._path if at < level]
        self.blocks.append(Block(words, tuple(above for _, above in self._path)))
        self._path.append((level, words))
        self._above = []

    def _add(self, item: Item) -> None:
        if plain(item.text):
            self.blocks[-1].items.append(item)
        else:
            self.empty += 1

    def _loose(self, number: int, line: str, parent: str = "") -> None:
        """A line with boxes that are not where Markdown has them: each with the words behind it."""
        boxes = _boxes(line)
        before = plain(_TAG.sub(" ", line[: boxes[0].start()])).strip(" -*+•:.)>")
        ends = [*(box.start() for box in boxes[1:]), len(line)]
        for box, end in zip(boxes, ends, strict=True):
            words = _TAG.sub(" ", line[box.end() : end]).strip(" ,;")
            if not plain(words) and len(boxes) == 1:  # the box stands behind its words
                self._add(Item(before, number, parent=parent))
            else:
                self._add(Item(words, number, parent=before if len(before) > 2 else parent))  # noqa: PLR2004  no "1." or "a)"

    def _item(self, number: int, item: re.Match[str]) -> None:
        indent = len(item["indent"].expandtabs(4))
        self._above = [(at, text) for at, text in self._above if at < indent]
        parent = self._above[-1][1] if self._above else ""
        text = item["text"].strip()
        self._above.append((indent, plain(_BOX.sub("", text)).rstrip(":")))
        found = Item(text, number, parent=parent)
        if item["box"] is not None:
            self._add(found)
        elif _boxes(text):
            self._loose(number, text, parent)
        elif item["number"] is not None and plain(text):
            self.blocks[-1].numbered.append(found)

    def _table(self, rows: list[tuple[int, str]]) -> None:
        cells = [(number, _cells(line)) for number, line in rows]
        if len(cells) < 3 or not _RULE.match(rows[1][1]):  # noqa: PLR2004  head, rule and a row at least
            for number, line in rows:
                if _boxes(line):
                    self._loose(number, line.strip().strip("|"))
            return
        head = [plain(cell).lower() for cell in cells[0][1]]
        if len(head) == 2 and "section" in head[0] and "runbook" in head[1]:  # noqa: PLR2004  a table of two columns
            self.runbooks |= {plain(row[0]): plain(row[1]) for _, row in cells[2:] if len(row) == len(head)}
            return
        where = {name: next((head.index(w) for w in words if w in head), None) for name, words in _COLUMNS.items()}
        title = where["title"]
        decides = title is not None and (where["action"] is not None or where["expected"] is not None)
        block = self.blocks[-1]
        for number, row in cells[2:]:
            if not decides:  # a table of something else: only what has a box
                self._row(number, row, cells[0][1], title)
                continue
            values = {name: row[at] if at is not None and at < len(row) else "" for name, at in where.items()}
            text = _BOX.sub("", values["title"]).strip()
            if plain(text):
                block.is_table = True
                block.items.append(Item(text, number, values["action"], values["expected"]))
            else:
                self.empty += any(_boxes(cell) for cell in row)

    def _row(self, number: int, row: list[str], head: list[str], title: int | None) -> None:
        """A row of a table that is none of checks; each box in it is one line."""
        boxes = [(at, _BOX.sub("", cell).strip()) for at, cell in enumerate(row) for _ in _boxes(cell)]
        words = [
            cell
            for at, cell in enumerate(row)
            if not _boxes(cell) and (at >= len(head) or plain(head[at]).lower() not in _NOT_A_TITLE) and plain(cell)
        ]
        about = row[title] if title is not None and title < len(row) and not _boxes(row[title]) else "".join(words[:1])
        for at, said in boxes:
            column = plain(head[at]) if len(boxes) > 1 and at < len(head) else ""
            self._add(Item(": ".join(part for part in (about, said or column) if part), number))


def _cells(line: str) -> list[str]:
    """The cells of a row; a pipe after a backslash is no border."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
