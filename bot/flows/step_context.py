"""Builds the context in which a step of a plan, or a mitigation, acts."""

from __future__ import annotations

import time

from bot.domain.actions import RunCheck, StepSpec
from bot.domain.checklist import check_of_step
from bot.domain.ids import ReleaseId
from bot.flows.check_context import CheckRun
from bot.flows.check_run import run_to_end
from bot.flows.deps import Deps, Job
from bot.steps.contract import Journal, StepContext, StepInspection
from bot.steps.registry import acting
from bot.store import work
from bot.store.pool import Tx
from checks.contract import Answer, Subject


def build_step_context(
    deps: Deps,
    job: Job,
    release_id: ReleaseId,
    spec: StepSpec,
    inspection: StepInspection,
    journal: Journal,
    *,
    attempt: int = 1,
) -> StepContext:
    """Build the context in which the step ``spec`` acts, from its inspection. ``attempt``: 1, and one more for each retry."""

    def begin(tx: Tx, run: CheckRun) -> CheckRun:
        work.ensure_claim(tx, job.claim)
        return run

    def run_check(action: RunCheck) -> Answer:
        ship = inspection.reference
        run = CheckRun(
            release_id=release_id,
            name=spec.id,
            cancelled=inspection.cancelled,
            progress=journal.show_progress,
            subject=Subject(ship.version, ship.commit, ship.image, previous=ship.previous),
            begin=begin,
        )
        seconds = inspection.deadline - time.monotonic()
        return run_to_end(deps, check_of_step(spec.id, spec.title, action, timeout=seconds), run)

    return StepContext(
        **acting(inspection, spec), run_check=run_check, redact=deps.clean, journal=journal, attempt=attempt
    )
