"""Reads a Markdown checklist, such as a GitHub issue template: its headings, and the lines and tables under them."""

from __future__ import annotations

import re
from typing import Literal

import yaml
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, html_block
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from bot.document import read_document
from bot.importer.table import TemplateRow, read_rows, read_runbooks
from bot.importer.template import Note, Template, TemplateBlock, TemplateLine
from bot.importer.words import BOX, Words, read_words, split_at_boxes, split_lines

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_HTML_HEADING = re.compile(r"<(?:h([1-6])|summary)\b", re.IGNORECASE)
_LABEL_LEVEL = 7  # of a label and of a summary: below every heading
_SHORTEST_GROUP = 3  # characters before a box that say something: more than "1." or "a)"
_DEEPEST = 100  # nested blocks; what is below is not read


def read_template(text: str) -> Template:
    """Read a template in Markdown. Each box is a line of a block; boxes in code and comments are only counted."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    front = _FRONT_MATTER.match(text)
    front_matter = _read_front_matter(front[1]) if front else {}
    body = "\n" * front[0].count("\n") + text[front.end() :] if front else text
    reader = _TemplateReader(body)
    first_level, first_heading = reader.headings[0] if reader.headings else (0, "")
    has_title = first_level == 1 and [level for level, _ in reader.headings].count(1) == 1
    about = first_heading if has_title else ""
    for block in reader.blocks:
        block.parents = tuple(parent for parent in block.parents if parent != about)
    title = str(front_matter.get("name") or first_heading)
    return Template(title, reader.blocks, reader.runbooks, front_matter, about, reader.hidden_boxes, reader.empty_boxes)


def _read_front_matter(text: str) -> dict[str, object]:
    """The values in front of the Markdown; none where they are not valid YAML."""
    try:
        _, values = read_document(text)
    except yaml.YAMLError:
        return {}
    return values if isinstance(values, dict) else {}


def _begin_comment(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """The parser's rule for blocks of HTML, for comments only, so that Markdown between other tags is read."""
    at = state.bMarks[start] + state.tShift[start]
    return state.src.startswith("<!--", at) and html_block(state, start, end, silent)


_PARSER = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable("table")
_PARSER.disable("text_join")  # keeps a bracket behind a backslash apart from one that belongs to a box
_PARSER.block.ruler.at("html_block", _begin_comment, {"alt": ["paragraph", "reference", "blockquote"]})


class _TemplateReader:
    """Goes through the file and remembers under which headings it is."""

    def __init__(self, text: str) -> None:
        self.blocks = [TemplateBlock(Words())]
        self.headings: list[tuple[int, str]] = []  # level and text, without labels
        self.runbooks: dict[str, str] = {}
        self.hidden_boxes = self.empty_boxes = 0
        self._file = text.split("\n")
        self._path: list[tuple[int, str]] = []  # level and text of the headings we are under
        self._read(SyntaxTreeNode(_PARSER.parse(text)))

    def _read(self, node: SyntaxTreeNode, parent: TemplateLine | None = None) -> None:
        """Read a node of the tree and all that is in it. ``parent``: the line in whose list it is."""
        match node.type:
            case "heading":
                self._add_comments(_tokens(node), None)
                self._begin_block(int(node.tag[1]), read_words(_tokens(node)))
            case "list_item" if node.children and node.children[0].type == "paragraph":
                self._read_item(node, parent)
            case "paragraph":
                self._read_lines(split_lines(_tokens(node)), _number(node), parent, parent)
            case "table":
                self._read_table(node)
            case "fence" | "code_block":
                self._add_hidden("code", node.content, parent)
            case "html_block":
                self._read_comment(node, parent)
            case _:
                for child in node.children:
                    self._read(child, parent)

    def _begin_block(self, level: int, heading: Words) -> None:
        if level < _LABEL_LEVEL:
            self.headings.append((level, heading.text))
        self._path = [(above, text) for above, text in self._path if above < level]
        self.blocks.append(TemplateBlock(heading, tuple(text for _, text in self._path)))
        self._path.append((level, heading.text))

    def _read_item(self, node: SyntaxTreeNode, parent: TemplateLine | None) -> None:
        """An item of a list: the first line of its text is a line of the block, and the rest is under it."""
        text, *others = node.children
        first, *rest = split_lines(_tokens(text))
        number = _number(text)
        line = self._read_boxes(first, number, parent)
        if line is None:
            line = self._add(TemplateLine(read_words(first), number, parent=parent, is_numbered=bool(node.info)))
        self._add_comments(first, line)
        self._read_lines(rest, number + 1, parent, line)
        for child in others:
            self._read(child, line)

    def _read_lines(
        self, lines: list[list[Token]], number: int, parent: TemplateLine | None, owner: TemplateLine | None
    ) -> None:
        """Lines of a paragraph: one with boxes is added, one that is used like a heading begins a block, others are notes."""
        for at, tokens in enumerate(lines, start=number):
            is_inside = self._file[at - 1][:1] in {" ", "\t", ">"}  # a paragraph of a list may go on left of it
            if line := self._read_boxes(tokens, at, parent if is_inside else None):
                owner = line
            elif level := _level_of_label(tokens):
                words = read_words(tokens)
                self._begin_block(level, words.strip(":"))
                owner = parent
            elif (words := read_words(tokens)).text:
                self._notes_of(owner).append(Note("text", words))
            self._add_comments(tokens, owner)

    def _read_boxes(self, tokens: list[Token], number: int, parent: TemplateLine | None) -> TemplateLine | None:
        """Add a line for each box, with the words behind it. Gives the line that a list below is under; None: no box."""
        before, *behind = split_at_boxes(tokens)
        if not behind:
            return None
        words = read_words(before).strip(" -*+•:.)>|")
        labels = [read_words(part).strip(" ,;|") for part in behind]
        if len(labels) == 1 and not labels[0].text:  # the box is behind its words
            return self._add(TemplateLine(words, number, has_box=True, parent=parent))
        group = self._add(TemplateLine(words, number, parent=parent)) if len(words.text) >= _SHORTEST_GROUP else None
        lines = [self._add(TemplateLine(label, number, has_box=True, parent=group or parent)) for label in labels]
        return group or lines[0]

    def _add(self, line: TemplateLine) -> TemplateLine:
        """Add a line to the block; a box without words is only counted."""
        if line.words.text or not line.has_box:
            self.blocks[-1].lines.append(line)
        else:
            self.empty_boxes += 1
        return line

    def _notes_of(self, line: TemplateLine | None) -> list[Note]:
        return (line or self.blocks[-1]).notes

    def _add_hidden(self, kind: Literal["code", "comment"], text: str, owner: TemplateLine | None) -> None:
        """Keep code or a comment, and count the boxes in it."""
        self.hidden_boxes += len(BOX.findall(text))
        self._notes_of(owner).append(Note(kind, Words(text, text)))

    def _add_comments(self, tokens: list[Token], owner: TemplateLine | None) -> None:
        for token in tokens:
            if token.type == "html_inline" and token.content.startswith("<!--"):
                self._add_hidden("comment", token.content, owner)

    def _read_comment(self, node: SyntaxTreeNode, parent: TemplateLine | None) -> None:
        """A block that begins with a comment; what is behind its end, on the same line, is read as well."""
        for comment in _COMMENT.findall(node.content):
            self._add_hidden("comment", comment, parent)
        rest = SyntaxTreeNode(_PARSER.parseInline(_COMMENT.sub("", node.content).strip()))
        self._read_lines(split_lines(_tokens(rest)), _number(node), parent, parent)

    def _read_table(self, node: SyntaxTreeNode) -> None:
        head, *others = [row for row in node.walk() if row.type == "tr"]
        names: list[str] = []
        for at, cell in enumerate(head.children, start=1):
            name = read_words(_tokens(cell)).text
            names.append(name if name and name not in names else str(at))
        rows = []
        for row in others:
            parts = [split_at_boxes(_tokens(cell)) for cell in row.children]
            boxes = [name for name, pieces in zip(names, parts, strict=True) for _ in pieces[1:]]
            words = [read_words(token for piece in pieces for token in piece) for pieces in parts]
            rows.append(TemplateRow(_number(row), dict(zip(names, words, strict=True)), boxes))
        self.runbooks |= read_runbooks(rows)
        for line in read_rows(rows):
            self._add(line)


def _number(node: SyntaxTreeNode) -> int:
    """The number of its first line in the file, from 1."""
    return node.map[0] + 1 if node.map else 1


def _tokens(node: SyntaxTreeNode) -> list[Token]:
    """The inline tokens of a heading, a paragraph or a cell."""
    return [token for child in node.children if child.token for token in child.token.children or ()]


def _level_of_label(tokens: list[Token]) -> int:
    """The level of the heading that a line of a paragraph is used as, else 0."""
    for token in tokens:
        if token.type == "html_inline" and (tag := _HTML_HEADING.match(token.content)):
            return int(tag[1] or _LABEL_LEVEL)
    match [token.type for token in tokens if token.type != "text" or token.content.strip(" :")]:
        case ["strong_open", *inner, "strong_close"] if "strong_close" not in inner:
            return _LABEL_LEVEL
    return 0
