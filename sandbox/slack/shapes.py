"""What every part of the workspace speaks: JSON objects and Slack's way of refusing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class BlockProblem:
    """One rule that a block, view or message breaks."""

    pointer: str  # JSON pointer from the thing checked, e.g. /blocks/0/text/text
    code: str  # stable name of the rule, e.g. too_long
    message: str  # what Slack says about it

    def line(self) -> str:
        """The problem as posting methods of Slack word it."""
        return f"{self.message} [json-pointer:{self.pointer}]"


class MethodError(Exception):
    """A request that Slack refuses: `code` is the `error` of the answer, `extra` what goes beside it."""

    def __init__(self, code: str, *, problems: Sequence[BlockProblem] = (), **extra: Any) -> None:
        super().__init__(code)
        self.code = code
        self.problems = tuple(problems)
        self.extra: Json = extra

    def answer(self) -> Json:
        """The body of Slack's answer. Problems appear in `errors` and `response_metadata.messages`."""
        body: Json = {"ok": False, "error": self.code, **self.extra}
        if self.problems:
            lines = [problem.line() for problem in self.problems]
            body["errors"] = lines
            body["response_metadata"] = {"messages": [f"[ERROR] {line}" for line in lines]}
        return body


def invalid_arguments(message: str, pointer: str = "") -> MethodError:
    """The refusal of a call whose arguments do not fit the method."""
    return MethodError("invalid_arguments", problems=[BlockProblem(pointer, "invalid_argument", message)])
