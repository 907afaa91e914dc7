"""The latest result of each check, how old it may be, and waivers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from checks.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from bot.domain.ids import CheckId, UserId


EXCERPT = 2_800  # characters of an attachment that are shown in Slack; the whole is a file in the thread


@dataclass(frozen=True)
class Result:
    """One stored answer of a check. Never changed."""

    id: int
    check: CheckId
    outcome: Outcome
    summary: str
    asked: str
    expected: str
    seen: str
    attachment: str  # its first EXCERPT characters, which is what a message has room for
    attachment_name: str
    attachment_length: int  # characters of the whole
    hint: str
    started_at: datetime
    finished_at: datetime
    by: UserId  # who asked for the run, or who attested
    is_attested: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiver:
    """A named person lets one check that has not passed go, with a reason, for one Release."""

    check: CheckId
    by: UserId
    reason: str
    at: datetime


class RunState(StrEnum):
    """What the runner does with a check right now."""

    IDLE = "idle"
    WAITING = "waiting"  # for its turn or for a check that it needs
    RUNNING = "running"


@dataclass(frozen=True)
class CheckView:
    """A check of the checklist with all that is known of it for one Release."""

    id: CheckId
    run_state: RunState
    progress: str
    result: Result | None
    waiver: Waiver | None

    @property
    def outcome(self) -> Outcome | None:
        """The outcome of the latest result, or None."""
        return None if self.result is None else self.result.outcome


class CheckStatus(StrEnum):
    """What a check counts as now. Only PASSED and WAIVED let the gate open."""

    PASSED = "passed"
    WAIVED = "waived"
    EXPIRED = "expired"
    FAILED = "failed"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"
    RUNNING = "running"
    WAITING = "waiting"
    MISSING = "missing"  # never run


_BY_OUTCOME = {
    Outcome.FAIL: CheckStatus.FAILED,
    Outcome.ERROR: CheckStatus.ERROR,
    Outcome.INCONCLUSIVE: CheckStatus.INCONCLUSIVE,
}


def check_status(view: CheckView, max_age: timedelta, now: datetime) -> CheckStatus:
    """Say what ``view`` counts as at ``now``. A run under way hides an older result: it is about to be replaced."""
    if view.run_state is RunState.RUNNING:
        return CheckStatus.RUNNING
    if view.run_state is RunState.WAITING:
        return CheckStatus.WAITING
    has_passed = view.result is not None and view.result.outcome is Outcome.PASS
    if view.result is not None and has_passed and now - view.result.finished_at <= max_age:
        return CheckStatus.PASSED
    if view.waiver is not None:
        return CheckStatus.WAIVED
    if view.result is None:
        return CheckStatus.MISSING
    return CheckStatus.EXPIRED if has_passed else _BY_OUTCOME[view.result.outcome]
