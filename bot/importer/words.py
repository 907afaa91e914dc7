"""Words: a piece of Markdown's inline text as people read it, with its code and links; and the boxes between such pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from markdown_it.common.html_blocks import block_names
from markdown_it.token import Token

BOX = re.compile(r"(?<![\w\])])\[[ xX]?\](?![(\[:])|[☐☑☒⬜🔲]|<input[^>]*checkbox[^>]*>", re.IGNORECASE)
_INLINE_NAMES = ("a", "b", "br", "code", "em", "i", "img", "input", "kbd", "small", "span", "strong", "sub", "sup", "u")
_TAG = re.compile(rf"</?(?:{'|'.join((*block_names, *_INLINE_NAMES))})\b|<!", re.IGNORECASE)  # others: <version>


@dataclass(frozen=True)
class Words:
    """One piece of text. ``text`` is one line without marks and addresses; ``with_code`` has backticks around code."""

    text: str = ""
    with_code: str = ""
    links: tuple[tuple[str, str], ...] = ()  # text and address

    def strip(self, characters: str) -> Words:
        """Return the same without these characters at the ends of ``text``."""
        return replace(self, text=self.text.strip(characters))

    def join_with(self, other: Words) -> Words:
        """Return both with a colon between them, or the one that is not empty."""
        if not self.text or not other.text:
            return self if self.text else other
        return Words(f"{self.text}: {other.text}", f"{self.with_code}: {other.with_code}", (*self.links, *other.links))


def read_words(tokens: Iterable[Token]) -> Words:
    """Return the words of inline tokens without HTML; a tag that HTML does not know, such as `<version>`, stays."""
    text, with_code = "", ""
    links, start, address = [], 0, ""  # of the link that is open
    for token in tokens:
        content = token.content
        if token.type.endswith("break") or (token.type == "html_inline" and _TAG.match(content)):
            content = " "
        elif token.type == "link_open":
            start, address = len(text), str(token.attrs["href"])
        elif token.type == "link_close":
            links.append((_as_line(text[start:]), address))
        text += content
        with_code += f"`{content}`" if token.type == "code_inline" else content
    return Words(_as_line(text), _as_line(with_code), tuple(links))


def _as_line(text: str) -> str:
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def split_lines(tokens: Iterable[Token]) -> list[list[Token]]:
    """Split tokens into those of each line of the file."""
    lines: list[list[Token]] = [[]]
    for token in tokens:
        if token.type.endswith("break"):
            lines.append([])
        else:
            lines[-1].append(token)
    return lines


def split_at_boxes(tokens: Iterable[Token]) -> list[list[Token]]:
    """Split the tokens of a line at its boxes: one part more than it has boxes. Boxes in code do not count."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.type not in {"text", "html_inline"} or token.content.startswith("<!--"):
            parts[-1].append(token)
            continue
        first, *others = BOX.split(token.content)
        parts[-1].append(token.copy(content=first))
        parts += [[token.copy(content=piece)] for piece in others]
    return parts
