"""What a deployed release waits for, and what people can do about it."""

from __future__ import annotations

from bot.domain.plan import PlanKind
from bot.domain.waiting import ReleaseWait, WaitReason

_PROBLEMS = {
    WaitReason.FAILED_STEP: "the {plan} is blocked at: {subject}",
    WaitReason.PERSONS_STEP: "the {plan} waits for a person to do: {subject}",
    WaitReason.SLOW_STEP: "the {plan} is still running: {subject}",
    WaitReason.ALARM: "nobody has answered the alarm {subject}",
    WaitReason.REVIEW: "nobody has reviewed its break-glass",
}
_WAYS_ON = {
    WaitReason.FAILED_STEP: "Retry it in the thread, or roll back.",
    WaitReason.PERSONS_STEP: "Do it and attest it in the thread, or roll back.",
    WaitReason.SLOW_STEP: "Check its line in the thread, or roll back.",
    WaitReason.ALARM: "Acknowledge it, or roll back.",
    WaitReason.REVIEW: "Someone other than who broke the glass must press Review on the close-out.",
}


def wait_problem(wait: ReleaseWait) -> str:
    """What is the matter, as a sentence without its full stop."""
    more = f" and {wait.others} more" if wait.others else ""
    return _PROBLEMS[wait.reason].format(plan=wait.plan, subject=wait.subject) + more


def wait_way_on(wait: ReleaseWait) -> str:
    """What people can do, as a sentence."""
    if wait.reason is WaitReason.PERSONS_STEP and wait.plan is PlanKind.ROLLBACK:
        return "Do it and attest it in the thread."
    return _WAYS_ON[wait.reason]
