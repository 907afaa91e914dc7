"""Lines of a log: which of them tell of an error, in the forms in which loggers write. Text in, text out."""

from __future__ import annotations

import json
import re

TRACEBACK = "Traceback (most recent call last):"
ERROR_LEVELS = frozenset({"ERROR", "CRITICAL", "FATAL"})

_ANY_LEVEL = r"(?:TRACE|DEBUG|INFO|NOTICE|LOG|HINT|DETAIL|WARN|WARNING|ERROR|CRITICAL|FATAL)\b"
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d+)?"
_TIME = rf"(?:\d{{4}}[-/]\d\d[-/]\d\d[T ])?{_CLOCK}(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
_BRACKETS = rf"(?:\[(?!\s*(?i:{_ANY_LEVEL}))[^\]]*\]\s*)*"  # a time, a process, a thread or a logger
_SET_OFF = rf"(?:(?!{_ANY_LEVEL})\w[\w.-]*\s+-\s+){{0,3}}"  # `api.main - 1234 - `
_AFTER_TIME = rf"(?:(?!{_ANY_LEVEL})(?:\d+|root|\w+(?:\.\w+)+|\w[\w.]*:)\s+)?"  # a process or a logger, not set off
_LEVEL = r"(?:\[\s*(?i:ERROR|CRITICAL|FATAL)\s*\]|(?:ERROR|CRITICAL|FATAL)(?![\w=./]))"
# The level comes first, or after nothing but a time, a process and a logger. What follows another level or another word
# is the message, where any word may stand. Bare levels are upper case, as loggers write them: people write the others.
_PLAIN = re.compile(
    rf"\s*(?:{_BRACKETS}{_SET_OFF}{_LEVEL}|{_TIME}[\s:|,-]*{_BRACKETS}(?:{_SET_OFF}|{_AFTER_TIME}){_BRACKETS}{_LEVEL})"
)
_LOGFMT = re.compile(r"(?:(?:time|ts)=(?:\"[^\"]*\"|\S+)\s+)?(?:level|lvl)=\"?(?i:error|critical|fatal)\b")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def error_in(line: str) -> str:
    """The message of a line that tells of an error, else nothing. A search for "error" would give false hits."""
    line = _COLOUR.sub("", line)
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return ""
        level = str(entry.get("level") or entry.get("levelname") or entry.get("severity") or "").upper()
        return f"{level} {entry.get('message', '')}" if level in ERROR_LEVELS else ""
    if _PLAIN.match(line) or _LOGFMT.match(line) or line.strip() == TRACEBACK:
        return line.strip()
    return ""
