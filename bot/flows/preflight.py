"""Preflight: before a deploy changes anything, is the bot allowed all that the plan and the way back need?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bot.domain.checklist import Checklist
from bot.errors import StepError
from bot.flows.deps import Deps
from bot.steps.cluster import step_errors
from bot.steps.contract import Look
from bot.steps.rights import by_target, of_plan
from checks.clients import Clients
from checks.permissions import refused
from checks.rights import Grant
from checks.target import Target


def preflight(deps: Deps, checklist: Checklist, look: Look) -> None:
    """Ask each cluster for the rights that deploy, watch and rollback need (promise P6: no deploy without a way back).

    Raises StepError that names every right which is missing, or says which cluster does not answer.
    """
    missing = [
        grant
        for name, wanted in by_target(of_plan(checklist, deps.registry), deps.targets).items()
        for grant in look.insist(partial(_refused, deps.targets[name], wanted))
    ]
    if missing:
        raise StepError(
            f"the bot may not {', '.join(str(grant) for grant in missing)}",
            hint="Nothing was changed. Grant it to the bot's service account in a Role, then press Retry.",
        )


def _refused(target: Target, wanted: Sequence[Grant]) -> list[Grant]:
    with Clients(target) as clients, step_errors():
        return refused(clients.kube(), wanted)
