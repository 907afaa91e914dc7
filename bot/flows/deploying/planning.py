"""Planning: before the first step of a deploy acts, where a rollback goes and what each step is to change is recorded."""

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
from bot.flows.step_inspection import Targets, inspect_step, recorded_for
from bot.steps.contract import ReleaseReference, StepInspection
from bot.steps.registry import handler_of
from bot.store import plan_snapshots, posts, steps, work
from bot.store.pool import Tx
from bot.texts.plan import list_differences

Planned = Sequence[tuple[Step, Sequence[Mutation]]]  # steps with what they are to change


def plan_ahead(deps: Deps, job: Job, progress: PlanProgress, reference: ReleaseReference, current: Step) -> None:
    """Record where a rollback of each plane goes and what each step is to change, as far as that is not recorded yet.

    What is not allowed, cannot be seen or cannot be taken back is not deployed at all; and what differs from the plan that
    people saw is not deployed before they have seen it. Raises StepError, which names the step that it is about where that is
    not the ``current`` one.
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
            over = {step.id for step in deploy if step.state in {StepState.DONE, StepState.ATTESTED}}
            with self._inspection(first, None) as look:
                preflight(self.deps, self.progress.checklist, over, look)
        planned = self._inspect_steps(self._record_targets())
        if not planned:
            return
        with self.deps.store.transaction() as tx:
            work.ensure_claim(tx, self.job.claim)
            found = self._store(tx, planned)
        if found:
            raise StepError(
                f"the plan has changed since it was last shown: {'; '.join(list_differences(found))}",
                hint="Nothing was changed. Press Retry to go with this; `/release plan` shows all of it.",
            )

    def _steps(self) -> list[Step]:
        return [step for step in self.progress.steps if step.plan is PlanKind.DEPLOY]

    def _record_targets(self) -> Targets:
        """Record where a rollback of each plane goes; returns that of every plane."""
        release_id = self.progress.release.id
        with self.deps.store.transaction() as tx:
            targets = steps.rollback_targets(tx, release_id)
        for spec in self.progress.checklist.deploy:
            handler = None if isinstance(spec.action, WITHOUT_DOER) else handler_of(spec)
            if handler is None or handler.record is None or handler.plane is None or handler.plane in targets:
                continue
            with self._inspection(spec, None) as look:
                body = handler.record(spec.action, look)
            with self.deps.store.transaction() as tx:
                work.ensure_claim(tx, self.job.claim)
                steps.record_target(tx, release_id, handler.plane, body, self.deps.clock.now())
            targets[handler.plane] = dict(body)
        return targets

    def _inspect_steps(self, targets: Targets) -> Planned:
        """See what each step is to change whose changes are not recorded yet."""
        planned: list[tuple[Step, Sequence[Mutation]]] = []
        for step in self._steps():
            spec = self.progress.checklist.step(step.id)
            if (
                spec is None
                or step.planned_changes is not None
                or step.state not in {StepState.PENDING, StepState.RUNNING}
            ):
                continue
            with self._inspection(spec, recorded_for(spec, targets)) as look:
                changes = handler_of(spec).preview(spec.action, look)
            planned.append((step, tuple(change.scrub(self.deps.clean) for change in changes)))
        return planned

    def _store(self, tx: Tx, planned: Planned) -> Sequence[PlanDifference]:
        """Store what steps are to change, unless a deploy begins with it and people saw another plan; returns the differences.

        Whoever is told of the differences has seen the plan by that: a retry looks at everything anew, and goes with it. Once
        something was about to be changed, a step that is planned anew goes on from what its failure has left.
        """
        release_id, now = self.progress.release.id, self.deps.clock.now()
        begins = not any(step.intended_changes for step in self._steps())
        snapshot = plan_snapshots.get(tx, release_id) if begins else None
        current: PlanSnapshot = {
            **{step.id: step.planned_changes for step in self._steps() if step.planned_changes is not None},
            **{step.id: changes for step, changes in planned},
        }
        found = [] if snapshot is None else differences(snapshot, current)
        if found:
            plan_snapshots.store(tx, release_id, current, now, SYSTEM)
            for plane in Plane:
                steps.forget_target(tx, release_id, plane, [spec.id for spec in self.progress.checklist.deploy])
            return found
        for step, changes in planned:
            steps.keep_planned(tx, step.row, changes)
        if begins:
            event = DeployPlanned(plan=plan_digest(current), shown=snapshot is not None)
            commit_change(tx, release_id, event, at=now, by=SYSTEM)
        else:
            posts.mark_stale(tx, release_id)
        return []

    @contextmanager
    def _inspection(self, spec: StepSpec, recorded: Mapping[str, Any] | None) -> Iterator[StepInspection]:
        """What the step ``spec`` may use to look at the world; an error says which step it was, where it is another one."""
        try:
            with inspect_step(self.deps, spec, self.reference, recorded, cancelled=self.job.lost) as look:
                yield look
        except Superseded:
            raise
        except StepError as error:
            if spec.id == self.current.id:
                raise
            raise StepError(f"{spec.title}: {error.user_message}", hint=error.hint) from error
