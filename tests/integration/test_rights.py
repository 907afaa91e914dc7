"""A release with a service account of exactly the rights that the code declares, and with each one missing."""

from pathlib import Path

from bot.domain.plan import PlanKind
from bot.domain.release import ReleaseState
from bot.flows.deploying import step_clicks
from bot.flows.deploying.rollback import judge_rollback
from bot.steps.rights import by_target, of_plan
from checks.registry import BUILT_IN, Registry
from tests.fix_account import BotAccount
from tests.fix_bot import MANAGER, QA, SOURCE, World, checklist
from tests.fix_kube import Kube
from tests.sandbox.kube_objects import deploy_and_wait, revisions

LOGS = {"do": "check", "kind": "pod_logs", "params": {"since_minutes": 5}}
PLAN = checklist(
    deploy=(
        {"id": "deploy.backend", "title": "Deploy", "action": {"do": "set_image"}},
        {"id": "deploy.logs", "title": "Logs", "action": LOGS},
    ),
    rollback=({"id": "rollback.backend", "title": "Restore", "action": {"do": "restore_backend"}},),
)
NEW = f"{SOURCE.image}@{SOURCE.digest}"


def test_a_release_needs_exactly_the_declared_rights(kube: Kube, world: World, tmp_path: Path) -> None:
    """Each missing right is named before any change, and with all of them deploy and rollback succeed."""
    deploy_and_wait(kube, "app:1")
    account = BotAccount(kube, tmp_path)
    registry = Registry(
        {name: type(world.deps.registry.get(name)) for name in world.deps.registry.names()}
        | {"pod_logs": BUILT_IN["pod_logs"]}
    )
    world.change(checklist=PLAN, registry=registry, targets={**world.deps.targets, "production": account.target})
    needed_rights = by_target(of_plan(PLAN, registry), world.deps.targets)["production"]
    assert len(needed_rights) == 5
    release_id = world.run_to_approval()
    for number, lost_right in enumerate(needed_rights):
        account.grant([grant for grant in needed_rights if grant != lost_right], needed_rights)
        if number == 0:
            world.deploy(QA, release_id)
        else:
            world.act(step_clicks.retry, QA, world.view(release_id).steps[0].row)
        world.run("advance")
        step = world.view(release_id).steps[0]
        assert world.view(release_id).release.state is ReleaseState.DEPLOY_FAILED
        assert step.summary.startswith(f"the bot isn't allowed to {lost_right}. Nothing was changed.")
        assert {row["entry"] for row in world.rows("SELECT entry FROM journal")} == {"result"}
    assert revisions(kube) == {1: "app:1"}
    account.grant(needed_rights, needed_rights)
    world.act(step_clicks.retry, QA, world.view(release_id).steps[0].row)
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.WATCHING
    assert revisions(kube) == {1: "app:1", 2: NEW}
    world.act(judge_rollback, MANAGER, release_id, "errors")
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.ROLLED_BACK
    assert revisions(kube) == {2: NEW, 3: "app:1"}


def test_a_rollback_needs_only_its_own_rights(kube: Kube, world: World, tmp_path: Path) -> None:
    """Nothing is asked before a rollback, and each step names what it lacks (promise P6)."""
    deploy_and_wait(kube, "app:1")
    account = BotAccount(kube, tmp_path)
    world.change(
        checklist=PLAN.model_copy(update={"deploy": PLAN.deploy[:1]}),
        targets={**world.deps.targets, "production": account.target},
    )
    needed_rights = by_target(of_plan(PLAN, world.deps.registry), world.deps.targets)["production"]
    account.grant(needed_rights, needed_rights)
    release_id = world.run_to_watch()
    only = [grant for grant in needed_rights if grant.resource == "deployments"]
    account.grant(only, needed_rights)
    world.act(judge_rollback, MANAGER, release_id, "errors")
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.ROLLED_BACK
    assert [step.plan for step in world.view(release_id).steps if step.plan is PlanKind.ROLLBACK]
