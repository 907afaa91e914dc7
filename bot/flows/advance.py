"""Advance: carry out the next steps of a deploy or a rollback until the plan is complete, fails or is taken away."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import psycopg

from bot.domain.actions import RunCheck, StepSpec
from bot.domain.ids import SYSTEM, ReleaseId, Version
from bot.domain.plan import PlanKind, Step, StepState, next_step
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import BotError, StepError, Superseded
from bot.flows import check, record
from bot.flows.allowance import spend, used_up
from bot.flows.deps import Deps, Job, locked_view
from bot.flows.undo import DebtBook
from bot.steps.contract import Shipment, StepContext
from bot.steps.registry import perform
from bot.store import audit, posts, releases, steps, watches, work
from bot.store.pool import Tx
from bot.store.undos import Debtor
from checks.clients import Clients
from checks.contract import CheckError
from checks.registry import RegistryError

logger = logging.getLogger(__name__)

PLANS = {ReleaseState.DEPLOYING: PlanKind.DEPLOY, ReleaseState.ROLLING_BACK: PlanKind.ROLLBACK}
DEFAULT_TIME = 120.0  # seconds for a step whose action names no other


def execute(deps: Deps, job: Job) -> datetime | None:
    """Carry out what is left of the plan of a release (key: its id). Taken up by any process after a crash.

    Each step looks at the world before it acts, so a step that was interrupted is simply carried out again (promise P5).
    """
    release_id = ReleaseId(int(job.claim.key))
    while True:
        with deps.store.transaction() as tx:
            view = locked_view(tx, deps, release_id)
            work.hold(tx, job.claim)
            kind = PLANS.get(view.release.state)
            step = None if kind is None else next_step(view.steps, kind)
            if kind is None:
                return None
            if step is None:
                _complete(tx, deps, view, kind)
                return None
            steps.start(tx, step.row, view.now)
            posts.touch(tx, release_id)
            recorded = steps.rollback_target(tx, release_id)
        if not _carry_out(deps, job, view, step, recorded):
            return None


def _carry_out(deps: Deps, job: Job, view: ReleaseView, step: Step, recorded: dict[str, Any] | None) -> bool:
    """Carry out one step and store how it ended; False when the plan stops here."""
    spec = view.checklist.step(step.id)
    if spec is None:
        raise StepError(f"{step.id} is not in the checklist of {view.release.version}")
    try:
        summary, state = _perform(deps, job, view, step, spec, recorded), StepState.DONE
    except Superseded:
        raise
    except StepError as error:
        hint = f" {error.hint}" if error.hint else ""
        summary, state = f"{error.user_message.rstrip('.')}.{hint}", StepState.FAILED
    except (BotError, psycopg.Error):
        raise  # our own trouble: carried out again
    # The seam to vendors' packages: what nobody foresaw fails the step, in sight and to be retried, and is in the log.
    except Exception as error:
        logger.exception("step %s failed unexpectedly", step.id)
        summary, state = f"unexpected {type(error).__name__}: {error}", StepState.FAILED
    summary = deps.clean(summary)[:1000]
    with deps.store.transaction() as tx:
        current = locked_view(tx, deps, view.release.id)
        work.hold(tx, job.claim)
        steps.write_journal(tx, step.row, job.claim.token, "result", {"state": state, "summary": summary})
        steps.finish(tx, step.row, state, summary, current.now)
        if state is StepState.FAILED:
            failed = ReleaseState.DEPLOY_FAILED if step.plan is PlanKind.DEPLOY else ReleaseState.ROLLBACK_FAILED
            releases.move(tx, current.release, failed, current.now, reason=f"{spec.title}: {summary}")
            posts.owe(
                tx, view.release.id, "notice", f"failed:{step.row}:{job.claim.token}", channel=view.release.channel
            )
        posts.touch(tx, view.release.id)
        audit.write(tx, current.now, SYSTEM, f"step.{state}", view.release.id, step=step.id, summary=summary)
    return state is StepState.DONE


def _perform(
    deps: Deps, job: Job, view: ReleaseView, step: Step, spec: StepSpec, recorded: dict[str, Any] | None
) -> str:
    release = view.release
    name = getattr(spec.action, "target", deps.environment)
    target = deps.targets.get(name)
    if target is None:
        raise StepError(f"there is no target {name}", hint=f"Set targets.{name} in release-bot.yml, then retry")
    if isinstance(spec.action, RunCheck):
        _use_up(deps, job, spec.action)
    version = Version.parse(release.version)
    with Clients(target) as clients:
        context = StepContext(
            id=step.id,
            shipment=Shipment(
                release.version, version.bare if version else release.version, release.commit, release.pinned_image
            ),
            target=target,
            clients=clients,
            registry=deps.registry,
            redact=deps.clean,
            undo=DebtBook(deps, Debtor(release.id, step.id, spec.action.do, name, deps.store.instance)),  # type: ignore[arg-type]
            journal=StepJournal(deps, job, release.id, step.row),
            rollback_target=recorded,
            record_target=partial(_record_target, deps, job, release.id),
            deadline=time.monotonic() + (getattr(spec.action, "timeout", None) or DEFAULT_TIME),
            cancelled=job.lost,
        )
        try:
            return perform(spec, context)
        except CheckError as error:
            raise StepError(error.summary, hint=error.hint) from error


def _use_up(deps: Deps, job: Job, action: RunCheck) -> None:
    """Use up what the kind of a step takes, such as a log-in. Raises StepError when too little is left."""
    try:
        kind = deps.registry.get(action.kind)
    except RegistryError:
        return  # the step says so itself
    with deps.store.transaction() as tx:
        work.hold(tx, job.claim)
        until = spend(tx, deps, kind, action.target)
    if until is not None:
        raise StepError(f"not run: {used_up(kind, action.target, until)}", hint="Press Retry then.")


def _record_target(deps: Deps, job: Job, release_id: ReleaseId, body: Mapping[str, Any]) -> None:
    with deps.store.transaction() as tx:
        work.hold(tx, job.claim)
        steps.record_target(tx, release_id, body, deps.clock.now())


class StepJournal:
    """The journal of one step in our tables; every line is fenced by the claim."""

    def __init__(self, deps: Deps, job: Job, release_id: ReleaseId, row: int) -> None:
        self._deps, self._job, self._release_id, self._row = deps, job, release_id, row

    def intent(self, **body: object) -> None:
        """Store what is about to be changed."""
        self._write("intent", body)

    def observed(self, **body: object) -> None:
        """Store what was seen."""
        self._write("observed", body)

    def acted(self, **body: object) -> None:
        """Store what was changed."""
        self._write("acted", body)

    def before(self, **body: object) -> None:
        """Keep what stood there before the first change."""
        with self._deps.store.transaction() as tx:
            work.hold(tx, self._job.claim)
            steps.before(tx, self._row, body)

    def progress(self, line: str) -> None:
        """Show how far it is."""
        with self._deps.store.transaction() as tx:
            work.hold(tx, self._job.claim)
            if steps.progress(tx, self._row, self._deps.clean(line)[:200]):
                posts.touch(tx, self._release_id)

    def _write(self, entry: str, body: Mapping[str, object]) -> None:
        with self._deps.store.transaction() as tx:
            work.hold(tx, self._job.claim)
            steps.write_journal(tx, self._row, self._job.claim.token, entry, body)


def _complete(tx: Tx, deps: Deps, view: ReleaseView, kind: PlanKind) -> None:
    """All steps are done: begin the watch, or close the rollback."""
    release, now = view.release, view.now
    card = posts.find(tx, release.id, "card")
    if kind is PlanKind.DEPLOY:
        releases.move(tx, release, ReleaseState.WATCHING, now, deployed_at=now)
        watches.begin(tx, release.id, now, now + deps.watch.length)
        posts.owe(tx, release.id, "watch", channel=release.channel, parent=card)
        for section in view.checklist.sections:
            if section.phase == "after":
                posts.owe(tx, release.id, "section", section.id, channel=release.channel, parent=card)
        moved = locked_view(tx, deps, release.id)
        check.ask_for(tx, moved, [entry.id for entry in view.checklist.asked_in("after")], SYSTEM)
        work.ask(tx, "watch", release.id)
        audit.write(tx, now, SYSTEM, "deploy.complete", release.id, image=release.pinned_image)
    else:
        releases.move(tx, release, ReleaseState.ROLLED_BACK, now)
        posts.owe(tx, release.id, "notice", "rolled_back", channel=release.channel)
        posts.owe(tx, release.id, "closeout", channel=release.channel, parent=card)
        record.close(tx, release, now, SYSTEM, "rollback.complete", reason=release.reason)
    posts.touch(tx, release.id)
