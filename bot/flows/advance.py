"""Advance: carry out the next steps of a deploy or a rollback until the plan is complete, fails or is taken away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

import psycopg

from bot.domain.actions import NOT_THE_BOTS, RunCheck, StepSpec
from bot.domain.events import DeployComplete, Event, RollbackComplete, StepDone, StepFailed, StepWaits
from bot.domain.ids import SYSTEM, ReleaseId
from bot.domain.plan import PlanKind, Step, StepState
from bot.domain.posts import AttestNotice, CloseoutPost, FailedNotice, RolledBackNotice, SectionPost, WatchPost
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import BotError, StepError, Superseded
from bot.flows import check, freeze, mitigation, picture
from bot.flows.allowance import spend, used_up
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, Job, locked_view
from bot.flows.journal import StepJournal
from bot.flows.plan import looking, prepare, recorded_for, shipment_of
from bot.flows.undo import StoredUndoLedger
from bot.steps.contract import Look, Shipment, StepContext
from bot.steps.registry import doer
from bot.store import posts, releases, steps, watches, work
from bot.store.pool import Tx
from bot.store.undos import UndoOrigin
from checks.registry import RegistryError

logger = logging.getLogger(__name__)

DEFAULT_TIME = 120.0  # seconds for a step whose action names no other


def execute(deps: Deps, job: Job) -> datetime | None:
    """Carry out what is left of the plan of a release (key: its id). Taken up by any process after a crash.

    Each step looks at the world before it acts, so a step that was interrupted is simply carried out again (promise P5).
    """
    release_id = ReleaseId(int(job.claim.key))
    while True:
        with deps.store.transaction() as tx:
            view = locked_view(tx, deps, release_id)
            work.ensure_claim(tx, job.claim)
            kind = view.plan
            if kind is None:
                return None
            step = view.next_step(kind)
            if step is None:
                _complete(tx, deps, view, kind)
                return None
            unplanned = _unplanned(view) if step.state is StepState.TO_ATTEST else None
            if step.state is not StepState.TO_ATTEST:
                steps.start(tx, step.row, view.now)
                posts.mark_stale(tx, release_id)
            elif unplanned is None:
                _wait(tx, view, step)
                return None
            ship = shipment_of(tx, view.release)
        goes_on = (
            _carry_out(deps, job, view, step, ship)
            if unplanned is None
            else _plan_ahead(deps, job, view, unplanned, ship)
        )
        if not goes_on:
            return None


def _unplanned(view: ReleaseView) -> Step | None:
    """The first step of a deploy that the bot is to carry out, while it is not planned yet."""
    ours = {StepState.PENDING, StepState.RUNNING}
    steps = sorted(
        (step for step in view.steps if step.plan is PlanKind.DEPLOY and step.state in ours),
        key=lambda step: step.ordinal,
    )
    return next((step for step in steps if view.plan is PlanKind.DEPLOY and step.planned is None), None)


def _wait(tx: Tx, view: ReleaseView, step: Step) -> None:
    """The plan has come to a person's step: say so once. It goes on when somebody attests it."""
    if step.started_at is not None:
        return
    steps.reach(tx, step.row, view.now)
    waits, notice = StepWaits(step=step.id, started_at=view.now), AttestNotice(step=step.row)
    commit_change(tx, view.release.id, waits, at=view.now, by=SYSTEM, new_posts=[notice])


def _plan_ahead(deps: Deps, job: Job, view: ReleaseView, step: Step, ship: Shipment) -> bool:
    """Plan what the bot is to change before a person changes anything either (promise P6); False: the deploy ends at ``step``."""

    def plan() -> str:
        prepare(deps, job, view, ship, step)
        return ""

    summary, state = _outcome(step, plan)
    if state is StepState.DONE:
        return True
    with deps.store.transaction() as tx:
        now = locked_view(tx, deps, view.release.id).now
        work.ensure_claim(tx, job.claim)
        steps.start(tx, step.row, now)
    _end(deps, job, view, step, summary, state)
    return False


def _carry_out(deps: Deps, job: Job, view: ReleaseView, step: Step, ship: Shipment) -> bool:
    """Carry out one step and store how it ended; False when the plan stops here."""
    spec = view.checklist.step(step.id)
    if spec is None:
        raise StepError(f"{step.id} is not in the checklist of {view.release.version}")
    summary, state = _outcome(step, lambda: _perform(deps, job, view, step, spec, ship))
    _end(deps, job, view, step, summary, state)
    return state is StepState.DONE


def _outcome(step: Step, do: Callable[[], str]) -> tuple[str, StepState]:
    """What doing something for a step came to: what it says, and DONE or FAILED."""
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


def _end(deps: Deps, job: Job, view: ReleaseView, step: Step, summary: str, state: StepState) -> None:
    """Store how a step ended; where it failed, its plan has too."""
    summary, spec = deps.clean(summary, 1000), view.checklist.step(step.id)
    with deps.store.transaction() as tx:
        current = locked_view(tx, deps, view.release.id)
        work.ensure_claim(tx, job.claim)
        steps.write_journal(tx, step.row, job.claim.token, "result", {"state": state, "summary": summary})
        steps.finish(tx, step.row, state, summary, current.now)
        begun = next(known.started_at for known in current.steps if known.row == step.row)
        event: Event = StepDone(step=step.id, summary=summary, started_at=begun)
        notices = []
        if state is StepState.FAILED:
            failed = ReleaseState.DEPLOY_FAILED if step.plan is PlanKind.DEPLOY else ReleaseState.ROLLBACK_FAILED
            reason = f"{spec.title if spec else step.id}: {summary}"
            releases.move(tx, current.release, failed, current.now, reason=reason)
            notices = [FailedNotice(step=step.row, attempt=str(job.claim.token))]
            event = StepFailed(step=step.id, summary=summary, started_at=begun, release_state=failed, reason=reason)
        commit_change(tx, view.release.id, event, at=current.now, by=SYSTEM, new_posts=notices)


def _perform(deps: Deps, job: Job, view: ReleaseView, step: Step, spec: StepSpec, ship: Shipment) -> str:
    if step.plan is PlanKind.DEPLOY:
        prepare(deps, job, view, ship, step)
    else:
        _let_end(deps, job, view, ship, step)
    with deps.store.transaction() as tx:
        targets = steps.rollback_targets(tx, view.release.id)
        planned = next(known.planned for known in steps.plan(tx, view.release.id) if known.row == step.row)
    if isinstance(spec.action, RunCheck):
        _use_up(deps, job, spec.action)
    seconds = _time_of(deps, spec)
    recorded = recorded_for(spec, targets)
    with looking(deps, spec, ship, recorded, seconds=seconds, cancelled=job.lost) as look:
        journal = StepJournal(deps, job, view.release.id, step.row, planned)
        return doer(spec).perform(spec.action, _context(deps, view, step, spec, look, journal))


def _time_of(deps: Deps, spec: StepSpec) -> float:
    """Seconds that a step may take; for one that asks, where the checklist sets none, those of its kind if they are more."""
    if seconds := getattr(spec.action, "timeout", None):
        return float(seconds)
    if isinstance(spec.action, RunCheck) and spec.action.kind in deps.registry.names():
        return max(DEFAULT_TIME, deps.registry.get(spec.action.kind).timeout)
    return DEFAULT_TIME


def _context(
    deps: Deps, view: ReleaseView, step: Step, spec: StepSpec, look: Look, journal: StepJournal
) -> StepContext:
    origin = UndoOrigin(view.release.id, step.id, spec.action.do, look.target.name, deps.store.instance)  # type: ignore[arg-type]
    return StepContext(
        **vars(look),
        registry=deps.registry,
        redact=deps.clean,
        undo=StoredUndoLedger(deps, origin),
        journal=journal,
        attempt=step.attempt,
    )


def _let_end(deps: Deps, job: Job, view: ReleaseView, ship: Shipment, step: Step) -> None:
    """Before a rollback changes anything, what the deploy has left running comes to its end.

    A rollback is not held up for ever: what cannot be seen, or takes longer than its step may, is noted and left, and
    `lasting` names it. Nor is it at a retry: who cancels the wait and presses Retry wants to go on without.
    """
    others = {spec.id for spec in view.checklist.rollback if isinstance(spec.action, NOT_THE_BOTS)}
    first = min(known.ordinal for known in view.steps if known.plan is step.plan and known.id not in others)
    if step.ordinal != first or step.attempt > 1:
        return
    tell = StepJournal(deps, job, view.release.id, step.row).progress
    for left in view.steps:
        spec = view.checklist.step(left.id)
        if left.plan is not PlanKind.DEPLOY or not left.unended or spec is None:
            continue
        let_end, seconds = doer(spec).let_end, _time_of(deps, spec)
        journal = StepJournal(deps, job, view.release.id, left.row)
        try:
            with looking(deps, spec, ship, None, seconds=seconds, cancelled=job.lost) as look:
                context = _context(deps, view, left, spec, look, journal)
                if let_end is not None and let_end(spec.action, context, tell):
                    journal.acted(changes=[change.body for change in left.begun])
        except Superseded:
            raise
        except StepError as error:
            journal.observed(trouble=error.user_message)


def _use_up(deps: Deps, job: Job, action: RunCheck) -> None:
    """Use up what the kind of a step takes, such as a log-in. Raises StepError when too little is left."""
    try:
        kind = deps.registry.get(action.kind)
    except RegistryError:
        return  # the step says so itself
    with deps.store.transaction() as tx:
        work.ensure_claim(tx, job.claim)
        until = spend(tx, deps, kind, action.target)
    if until is not None:
        raise StepError(f"not run: {used_up(kind, action.target, until)}", hint="Press Retry then.")


def _complete(tx: Tx, deps: Deps, view: ReleaseView, kind: PlanKind) -> None:
    """All steps are done: begin the watch, or close the rollback."""
    release, now = view.release, view.now
    if kind is PlanKind.DEPLOY:
        releases.move(tx, release, ReleaseState.WATCHING, now, deployed_at=now)
        watched_until = now + deps.watch.length
        watches.begin(tx, release.id, now, watched_until, instance=deps.store.instance, steady=deps.clock.steady())
        sections = [SectionPost(section=section.id) for section in view.checklist.sections if section.phase == "after"]
        moved = locked_view(tx, deps, release.id)
        check.ask_for(tx, moved, [entry.id for entry in view.checklist.asked_in("after")], SYSTEM)
        work.ask(tx, "watch", release.id)
        complete = DeployComplete(image=release.pinned_image, ends_at=watched_until)
        commit_change(tx, release.id, complete, at=now, by=SYSTEM, new_posts=[WatchPost(), *sections])
    else:
        releases.move(tx, release, ReleaseState.ROLLED_BACK, now, stays_open=bool(view.standing))
        freeze.hold(tx, view)
        mitigation.renew(tx, view)
        picture.ask_for(tx, release.id, picture.TIMELINE, ReleaseState.ROLLED_BACK)
        # A release does not close over a mitigation (promise P7): `bot.flows.mitigation` closes it once that is back.
        back = RollbackComplete(reason=release.reason, closed_at=None if view.standing else now)
        commit_change(tx, release.id, back, at=now, by=SYSTEM, new_posts=[RolledBackNotice(), CloseoutPost()])
