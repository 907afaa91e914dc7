"""Planning: before the first step of a deploy acts, records what a rollback restores and what each step is to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bot.domain.actions import WITHOUT_DOER, StepSpec
from bot.domain.events import DeployPlanned
from bot.domain.ids import SYSTEM
from bot.domain.plan import Mutation, PlanDifference, Plane, PlanKind, Step, StepState
from bot.domain.plan_progress import PlanProgress
from bot.domain.plan_snapshot import PlanSnapshot, differences, plan_digest
from bot.errors import StepError, Superseded
from bot.flows.commit import commit_change
from bot.flows.deploying.preflight import preflight
from bot.flows.deps import Deps, Job
from bot.flows.step_inspection import Targets, inspect_step, rollback_target_of
from bot.steps.contract import ReleaseReference, StepInspection
from bot.steps.registry import handler_of
from bot.store import plan_snapshots, posts, steps, work
from bot.store.pool import Tx
from bot.texts.plan import list_differences

PlannedSteps = Sequence[tuple[Step, Sequence[Mutation]]]  # steps with the changes that they are to make


def plan_ahead(deps: Deps, job: Job, progress: PlanProgress, reference: ReleaseReference, current: Step) -> None:
    """Record what a rollback of each plane restores and what each step is to change, as far as that is not recorded yet.

    Raises StepError when a right is missing, a step cannot be inspected or rolled back, or the plan differs from the one that
    people saw; it names the step if that is not the ``current`` one.
    """
    _Planner(deps, job, progress, reference, current).plan()


@dataclass(frozen=True)
class _Planner:
    """Plans the steps of one deploy, on behalf of the step that is carried out now."""

    deps: Deps
    job: Job
    progress: PlanProgress
    reference: ReleaseReference
    current: Step

    def plan(self) -> None:
        """Do what `plan_ahead` says."""
        deploy = self._steps()
        first = self.progress.checklist.step(self.current.id)
        if first is not None and all(step.planned_changes is None for step in deploy):
            finished_ids = {step.id for step in deploy if step.state in {StepState.DONE, StepState.ATTESTED}}
            with self._inspection(first, None) as inspection:
                preflight(self.deps, self.progress.checklist, finished_ids, inspection)
        planned_steps = self._inspect_steps(self._record_targets())
        if not planned_steps:
            return
        with self.deps.store.transaction() as tx:
            work.ensure_claim(tx, self.job.claim)
            plan_differences = self._store(tx, planned_steps)
        if plan_differences:
            raise StepError(
                f"the plan has changed since it was last shown: {'; '.join(list_differences(plan_differences))}",
                hint="Nothing was changed. Press Retry to accept this; `/release plan` shows all of it.",
            )

    def _steps(self) -> list[Step]:
        return [step for step in self.progress.steps if step.plan is PlanKind.DEPLOY]

    def _record_targets(self) -> Targets:
        """Record what a rollback of each plane restores, unless that is recorded; return it for every plane."""
        release_id = self.progress.release.id
        with self.deps.store.transaction() as tx:
            targets = steps.rollback_targets(tx, release_id)
        for spec in self.progress.checklist.deploy:
            handler = None if isinstance(spec.action, WITHOUT_DOER) else handler_of(spec)
            if handler is None or handler.record is None or handler.plane is None or handler.plane in targets:
                continue
            with self._inspection(spec, None) as inspection:
                body = handler.record(spec.action, inspection)
            with self.deps.store.transaction() as tx:
                work.ensure_claim(tx, self.job.claim)
                steps.record_target(tx, release_id, handler.plane, body, self.deps.clock.now())
            targets[handler.plane] = dict(body)
        return targets

    def _inspect_steps(self, targets: Targets) -> PlannedSteps:
        """Return each step whose changes are not recorded yet, with the changes that it is to make."""
        planned_steps: list[tuple[Step, Sequence[Mutation]]] = []
        for step in self._steps():
            spec = self.progress.checklist.step(step.id)
            if (
                spec is None
                or step.planned_changes is not None
                or step.state not in {StepState.PENDING, StepState.RUNNING}
            ):
                continue
            with self._inspection(spec, rollback_target_of(spec, targets)) as inspection:
                changes = handler_of(spec).preview(spec.action, inspection)
            planned_steps.append((step, tuple(change.scrub(self.deps.clean) for change in changes)))
        return planned_steps

    def _store(self, tx: Tx, planned_steps: PlannedSteps) -> Sequence[PlanDifference]:
        """Store the changes that steps are to make, and return none; or, if people saw another plan, the differences from it.

        The differences are shown, so the new plan becomes the snapshot, and a retry inspects everything again. Once an intent
        was stored the snapshot does not count: a step that is planned again goes on from what its failure left.
        """
        release_id, now = self.progress.release.id, self.deps.clock.now()
        is_first_plan = not any(step.intended_changes for step in self._steps())
        snapshot = plan_snapshots.get(tx, release_id) if is_first_plan else None
        current: PlanSnapshot = {
            **{step.id: step.planned_changes for step in self._steps() if step.planned_changes is not None},
            **{step.id: changes for step, changes in planned_steps},
        }
        plan_differences = [] if snapshot is None else differences(snapshot, current)
        if plan_differences:
            plan_snapshots.store(tx, release_id, current, now, SYSTEM)
            for plane in Plane:
                steps.forget_target(tx, release_id, plane, [spec.id for spec in self.progress.checklist.deploy])
            return plan_differences
        for step, changes in planned_steps:
            steps.keep_planned(tx, step.row, changes)
        if is_first_plan:
            event = DeployPlanned(plan=plan_digest(current), shown=snapshot is not None)
            commit_change(tx, release_id, event, at=now, by=SYSTEM)
        else:
            posts.mark_stale(tx, release_id)
        return []

    @contextmanager
    def _inspection(self, spec: StepSpec, target: Mapping[str, Any] | None) -> Iterator[StepInspection]:
        """Provide the inspection of a step; an error names the step if it is not the current one."""
        try:
            with inspect_step(self.deps, spec, self.reference, target, cancelled=self.job.cancelled) as inspection:
                yield inspection
        except Superseded:
            raise
        except StepError as error:
            if spec.id == self.current.id:
                raise
            raise StepError(f"{spec.title}: {error.user_message}", hint=error.hint) from error
