"""Plan: what each step would change, seen now; shown before anything happens, and kept when a deploy begins."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from bot.domain.actions import WITHOUT_DOER, RunCheck, StepSpec
from bot.domain.checklist import Checklist
from bot.domain.events import DeployPlanned
from bot.domain.ids import SYSTEM, StepId, Version
from bot.domain.plan import Mutation, Plane, PlanKind, PlannedStep, Step, StepState
from bot.domain.release import Release
from bot.domain.shown import Shown, differences, digest, listed
from bot.domain.view import ReleaseView
from bot.errors import StepError, Superseded
from bot.flows.commit import commit_change
from bot.flows.deps import Asking, Deps, Job
from bot.flows.preflight import preflight
from bot.steps.contract import Look, Shipment
from bot.steps.registry import doer
from bot.steps.sources import Resolved
from bot.store import posts, releases, shown, steps, work
from bot.store.pool import Tx
from checks.clients import Clients
from checks.contract import CheckError

Targets = Mapping[Plane, Mapping[str, Any]]  # where a rollback goes, by plane

LOOK_TIME = 30.0  # seconds for what one step looks at
LOOKERS = 8  # steps that look at the same time


def shipment_of(tx: Tx, release: Release) -> Shipment:
    """The release as its steps see it."""
    version = Version.parse(release.version)
    return Shipment(
        version=release.version,
        bare_version=version.bare if version else release.version,
        commit=release.commit,
        image=release.pinned_image,
        previous=steps.previous_version(tx, release.id),
    )


def shipment(version: Version, resolved: Resolved) -> Shipment:
    """A version that nobody has started a release of, as its steps would see it."""
    return Shipment(str(version), version.bare, resolved.commit, f"{resolved.image}@{resolved.digest}")


@contextmanager
def looking(
    deps: Asking,
    spec: StepSpec,
    ship: Shipment,
    recorded: Mapping[str, Any] | None,
    *,
    seconds: float = LOOK_TIME,
    cancelled: threading.Event,
) -> Iterator[Look]:
    """What the step ``spec`` may use, for the length of a block. Raises StepError; what the clients raise becomes one."""
    name = getattr(spec.action, "target", deps.environment)
    target = deps.targets.get(name)
    if target is None:
        raise StepError(f"there is no target {name}", hint=f"Set targets.{name} in release-bot.yml, then retry")
    with Clients(target) as clients:
        try:
            yield Look(
                id=spec.id,
                shipment=ship,
                target=target,
                clients=clients,
                github=deps.github,
                vercel=deps.vercel,
                recorded=recorded,
                deadline=time.monotonic() + seconds,
                cancelled=cancelled,
            )
        except CheckError as error:
            raise StepError(error.summary, hint=error.hint) from error


def recorded_for(spec: StepSpec, targets: Targets) -> Mapping[str, Any] | None:
    """What was recorded of the plane of a step, or None."""
    plane = None if isinstance(spec.action, WITHOUT_DOER) else doer(spec).plane
    return None if plane is None else targets.get(plane)


def preview(deps: Asking, checklist: Checklist, ship: Shipment, targets: Targets) -> list[PlannedStep]:
    """What each step of both plans would change now, in words that may be shown. Steps look side by side; what one cannot see
    is said in its place.
    """
    asked = [(PlanKind.DEPLOY, spec) for spec in checklist.deploy]
    asked += [(PlanKind.ROLLBACK, spec) for spec in checklist.rollback]
    never = threading.Event()

    def look(entry: tuple[PlanKind, StepSpec]) -> PlannedStep:
        kind, spec = entry
        if isinstance(spec.action, (*WITHOUT_DOER, RunCheck)):
            return PlannedStep(kind, spec, ())
        try:
            with looking(deps, spec, ship, recorded_for(spec, targets), cancelled=never) as place:
                changes = tuple(change.cleaned(deps.clean) for change in doer(spec).preview(spec.action, place))
            return PlannedStep(kind, spec, changes)
        except StepError as error:
            trouble = deps.clean(f"{error.user_message.rstrip('.')}. {error.hint}".strip())
            return PlannedStep(kind, spec, (), trouble=trouble)

    with ThreadPoolExecutor(LOOKERS, thread_name_prefix="plan") as threads:
        return list(threads.map(look, asked))


def of_release(deps: Deps, release: Release) -> list[PlannedStep]:
    """The plan of a release that is under way."""
    with deps.store.transaction() as tx:
        ship, targets = shipment_of(tx, release), steps.rollback_targets(tx, release.id)
        checklist = releases.checklist(tx, release)
    return preview(deps, checklist, ship, targets)


def prepare(deps: Deps, job: Job, view: ReleaseView, ship: Shipment, current: Step) -> None:
    """Record where a rollback of each plane goes, and what each step is to change, as far as that is not done yet.

    Before the first step acts: what is not allowed, cannot be seen or cannot be taken back is not deployed at all, and what
    people were shown otherwise not before they have seen it. Raises StepError, which names the step that it is about where
    that is not the ``current`` one.
    """
    begins = all(step.planned is None for step in view.steps if step.plan is PlanKind.DEPLOY)
    first = view.checklist.step(current.id)
    if begins and first is not None:
        with looking(deps, first, ship, None, cancelled=job.lost) as look:
            preflight(deps, view.checklist, _done(view), look)
    known = _record_targets(deps, job, view, ship, current)
    fresh = _look_ahead(deps, job, view, ship, current, known)
    if not fresh:
        return
    with deps.store.transaction() as tx:
        work.ensure_claim(tx, job.claim)
        unlike = _keep(tx, deps, view, fresh)
    if unlike:
        raise StepError(
            f"the plan is not the one that was shown: {'; '.join(listed(unlike))}",
            hint="Nothing was changed. Press Retry to go with this; `/release plan` shows all of it.",
        )


def _record_targets(deps: Deps, job: Job, view: ReleaseView, ship: Shipment, current: Step) -> Targets:
    release_id = view.release.id
    with deps.store.transaction() as tx:
        known = steps.rollback_targets(tx, release_id)
    for spec in view.checklist.deploy:
        found = None if isinstance(spec.action, WITHOUT_DOER) else doer(spec)
        if found is None or found.record is None or found.plane is None or found.plane in known:
            continue
        with _named(spec, current), looking(deps, spec, ship, None, cancelled=job.lost) as look:
            body = found.record(spec.action, look)
        with deps.store.transaction() as tx:
            work.ensure_claim(tx, job.claim)
            steps.record_target(tx, release_id, found.plane, body, deps.clock.now())
        known[found.plane] = dict(body)
    return known


def _look_ahead(
    deps: Deps, job: Job, view: ReleaseView, ship: Shipment, current: Step, targets: Targets
) -> list[tuple[Step, Sequence[Mutation]]]:
    """What each step is to change of which that is not known yet."""
    found: list[tuple[Step, Sequence[Mutation]]] = []
    for step in view.steps:
        spec = view.checklist.step(step.id)
        if step.plan is not PlanKind.DEPLOY or spec is None or step.planned is not None:
            continue
        if step.state in {StepState.PENDING, StepState.RUNNING}:
            recorded = recorded_for(spec, targets)
            with _named(spec, current), looking(deps, spec, ship, recorded, cancelled=job.lost) as look:
                changes = doer(spec).preview(spec.action, look)
            found.append((step, tuple(change.cleaned(deps.clean) for change in changes)))
    return found


def _keep(tx: Tx, deps: Deps, view: ReleaseView, fresh: Sequence[tuple[Step, Sequence[Mutation]]]) -> Sequence[str]:
    """Keep what steps are to change, unless the plan that a deploy begins with is not the one that was shown: in what it is not.

    Who is told that was shown it: a retry looks at everything anew, and goes with that. Once something was about to be
    changed, a step that is planned anew goes on from what its failure has left.
    """
    release_id, now = view.release.id, deps.clock.now()
    begins = not any(step.begun for step in view.steps if step.plan is PlanKind.DEPLOY)
    known = shown.get(tx, release_id) if begins else None
    planned: Shown = {
        **{step.id: step.planned for step in view.steps if step.plan is PlanKind.DEPLOY and step.planned is not None},
        **{step.id: changes for step, changes in fresh},
    }
    unlike = [] if known is None else differences(known, planned)
    if unlike:
        shown.keep(tx, release_id, planned, now, SYSTEM)
        for plane in Plane:
            steps.forget_target(tx, release_id, plane, [spec.id for spec in view.checklist.deploy])
        return unlike
    for step, changes in fresh:
        steps.keep_planned(tx, step.row, changes)
    if begins:
        begun = DeployPlanned(plan=digest(planned), shown=known is not None)
        commit_change(tx, release_id, begun, at=now, by=SYSTEM)
    else:
        posts.mark_stale(tx, release_id)
    return []


def _done(view: ReleaseView) -> set[StepId]:
    """The steps of the deploy that are behind us: carried out, or done by hand."""
    over = {StepState.DONE, StepState.ATTESTED}
    return {step.id for step in view.steps if step.plan is PlanKind.DEPLOY and step.state in over}


@contextmanager
def _named(spec: StepSpec, current: Step) -> Iterator[None]:
    """Say which step it was that could not be planned."""
    try:
        yield
    except Superseded:
        raise
    except StepError as error:
        if spec.id == current.id:
            raise
        raise StepError(f"{spec.title}: {error.user_message}", hint=error.hint) from error
