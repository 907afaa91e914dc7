"""Builds what a step is given when it acts, on the way of a plan or for a mitigation."""

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
    look: StepInspection,
    journal: Journal,
    *,
    attempt: int = 1,
) -> StepContext:
    """The context of the step ``spec``. ``look``: what it may use to see the world; ``attempt``: how often it was begun."""

    def begin(tx: Tx, run: CheckRun) -> CheckRun:
        work.ensure_claim(tx, job.claim)
        return run

    def run_check(action: RunCheck) -> Answer:
        ship = look.reference
        run = CheckRun(
            release_id=release_id,
            name=spec.id,
            cancelled=look.cancelled,
            progress=journal.progress,
            subject=Subject(ship.version, ship.commit, ship.image, previous=ship.previous),
            begin=begin,
        )
        seconds = look.deadline - time.monotonic()
        return run_to_end(deps, check_of_step(spec.id, spec.title, action, timeout=seconds), run)

    return StepContext(**acting(look, spec), run_check=run_check, redact=deps.clean, journal=journal, attempt=attempt)
