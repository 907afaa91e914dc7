"""One call of a Web API method: its arguments, read the way Slack reads them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.slack.limits import Rate
from sandbox.slack.shapes import Json, MethodError, invalid_arguments
from sandbox.slack.workspace import Workspace

MAX_PAGE = 999


@dataclass(frozen=True)
class MethodCall:
    """What a method gets to see."""

    name: str
    args: Json
    workspace: Workspace

    def text(self, name: str) -> str | None:
        """An optional string; None when it is missing or empty."""
        value = self.args.get(name)
        return None if value in (None, "") else str(value)

    def require(self, name: str) -> str:
        """A string that must be there. Raises MethodError invalid_arguments."""
        value = self.text(name)
        if value is None:
            raise invalid_arguments(f"missing required field: {name}")
        return value

    def flag(self, name: str) -> bool:
        """A boolean: JSON true, or 1 or true in a form; false when it is missing."""
        return self.args.get(name) in (True, 1, "1", "true", "True")

    def number(self, name: str, default: int) -> int:
        """A whole number. Raises MethodError invalid_arguments."""
        value = self.args.get(name, default)
        try:
            return int(value)
        except (TypeError, ValueError) as exc:
            raise invalid_arguments(f"must be a number: {name}") from exc

    def read_json(self, name: str) -> Any:
        """JSON, given as such or as text. Raises MethodError invalid_arguments when it is neither."""
        value = self.args.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError as exc:
            raise invalid_arguments(f"must be JSON: {name}") from exc


def page_of(call: MethodCall, items: list[Any]) -> tuple[list[Any], str]:
    """The part of `items` that `cursor` and `limit` ask for, and the next cursor ("" at the end).

    Raises MethodError invalid_cursor, invalid_limit.
    """
    limit = call.number("limit", 100)
    if not 1 <= limit <= MAX_PAGE:
        raise MethodError("invalid_limit")
    cursor = call.text("cursor") or "at:0"
    if not (cursor.startswith("at:") and cursor[3:].isdigit()):
        raise MethodError("invalid_cursor")
    start = int(cursor[3:])
    end = start + limit
    return items[start:end], f"at:{end}" if end < len(items) else ""


@dataclass(frozen=True)
class Method:
    """A Web API method: what it does, the scope it needs, how often it may be called, and what may be said to it.

    Slack lets arguments pass that a method does not have; here one that is not carried out is refused.
    """

    run: Callable[[MethodCall], Json]
    scope: str | None
    rate: Rate
    arguments: frozenset[str] = frozenset()
    token: str = "bot"  # the kind of token: bot or app
