"""A migration file: its statements, what it declares, and its text without its own BEGIN and COMMIT. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.errors import StepError
from checks.kit.declarations import MigrationKind, declared

# What a statement can be made of that may hide a semicolon, each up to its end; a dollar quote ends with its own tag.
_TOKEN = re.compile(
    r"--[^\n]*|/\*|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(?P<tag>[A-Za-z_]\w*)?\$|;|[^-/'\"$;]+|.", re.DOTALL
)
_ESCAPE_STRING = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)  # a string that begins with E'
_BEGIN = re.compile(r"(BEGIN(\s+(WORK|TRANSACTION))?|START\s+TRANSACTION)\s*", re.IGNORECASE)
_COMMITS = re.compile(r"(COMMIT|END)(\s+(WORK|TRANSACTION))?\s*", re.IGNORECASE)
_CONTROL = re.compile(
    r"(BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|PREPARE\s+TRANSACTION)\b", re.IGNORECASE
)
_ALONE = re.compile(
    r"(CREATE|DROP)\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY|REINDEX\b.*\bCONCURRENTLY|VACUUM\b|(CREATE|DROP)\s+(DATABASE|TABLESPACE)\b"
    r"|ALTER\s+SYSTEM\b",
    re.IGNORECASE | re.DOTALL,
)


LONGEST_VERSION = 50  # characters of schema_migrations.version


@dataclass(frozen=True)
class Migration:
    """One file of the product's migrations."""

    name: str
    text: str
    checksum: str  # sha256 of the file, in hex

    @property
    def version(self) -> str:
        """The version under which the product's table of migrations has the file."""
        return f"file:{self.name}"[:LONGEST_VERSION]

    @property
    def declared_kind(self) -> MigrationKind | None:
        """The kind that the file declares; None if it declares none or an unknown one."""
        return declared(self.text)

    @property
    def body(self) -> str:
        """The SQL to run in one transaction of ours. Raises StepError for a file that cannot run in one."""
        found_statements = [statement for statement in statements(self.text) if statement.code]
        if (
            len(found_statements) > 1
            and _BEGIN.fullmatch(found_statements[0].code)
            and _COMMITS.fullmatch(found_statements[-1].code)
        ):
            found_statements = found_statements[1:-1]
        for statement in found_statements:
            why = _why_not(statement.code)
            if why:
                raise StepError(
                    f"{self.name} can't be applied in one transaction: {why}",
                    hint=f"Apply it by hand with its row in schema_migrations (version {self.version}, file_name {self.name}, "
                    f"checksum {self.checksum}), then retry. Or let the product's own Job apply the migrations.",
                )
        return "\n".join(f"{statement.text};" for statement in found_statements)


def migration(name: str, content: bytes) -> Migration:
    """A file by its content. Raises StepError when it is no text."""
    try:
        return Migration(name, content.decode("utf-8-sig"), hashlib.sha256(content).hexdigest())
    except UnicodeDecodeError as error:
        raise StepError(f"{name} isn't UTF-8") from error


def _why_not(statement: str) -> str:
    first = statement.split(None, 1)[0]
    if first.startswith("\\"):
        return f"it has the psql command {first}"
    if _CONTROL.match(statement):
        return f"it contains {first.upper()}"
    if _ALONE.match(statement):
        return f"{' '.join(statement.split()[:4])} must run alone"
    return ""


@dataclass(frozen=True)
class Statement:
    """One statement: its text as it stands in the file without the semicolon, and its code without comments."""

    text: str
    code: str


def statements(text: str) -> Iterator[Statement]:
    """The statements of a file. Quotes, dollar quotes and comments hide semicolons."""
    start, code = 0, ""
    for begin, end in _tokens(text):
        part = text[begin:end]
        if part == ";":
            yield Statement(text[start:begin].strip(), code.strip())
            start, code = end, ""
        else:
            code += " " if part.startswith(("--", "/*")) else part
    if code.strip():
        yield Statement(text[start:].strip(), code.strip())


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        end = token.end() if token is not None else at + 1
        part = text[at:end]
        if part == "/*":
            end = _end_of_comment(text, at)
        elif len(part) > 1 and part[0] == part[-1] == "$":
            closing = text.find(part, end)
            end = len(text) if closing < 0 else closing + len(part)
        elif part[0] == "'" and at and text[at - 1] in "eE" and (escape_string := _ESCAPE_STRING.match(text, at)):
            end = escape_string.end()
        yield at, end
        at = end


def _end_of_comment(text: str, at: int) -> int:
    """The end of a comment that begins at ``at``; they nest in PostgreSQL."""
    depth = 0
    for mark in re.finditer(r"/\*|\*/", text[at:]):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return at + mark.end()
    return len(text)
