"""What the checks, the steps and the watch of a checklist must be allowed to do in the clusters of their targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bot.domain.actions import Attest, RunCheck, StepSpec
from bot.domain.checklist import Checklist
from bot.steps.registry import doer
from checks.registry import Registry, RegistryError
from checks.rights import Grant, Right, grants
from checks.target import Target

Needed = tuple[str, Right]  # name of a target, and a right there


def of_checks(checklist: Checklist, registry: Registry) -> list[Needed]:
    """What the checks of all sections need."""
    return [
        (check.target, right) for check in checklist.checks for right in _of_kind(check.kind, check.params, registry)
    ]


def of_plan(checklist: Checklist, registry: Registry) -> list[Needed]:
    """What a deploy needs: its steps, those of the rollback that may have to follow, and the watch in between."""
    steps = [needed for spec in (*checklist.deploy, *checklist.rollback) for needed in of_step(spec, registry)]
    watch = [
        (probe.target, right)
        for probe in checklist.watch.probes
        for right in _of_kind(probe.kind, probe.params, registry)
    ]
    return steps + watch


def of_step(spec: StepSpec, registry: Registry) -> list[Needed]:
    """What one step needs; nothing for one that is a person's."""
    if isinstance(spec.action, Attest):
        return []
    if isinstance(spec.action, RunCheck):
        rights: Iterable[Right] = _of_kind(spec.action.kind, spec.action.params, registry)
    else:
        rights = doer(spec).rights(spec.action)
    return [(str(getattr(spec.action, "target", "")), right) for right in rights]


def by_target(needed: Iterable[Needed], targets: Mapping[str, Target]) -> dict[str, list[Grant]]:
    """Name of each target -> what must be granted in its cluster. A target that is not configured is left out."""
    wanted: dict[str, list[Right]] = {}
    for name, right in needed:
        wanted.setdefault(name, []).append(right)
    return {name: grants(rights, targets[name]) for name, rights in wanted.items() if name in targets}


def _of_kind(name: str, params: Mapping[str, Any], registry: Registry) -> tuple[Right, ...]:
    try:
        return registry.get(name).rights(registry.validate(name, params))
    except RegistryError:
        return ()  # the check says so itself
