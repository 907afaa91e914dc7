"""The one table of what a step can do: `do:` of the checklist to the function that does it."""

from __future__ import annotations

from bot.domain.actions import RestoreBackend, RunCheck, SetImage, StepSpec
from bot.errors import StepError
from bot.steps import ask, kube
from bot.steps.contract import StepContext


def perform(spec: StepSpec, ctx: StepContext) -> str:
    """Carry out one step and return what it did, in a line. Raises StepError when it failed, Superseded when it must stop."""
    action = spec.action
    if isinstance(action, SetImage):
        return kube.set_image(action, ctx)
    if isinstance(action, RestoreBackend):
        return kube.restore_backend(action, ctx)
    if isinstance(action, RunCheck):
        return ask.ask(action, ctx)
    raise StepError(f"{spec.id} is for a person to do and attest", hint="Press Attest once it is done.")
