"""Waiting: for what a deployed release waits for people, since when, and when they are reminded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from bot.domain.plan import PlanKind, failed_step
from bot.domain.release import ReleaseState

if TYPE_CHECKING:
    from datetime import datetime

    from bot.domain.view import ReleaseView

# Production is in doubt, so people are reminded soon, then less and less often: after ten minutes, half an hour, an hour.
ROUNDS = (timedelta(minutes=10), timedelta(minutes=30), timedelta(hours=1))
LATER = timedelta(hours=1)  # between two reminders after those


@dataclass(frozen=True)
class Waiting:
    """Something that only people can bring to an end."""

    since: datetime
    what: str  # what is the matter, as a sentence without its full stop
    todo: str  # what they can do

    def round_at(self, now: datetime) -> int:
        """How many reminders are due by ``now``."""
        age = now - self.since
        if age < ROUNDS[-1]:
            return sum(age >= after for after in ROUNDS)
        return len(ROUNDS) + (age - ROUNDS[-1]) // LATER

    def due(self, number: int) -> datetime:
        """When the reminder of that number is due; the first is number 1."""
        if number <= len(ROUNDS):
            return self.since + ROUNDS[number - 1]
        return self.since + ROUNDS[-1] + (number - len(ROUNDS)) * LATER


def waiting(view: ReleaseView) -> Waiting | None:
    """What the release waits for: a deploy or rollback that failed, or an alarm that nobody has acknowledged."""
    for state, plan in (
        (ReleaseState.DEPLOY_FAILED, PlanKind.DEPLOY),
        (ReleaseState.ROLLBACK_FAILED, PlanKind.ROLLBACK),
    ):
        step = failed_step(view.steps, plan) if view.release.state is state else None
        if step is not None and step.finished_at is not None:
            spec = view.checklist.step(step.id)
            what = f"the {plan} stands still at: {spec.title if spec else step.id}"
            return Waiting(step.finished_at, what, "Retry it in the thread, or roll back.")
    if view.release.state is ReleaseState.WATCHING and view.watch is not None and view.watch.open_alarms:
        alarms = view.watch.open_alarms
        named = alarms[0].short_id or alarms[0].issue
        more = f" and {len(alarms) - 1} more" if len(alarms) > 1 else ""
        since = min(alarm.at for alarm in alarms)
        return Waiting(since, f"nobody has answered the alarm {named}{more}", "Acknowledge it, or roll back.")
    return None
