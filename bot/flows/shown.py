"""Shown: what `/release plan` has shown is kept, and what stands there at the press of Deploy is held against it."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.actions import NOT_THE_BOTS
from bot.domain.actor import Actor
from bot.domain.events import PlanShown
from bot.domain.gate import permits
from bot.domain.ids import ReleaseId
from bot.domain.plan import PlanKind, PlannedStep
from bot.domain.policy import Action
from bot.domain.release import Release, ReleaseState
from bot.domain.shown import Shown, differences, digest, listed
from bot.errors import GateClosed
from bot.flows.bind import speaks_against
from bot.flows.commit import commit_change
from bot.flows.deps import Deps
from bot.flows.plan import of_release
from bot.flows.status import view as seen
from bot.store import shown
from bot.store.pool import Tx

_BEFORE = frozenset({ReleaseState.OPEN, ReleaseState.DEPLOY_FAILED})  # a press of Deploy or Retry is still to come


def keep(tx: Tx, deps: Deps, actor: Actor, release: Release, plan: Sequence[PlannedStep]) -> None:
    """Keep that the plan of a release is shown to ``actor``, in the transaction of the answer; a later one takes its place.

    Nothing is kept of somebody who only looks: a deploy is held against what people who may deploy have seen.
    """
    if release.state not in _BEFORE or not permits(seen(tx, deps, release.id).policy, Action.DEPLOY, actor.roles):
        return
    now, told = deps.clock.now(), _of_deploy(plan)
    shown.keep(tx, release.id, told, now, actor.user)
    commit_change(tx, release.id, PlanShown(plan=digest(told)), at=now, by=actor.user)


def before_deploy(deps: Deps, actor: Actor, release_id: ReleaseId, action: Action) -> None:
    """Look whether a deploy would change what was shown, where a plan was shown. Before the transaction of the deploy.

    Nobody looks while something else speaks against ``action``. Raises GateClosed with what differs, which is then shown:
    the next press means that. What cannot be seen now is for the first step to say, which changes nothing then.
    """
    with deps.store.transaction() as tx:
        view, known = seen(tx, deps, release_id), shown.get(tx, release_id)
    release = view.release
    if known is None or release.state is not ReleaseState.OPEN or speaks_against(view, action, actor.user):
        return
    plan = of_release(deps, release)
    lines = differences(known, _of_deploy(plan))
    if not lines or any(step.trouble for step in plan if step.plan is PlanKind.DEPLOY):
        return
    with deps.store.transaction() as tx:
        keep(tx, deps, actor, release, plan)
    told = "\n".join(f"• {line}" for line in listed(lines))
    raise GateClosed(
        f"The plan of {release.version} is not the one that was shown:\n{told}",
        hint="Nothing was deployed. Deploy again to go with this; `/release plan` shows all of it.",
    )


def _of_deploy(plan: Sequence[PlannedStep]) -> Shown:
    """What the bot is to change; what is a person's to do is not."""
    return {
        step.spec.id: None if step.trouble else step.changes
        for step in plan
        if step.plan is PlanKind.DEPLOY and not isinstance(step.spec.action, NOT_THE_BOTS)
    }
