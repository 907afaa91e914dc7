"""Preflight: before a deploy changes anything, is the bot allowed all that the plan and the way back need?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from bot.domain.checklist import Checklist
from bot.domain.ids import StepId
from bot.errors import NoAnswer, StepError
from bot.flows.configuration_needs import part_title
from bot.flows.deps import TargetDeps
from bot.flows.doctor import EXAMINERS
from bot.steps.contract import StepInspection, step_errors
from bot.steps.rights import Demand, by_target, of_plan
from checks.checkup.finding import Finding, State
from clients.connections import Clients
from clients.needs import WRITE_CONTENTS, Setting
from clients.permissions import refused
from clients.rights import Grant
from clients.target import Target

# Rights of these sections would be missed only in the middle of a deploy; planning tries everything that reads.
_SECTIONS = ("migrate_database_url", "github")


def preflight(
    deps: TargetDeps, checklist: Checklist, finished_ids: Collection[StepId], inspection: StepInspection
) -> None:
    """Ask each cluster, the database and GitHub whether the bot has all rights for deploy, watch and rollback (promise P6).

    ``finished_ids``: steps of the deploy that are done already, such as one done by hand. Raises StepError that names every
    missing right, or who does not answer.
    """
    demands = [demand for demand in of_plan(checklist, deps.registry) if demand.line not in finished_ids]
    missing_rights = [*_missing_in_clusters(deps, demands, inspection), *_missing_elsewhere(deps, demands, inspection)]
    if missing_rights:
        todo = " ".join(dict.fromkeys(f"{finding.hint} {finding.rule}".strip() for finding in missing_rights))
        raise StepError(
            "; ".join(finding.what for finding in missing_rights), hint=f"Nothing was changed. {todo} Then press Retry."
        )


def _missing_in_clusters(deps: TargetDeps, demands: Iterable[Demand], inspection: StepInspection) -> Iterator[Finding]:
    refusals = [
        grant
        for name, grants in by_target(demands, deps.targets).items()
        for grant in inspection.retry_read(partial(_refused_grants, deps.targets[name], grants))
    ]
    if refusals:
        names = ", ".join(str(grant) for grant in refusals)
        hint = "Grant it to the bot's service account in a Role."
        yield Finding(State.MISSING, f"the bot isn't allowed to {names}", hint)


def _refused_grants(target: Target, grants: Sequence[Grant]) -> list[Grant]:
    with Clients(target) as clients, step_errors():
        return refused(clients.kube(), grants)


def _missing_elsewhere(deps: TargetDeps, demands: Iterable[Demand], inspection: StepInspection) -> Iterator[Finding]:
    """Ask as the doctor does. A section that is not configured is left to the step that needs it, when it is planned."""
    needs: dict[tuple[str, str], dict[Setting, tuple[str, ...]]] = {}
    for demand in demands:
        name = demand.target or deps.environment
        for use in demand.uses:
            section = use.setting.partition(".")[0]
            if section not in _SECTIONS or (section == "github" and use != WRITE_CONTENTS):
                continue
            if name in deps.targets and getattr(deps.targets[name], section) is not None:
                lines = needs.setdefault((section, name), {})
                lines[use] = (*lines.get(use, ()), demand.line)
    for (section, name), uses in needs.items():
        whom = part_title(section, name)
        for finding in inspection.retry_read(partial(_examine, section, deps.targets[name], uses, whom)):
            yield Finding(State.MISSING, f"{whom}: {finding.what}", finding.hint, finding.rule)


def _examine(section: str, target: Target, uses: dict[Setting, tuple[str, ...]], whom: str) -> list[Finding]:
    """Return the findings that are not good. Raises NoAnswer when the system cannot be reached."""
    problems = [finding for finding in EXAMINERS[section](target, uses) if not finding.good]
    for finding in problems:
        if finding.state is State.UNREACHABLE:
            raise NoAnswer(f"{whom}: {finding.what}", hint=f"Nothing was changed. {finding.hint} Then press Retry.")
    return problems
