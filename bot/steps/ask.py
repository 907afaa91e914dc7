"""A step that asks instead of changing: one kind of check against a target; anything but PASS fails the step."""

from __future__ import annotations

from contextlib import ExitStack

from bot.domain.actions import RunCheck
from bot.errors import StepError, Superseded
from bot.steps.contract import StepContext
from checks.contract import CheckContext, Outcome, Subject
from checks.registry import RegistryError
from checks.runner import run_check
from clients.connections import Clients


def ask(spec: RunCheck, ctx: StepContext) -> str:
    """Run the check and return its summary. Raises StepError with what was seen when it is not a PASS."""
    try:
        kind = ctx.registry.get(spec.kind)
        params = ctx.registry.validate(spec.kind, spec.params)
    except RegistryError as error:
        raise StepError(str(error)) from error
    subject = Subject(ctx.shipment.version, ctx.shipment.commit, ctx.shipment.image, previous=ctx.shipment.previous)
    with ExitStack() as held:
        check = CheckContext(
            check=ctx.id,
            target=ctx.target,
            clients=held.enter_context(
                Clients(ctx.target)
            ),  # of its own: a check that does not stop goes on using them
            undo=ctx.undo,
            subject=subject,
            needs={},
            deadline=ctx.deadline,
            cancelled=ctx.cancelled,
            progress=ctx.journal.progress,
        )
        answer = run_check(kind, params, check, redact=ctx.redact, held=held).answer
    if ctx.cancelled.is_set():
        raise Superseded  # told to stop: that is no answer
    ctx.journal.observed(
        outcome=answer.outcome, summary=answer.summary, asked=answer.evidence.asked, seen=answer.evidence.seen
    )
    if answer.outcome is not Outcome.PASS:
        raise StepError(f"{answer.outcome}: {answer.summary}", hint=answer.hint)
    return answer.summary
