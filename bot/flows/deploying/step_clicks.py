"""Step clicks: retry a failed step, attest one that a person has done, cancel one that runs."""

from __future__ import annotations

import threading

from bot.domain.actions import BESIDE_THE_PLAN, WITHOUT_DOER, Notify, StepSpec
from bot.domain.actor import Actor
from bot.domain.break_glass import is_stopped_by_freeze
from bot.domain.events import StepAttested, StepCancelled, StepRetried
from bot.domain.plan import FAILED_IN, UNCONFIRMED_PREFIX, PlanKind, Step, StepState
from bot.domain.policy import Action
from bot.domain.posts import FailedNotice
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import Contradicted, GateClosed, InvalidInput, RefusedError, StaleButton, StepError, UnknownThing
from bot.flows import status
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, require
from bot.flows.step_inspection import inspect_step, release_reference, rollback_target_of
from bot.steps.registry import handler_of
from bot.store import releases, steps, work
from bot.store.pool import Tx

INSPECTION_TIME = 10.0  # seconds for a look at what a person says to have done: somebody waits for the answer

_RUNNING_IN = {PlanKind.DEPLOY: ReleaseState.DEPLOYING, PlanKind.ROLLBACK: ReleaseState.ROLLING_BACK}


def retry(tx: Tx, deps: Deps, actor: Actor, step_row: int) -> str:
    """Carry out a failed step again, and return the answer. A failed deploy keeps its sign-offs: nothing they cover has changed.

    Raises NotAllowed, StaleButton, and GateClosed for a deploy in a freeze that it was not let past.
    """
    view, step = _locked_step(tx, deps, actor, Action.RETRY, step_row)
    _refuse_to_resume(view, step)
    if not steps.retry(tx, step_row):
        raise StaleButton
    _forget_target(tx, view, step)
    _resume(tx, view, step)
    event = StepRetried(step=step.id, attempt=step.attempt + 1, release_state=_RUNNING_IN[step.plan])
    commit_change(tx, view.release.id, event, at=view.now, by=actor.user)
    return f"Trying {step.id} again."


def inspect_attested_step(deps: Deps, actor: Actor, step_row: int) -> str:
    """Look whether a failed step that somebody says to have done is done; returns what was seen, for `attest`.

    Before the transaction of `attest`. Returns an empty text where there is nothing to look at. Raises NotAllowed, and
    RefusedError with what contradicts the person. A system that cannot be asked does not stop them, who may know: that is
    returned instead, and recorded.
    """
    with deps.store.transaction() as tx:
        release_id, step = steps.get(tx, step_row) or (None, None)
        if release_id is None or step is None or step.state is not StepState.FAILED:
            return ""  # a person's own step; or none, as `attest` says
        view = status.view(tx, deps, release_id)
        reference, targets = release_reference(tx, view.release), steps.rollback_targets(tx, release_id)
    require(view.policy, actor, Action.ATTEST, step.id)
    spec = view.checklist.step(step.id)
    confirm = None if spec is None else handler_of(spec).confirm
    if spec is None or confirm is None or not spec.by_hand:
        return ""
    target, no_stop = rollback_target_of(spec, targets), threading.Event()
    try:
        with inspect_step(deps, spec, reference, target, seconds=INSPECTION_TIME, cancelled=no_stop) as inspection:
            return f"seen: {confirm(spec.action, inspection)}"
    except Contradicted as error:
        raise RefusedError(f"Not recorded: {error.user_message}.", hint=error.hint) from error
    except StepError as error:
        return f"{UNCONFIRMED_PREFIX}: {error.user_message}"


def attest(tx: Tx, deps: Deps, actor: Actor, step_row: int, note: str, observation: str = "") -> str:
    """Record that a person has carried out a step, and return the answer: their own one, or one at which the bot failed.

    The plan that has waited for it goes on. A person's step is attested at its turn: what comes before it is done by then.
    ``observation``: what `inspect_attested_step` returned. Raises NotAllowed, InvalidInput without a note, RefusedError and
    StaleButton.
    """
    view, step = _locked_step(tx, deps, actor, Action.ATTEST, step_row)
    if view.release.state is ReleaseState.ABORTED:
        raise StaleButton
    if not note.strip():
        raise InvalidInput("An attestation needs a note: what was done?")
    has_failed, spec = step.state is StepState.FAILED, view.checklist.step(step.id)
    is_awaited = step.state is StepState.TO_ATTEST and spec is not None and not isinstance(spec.action, BESIDE_THE_PLAN)
    if spec is not None and isinstance(spec.action, Notify):
        raise RefusedError("The bot does that itself.", hint="It is done once its message is in the channel.")
    if has_failed:
        _refuse_by_hand(view, step, spec, observation)
    elif is_awaited:
        _refuse_out_of_turn(view, step)
    note, observation = deps.clean(note.strip()), deps.clean(observation, 1000)
    if not steps.attest(tx, step_row, by=actor.user, note=note, saw=observation, at=view.now):
        raise RefusedError("That step isn't waiting for an attestation.")
    if has_failed:
        _resume(tx, view, step)
    if is_awaited:
        work.enqueue(tx, "advance", view.release.id)
    state = _RUNNING_IN[step.plan] if has_failed else view.release.state
    event = StepAttested(step=step.id, note=note, saw=observation, release_state=state)
    commit_change(tx, view.release.id, event, at=view.now, by=actor.user)
    return f"Recorded: {step.id} was done by hand{f' ({observation})' if observation else ''}."


def cancel(tx: Tx, deps: Deps, actor: Actor, step_row: int) -> str:
    """Stop a step that runs, and return the answer. It has failed then: what it changed stays until a retry or a rollback.

    Raises NotAllowed, and StaleButton for a step that does not run.
    """
    view, step = _locked_step(tx, deps, actor, Action.RETRY, step_row)
    release = view.release
    if view.awaited_step is not None and view.awaited_step.row == step_row:
        raise StaleButton(f"{step.id} isn't running: it waits for a person.", hint="Attest it, or roll back.")
    if step.state is not StepState.RUNNING or release.state is not _RUNNING_IN[step.plan]:
        raise StaleButton
    work.drop(tx, "advance", release.id)  # whoever carries it out is told to stop, and can write nothing more
    summary, reason = "cancelled. What it has changed so far stays until a retry.", f"{step.id} was cancelled"
    if step.unfinished_jobs:
        summary += f" job/{' and job/'.join(step.unfinished_jobs)} may still be running: it isn't stopped, and a retry picks it up."
    steps.finish(tx, step_row, StepState.FAILED, summary, view.now)
    releases.move(tx, release, FAILED_IN[step.plan], view.now, reason=reason)
    event = StepCancelled(
        step=step.id, summary=summary, reason=reason, started_at=step.started_at, release_state=FAILED_IN[step.plan]
    )
    notice = FailedNotice(step=step.row, attempt=f"cancel:{step.attempt}")
    commit_change(tx, release.id, event, at=view.now, by=actor.user, new_posts=[notice])
    return f"{step.id} is cancelled. Retry it, or roll back."


def _locked_step(tx: Tx, deps: Deps, actor: Actor, action: Action, step_row: int) -> tuple[ReleaseView, Step]:
    """The locked release and the step of a button, for somebody who may do that. Raises StaleButton for an earlier run's."""
    stored_step = steps.get(tx, step_row)
    if stored_step is None:
        raise UnknownThing("There is no such step.")
    view = locked_view(tx, deps, stored_step[0])
    step = next((step for step in view.steps if step.row == step_row), None)
    require(view.policy, actor, action, *([step.id] if step is not None else ()))
    if step is None:
        raise StaleButton
    return view, step


def _refuse_to_resume(view: ReleaseView, step: Step) -> None:
    """A failed plan goes on only while it stands at its failed step; a deploy not in a freeze that it was not let past."""
    if view.release.state is not FAILED_IN[step.plan]:
        raise StaleButton
    if step.plan is PlanKind.DEPLOY and view.freeze is not None and is_stopped_by_freeze(view):
        raise GateClosed(f"Deploys are frozen: {view.freeze.reason}", hint="A rollback works in a freeze.")


def _refuse_by_hand(view: ReleaseView, step: Step, spec: StepSpec | None, observation: str) -> None:
    """A person does a failed step where the checklist allows it, and the bot has looked at what it can see of it."""
    if spec is None or not spec.by_hand:
        raise RefusedError("That step can't be done by hand.", hint="Retry it, or roll back.")
    _refuse_to_resume(view, step)
    if not observation and handler_of(spec).confirm is not None:
        raise StaleButton  # it has failed since the bot looked


def _refuse_out_of_turn(view: ReleaseView, step: Step) -> None:
    """A person's step is attested while its plan waits for it; in a freeze too, which stops no deploy that has begun."""
    if view.plan is not step.plan:
        raise StaleButton
    if view.awaited_step is None or view.awaited_step.row != step.row:
        raise RefusedError(f"It isn't {step.id}'s turn yet.", hint="The bot says so in the channel when it is.")


def _forget_target(tx: Tx, view: ReleaseView, step: Step) -> None:
    """Where a rollback goes is what stands there before the first change: a retry before that looks again (promise P6)."""
    if step.plan is not PlanKind.DEPLOY:
        return
    planes = {
        spec.id: handler_of(spec).plane for spec in view.checklist.deploy if not isinstance(spec.action, WITHOUT_DOER)
    }
    plane = planes.get(step.id)
    if plane is not None:
        steps.forget_target(tx, view.release.id, plane, [other for other in planes if planes[other] is plane])


def _resume(tx: Tx, view: ReleaseView, step: Step) -> None:
    releases.move(tx, view.release, _RUNNING_IN[step.plan], view.now)
    work.enqueue(tx, "advance", view.release.id)
