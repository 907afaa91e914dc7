"""Finding: what a checkup says about one thing, and how an error becomes one. Values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from clients.needs import Setting

if TYPE_CHECKING:
    from clients.errors import ClientError

PATIENCE = 4.0  # seconds for one answer of a system
REFUSED = 401
FORBIDDEN = 403
NOT_FOUND = 404
TOO_MANY = 429
SERVER_ERRORS = 500
Needs = Mapping[Setting, tuple[str, ...]]  # what is used of a system -> ids of the lines of the checklist that use it


class State(StrEnum):
    """How it stands. OK and NOTE are good, the others are for somebody to put right."""

    OK = "ok"
    MISSING = "missing"
    UNREACHABLE = "not reachable"
    UNSET = "not configured"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    state: State
    what: str  # without full stop
    hint: str = ""  # what to do, in sentences
    rule: str = ""  # what to add somewhere, ready to be copied
    lines: tuple[str, ...] = ()  # ids of the lines that need it

    @property
    def good(self) -> bool:
        """Has nobody to do anything?"""
        return self.state in {State.OK, State.NOTE}


def lines_of(needs: Needs, *rights: str) -> tuple[str, ...]:
    """The lines that need one of these rights; with none named, all of them."""
    line_groups = (lines for use, lines in needs.items() if not rights or use.right in rights)
    return tuple(sorted({line for lines in line_groups for line in lines}))


def rights_in(needs: Needs) -> list[str]:
    """The rights that are needed, in order."""
    return sorted({use.right for use in needs if use.right})


def answers(status: int) -> bool:
    """Did a server that is well answer with this status? A refusal is an answer, a failure of its own or a pause is none."""
    return 0 < status < SERVER_ERRORS and status != TOO_MANY


def trouble(error: ClientError, lines: Iterable[str], *, hint: str = "") -> Finding:
    """What an error says: refused, or not reachable. ``hint``: what to do about a refusal, in place of the error's own."""
    is_refusal = answers(error.status)
    state = State.MISSING if is_refusal else State.UNREACHABLE
    return Finding(state, error.summary, hint if hint and is_refusal else error.hint, lines=tuple(lines))
