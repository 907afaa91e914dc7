"""Advance: carry out the next steps of a deploy or a rollback until the plan is complete, fails or is taken away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from bot.domain.actions import NOT_THE_BOTS, RunCheck, StepSpec
from bot.domain.events import DeployComplete, Event, RollbackComplete, StepDone, StepFailed, StepWaits
from bot.domain.ids import SYSTEM, ReleaseId
from bot.domain.plan import FAILED_IN, PlanKind, Step, StepState
from bot.domain.plan_progress import PlanProgress
from bot.domain.posts import AttestNotice, CloseoutPost, FailedNotice, RolledBackNotice, SectionPost, WatchPost
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import BotError, StepError, Superseded
from bot.flows import check, freeze, mitigation, picture
from bot.flows.commit import commit_change
from bot.flows.deploying.planning import plan_ahead
from bot.flows.deps import Deps, Job, locked_progress, locked_view
from bot.flows.journal import StepJournal
from bot.flows.step_context import build_step_context
from bot.flows.step_inspection import inspect_step, release_reference, rollback_target_of
from bot.steps.contract import ReleaseReference, StepInspection
from bot.steps.registry import handler_of
from bot.store import posts, releases, steps, watches, work
from bot.store.pool import Tx

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 120.0  # seconds for a step whose action names no other


def execute(deps: Deps, job: Job) -> datetime | None:
    """Carry out the remaining steps of the plan of a release (key: its id); any process does so after a crash.

    Each step looks at the world before it acts, so an interrupted step is simply carried out again (promise P5).
    """
    release_id = ReleaseId(int(job.claim.key))
    while True:
        with deps.store.transaction() as tx:
            progress = locked_progress(tx, deps, release_id)
            work.ensure_claim(tx, job.claim)
            plan = progress.plan
            if plan is None:
                return None
            step = progress.next_step(plan)
            if step is None:
                _complete(tx, deps, release_id, plan)
                return None
            unplanned_step = _unplanned_step(progress) if step.state is StepState.TO_ATTEST else None
            if step.state is not StepState.TO_ATTEST:
                steps.start(tx, step.row, progress.now)
                posts.mark_stale(tx, release_id)
            elif unplanned_step is None:
                _wait_for_person(tx, progress, step)
                return None
            run = _Run(deps, job, progress, release_reference(tx, progress.release))
        may_go_on = run.carry_out(step) if unplanned_step is None else run.plan_for(unplanned_step)
        if not may_go_on:
            return None


def _unplanned_step(progress: PlanProgress) -> Step | None:
    """Return the first step of a deploy that the bot carries out and that is not planned yet; None if there is none."""
    if progress.plan is not PlanKind.DEPLOY:
        return None
    pending = [
        step
        for step in progress.steps
        if step.plan is PlanKind.DEPLOY and step.state in {StepState.PENDING, StepState.RUNNING}
    ]
    return next((step for step in sorted(pending, key=lambda step: step.ordinal) if step.planned_changes is None), None)


def _wait_for_person(tx: Tx, progress: PlanProgress, step: Step) -> None:
    """Tell the channel once that the plan waits for a person's step; it goes on when somebody attests that."""
    if step.started_at is not None:
        return
    now = progress.now
    steps.mark_reached(tx, step.row, now)
    event, notice = StepWaits(step=step.id, started_at=now), AttestNotice(step=step.row)
    commit_change(tx, progress.release.id, event, at=now, by=SYSTEM, new_posts=[notice])


@dataclass(frozen=True)
class _Run:
    """One turn of the loop: the plan as it is now, and who carries it out."""

    deps: Deps
    job: Job
    progress: PlanProgress
    reference: ReleaseReference

    def plan_for(self, step: Step) -> bool:
        """Plan the deploy before a person's step changes anything (promise P6). Returns False if that fails, and ``step`` with it."""
        summary, state = _outcome(step, lambda: self._plan_ahead(step))
        if state is StepState.DONE:
            return True
        with self.deps.store.transaction() as tx:
            now = locked_progress(tx, self.deps, self.progress.release.id).now
            work.ensure_claim(tx, self.job.claim)
            steps.start(tx, step.row, now)
        self._finish(step, summary, state)
        return False

    def carry_out(self, step: Step) -> bool:
        """Carry out one step and store how it ended. Returns False if it failed, so that the plan stops."""
        spec = self.progress.checklist.step(step.id)
        if spec is None:
            raise StepError(f"{step.id} is not in the checklist of {self.progress.release.version}")
        summary, state = _outcome(step, lambda: self._perform(step, spec))
        self._finish(step, summary, state)
        return state is StepState.DONE

    def _plan_ahead(self, step: Step) -> str:
        plan_ahead(self.deps, self.job, self.progress, self.reference, step)
        return ""

    def _perform(self, step: Step, spec: StepSpec) -> str:
        """Carry out the action of a step, and return in one line what it did. Raises StepError."""
        if step.plan is PlanKind.DEPLOY:
            self._plan_ahead(step)
        else:
            self._await_completion(step)
        release_id = self.progress.release.id
        with self.deps.store.transaction() as tx:
            targets = steps.rollback_targets(tx, release_id)
            changes = next(entry.planned_changes for entry in steps.plan(tx, release_id) if entry.row == step.row)
        with self._inspection(spec, rollback_target_of(spec, targets)) as inspection:
            journal = StepJournal(self.deps, self.job, release_id, step.row, changes)
            context = build_step_context(
                self.deps, self.job, release_id, spec, inspection, journal, attempt=step.attempt
            )
            return handler_of(spec).perform(spec.action, context)

    def _inspection(self, spec: StepSpec, target: Mapping[str, Any] | None) -> AbstractContextManager[StepInspection]:
        seconds = _step_timeout(self.deps, spec)
        return inspect_step(self.deps, spec, self.reference, target, seconds=seconds, cancelled=self.job.cancelled)

    def _await_completion(self, step: Step) -> None:
        """Wait, before the first step of a rollback, for Jobs that the deploy has left running.

        A rollback is not held up for ever: a Job that cannot be seen, or takes longer than its step may, is noted in the journal,
        and `lasting` names it. A retry does not wait: who cancels the wait and presses Retry wants to go on without.
        """
        others = {spec.id for spec in self.progress.checklist.rollback if isinstance(spec.action, NOT_THE_BOTS)}
        mine = [entry.ordinal for entry in self.progress.steps if entry.plan is step.plan and entry.id not in others]
        if step.ordinal != min(mine) or step.attempt > 1:
            return
        tell = self._journal(step).show_progress
        for running in self.progress.steps:
            spec = self.progress.checklist.step(running.id)
            if running.plan is PlanKind.DEPLOY and running.unfinished_jobs and spec is not None:
                self._await_step(running, spec, tell)

    def _await_step(self, running: Step, spec: StepSpec, tell: Callable[[str], None]) -> None:
        """Wait for the Jobs that one step of the deploy has left running, and note the result in its journal."""
        await_completion, journal = handler_of(spec).await_completion, self._journal(running)
        try:
            with self._inspection(spec, None) as inspection:
                release_id = self.progress.release.id
                context = build_step_context(self.deps, self.job, release_id, spec, inspection, journal)
                if await_completion is not None and await_completion(spec.action, context, tell):
                    journal.record_action(changes=[change.body for change in running.intended_changes])
        except Superseded:
            raise
        except StepError as error:
            journal.record_observation(trouble=error.user_message)

    def _journal(self, step: Step) -> StepJournal:
        return StepJournal(self.deps, self.job, self.progress.release.id, step.row)

    def _finish(self, step: Step, summary: str, state: StepState) -> None:
        """Store how a step ended; if it failed, its plan has failed too."""
        release_id, token = self.progress.release.id, self.job.claim.token
        summary, spec = self.deps.clean(summary, 1000), self.progress.checklist.step(step.id)
        with self.deps.store.transaction() as tx:
            current = locked_progress(tx, self.deps, release_id)
            work.ensure_claim(tx, self.job.claim)
            steps.write_journal(tx, step.row, token, "result", {"state": state, "summary": summary})
            steps.finish(tx, step.row, state, summary, current.now)
            started_at = next(stored_step.started_at for stored_step in current.steps if stored_step.row == step.row)
            event: Event = StepDone(step=step.id, summary=summary, started_at=started_at)
            notices = []
            if state is StepState.FAILED:
                failed_state, reason = FAILED_IN[step.plan], f"{spec.title if spec else step.id}: {summary}"
                releases.move(tx, current.release, failed_state, current.now, reason=reason)
                notices = [FailedNotice(step=step.row, attempt=str(token))]
                event = StepFailed(
                    step=step.id, summary=summary, started_at=started_at, release_state=failed_state, reason=reason
                )
            commit_change(tx, release_id, event, at=current.now, by=SYSTEM, new_posts=notices)


def _outcome(step: Step, do: Callable[[], str]) -> tuple[str, StepState]:
    """Call ``do`` for a step, and return its text with DONE, or the error with FAILED."""
    try:
        return do(), StepState.DONE
    except Superseded:
        raise
    except StepError as error:
        hint = f" {error.hint}" if error.hint else ""
        return f"{error.user_message.rstrip('.')}.{hint}", StepState.FAILED
    except (BotError, psycopg.Error):
        raise  # our own trouble: carried out again
    # The seam to vendors' packages: what nobody foresaw fails the step, in sight and to be retried, and is in the log.
    except Exception as error:
        logger.exception("step %s failed unexpectedly", step.id)
        return f"unexpected {type(error).__name__}: {error}", StepState.FAILED


def _step_timeout(deps: Deps, spec: StepSpec) -> float:
    """Return the seconds that a step may take: as the checklist says, else the default, or the longer limit of a check's kind."""
    if seconds := getattr(spec.action, "timeout", None):
        return float(seconds)
    if isinstance(spec.action, RunCheck) and spec.action.kind in deps.registry.names():
        return max(DEFAULT_TIMEOUT, deps.registry.get(spec.action.kind).timeout)
    return DEFAULT_TIMEOUT


def _complete(tx: Tx, deps: Deps, release_id: ReleaseId, plan: PlanKind) -> None:
    """All steps are done: begin the watch, or close the rollback."""
    view = locked_view(tx, deps, release_id)
    if plan is PlanKind.DEPLOY:
        _begin_watch(tx, deps, view)
    else:
        _close_rollback(tx, view)


def _begin_watch(tx: Tx, deps: Deps, view: ReleaseView) -> None:
    release, now = view.release, view.now
    releases.move(tx, release, ReleaseState.WATCHING, now, deployed_at=now)
    ends_at = now + deps.watch.length
    watches.begin(tx, release.id, now, ends_at, instance=deps.store.instance, steady=deps.clock.steady())
    sections = [SectionPost(section=section.id) for section in view.checklist.sections if section.phase == "after"]
    view_now = locked_view(tx, deps, release.id)
    check.request_runs(tx, view_now, [entry.id for entry in view.checklist.distinct_checks_in("after")], SYSTEM)
    work.enqueue(tx, "watch", release.id)
    event = DeployComplete(image=release.pinned_image, ends_at=ends_at)
    commit_change(tx, release.id, event, at=now, by=SYSTEM, new_posts=[WatchPost(), *sections])


def _close_rollback(tx: Tx, view: ReleaseView) -> None:
    release, now = view.release, view.now
    releases.move(tx, release, ReleaseState.ROLLED_BACK, now, stays_open=bool(view.open_mitigations))
    freeze.freeze_after_rollback(tx, view)
    mitigation.renew(tx, view)
    picture.ask_for(tx, release.id, picture.TIMELINE, ReleaseState.ROLLED_BACK)
    # A release does not close over a mitigation (promise P7): `bot.flows.mitigation` closes it once that is back.
    event = RollbackComplete(reason=release.reason, closed_at=None if view.open_mitigations else now)
    commit_change(tx, release.id, event, at=now, by=SYSTEM, new_posts=[RolledBackNotice(), CloseoutPost()])
