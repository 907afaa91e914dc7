"""Plan snapshot: the plan that `/release plan` showed is stored, and what a deploy would change now is compared with it."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.actions import NOT_THE_BOTS
from bot.domain.actor import Actor
from bot.domain.events import PlanShown
from bot.domain.gate import permits
from bot.domain.plan import PlanDifference, PlanKind, PlannedStep
from bot.domain.plan_snapshot import PlanSnapshot, differences, plan_digest
from bot.domain.policy import Action
from bot.domain.release import Release, ReleaseState
from bot.flows.commit import commit_change
from bot.flows.deps import Deps
from bot.flows.step_inspection import plan_of_release
from bot.store import plan_snapshots, releases
from bot.store.pool import Tx

_BEFORE_CHANGES = frozenset({ReleaseState.OPEN, ReleaseState.DEPLOY_FAILED})  # a Deploy or a Retry is still to come


def store_snapshot(tx: Tx, deps: Deps, actor: Actor, release: Release, plan: Sequence[PlannedStep]) -> None:
    """Store that ``actor`` sees the plan of a release, in the transaction of the answer, in place of the snapshot before.

    Nothing is stored for somebody who only looks: a deploy is compared with what people who may deploy have seen.
    """
    policy = releases.policy(tx, release)
    if release.state in _BEFORE_CHANGES and permits(policy, Action.DEPLOY, actor.roles):
        _store(tx, deps, actor, release, _deploy_part(plan))


def compare_with_snapshot(
    deps: Deps, actor: Actor, release: Release, snapshot: PlanSnapshot
) -> tuple[PlanDifference, ...]:
    """Look at what a deploy would change now, and return how that differs from the snapshot.

    What differs becomes the new snapshot, because ``actor`` is shown it: their next Deploy means that. A plan that cannot be
    seen whole does not differ: its first step says so before it changes anything.
    """
    plan = plan_of_release(deps, release)
    if any(step.trouble for step in plan if step.plan is PlanKind.DEPLOY):
        return ()
    current = _deploy_part(plan)
    plan_differences = differences(snapshot, current)
    if plan_differences:
        with deps.store.transaction() as tx:
            _store(tx, deps, actor, release, current)
    return tuple(plan_differences)


def _store(tx: Tx, deps: Deps, actor: Actor, release: Release, snapshot: PlanSnapshot) -> None:
    now = deps.clock.now()
    plan_snapshots.store(tx, release.id, snapshot, now, actor.user)
    commit_change(tx, release.id, PlanShown(plan=plan_digest(snapshot)), at=now, by=actor.user)


def _deploy_part(plan: Sequence[PlannedStep]) -> PlanSnapshot:
    """What the bot is to change in the deploy; what is a person's to do is left out."""
    return {
        step.spec.id: None if step.trouble else step.changes
        for step in plan
        if step.plan is PlanKind.DEPLOY and not isinstance(step.spec.action, NOT_THE_BOTS)
    }
