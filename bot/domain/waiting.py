"""Waiting: for what a release that was deployed waits for people, since when, and when they are reminded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
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


@dataclass(frozen=True)
class Waiting:
    """Something that only people can bring to an end."""

    since: datetime
    what: str  # what is the matter, as a sentence without its full stop
    todo: str  # what they can do
    first: int = 1  # the first round that is told
    every: timedelta | None = None  # between two reminders, where nothing is in doubt; None: soon, as above

    def round_at(self, now: datetime) -> int:
        """The round that is due at ``now``; 0 before the first."""
        age = now - self.since
        if self.every is not None:
            return age // self.every
        number = sum(age >= after for after in ROUNDS)
        if age >= ROUNDS[-1]:
            number += (age - ROUNDS[-1]) // LATER
        return number if number >= self.first else 0


def waiting(view: ReleaseView) -> Waiting | None:
    """What the release waits for: a step (failed, slow, a person's), an alarm without an answer, a break-glass without a review."""
    if view.release.state in _PLANS:
        return _stands_still(view, _PLANS[view.release.state])
    if view.release.state is ReleaseState.WATCHING and view.watch is not None and view.watch.open_alarms:
        alarms = view.watch.open_alarms
        named = alarms[0].short_id or alarms[0].issue
        more = f" and {len(alarms) - 1} more" if len(alarms) > 1 else ""
        since = min(alarm.at for alarm in alarms)
        return Waiting(since, f"nobody has answered the alarm {named}{more}", "Acknowledge it, or roll back.")
    broken = view.break_glass
    if view.release.state in REVIEWED_IN and broken is not None and broken.reviewed_by is None:
        todo = "Somebody other than who broke the glass presses Review on the close-out."
        return Waiting(broken.at, "nobody has reviewed its break-glass", todo, every=view.policy.remind_after)
    return None


def _stands_still(view: ReleaseView, plan: PlanKind) -> Waiting | None:
    """A plan at a step that failed, or that has been running for very long."""
    if (step := failed_step(view.steps, plan)) is not None and step.finished_at is not None:
        return Waiting(
            step.finished_at,
            f"the {plan} stands still at: {_title(view, step)}",
            "Retry it in the thread, or roll back.",
        )
    step = view.next_step(plan)
    if step is None or step.started_at is None:
        return None
    if step is view.awaited:
        todo = "Do it and attest it in the thread" + (", or roll back." if plan is PlanKind.DEPLOY else ".")
        return Waiting(step.started_at, f"the {plan} waits for a person to do: {_title(view, step)}", todo)
    what = f"the {plan} is still at: {_title(view, step)}"
    # A rollout has fifteen minutes: what runs is left alone for the first round.
    return Waiting(step.started_at, what, "Look at its line in the thread, or roll back.", first=2)


def _title(view: ReleaseView, step: Step) -> str:
    spec = view.checklist.step(step.id)
    return spec.title if spec else step.id
