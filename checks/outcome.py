"""Outcome: what a check found out, as values. They import nothing, so that rules can judge them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What a Check found out. Only PASS is a pass: ERROR and INCONCLUSIVE block like FAIL (promise P2)."""

    PASS = "PASS"  # noqa: S105  the word of the field, no password
    FAIL = "FAIL"
    ERROR = "ERROR"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Evidence:
    """What was asked, what was expected and what was seen, in words that a release manager reads."""

    asked: str  # the query, URL or object, without secrets
    expected: str
    seen: str
    attachment: str = ""  # rows, log excerpt, response body; the runner cuts and redacts it
    attachment_name: str = ""  # file name with a suffix that tells the format, such as rows.txt


@dataclass(frozen=True)
class Answer:
    """The answer of one run of a kind."""

    outcome: Outcome
    summary: str  # one line, no markup
    evidence: Evidence
    data: Mapping[str, Any] = field(default_factory=dict)  # JSON values handed to the checks that need this one
    hint: str = ""  # what to do when it is not a PASS
    retry_after: float | None = None  # seconds for which a vendor asked not to be asked again


@dataclass(frozen=True)
class CheckResult:
    """An Answer with its timing, as the runner returns it: cut to size and redacted."""

    check: str  # check id of the checklist
    kind: str
    answer: Answer
    seconds: float
    stopped: bool = True  # False: it was given up and goes on in its thread, with all that it has in use

    @property
    def outcome(self) -> Outcome:
        """The Outcome of the answer."""
        return self.answer.outcome
