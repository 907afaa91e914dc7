"""Waiting: for what a release that was deployed waits for people, since when, and when they are reminded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from bot.domain.break_glass import REVIEWED_IN
from bot.domain.plan import PlanKind, failed_step
from bot.domain.release import ReleaseState

if TYPE_CHECKING:
    from datetime import datetime

    from bot.domain.plan import Step
    from bot.domain.view import ReleaseView

# Production is in doubt, so people are reminded soon, then less and less often: after ten minutes, half an hour, an hour.
ROUNDS = (timedelta(minutes=10), timedelta(minutes=30), timedelta(hours=1))
LATER = timedelta(hours=1)  # between two reminders after those

_PLANS = {
    ReleaseState.DEPLOYING: PlanKind.DEPLOY,
    ReleaseState.DEPLOY_FAILED: PlanKind.DEPLOY,
    ReleaseState.ROLLING_BACK: PlanKind.ROLLBACK,
    ReleaseState.ROLLBACK_FAILED: PlanKind.ROLLBACK,
}


class WaitReason(StrEnum):
    """What only people can bring to an end. Its words are in `bot/texts/find_wait.py`."""

    FAILED_STEP = "failed step"
    PERSONS_STEP = "a person's step"  # the plan has reached it, and somebody has to do it
    SLOW_STEP = "slow step"
    ALARM = "alarm"  # nobody has acknowledged it
    REVIEW = "review"  # of a break-glass


@dataclass(frozen=True)
class ReleaseWait:
    """That a release waits for people."""

    reason: WaitReason
    since: datetime
    subject: str = ""  # title of the step, or name of the oldest alarm
    plan: PlanKind | None = None  # whose step it is
    others: int = 0  # more alarms
    every: timedelta | None = None  # between two reminders, where nothing is in doubt; None: soon, as above

    def round_at(self, now: datetime) -> int:
        """Return the number of the reminder that is due at ``now``; 0 before the first."""
        age = now - self.since
        if self.every is not None:
            return age // self.every
        number = sum(age >= after for after in ROUNDS)
        if age >= ROUNDS[-1]:
            number += (age - ROUNDS[-1]) // LATER
        # A rollout has fifteen minutes: what runs is left alone for the first round.
        return 0 if self.reason is WaitReason.SLOW_STEP and number == 1 else number


def find_wait(view: ReleaseView) -> ReleaseWait | None:
    """Return what the release waits for (a step, an unanswered alarm, the review of a break-glass), or None."""
    if view.release.state in _PLANS:
        return _halted_step(view, _PLANS[view.release.state])
    if view.release.state is ReleaseState.WATCHING and view.watch is not None and view.watch.open_alarms:
        first, *others = view.watch.open_alarms
        since = min(alarm.at for alarm in (first, *others))
        return ReleaseWait(WaitReason.ALARM, since, first.short_id or first.issue, others=len(others))
    glass = view.break_glass
    if view.release.state in REVIEWED_IN and glass is not None and glass.reviewed_by is None:
        return ReleaseWait(WaitReason.REVIEW, glass.at, every=view.policy.remind_after)
    return None


def _halted_step(view: ReleaseView, plan: PlanKind) -> ReleaseWait | None:
    """Return the wait for the step at which a plan failed, waits for a person, or is still running; None when there is none."""
    if (step := failed_step(view.steps, plan)) is not None and step.finished_at is not None:
        return ReleaseWait(WaitReason.FAILED_STEP, step.finished_at, _title(view, step), plan)
    step = view.next_step(plan)
    if step is None or step.started_at is None:
        return None
    reason = WaitReason.PERSONS_STEP if step is view.awaited_step else WaitReason.SLOW_STEP
    return ReleaseWait(reason, step.started_at, _title(view, step), plan)


def _title(view: ReleaseView, step: Step) -> str:
    spec = view.checklist.step(step.id)
    return spec.title if spec else step.id
