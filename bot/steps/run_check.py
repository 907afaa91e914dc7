"""Step `run_check`: runs one kind of check against a target instead of changing something; only a PASS completes it."""

from __future__ import annotations

from bot.domain.actions import RunCheck
from bot.errors import StepError, Superseded
from bot.steps.contract import StepContext
from checks.outcome import Outcome


def run_check(spec: RunCheck, ctx: StepContext) -> str:
    """Run the check of the step and return its summary. Raises StepError, with the summary, if it is not a PASS."""
    answer = ctx.run_check(spec)
    if ctx.cancelled.is_set():
        raise Superseded  # told to stop: that is no answer
    ctx.journal.record_observation(
        outcome=answer.outcome, summary=answer.summary, asked=answer.evidence.asked, seen=answer.evidence.seen
    )
    if answer.outcome is not Outcome.PASS:
        raise StepError(f"{answer.outcome}: {answer.summary}", hint=answer.hint)
    return answer.summary
