"""Mitigation: a variable that a person has set for a while. They own it and are reminded until it is put back (promise P7)."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from bot.domain.actions import SetVariable, StepSpec
from bot.domain.actor import Actor
from bot.domain.events import (
    MitigationAttested,
    MitigationBegun,
    MitigationLifted,
    MitigationReminded,
    MitigationResolving,
    MitigationSet,
    MitigationStuck,
    ReleaseClosed,
)
from bot.domain.ids import SYSTEM
from bot.domain.mitigation import Mitigation, MitigationState
from bot.domain.plan import Plane, PlanKind, StepState
from bot.domain.policy import Action
from bot.domain.posts import MitigationNotice, MitigationPost
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import InvalidInput, StaleButton, StepError, Superseded, UnknownThing
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, Job, locked_view, require
from bot.flows.journal import MitigationJournal
from bot.flows.step_context import build_step_context
from bot.flows.step_inspection import inspect_step, release_reference
from bot.steps import variable
from bot.steps.registry import handler_of
from bot.store import mitigations, posts, releases, steps, work
from bot.store.pool import Tx

logger = logging.getLogger(__name__)

QUEUE = "mitigation"
AFTER = timedelta(seconds=1)  # between two looks whether the rollback of the backend is done
OFFERED_IN = frozenset({ReleaseState.ROLLING_BACK, ReleaseState.ROLLBACK_FAILED, ReleaseState.ROLLED_BACK})


def apply(tx: Tx, deps: Deps, actor: Actor, step_row: int, reason: str) -> str:
    """Have the variable of a step set, with ``actor`` as its owner, and return the answer for them.

    Pressed again, it retries a mitigation that got stuck. Raises NotAllowed, UnknownThing, InvalidInput without a reason, and
    StaleButton when the step is not offered any more.
    """
    release_step = steps.get(tx, step_row)
    if release_step is None:
        raise UnknownThing("There is no such step.")
    view = locked_view(tx, deps, release_step[0])
    require(view.policy, actor, Action.ROLLBACK)
    spec = view.checklist.step(release_step[1].id)
    if spec is None or not isinstance(spec.action, SetVariable) or view.release.state not in OFFERED_IN:
        raise StaleButton
    if not reason.strip():
        raise InvalidInput("A mitigation needs a reason: what is wrong?")
    what = f"{spec.action.name}={spec.action.value}"
    existing = next((entry for entry in view.open_mitigations if entry.what == what), None)
    if existing is not None and not existing.is_stuck:
        return f"{what} is {existing.state} already, by <@{existing.owner}>."
    if existing is None:
        step = next((step for step in view.steps if step.row == step_row), None)
        if step is None or step.state is not StepState.TO_ATTEST:
            raise StaleButton
        if view.release.is_closed:
            releases.reopen(tx, view.release.id)
        due_at = view.now + spec.action.remind_after
        reason = deps.clean(reason.strip())
        mitigation_id = mitigations.add(
            tx, view.release.id, step_row, what, owner=actor.user, reason=reason, at=view.now, due_at=due_at
        )
        event = MitigationBegun(what=what, reason=reason, mitigation=mitigation_id)
        post = MitigationPost(mitigation=mitigation_id)
        commit_change(tx, view.release.id, event, at=view.now, by=actor.user, new_posts=[post])
    else:
        mitigation_id = existing.id
        mitigations.say(tx, mitigation_id)
    work.enqueue(tx, QUEUE, mitigation_id)
    posts.mark_stale(tx, view.release.id)
    return f"Setting {what}. You own it. It stays an open item of the release until it is put back."


def renew(tx: Tx, view: ReleaseView) -> None:
    """Have every mitigation that is in force set again, because the rollback has restored the Deployment from before it."""
    for entry in view.open_mitigations:
        if entry.state is MitigationState.SET:
            mitigations.move(tx, entry, MitigationState.SETTING, view.now)
            work.enqueue(tx, QUEUE, entry.id)


def resolve(tx: Tx, deps: Deps, actor: Actor, mitigation_id: int) -> str:
    """Have a mitigation put back, and return the answer for ``actor``; pressed again, it retries one that got stuck."""
    view, entry = _lock_for_owner(tx, deps, actor, mitigation_id)
    if not entry.is_open:
        return f"{entry.what} was put back already."
    if entry.state is MitigationState.SETTING and not entry.is_stuck:
        raise StaleButton(f"{entry.what} is being set right now.", hint="Wait until that is done.")
    if entry.state is not MitigationState.LIFTING:
        mitigations.move(tx, entry, MitigationState.LIFTING, view.now, by=actor.user)
    else:
        mitigations.say(tx, mitigation_id)
    work.enqueue(tx, QUEUE, mitigation_id)
    event = MitigationResolving(mitigation=mitigation_id)
    commit_change(tx, view.release.id, event, at=view.now, by=actor.user)
    return f"Putting back the value from before {entry.what}."


def attest(tx: Tx, deps: Deps, actor: Actor, mitigation_id: int, note: str) -> str:
    """Record that ``actor`` put a stuck mitigation back by hand, so that it does not block deploys for ever; return the answer.

    Raises NotAllowed, UnknownThing, InvalidInput without a note, and StaleButton for one that is not stuck.
    """
    view, entry = _lock_for_owner(tx, deps, actor, mitigation_id)
    if not entry.is_open:
        return f"{entry.what} was put back already."
    if not entry.is_stuck:
        raise StaleButton(f"{entry.what} is not stuck.", hint="Press *Put it back*, and the bot does it.")
    if not note.strip():
        raise InvalidInput("Putting it back by hand needs a note: what was put back, and how do you know?")
    note = deps.clean(note.strip())
    mitigations.move(tx, entry, MitigationState.LIFTED, view.now, by=actor.user, note=note)
    event = MitigationAttested(mitigation=entry.id, by=actor.user, note=note)
    commit_change(tx, entry.release_id, event, at=view.now, by=actor.user)
    _close_if_last(tx, deps, entry)
    return f"Recorded: {entry.what} was put back by you."


def _lock_for_owner(tx: Tx, deps: Deps, actor: Actor, mitigation_id: int) -> tuple[ReleaseView, Mitigation]:
    """Lock the release of a mitigation and return both. Raises NotAllowed for who may not roll back, and UnknownThing."""
    unlocked_row = mitigations.get(tx, mitigation_id)
    if unlocked_row is None:
        raise UnknownThing("There is no such mitigation.")
    view = locked_view(tx, deps, unlocked_row.release_id)
    require(view.policy, actor, Action.ROLLBACK)
    return view, next(entry for entry in view.mitigations if entry.id == mitigation_id)


def execute(deps: Deps, job: Job) -> datetime | None:
    """Do what is next for a mitigation (key: its id): set it, remind its owner or put it back. Returns when to look again."""
    mitigation_id = int(job.claim.key)
    with deps.store.transaction() as tx:
        mitigation = mitigations.get(tx, mitigation_id)
        if mitigation is None:
            return None
        view = locked_view(tx, deps, mitigation.release_id)
        work.ensure_claim(tx, job.claim)
        mitigation = next(entry for entry in view.mitigations if entry.id == mitigation_id)  # as it is under the lock
        if not mitigation.is_open:
            return None
        spec, action = _find_step(tx, view, mitigation)
        if mitigation.state is MitigationState.SET or mitigation.is_stuck:
            return _remind(tx, view, mitigation, action)
        if _is_backend_rolling_back(view):
            return view.now + AFTER
    try:
        summary = _carry_out(deps, job, view, mitigation, spec, action)
    except Superseded:
        raise
    except StepError as error:
        _record_trouble(deps, job, mitigation, f"{error.user_message.rstrip('.')}. {error.hint}".strip())
        return mitigation.due_at
    return _record_success(deps, job, mitigation, summary)


def _is_backend_rolling_back(view: ReleaseView) -> bool:
    """Whether a rollback is still to change the Deployment; it would undo a variable that is set now."""
    return view.release.state is ReleaseState.ROLLING_BACK and any(
        step.plan is PlanKind.ROLLBACK
        and step.state in {StepState.PENDING, StepState.RUNNING}
        and (spec := view.checklist.step(step.id)) is not None
        and handler_of(spec).plane is Plane.BACKEND
        for step in view.steps
    )


def _find_step(tx: Tx, view: ReleaseView, entry: Mitigation) -> tuple[StepSpec, SetVariable]:
    """Return the step that offers the mitigation, of whichever run of the rollback, and its action. Raises UnknownThing."""
    step = steps.get(tx, entry.step)
    spec = view.checklist.step(step[1].id) if step is not None else None
    if spec is None or not isinstance(spec.action, SetVariable):
        raise UnknownThing(f"No step of {view.release.version} offers {entry.what}.")
    return spec, spec.action


def _remind(tx: Tx, view: ReleaseView, entry: Mitigation, action: SetVariable) -> datetime:
    """Send the owner the reminder that is due, if one is; return when the next one is."""
    if view.now < entry.due_at:
        return entry.due_at
    due_at = view.now + action.remind_after
    mitigations.record_reminder(tx, entry.id, due_at)
    number = entry.reminders + 1
    event = MitigationReminded(mitigation=entry.id, round=number)
    notice = MitigationNotice(mitigation=entry.id, round=number)
    commit_change(tx, view.release.id, event, at=view.now, by=SYSTEM, new_posts=[notice])
    return due_at


def _carry_out(deps: Deps, job: Job, view: ReleaseView, entry: Mitigation, spec: StepSpec, action: SetVariable) -> str:
    with deps.store.transaction() as tx:
        reference, old_entry = release_reference(tx, view.release), mitigations.was(tx, entry.id)
    if old_entry is None and entry.state is MitigationState.SETTING:
        with inspect_step(deps, spec, reference, None, cancelled=job.cancelled) as inspection:
            old_entry = variable.where_we_are(action, inspection)
        with deps.store.transaction() as tx:
            work.ensure_claim(tx, job.claim)
            mitigations.keep(tx, entry.id, old_entry)
    with inspect_step(deps, spec, reference, old_entry, seconds=action.timeout, cancelled=job.cancelled) as inspection:
        journal = MitigationJournal(deps, job, view.release.id, entry.step, entry.id)
        context = build_step_context(deps, job, view.release.id, spec, inspection, journal)
        if entry.state is MitigationState.LIFTING:
            return variable.put_back(action, context)
        return variable.set_variable(action, context)


def _record_trouble(deps: Deps, job: Job, entry: Mitigation, trouble: str) -> None:
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, entry.release_id)
        work.ensure_claim(tx, job.claim)
        reason = deps.clean(trouble, 500)
        mitigations.say(tx, entry.id, trouble=reason)
        event = MitigationStuck(mitigation=entry.id, why=reason)
        commit_change(tx, entry.release_id, event, at=view.now, by=SYSTEM)


def _record_success(deps: Deps, job: Job, entry: Mitigation, done_text: str) -> datetime | None:
    """Record that the mitigation is set, or put back. Returns when to remind its owner; None once it is put back."""
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, entry.release_id)
        work.ensure_claim(tx, job.claim)
        if entry.state is MitigationState.LIFTING:
            record_lifted(tx, deps, view, entry)
            return None
        mitigations.move(tx, entry, MitigationState.SET, view.now)
        done_text = deps.clean(done_text)
        stored_step = steps.complete_for(tx, entry.step, by=entry.owner, summary=done_text, at=view.now)
        step, run = stored_step or ("", 0)  # set once more, after a rollback: the step was done before
        event = MitigationSet(mitigation=entry.id, step=step, run=run, by=entry.owner, summary=done_text)
        commit_change(tx, entry.release_id, event, at=view.now, by=SYSTEM)
    return entry.due_at


def record_lifted(tx: Tx, deps: Deps, view: ReleaseView, entry: Mitigation) -> None:
    """Record that a mitigation of the locked ``view`` is put back, and close the release if nothing else keeps it open."""
    mitigations.move(tx, entry, MitigationState.LIFTED, view.now)
    event = MitigationLifted(mitigation=entry.id, by=entry.resolved_by, note="")
    commit_change(tx, entry.release_id, event, at=view.now, by=SYSTEM)
    _close_if_last(tx, deps, entry)


def _close_if_last(tx: Tx, deps: Deps, entry: Mitigation) -> None:
    view = locked_view(tx, deps, entry.release_id)
    if view.may_close:
        releases.close(tx, entry.release_id, view.now)
        commit_change(tx, entry.release_id, ReleaseClosed(after=entry.what), at=view.now, by=SYSTEM)
