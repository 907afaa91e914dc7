"""Step inspection: builds what a step reads the world with, and previews what each step of a plan would change. Changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from bot.domain.actions import WITHOUT_DOER, RunCheck, StepSpec
from bot.domain.checklist import Checklist
from bot.domain.ids import Version
from bot.domain.plan import Plane, PlanKind, PlannedStep
from bot.domain.release import Release
from bot.errors import StepError
from bot.flows.deps import Deps, TargetDeps
from bot.steps.contract import ReleaseReference, StepInspection, step_errors
from bot.steps.registry import bound_clients, handler_of
from bot.steps.sources import ResolvedSource
from bot.store import releases, steps
from bot.store.pool import Tx
from clients.connections import Clients

Targets = Mapping[Plane, Mapping[str, Any]]  # what a rollback restores, by plane

INSPECTION_TIME = 30.0  # seconds for the inspection of one step
MAX_INSPECTIONS = 8  # steps that look at the same time


def release_reference(tx: Tx, release: Release) -> ReleaseReference:
    """Return the release as its steps see it."""
    version = Version.parse(release.version)
    return ReleaseReference(
        version=release.version,
        bare_version=version.bare if version else release.version,
        commit=release.commit,
        image=release.pinned_image,
        previous=steps.previous_version(tx, release.id),
    )


def version_reference(version: Version, source: ResolvedSource) -> ReleaseReference:
    """Return a version without a release as steps would see it."""
    return ReleaseReference(str(version), version.bare, source.commit, f"{source.image}@{source.digest}")


@contextmanager
def inspect_step(
    deps: TargetDeps,
    spec: StepSpec,
    ship: ReleaseReference,
    rollback_target: Mapping[str, Any] | None,
    *,
    seconds: float = INSPECTION_TIME,
    cancelled: threading.Event,
) -> Iterator[StepInspection]:
    """Provide the inspection of the step ``spec`` for a block; its deadline is in ``seconds``.

    ``rollback_target``: what was recorded of its plane, if anything. Raises StepError, also for errors of clients in the block.
    """
    name = getattr(spec.action, "target", deps.environment)
    target = deps.targets.get(name)
    if target is None:
        raise StepError(f"there is no target {name}", hint=f"Set targets.{name} in release-bot.yml, then retry")
    with Clients(target) as clients, step_errors():
        yield StepInspection(
            id=spec.id,
            reference=ship,
            target=target,
            clients=bound_clients(clients, spec, acts=False),
            rollback_target=rollback_target,
            deadline=time.monotonic() + seconds,
            cancelled=cancelled,
        )


def rollback_target_of(spec: StepSpec, targets: Targets) -> Mapping[str, Any] | None:
    """Return what was recorded of the plane of a step before the deploy; None if nothing was."""
    plane = None if isinstance(spec.action, WITHOUT_DOER) else handler_of(spec).plane
    return None if plane is None else targets.get(plane)


def preview_plans(
    deps: TargetDeps, checklist: Checklist, reference: ReleaseReference, targets: Targets
) -> list[PlannedStep]:
    """Return what each step of both plans would change now, redacted; all steps are inspected at once.

    A step that could not be inspected has the reason as its ``trouble``.
    """
    entries = [(PlanKind.DEPLOY, spec) for spec in checklist.deploy]
    entries += [(PlanKind.ROLLBACK, spec) for spec in checklist.rollback]
    no_stop = threading.Event()

    def preview_step(entry: tuple[PlanKind, StepSpec]) -> PlannedStep:
        kind, spec = entry
        if isinstance(spec.action, (*WITHOUT_DOER, RunCheck)):
            return PlannedStep(kind, spec, ())
        try:
            target = rollback_target_of(spec, targets)
            with inspect_step(deps, spec, reference, target, cancelled=no_stop) as inspection:
                changes = handler_of(spec).preview(spec.action, inspection)
            return PlannedStep(kind, spec, tuple(change.scrub(deps.clean) for change in changes))
        except StepError as error:
            trouble = deps.clean(f"{error.user_message.rstrip('.')}. {error.hint}".strip())
            return PlannedStep(kind, spec, (), trouble=trouble)

    with ThreadPoolExecutor(MAX_INSPECTIONS, thread_name_prefix="plan") as threads:
        return list(threads.map(preview_step, entries))


def plan_of_release(deps: Deps, release: Release) -> list[PlannedStep]:
    """Return what each step of both plans of a release would change now."""
    with deps.store.transaction() as tx:
        reference, targets = release_reference(tx, release), steps.rollback_targets(tx, release.id)
        checklist = releases.checklist(tx, release)
    return preview_plans(deps, checklist, reference, targets)
