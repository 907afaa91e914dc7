"""A deploy over all planes and its way back: what was shown is what is done, and everything stands as it was afterwards."""

from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from bot.domain.ids import ReleaseId
from bot.domain.plan import Mutation, Plane, PlanKind, StepState
from bot.domain.release import ReleaseState
from bot.flows.deploying import step_clicks
from bot.flows.deploying.planning import plan_ahead
from bot.flows.deploying.rollback import judge_rollback
from bot.flows.step_inspection import plan_of_release, release_reference
from bot.steps.sources import ResolvedSource
from bot.store import steps
from clients.settings import Kubernetes
from sandbox.staging.github import MIGRATIONS_PATH
from sandbox.staging.versions import BACKUP_MANIFEST, BACKUP_SCHEDULE, BRANCH, NEW_BACKUP_SCHEDULE, commit_sha
from tests.fix_bot import MANAGER, QA, World, checklist
from tests.fix_kube import Kube
from tests.fix_vendors import Vendors
from tests.integration.test_steps_jobs import _cron
from tests.sandbox.kube_objects import deploy_and_wait, read, set_image

COMMIT = commit_sha(BRANCH)
SOURCE = ResolvedSource(COMMIT, "ghcr.io/solvereign/api", "sha256:" + "ab" * 32, is_tagged=False)
NEW = f"{SOURCE.image}@{SOURCE.digest}"
OLD_FRONTEND = "dpl_v4.7.0"
DEPLOY: dict[str, dict[str, Any]] = {
    "tag": {"do": "tag"},
    "migrations": {"do": "migrate", "files": MIGRATIONS_PATH},
    "backend": {"do": "set_image", "version_env": "VERSION"},
    "frontend": {"do": "vercel_deploy", "wait_for_auto": 0},
    "jobs": {"do": "cronjob", "name": "solvereign-backup", "manifest": BACKUP_MANIFEST},
    "smoke": {"do": "check", "kind": "ask"},
}
ROLLBACK = {
    "backend": {"do": "restore_backend"},
    "frontend": {"do": "restore_frontend"},
    "jobs": {"do": "restore_cronjob"},
}


def _steps(prefix: str, actions: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"id": f"{prefix}.{name}", "title": f"{prefix} {name}", "by_hand": name == "frontend", "action": action}
        for name, action in actions.items()
    )


@dataclass
class Production:
    """All planes of production, and the flows that change them."""

    world: World
    kube: Kube
    vendors: Vendors
    database: str

    def planes(self) -> dict[str, Any]:
        """What is deployed on each plane."""
        live = self.vendors.vercel.live()
        assert live is not None
        cron = self.kube.batch.read_namespaced_cron_job("solvereign-backup", self.kube.namespace)
        template = self.kube.api.sanitize_for_serialization(read(self.kube).spec.template)
        return {"template": template, "frontend": live["id"], "schedule": cron.spec.schedule}

    def open_release(self) -> ReleaseId:
        """Open a release that may be deployed."""
        release_id = self.world.start("v4.8.0", source=SOURCE)
        self.world.run("check")
        self.world.approve(release_id)
        return release_id

    def deploy(self, release_id: ReleaseId) -> ReleaseState:
        """Deploy the release as far as possible."""
        self.world.deploy(QA, release_id)
        return self.go_on(release_id)

    def go_on(self, release_id: ReleaseId) -> ReleaseState:
        """Run the due steps."""
        self.world.run("advance")
        return self.world.view(release_id).release.state

    def shown_changes(self, release_id: ReleaseId, kind: PlanKind) -> dict[str, tuple[Mutation, ...]]:
        """The changes that `/release plan` shows, by step."""
        plan_steps = plan_of_release(self.world.deps, self.world.view(release_id).release)
        assert [step.trouble for step in plan_steps if step.trouble] == []
        return {step.spec.id: step.changes for step in plan_steps if step.plan is kind and step.changes}

    def journal_changes(self, release_id: ReleaseId, kind: PlanKind) -> dict[str, tuple[Mutation, ...]]:
        """The changes in the journal, by step and each once."""
        by_step: dict[str, tuple[Mutation, ...]] = {}
        for step in self.world.view(release_id).steps:
            with self.world.store.transaction() as tx:
                lines = [line["body"]["changes"] for line in steps.journal(tx, step.row) if line["entry"] == "intent"]
            changes = dict.fromkeys(Mutation.of(change) for line in lines for change in line)
            if step.plan is kind and changes:
                by_step[step.id] = tuple(changes)
        return by_step

    def summary(self, release_id: ReleaseId) -> str:
        """The summary of the failed step."""
        return next(step.summary for step in self.world.view(release_id).steps if step.state is StepState.FAILED)

    def failed_row(self, release_id: ReleaseId) -> int:
        """The row of the failed step."""
        return next(step.row for step in self.world.view(release_id).steps if step.state is StepState.FAILED)


@pytest.fixture
def production(world: World, kube: Kube, vendors: Vendors, database_url: str) -> Production:
    """Production as the previous release left it."""
    deploy_and_wait(kube, "app:1")
    cron = _cron(BACKUP_SCHEDULE, "ghcr.io/solvereign/backup:latest")
    cron["metadata"]["name"] = "solvereign-backup"
    kube.batch.create_namespaced_cron_job(kube.namespace, cron)
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE SCHEMA billing; CREATE TABLE billing.invoices (id integer);")
        connection.execute(
            "CREATE TABLE schema_migrations (version varchar(50) PRIMARY KEY, description text,"
            " applied_at timestamptz NOT NULL DEFAULT now(), checksum varchar(64), file_name varchar(100))"
        )
    where = Kubernetes(kubeconfig=str(kube.kubeconfig), namespace=kube.namespace, deployment="web", container="main")
    world.deps = replace(
        world.deps,
        checklist=checklist(deploy=_steps("deploy", DEPLOY), rollback=_steps("rollback", ROLLBACK)),
    )
    world.on_production(kubernetes=where, migrate_database_url=SecretStr(database_url), **vendors.parts)
    vendors.faults.set("vercel_no_auto_deploy", True)
    return Production(world, kube, vendors, database_url)


def test_a_deploy_does_what_the_plan_showed_and_is_rolled_back_exactly(production: Production) -> None:
    """Every change is as it was shown, and each plane returns to exactly what it had before."""
    before, release_id = production.planes(), production.open_release()
    shown_plan = production.shown_changes(release_id, PlanKind.DEPLOY)
    assert list(shown_plan) == [f"deploy.{name}" for name in ("tag", "migrations", "backend", "frontend", "jobs")]
    assert production.planes() == before
    assert production.vendors.posts() == []
    assert production.deploy(release_id) is ReleaseState.WATCHING
    assert production.journal_changes(release_id, PlanKind.DEPLOY) == shown_plan
    view = production.world.view(release_id)
    assert {step.id: step.planned_changes for step in view.steps if step.planned_changes} == shown_plan
    assert production.shown_changes(release_id, PlanKind.DEPLOY) == {}  # all of it stands there now
    new_planes = production.planes()
    container = new_planes["template"]["spec"]["containers"][0]
    assert (container["image"], new_planes["schedule"]) == (NEW, NEW_BACKUP_SCHEDULE)
    assert {"name": "VERSION", "value": "4.8.0"} in container["env"]
    live = production.vendors.vercel.live()
    assert live is not None
    assert live["meta"]["githubCommitSha"] == COMMIT
    assert production.vendors.github.tag("v4.8.0") == (COMMIT, True)
    back = production.shown_changes(release_id, PlanKind.ROLLBACK)
    production.world.act(judge_rollback, MANAGER, release_id, "errors")
    assert production.go_on(release_id) is ReleaseState.ROLLED_BACK
    assert production.planes() == before
    assert production.journal_changes(release_id, PlanKind.ROLLBACK) == back
    with production.world.store.transaction() as tx:
        assert set(steps.rollback_targets(tx, release_id)) == set(Plane)
    production.world.events()


@pytest.mark.parametrize("fault", ["vercel_down", "commit_checks_fail"])
def test_a_deploy_that_cannot_begin_changes_nothing(production: Production, fault: str) -> None:
    """Not even earlier steps run, and the same deploy continues once the problem is solved."""
    before, release_id = production.planes(), production.open_release()
    production.vendors.faults.set(fault, True)
    assert production.deploy(release_id) is ReleaseState.DEPLOY_FAILED
    production.vendors.faults.set(fault, False)
    assert production.planes() == before
    assert production.vendors.posts() == []
    assert production.journal_changes(release_id, PlanKind.DEPLOY) == {}
    summary = production.summary(release_id)
    assert ("deploy frontend: Vercel answered 503" in summary) or ("not green" in summary)
    production.world.act(step_clicks.retry, QA, production.failed_row(release_id))
    assert production.go_on(release_id) is ReleaseState.WATCHING


def test_a_step_does_not_change_what_somebody_else_changed(production: Production) -> None:
    """A retry plans the step again together with its rollback."""
    release_id = production.open_release()
    view = production.world.view(release_id)
    production.world.deploy(QA, release_id)
    job = production.world.claim("advance")
    assert job is not None
    with production.world.store.transaction() as tx:
        ship = release_reference(tx, view.release)
    current = next(step for step in production.world.view(release_id).steps if step.id == "deploy.tag")
    plan_ahead(production.world.deps, job, production.world.view(release_id), ship, current)
    set_image(production.kube, "app:hotfix")
    production.world.carry_out(job)
    assert production.world.view(release_id).release.state is ReleaseState.DEPLOY_FAILED
    assert "has changed since the plan was made. It is app:hotfix now" in production.summary(release_id)
    assert read(production.kube).spec.template.spec.containers[0].image == "app:hotfix"
    production.world.act(step_clicks.retry, QA, production.failed_row(release_id))
    assert production.go_on(release_id) is ReleaseState.WATCHING
    production.world.act(judge_rollback, MANAGER, release_id, "")
    assert production.go_on(release_id) is ReleaseState.ROLLED_BACK
    assert (
        read(production.kube).spec.template.spec.containers[0].image == "app:hotfix"
    )  # what stood there before our patch
