"""The errors of all clients, and what an answer says of them: its status and how long to wait (Retry-After).

ClientError             a system outside did not do what was asked of it
├── StrangeAnswer       it answered something else than its API promises
└── Conflict            somebody else was faster: look again

Each module here translates the errors of its vendor's package into these, by class and code, always with ``from``. Who calls
turns them into its own: a check into ERROR (`checks.runner`), a step into StepError or NoAnswer (`bot.steps.contract`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_PAUSE = 86_400.0  # seconds for which a vendor is left alone at most, whatever it asks for
TOO_MANY_REQUESTS = 429
SERVER_ERRORS = 500
MAY_ASK_FOR_A_PAUSE = frozenset({403, 429, 503})  # GitHub's secondary limits answer 403
STATUS_HINTS = {
    400: "The request was not understood. Is the address that of the vendor's API?",
    401: "The credentials were refused: renew them.",
    403: "The credentials lack a right: grant it.",
    404: "Not found: check the address and the names in release-bot.yml.",
    429: "Too many requests: wait a minute, then run the check again.",
}


class ClientError(Exception):
    """A system outside did not do what was asked of it.

    ``summary`` is one line for people; ``hint`` says what to do about it; ``seen``: what was answered, as evidence;
    ``status``: of HTTP, with which it refused, 0 where none answered; ``retry_after``: seconds for which it asks not to be
    asked again; ``outcome_unknown``: what was asked for may have been carried out, or may be at another moment.
    """

    def __init__(
        self,
        summary: str,
        *,
        hint: str = "",
        seen: str = "",
        retry_after: float | None = None,
        status: int = 0,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(summary)
        self.summary = summary
        self.hint = hint
        self.seen = seen
        self.retry_after = retry_after
        self.status = status
        self.outcome_unknown = outcome_unknown

    @property
    def is_temporary(self) -> bool:
        """Whether the same may be asked again in a moment."""
        return self.outcome_unknown or self.status == TOO_MANY_REQUESTS or self.retry_after is not None


class StrangeAnswer(ClientError):
    """A system answered something else than its API promises, as a proxy in between does."""


class Conflict(ClientError):
    """What was to be changed is another one by now: look again."""

    @property
    def is_temporary(self) -> bool:
        """Whoever looks again sees what stands there now."""
        return True


def status_hint(status: int) -> str:
    """What to do about an HTTP status."""
    if status >= SERVER_ERRORS:
        return "The server has a problem: wait until it recovers, then run the check again."
    return STATUS_HINTS.get(status, "Run the check again. If it stays, see the server's log.")


def first_line(exc: BaseException) -> str:
    """The first line of an error's text, or its class name when it has none."""
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


def retry_after(status: int, headers: Mapping[str, str]) -> float | None:
    """The seconds for which a server asks to be left alone, by ``status`` and ``headers`` of its answer; None when it does not.

    More than a day is taken for a day.

    Retry-After holds seconds or a date (RFC 9110, 10.2.3). Sentry also names the moment, as Unix time, in a header of
    its own (docs.sentry.io/api/ratelimits).
    """
    if status not in MAY_ASK_FOR_A_PAUSE:
        return None
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return min(float(value), LONGEST_PAUSE)
    reset = headers.get("X-Sentry-Rate-Limit-Reset", "")
    try:
        moment = datetime.fromtimestamp(int(reset), UTC) if reset.isdecimal() else parsedate_to_datetime(value)
    except (ValueError, OverflowError, OSError):  # as the platform says that a number is no moment
        return None
    if moment.tzinfo is None:
        return None
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), LONGEST_PAUSE)
