"""Step inspection: what a step may use to look at the world, and what each step of a plan would change now. Changes nothing."""

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
from bot.steps.sources import Resolved
from bot.store import releases, steps
from bot.store.pool import Tx
from clients.connections import Clients

Targets = Mapping[Plane, Mapping[str, Any]]  # where a rollback goes, by plane

INSPECTION_TIME = 30.0  # seconds for what one step looks at
MAX_INSPECTIONS = 8  # steps that look at the same time


def release_reference(tx: Tx, release: Release) -> ReleaseReference:
    """The release as its steps see it."""
    version = Version.parse(release.version)
    return ReleaseReference(
        version=release.version,
        bare_version=version.bare if version else release.version,
        commit=release.commit,
        image=release.pinned_image,
        previous=steps.previous_version(tx, release.id),
    )


def version_reference(version: Version, resolved: Resolved) -> ReleaseReference:
    """A version that nobody has started a release of, as its steps would see it."""
    return ReleaseReference(str(version), version.bare, resolved.commit, f"{resolved.image}@{resolved.digest}")


@contextmanager
def inspect_step(
    deps: TargetDeps,
    spec: StepSpec,
    ship: ReleaseReference,
    recorded: Mapping[str, Any] | None,
    *,
    seconds: float = INSPECTION_TIME,
    cancelled: threading.Event,
) -> Iterator[StepInspection]:
    """What the step ``spec`` may use, for the length of a block. Raises StepError; what the clients raise becomes one."""
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
            recorded=recorded,
            deadline=time.monotonic() + seconds,
            cancelled=cancelled,
        )


def recorded_for(spec: StepSpec, targets: Targets) -> Mapping[str, Any] | None:
    """What was recorded of the plane of a step, or None."""
    plane = None if isinstance(spec.action, WITHOUT_DOER) else handler_of(spec).plane
    return None if plane is None else targets.get(plane)


def preview_plans(
    deps: TargetDeps, checklist: Checklist, ship: ReleaseReference, targets: Targets
) -> list[PlannedStep]:
    """What each step of both plans would change now, in words that may be shown. Steps look side by side; what one cannot see
    is said in its place.
    """
    entries = [(PlanKind.DEPLOY, spec) for spec in checklist.deploy]
    entries += [(PlanKind.ROLLBACK, spec) for spec in checklist.rollback]
    never = threading.Event()

    def look(entry: tuple[PlanKind, StepSpec]) -> PlannedStep:
        kind, spec = entry
        if isinstance(spec.action, (*WITHOUT_DOER, RunCheck)):
            return PlannedStep(kind, spec, ())
        try:
            with inspect_step(deps, spec, ship, recorded_for(spec, targets), cancelled=never) as place:
                changes = tuple(change.scrub(deps.clean) for change in handler_of(spec).preview(spec.action, place))
            return PlannedStep(kind, spec, changes)
        except StepError as error:
            trouble = deps.clean(f"{error.user_message.rstrip('.')}. {error.hint}".strip())
            return PlannedStep(kind, spec, (), trouble=trouble)

    with ThreadPoolExecutor(MAX_INSPECTIONS, thread_name_prefix="plan") as threads:
        return list(threads.map(look, entries))


def plan_of_release(deps: Deps, release: Release) -> list[PlannedStep]:
    """The plan of a release that is under way."""
    with deps.store.transaction() as tx:
        ship, targets = release_reference(tx, release), steps.rollback_targets(tx, release.id)
        checklist = releases.checklist(tx, release)
    return preview_plans(deps, checklist, ship, targets)
