"""Deploy: through the gate, then step by step; retry a failed step, cancel one that runs, attest one that a person did."""

from __future__ import annotations

import threading

from bot.domain.actions import BESIDE_THE_PLAN, NOT_THE_BOTS, WITHOUT_DOER, Notify, StepSpec
from bot.domain.actor import Actor
from bot.domain.break_glass import holds_back
from bot.domain.events import DeployStarted, NotPassedLine, StepAttested, StepCancelled, StepRetried
from bot.domain.gate import beside, deploy_gate, name_beside
from bot.domain.ids import ReleaseId, StepId
from bot.domain.plan import FAILED_IN, UNCONFIRMED, PlanKind, Step, StepState
from bot.domain.policy import Action
from bot.domain.posts import FailedNotice, StepsPost
from bot.domain.release import ReleaseState
from bot.domain.shown import digest
from bot.domain.view import ReleaseView
from bot.errors import Contradicted, GateClosed, InvalidInput, RefusedError, StaleButton, StepError, UnknownThing
from bot.flows import check
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, require
from bot.flows.plan import looking, recorded_for, shipment_of
from bot.flows.status import view as seen
from bot.steps.registry import doer
from bot.store import releases, shown, steps, work
from bot.store.pool import Tx

NAMED = 5  # lines that hold nothing up and have not passed, named in the answer
LOOK_AGAIN = 10.0  # seconds for a look at what a person says to have done: somebody waits for the answer


def initial_states(plan: tuple[StepSpec, ...]) -> list[tuple[StepId, StepState]]:
    """Each step with the state that it begins in: what a person does or decides, or a message tells, is not the bot's to begin."""
    return [
        (spec.id, StepState.TO_ATTEST if isinstance(spec.action, NOT_THE_BOTS) else StepState.PENDING) for spec in plan
    ]


def deploy(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId) -> str:
    """Begin the deploy, if the gate allows it to ``actor`` at this moment. Raises GateClosed with every reason.

    The rows that the gate judges are locked until the commit, so nothing can change between judgement and beginning.
    """
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.DEPLOY)
    if view.release.state is ReleaseState.DEPLOYING:
        return f"{view.release.version} is being deployed already, by <@{view.release.deployer}>."
    decision = deploy_gate(view, actor.user)
    if not decision.allowed:
        listed = "\n".join(f"• {reason.text}" for reason in decision.reasons)
        raise GateClosed(f"No-Go for {view.release.version}:\n{listed}", hint="Nothing was deployed.")
    return begin(tx, view, actor)


def begin(tx: Tx, view: ReleaseView, actor: Actor) -> str:
    """Begin the deploy of a locked view that was judged just now."""
    release, release_id = view.release, view.release.id
    missed, known = beside(view), shown.get(tx, release_id)
    releases.move(tx, release, ReleaseState.DEPLOYING, view.now, deployer=actor.user)
    check.cancel_all(tx, release_id, view.checklist)
    steps.add_plan(tx, release_id, PlanKind.DEPLOY, initial_states(view.checklist.deploy))
    work.ask(tx, "advance", release_id)
    started = DeployStarted(
        image=release.pinned_image, commit=release.commit, fingerprint=view.fingerprint,
        plan_shown=None if known is None else digest(known),
        results={entry.id: entry.result.id for entry in view.checks.values() if entry.result},
        signoffs=[signed.id for signed in view.signoffs],
        not_passed=[NotPassedLine(check=line.check, standing=line.standing) for line in missed],
    )  # fmt: skip
    steps_post = StepsPost(plan=PlanKind.DEPLOY)
    commit_change(tx, release_id, started, at=view.now, by=actor.user, new_posts=[steps_post])
    said = f"Deploying {release.version}. Follow the steps in the thread."
    return f"{said}\nNote: {name_beside(missed, NAMED)}." if missed else said


_GOES_ON_IN = {PlanKind.DEPLOY: ReleaseState.DEPLOYING, PlanKind.ROLLBACK: ReleaseState.ROLLING_BACK}


def retry(tx: Tx, deps: Deps, actor: Actor, step_row: int) -> str:
    """Carry out a failed step again. A deploy that fails keeps its sign-offs: nothing of what they stand for has changed."""
    view, step = _step(tx, deps, actor, Action.RETRY, step_row)
    _refuse_to_go_on(view, step)
    if not steps.retry(tx, step_row):
        raise StaleButton
    _plan_anew(tx, view, step)
    _go_on(tx, view, step)
    retried = StepRetried(step=step.id, attempt=step.attempt + 1, release_state=_GOES_ON_IN[step.plan])
    commit_change(tx, view.release.id, retried, at=view.now, by=actor.user)
    return f"Trying {step.id} again."


def before_attest(deps: Deps, actor: Actor, step_row: int) -> str:
    """Look whether a failed step that somebody says to have done is done, where the bot can see that: what it saw.

    Before the transaction of `attest`. Raises RefusedError with what speaks against it. A system that cannot be asked does
    not stop a person, who may know: that is said instead, and recorded.
    """
    with deps.store.transaction() as tx:
        found = steps.get(tx, step_row)
        if found is None or found[1].state is not StepState.FAILED:
            return ""  # a person's own step; or none, as `attest` says
        view = seen(tx, deps, found[0])
        ship, targets = shipment_of(tx, view.release), steps.rollback_targets(tx, found[0])
    require(view.policy, actor, Action.ATTEST, found[1].id)
    spec = view.checklist.step(found[1].id)
    look_again = None if spec is None else doer(spec).confirm
    if spec is None or look_again is None or not spec.by_hand:
        return ""
    try:
        recorded = recorded_for(spec, targets)
        with looking(deps, spec, ship, recorded, seconds=LOOK_AGAIN, cancelled=threading.Event()) as look:
            return f"seen: {look_again(spec.action, look)}"
    except Contradicted as error:
        raise RefusedError(f"Not recorded: {error.user_message}.", hint=error.hint) from error
    except StepError as error:
        return f"{UNCONFIRMED}: {error.user_message}"


def _plan_anew(tx: Tx, view: ReleaseView, step: Step) -> None:
    """Where a rollback goes is what stands there before the first change: a retry before that looks again (promise P6)."""
    if step.plan is not PlanKind.DEPLOY:
        return
    planes = {spec.id: doer(spec).plane for spec in view.checklist.deploy if not isinstance(spec.action, WITHOUT_DOER)}
    plane = planes.get(step.id)
    if plane is not None:
        steps.forget_target(tx, view.release.id, plane, [known for known in planes if planes[known] is plane])


def attest(tx: Tx, deps: Deps, actor: Actor, step_row: int, note: str, saw: str = "") -> str:
    """Record that a person has carried out a step: one that is a person's, or one at which the bot failed, where that may be.

    The plan that has waited for it goes on. A person's step is attested at its turn: what comes before it is done by then.
    ``saw``: what `before_attest` has found out about it.
    """
    view, step = _step(tx, deps, actor, Action.ATTEST, step_row)
    if view.release.state is ReleaseState.ABORTED:
        raise StaleButton
    if not note.strip():
        raise InvalidInput("An attestation needs a note: what was done?")
    failed, spec = step.state is StepState.FAILED, view.checklist.step(step.id)
    waited = step.state is StepState.TO_ATTEST and spec is not None and not isinstance(spec.action, BESIDE_THE_PLAN)
    if spec is not None and isinstance(spec.action, Notify):
        raise RefusedError("The bot says that itself.", hint="It is done once its message stands in the channel.")
    if failed:
        _refuse_by_hand(view, step, spec, saw)
    elif waited:
        _refuse_out_of_turn(view, step)
    note, saw = deps.clean(note.strip()), deps.clean(saw, 1000)
    if not steps.attest(tx, step_row, by=actor.user, note=note, saw=saw, at=view.now):
        raise RefusedError("That step does not wait for an attestation.")
    if failed:
        _go_on(tx, view, step)
    if waited:
        work.ask(tx, "advance", view.release.id)
    after = _GOES_ON_IN[step.plan] if failed else view.release.state
    attested = StepAttested(step=step.id, note=note, saw=saw, release_state=after)
    commit_change(tx, view.release.id, attested, at=view.now, by=actor.user)
    return f"Recorded: {step.id} was done by hand{f' ({saw})' if saw else ''}."


def cancel(tx: Tx, deps: Deps, actor: Actor, step_row: int) -> str:
    """Stop a step that runs. It has failed then: what it has changed stays, and is seen by a retry or taken back."""
    view, step = _step(tx, deps, actor, Action.RETRY, step_row)
    release = view.release
    if view.awaited is not None and view.awaited.row == step_row:
        raise StaleButton(f"{step.id} does not run: it waits for a person.", hint="Attest it, or roll back.")
    if step.state is not StepState.RUNNING or release.state is not _GOES_ON_IN[step.plan]:
        raise StaleButton
    work.drop(tx, "advance", release.id)  # whoever carries it out is told to stop, and can write nothing more
    summary, reason = "cancelled. What it has changed so far stays until a retry.", f"{step.id} was cancelled"
    if step.unended:
        summary += f" job/{' and job/'.join(step.unended)} may still run: it is not stopped, and a retry takes it up."
    steps.finish(tx, step_row, StepState.FAILED, summary, view.now)
    releases.move(tx, release, FAILED_IN[step.plan], view.now, reason=reason)
    cancelled = StepCancelled(
        step=step.id, summary=summary, reason=reason, started_at=step.started_at, release_state=FAILED_IN[step.plan]
    )
    notice = FailedNotice(step=step.row, attempt=f"cancel:{step.attempt}")
    commit_change(tx, release.id, cancelled, at=view.now, by=actor.user, new_posts=[notice])
    return f"{step.id} is cancelled. Retry it, or roll back."


def _step(tx: Tx, deps: Deps, actor: Actor, action: Action, step_row: int) -> tuple[ReleaseView, Step]:
    """The release and the step of a button, for somebody who may do that. Raises StaleButton for a step of an earlier run."""
    view = locked_view(tx, deps, _release_of(tx, step_row))
    step = next((step for step in view.steps if step.row == step_row), None)
    require(view.policy, actor, action, *([step.id] if step is not None else ()))
    if step is None:
        raise StaleButton
    return view, step


def _refuse_to_go_on(view: ReleaseView, step: Step) -> None:
    """A failed plan goes on only while it stands at its failed step; a deploy not in a freeze that it was not let past."""
    if view.release.state is not FAILED_IN[step.plan]:
        raise StaleButton
    if step.plan is PlanKind.DEPLOY and view.freeze is not None and holds_back(view):
        raise GateClosed(f"Deploys are frozen: {view.freeze.reason}", hint="A rollback works in a freeze.")


def _refuse_by_hand(view: ReleaseView, step: Step, spec: StepSpec | None, saw: str) -> None:
    """A person does a failed step where the checklist allows it, and the bot has looked at what it can see of it."""
    if spec is None or not spec.by_hand:
        raise RefusedError("That step cannot be done by hand.", hint="Retry it, or roll back.")
    _refuse_to_go_on(view, step)
    if not saw and doer(spec).confirm is not None:
        raise StaleButton  # it has failed since the bot looked


def _refuse_out_of_turn(view: ReleaseView, step: Step) -> None:
    """A person's step is attested while its plan waits for it; in a freeze too, which stops no deploy that has begun."""
    if view.plan is not step.plan:
        raise StaleButton
    if view.awaited is None or view.awaited.row != step.row:
        raise RefusedError(f"It is not the turn of {step.id} yet.", hint="The bot says so in the channel once it is.")


def _go_on(tx: Tx, view: ReleaseView, step: Step) -> None:
    releases.move(tx, view.release, _GOES_ON_IN[step.plan], view.now)
    work.ask(tx, "advance", view.release.id)


def _release_of(tx: Tx, step_row: int) -> ReleaseId:
    found = steps.get(tx, step_row)
    if found is None:
        raise UnknownThing("There is no such step.")
    return found[0]
