"""Mitigation: a person has a variable set for a while, owns that, is reminded of it, and has it put back (promise P7)."""

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
AFTER = timedelta(seconds=1)  # between two looks whether the rollback of the backend is through
OFFERED_IN = frozenset({ReleaseState.ROLLING_BACK, ReleaseState.ROLLBACK_FAILED, ReleaseState.ROLLED_BACK})


def apply(tx: Tx, deps: Deps, actor: Actor, step_row: int, reason: str) -> str:
    """Have the variable of a step set, with ``actor`` as its owner; pressed again, a try that got stuck goes on."""
    found = steps.get(tx, step_row)
    if found is None:
        raise UnknownThing("There is no such step.")
    view = locked_view(tx, deps, found[0])
    require(view.policy, actor, Action.ROLLBACK)
    spec = view.checklist.step(found[1].id)
    if spec is None or not isinstance(spec.action, SetVariable) or view.release.state not in OFFERED_IN:
        raise StaleButton
    if not reason.strip():
        raise InvalidInput("That needs a reason: what is wrong?")
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
        due_at = view.now + spec.action.remind
        reason = deps.clean(reason.strip())
        mitigation_id = mitigations.add(
            tx, view.release.id, step_row, what, owner=actor.user, reason=reason, at=view.now, due_at=due_at
        )
        begun = MitigationBegun(what=what, reason=reason, mitigation=mitigation_id)
        post = MitigationPost(mitigation=mitigation_id)
        commit_change(tx, view.release.id, begun, at=view.now, by=actor.user, new_posts=[post])
    else:
        mitigation_id = existing.id
        mitigations.say(tx, mitigation_id)
    work.enqueue(tx, QUEUE, mitigation_id)
    posts.mark_stale(tx, view.release.id)
    return f"Setting {what}. You own it: the release has it as an open item until it is put back."


def renew(tx: Tx, view: ReleaseView) -> None:
    """Have set again what is in force: a rollback that is through has taken the Deployment back to before it was."""
    for entry in view.open_mitigations:
        if entry.state is MitigationState.SET:
            mitigations.move(tx, entry, MitigationState.SETTING, view.now)
            work.enqueue(tx, QUEUE, entry.id)


def resolve(tx: Tx, deps: Deps, actor: Actor, mitigation_id: int) -> str:
    """Have put back what a mitigation has changed; pressed again, a try that got stuck goes on."""
    view, found = _locked(tx, deps, actor, mitigation_id)
    if not found.is_open:
        return f"{found.what} was put back already."
    if found.state is MitigationState.SETTING and not found.is_stuck:
        raise StaleButton(f"{found.what} is being set at this moment.", hint="Wait until that is through.")
    if found.state is not MitigationState.LIFTING:
        mitigations.move(tx, found, MitigationState.LIFTING, view.now, by=actor.user)
    else:
        mitigations.say(tx, mitigation_id)
    work.enqueue(tx, QUEUE, mitigation_id)
    resolving = MitigationResolving(mitigation=mitigation_id)
    commit_change(tx, view.release.id, resolving, at=view.now, by=actor.user)
    return f"Putting back what stood there before {found.what}."


def attest(tx: Tx, deps: Deps, actor: Actor, mitigation_id: int, note: str) -> str:
    """Record that ``actor`` has put back by hand what the bot could not: one that is stuck must not hold deploys for ever."""
    view, found = _locked(tx, deps, actor, mitigation_id)
    if not found.is_open:
        return f"{found.what} was put back already."
    if not found.is_stuck:
        raise StaleButton(f"{found.what} is not stuck.", hint="Press *Put it back*: the bot does it.")
    if not note.strip():
        raise InvalidInput("That needs a note: what was put back, and how do you know?")
    note = deps.clean(note.strip())
    mitigations.move(tx, found, MitigationState.LIFTED, view.now, by=actor.user, note=note)
    attested = MitigationAttested(mitigation=found.id, by=actor.user, note=note)
    commit_change(tx, found.release_id, attested, at=view.now, by=actor.user)
    _close(tx, deps, found)
    return f"Recorded: {found.what} was put back by you."


def _locked(tx: Tx, deps: Deps, actor: Actor, mitigation_id: int) -> tuple[ReleaseView, Mitigation]:
    """A mitigation as it stands under the lock of its release, for somebody who may put it back."""
    known = mitigations.get(tx, mitigation_id)
    if known is None:
        raise UnknownThing("There is no such mitigation.")
    view = locked_view(tx, deps, known.release_id)
    require(view.policy, actor, Action.ROLLBACK)
    return view, next(entry for entry in view.mitigations if entry.id == mitigation_id)


def execute(deps: Deps, job: Job) -> datetime | None:
    """Go on with a mitigation (key: its id): set it, remind its owner, put it back. Returns when to look again."""
    mitigation_id = int(job.claim.key)
    with deps.store.transaction() as tx:
        found = mitigations.get(tx, mitigation_id)
        if found is None:
            return None
        view = locked_view(tx, deps, found.release_id)
        work.ensure_claim(tx, job.claim)
        found = next(entry for entry in view.mitigations if entry.id == mitigation_id)  # as it is under the lock
        if not found.is_open:
            return None
        spec, action = _offer(tx, view, found)
        if found.state is MitigationState.SET or found.is_stuck:
            return _remind(tx, view, found, action)
        if _rolls_back(view):
            return view.now + AFTER
    try:
        said = _carry_out(deps, job, view, found, spec, action)
    except Superseded:
        raise
    except StepError as error:
        _stuck(deps, job, found, f"{error.user_message.rstrip('.')}. {error.hint}".strip())
        return found.due_at
    return _through(deps, job, found, said)


def _rolls_back(view: ReleaseView) -> bool:
    """Whether the rollback has the Deployment in its hands: it would undo what is set now."""
    return view.release.state is ReleaseState.ROLLING_BACK and any(
        step.plan is PlanKind.ROLLBACK
        and step.state in {StepState.PENDING, StepState.RUNNING}
        and (spec := view.checklist.step(step.id)) is not None
        and handler_of(spec).plane is Plane.BACKEND
        for step in view.steps
    )


def _offer(tx: Tx, view: ReleaseView, found: Mitigation) -> tuple[StepSpec, SetVariable]:
    """The step that offers it, of whichever run of the rollback, and what that sets. A release keeps its checklist."""
    step = steps.get(tx, found.step)
    spec = view.checklist.step(step[1].id) if step is not None else None
    if spec is None or not isinstance(spec.action, SetVariable):
        raise UnknownThing(f"No step of {view.release.version} offers {found.what}.")
    return spec, spec.action


def _remind(tx: Tx, view: ReleaseView, found: Mitigation, action: SetVariable) -> datetime:
    """Tell the owner again and again, until it is put back."""
    if view.now < found.due_at:
        return found.due_at
    due_at = view.now + action.remind
    mitigations.record_reminder(tx, found.id, due_at)
    number = found.reminders + 1
    reminded = MitigationReminded(mitigation=found.id, round=number)
    notice = MitigationNotice(mitigation=found.id, round=number)
    commit_change(tx, view.release.id, reminded, at=view.now, by=SYSTEM, new_posts=[notice])
    return due_at


def _carry_out(deps: Deps, job: Job, view: ReleaseView, found: Mitigation, spec: StepSpec, action: SetVariable) -> str:
    with deps.store.transaction() as tx:
        ship, was = release_reference(tx, view.release), mitigations.was(tx, found.id)
    if was is None and found.state is MitigationState.SETTING:
        with inspect_step(deps, spec, ship, None, cancelled=job.lost) as look:
            was = variable.where_we_are(action, look)
        with deps.store.transaction() as tx:
            work.ensure_claim(tx, job.claim)
            mitigations.keep(tx, found.id, was)
    with inspect_step(deps, spec, ship, was, seconds=action.timeout, cancelled=job.lost) as look:
        journal = MitigationJournal(deps, job, view.release.id, found.step, found.id)
        context = build_step_context(deps, job, view.release.id, spec, look, journal)
        if found.state is MitigationState.LIFTING:
            return variable.put_back(action, context)
        return variable.set_variable(action, context)


def _stuck(deps: Deps, job: Job, found: Mitigation, trouble: str) -> None:
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, found.release_id)
        work.ensure_claim(tx, job.claim)
        said = deps.clean(trouble, 500)
        mitigations.say(tx, found.id, trouble=said)
        stuck = MitigationStuck(mitigation=found.id, why=said)
        commit_change(tx, found.release_id, stuck, at=view.now, by=SYSTEM)


def _through(deps: Deps, job: Job, found: Mitigation, said: str) -> datetime | None:
    """Write down that it is set, or back."""
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, found.release_id)
        work.ensure_claim(tx, job.claim)
        if found.state is MitigationState.LIFTING:
            lifted(tx, deps, view, found)
            return None
        mitigations.move(tx, found, MitigationState.SET, view.now)
        said = deps.clean(said)
        done = steps.complete_for(tx, found.step, by=found.owner, summary=said, at=view.now)
        step, run = done or ("", 0)  # set once more, after a rollback: the step was done before
        put = MitigationSet(mitigation=found.id, step=step, run=run, by=found.owner, summary=said)
        commit_change(tx, found.release_id, put, at=view.now, by=SYSTEM)
    return found.due_at


def lifted(tx: Tx, deps: Deps, view: ReleaseView, found: Mitigation) -> None:
    """Write down that one of the locked ``view`` is back, and close the release if it was that which it waited for."""
    mitigations.move(tx, found, MitigationState.LIFTED, view.now)
    back = MitigationLifted(mitigation=found.id, by=found.resolved_by, note="")
    commit_change(tx, found.release_id, back, at=view.now, by=SYSTEM)
    _close(tx, deps, found)


def _close(tx: Tx, deps: Deps, found: Mitigation) -> None:
    view = locked_view(tx, deps, found.release_id)
    if view.may_close:
        releases.close(tx, found.release_id, view.now)
        commit_change(tx, found.release_id, ReleaseClosed(after=found.what), at=view.now, by=SYSTEM)
