"""ReleaseView: everything that is known of one Release at one moment; what the gate judges and the renderers draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from bot.domain.checklist import ANNOUNCED_KIND
from bot.domain.ids import SYSTEM
from bot.domain.plan_progress import PlanProgress
from bot.domain.release import ReleaseState
from bot.domain.signoff import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from bot.domain.checklist import Check, Phase
    from bot.domain.events import PassedReason
    from bot.domain.ids import CheckId, UserId
    from bot.domain.mitigation import Mitigation
    from bot.domain.policy import Policy
    from bot.domain.results import CheckView
    from bot.domain.signoff import SignOff
    from bot.domain.watch import Watch


# Which checks run in which state; in the others none does.
_PHASES: Mapping[ReleaseState, Phase] = {
    ReleaseState.OPEN: "before",
    ReleaseState.WATCHING: "after",
    ReleaseState.DONE: "after",
}


@dataclass(frozen=True)
class Freeze:
    """A stop of the line: nothing is deployed while it holds; a rollback still works."""

    by: UserId  # system: a window of the policy's calendar
    reason: str
    until: datetime | None  # None: until somebody lifts it
    at: datetime | None = None  # when it began; None for a window of the calendar
    id: int | None = None  # of its row; None for a window of the calendar, and before it is stored

    @property
    def key(self) -> str:
        """A text that no other freeze has: the id of its row, or when a window of the calendar ends."""
        return str(self.id) if self.id is not None else f"until {self.until}"

    @property
    def of_calendar(self) -> bool:
        """Whether the freeze is a window of the policy's calendar, which nobody can lift."""
        return self.by == SYSTEM


@dataclass(frozen=True)
class BreakGlass:
    """That a release was deployed past the gate."""

    by: UserId
    reason: str
    overridden_reasons: tuple[PassedReason, ...]  # what the gate had against it
    at: datetime
    reviewed_by: UserId | None = None
    reviewed_at: datetime | None = None
    review_note: str = ""  # what the review found


@dataclass(frozen=True)
class ReleaseView(PlanProgress):
    """One Release with its checks, signatures, steps and watch, read in one transaction."""

    policy: Policy
    checks: Mapping[CheckId, CheckView]  # by line; a line with same_as has that of its original
    signoffs: Sequence[SignOff]  # those that have not been revoked, superseded or voided
    watch: Watch | None
    freeze: Freeze | None
    mitigations: Sequence[Mitigation] = ()  # of this release, the newest last
    environment_mitigations: Sequence[
        Mitigation
    ] = ()  # while OPEN: open ones of the environment, whichever release they belong to
    known_bad: str = ""  # while OPEN: that this image was rolled back when it was last deployed; empty: it was not
    break_glass: BreakGlass | None = None  # that it was deployed past the gate
    pictures: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (kind, subject) -> Slack's id of the file

    @cached_property
    def fingerprint(self) -> str:
        """What a sign-off given at this moment would be bound to; the gate, the card and the record all mean this."""
        waivers = {
            check.id: check.waiver for check in self.checks.values() if check.waiver
        }  # one that two lines show once
        return fingerprint(self.release, list(waivers.values()))

    @property
    def open_mitigations(self) -> Sequence[Mitigation]:
        """The mitigations that are not put back yet, the newest last. While there are any the release is not closed."""
        return [entry for entry in self.mitigations if entry.is_open]

    @property
    def may_close(self) -> bool:
        """Whether nothing of the release is under way and no mitigation is open."""
        return not self.release.is_active and not self.open_mitigations

    @property
    def phase(self) -> Phase | None:
        """Whose checks run now: those before the deploy, those after it, or none."""
        return _PHASES.get(self.release.state)

    def due(self, check: Check) -> bool:
        """Whether ``check``, of the phase that runs now, can have an answer yet: there is no announcement before the end."""
        return check.kind != ANNOUNCED_KIND or self.release.state is ReleaseState.DONE
