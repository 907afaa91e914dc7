"""Deploy: through the gate, then step by step; retry a failed step; attest one that a person did."""

from __future__ import annotations

from bot.domain.actions import Attest, StepSpec
from bot.domain.actor import Actor
from bot.domain.gate import deploy_gate
from bot.domain.ids import ReleaseId, StepId
from bot.domain.plan import PlanKind, StepState
from bot.domain.policy import Action
from bot.domain.release import ReleaseState
from bot.errors import GateClosed, InvalidInput, RefusedError, StaleButton, UnknownThing
from bot.flows import check
from bot.flows.deps import Deps, locked_view, require
from bot.store import audit, posts, releases, steps, work
from bot.store.pool import Tx


def initial_states(plan: tuple[StepSpec, ...]) -> list[tuple[StepId, StepState]]:
    """Each step with the state that it begins in: what only a person can do waits to be attested."""
    return [(spec.id, StepState.TO_ATTEST if isinstance(spec.action, Attest) else StepState.PENDING) for spec in plan]


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
    release = view.release
    releases.move(tx, release, ReleaseState.DEPLOYING, view.now, deployer=actor.user)
    check.cancel_all(tx, release_id, view.checklist)
    steps.add_plan(tx, release_id, PlanKind.DEPLOY, initial_states(view.checklist.deploy))
    card = posts.find(tx, release_id, "card")
    posts.owe(tx, release_id, "steps", PlanKind.DEPLOY, channel=release.channel, parent=card)
    posts.touch(tx, release_id)
    work.ask(tx, "advance", release_id)
    audit.write(
        tx, view.now, actor.user, "deploy.started", release_id,
        image=release.pinned_image, commit=release.commit, fingerprint=view.fingerprint,
        results={entry.id: entry.result.id for entry in view.checks.values() if entry.result},
        signoffs=[signed.id for signed in view.signoffs],
    )  # fmt: skip
    return f"Deploying {release.version}. Follow the steps in the thread."


def retry(tx: Tx, deps: Deps, actor: Actor, step_row: int) -> str:
    """Carry out a failed step again. A deploy that fails keeps its sign-offs: nothing of what they stand for has changed."""
    release_id = _release_of(tx, step_row)
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.RETRY)
    step = next((step for step in view.steps if step.row == step_row), None)
    failed_in = {PlanKind.DEPLOY: ReleaseState.DEPLOY_FAILED, PlanKind.ROLLBACK: ReleaseState.ROLLBACK_FAILED}
    if step is None or view.release.state is not failed_in[step.plan]:
        raise StaleButton
    if step.plan is PlanKind.DEPLOY and view.freeze is not None:
        raise GateClosed(f"Deploys are frozen: {view.freeze.reason}", hint="A rollback works in a freeze.")
    if not steps.retry(tx, step_row):
        raise StaleButton
    onward = ReleaseState.DEPLOYING if step.plan is PlanKind.DEPLOY else ReleaseState.ROLLING_BACK
    releases.move(tx, view.release, onward, view.now)
    work.ask(tx, "advance", release_id)
    posts.touch(tx, release_id)
    audit.write(tx, view.now, actor.user, "step.retried", release_id, step=step.id)
    return f"Trying {step.id} again."


def attest(tx: Tx, deps: Deps, actor: Actor, step_row: int, note: str) -> str:
    """Record that a person has carried out a step."""
    release_id = _release_of(tx, step_row)
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.ATTEST)
    if view.release.state is ReleaseState.ABORTED:
        raise StaleButton
    if not note.strip():
        raise InvalidInput("An attestation needs a note: what was done?")
    step = next((step for step in view.steps if step.row == step_row), None)
    if step is None:
        raise StaleButton
    if not steps.attest(tx, step_row, by=actor.user, note=note.strip(), at=view.now):
        raise RefusedError("That step does not wait for an attestation.")
    posts.touch(tx, release_id)
    audit.write(tx, view.now, actor.user, "step.attested", release_id, step=step.id, note=note.strip())
    return f"Recorded: {step.id} was done by hand."


def _release_of(tx: Tx, step_row: int) -> ReleaseId:
    found = steps.get(tx, step_row)
    if found is None:
        raise UnknownThing("There is no such step.")
    return found[0]
