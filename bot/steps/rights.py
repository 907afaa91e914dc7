"""What the checks, the steps and the watch of a checklist need of their targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain.actions import WITHOUT_DOER, RunCheck, StepSpec
from bot.domain.checklist import Checklist
from bot.steps.registry import handler_of
from checks.registry import Registry, RegistryError
from clients.needs import ClusterRight, Need, OptionalSetting, Setting
from clients.rights import Grant, grants
from clients.target import Target


@dataclass(frozen=True)
class Demand:
    """What one line of a checklist needs."""

    line: str  # id of a check, a step or a probe
    target: str  # its name; empty: the target that is deployed to
    needs: Sequence[Need] = ()

    @property
    def rights(self) -> list[ClusterRight]:
        """The rights in the target's cluster."""
        return [need for need in self.needs if isinstance(need, ClusterRight)]

    @property
    def uses(self) -> list[Setting]:
        """The settings, and the rights at the system that each belongs to."""
        return [need for need in self.needs if isinstance(need, Setting) and not isinstance(need, OptionalSetting)]


def of_checklist(checklist: Checklist, registry: Registry) -> list[Demand]:
    """Return what every check, step and probe needs; a line that only repeats another check has no needs of its own."""
    checks = [
        _of_kind(check.id, check.target, check.kind, check.params, registry)
        for check in checklist.checks
        if check.same_as is None
    ]
    return checks + of_plan(checklist, registry)


def of_plan(checklist: Checklist, registry: Registry) -> list[Demand]:
    """Return what a deploy needs: its steps, the watch, and the steps of the rollback that may follow."""
    steps = [of_step(spec, registry) for spec in (*checklist.deploy, *checklist.rollback)]
    watch = [_of_kind(probe.id, probe.target, probe.kind, probe.params, registry) for probe in checklist.watch.probes]
    return steps + watch


def of_step(spec: StepSpec, registry: Registry) -> Demand:
    """Return what one step needs; nothing for one that a person or a message completes."""
    if isinstance(spec.action, WITHOUT_DOER):
        return Demand(spec.id, "")
    target = str(getattr(spec.action, "target", ""))
    if isinstance(spec.action, RunCheck):
        return _of_kind(spec.id, target, spec.action.kind, spec.action.params, registry)
    return Demand(spec.id, target, handler_of(spec).needs(spec.action))


def by_target(demands: Iterable[Demand], targets: Mapping[str, Target]) -> dict[str, list[Grant]]:
    """Return the rights that are needed in the cluster of each configured target, by the name of the target."""
    rights_by_target: dict[str, list[ClusterRight]] = {}
    for demand in demands:
        rights_by_target.setdefault(demand.target, []).extend(demand.rights)
    return {
        name: target_grants
        for name, rights in rights_by_target.items()
        if name in targets and (target_grants := grants(rights, targets[name]))
    }


def _of_kind(line: str, target: str, name: str, params: Mapping[str, Any], registry: Registry) -> Demand:
    try:
        kind, values = registry.get(name), registry.validate(name, params)
    except RegistryError:
        return Demand(line, target)  # the check says so itself
    return Demand(line, target, kind.needs(values))
