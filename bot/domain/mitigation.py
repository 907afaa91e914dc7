"""Mitigation: a temporary change that somebody owns until it is put back (promise P7)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from bot.domain.ids import ReleaseId, UserId


class MitigationState(StrEnum):
    """Where a Mitigation stands."""

    SETTING = "setting"
    SET = "set"
    LIFTING = "lifting"
    LIFTED = "lifted"


@dataclass(frozen=True)
class Mitigation:
    """One temporary change of production."""

    id: int
    release_id: ReleaseId
    step: int  # row of the step that offers it
    state: MitigationState
    what: str  # SOLVEREIGN_BILLING_ENFORCEMENT=off
    owner: UserId
    reason: str
    begun_at: datetime
    due_at: datetime  # when its owner is reminded next
    trouble: str = ""  # why it did not go on; a person has to press again
    progress: str = ""
    reminders: int = 0
    resolved_by: UserId | None = None
    resolved_at: datetime | None = None
    note: str = ""  # of who has put it back by hand; empty: the bot did

    @property
    def is_open(self) -> bool:
        """Whether it is still to be put back, also while nobody knows whether it has been set."""
        return self.state is not MitigationState.LIFTED

    @property
    def is_stuck(self) -> bool:
        """Whether it failed to be set or put back, and waits for a person to try again."""
        return self.is_open and bool(self.trouble)
