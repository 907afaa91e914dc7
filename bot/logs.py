"""Logging of the whole process: one JSON object a line for machines, or plain text for a terminal, without secrets."""

import contextlib
import contextvars
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Any

from bot.redact import Redactor

_release: contextvars.ContextVar[str | None] = contextvars.ContextVar("release", default=None)

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What the logging module itself puts on a record; everything else came with `extra=`."""


CHATTY = (
    # A line for each wake-up, request and reconnect.
    *("apscheduler", "httpx", "httpcore", "slack_bolt"),
    # At debug level these write whole headers and answers, such as the values of a Secret in base64 that nobody registered.
    *("boto3", "botocore", "kubernetes", "s3transfer", "sentry_sdk", "slack_sdk", "stripe", "urllib3", "websocket"),
)


def setup(level: str = "INFO", *, as_json: bool, redactor: Redactor, stream: IO[str] | None = None) -> None:
    """Send all loggers of the process to `stream` (default: standard error), replacing what was set up before.

    `level` is a name of the logging module. All that is written has gone through `redactor`, exceptions included.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(redactor) if as_json else TextFormatter(redactor))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


@contextlib.contextmanager
def about_release(release_id: object) -> Iterator[None]:
    """Put the release id on every line that is logged inside, in this thread or task."""
    token = _release.set(str(release_id))
    try:
        yield
    finally:
        _release.reset(token)


class _RedactingFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        """Scrub with this redactor."""
        super().__init__()
        self._redactor = redactor


class JsonFormatter(_RedactingFormatter):
    """One line of JSON: time (UTC), level, logger, message, release, the fields of `extra=`, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in _extra(record).items():
            line.setdefault(name, value)
        details = _details(self, record)
        if details:
            line["exception"] = details
        return json.dumps(_scrub_values(line, self._redactor), ensure_ascii=False)


class TextFormatter(_RedactingFormatter):
    """For a person at a terminal: time of day (UTC), level, logger, message, then the other fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, and the exception below it."""
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        details = _details(self, record)
        text = f"{_time(record)[11:23]} {record.levelname:<8}{record.name}: {record.getMessage()}{extra}"
        return self._redactor.scrub(f"{text}\n{details}" if details else text)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    extra = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
    release = _release.get()
    return extra if release is None else {"release": release} | extra


def _details(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the traceback and the stack that belong to the record; made anew, for `exc_text` may be unscrubbed."""
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def _scrub_values(value: Any, redactor: Redactor) -> Any:
    """Scrub each text in a value before it is encoded, so that no escape hides a secret and no mark breaks the JSON."""
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {redactor.scrub(str(key)): _scrub_values(item, redactor) for key, item in value.items()}
        case list() | tuple():
            return [_scrub_values(item, redactor) for item in value]
        case _:
            return redactor.scrub(str(value))
