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
from bot.steps.sources import Resolved
from bot.store import steps
from clients.cluster import Kubernetes
from sandbox.staging.github import MIGRATIONS_PATH
from sandbox.staging.versions import BACKUP_MANIFEST, BACKUP_SCHEDULE, BRANCH, NEW_BACKUP_SCHEDULE, commit_sha
from tests.fix_bot import MANAGER, QA, World, checklist
from tests.fix_kube import Kube
from tests.fix_vendors import Vendors
from tests.integration.test_steps_jobs import _cron
from tests.sandbox.kube_objects import deployed, read, set_image

COMMIT = commit_sha(BRANCH)
RESOLVED = Resolved(COMMIT, "ghcr.io/solvereign/api", "sha256:" + "ab" * 32, tagged=False)
NEW = f"{RESOLVED.image}@{RESOLVED.digest}"
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

    def stands(self) -> dict[str, Any]:
        """What stands on each plane."""
        live = self.vendors.vercel.live()
        assert live is not None
        cron = self.kube.batch.read_namespaced_cron_job("solvereign-backup", self.kube.namespace)
        template = self.kube.api.sanitize_for_serialization(read(self.kube).spec.template)
        return {"template": template, "frontend": live["id"], "schedule": cron.spec.schedule}

    def ready(self) -> ReleaseId:
        """A release that may be deployed."""
        release_id = self.world.start("v4.8.0", resolved=RESOLVED)
        self.world.run("check")
        self.world.approve(release_id)
        return release_id

    def deploy(self, release_id: ReleaseId) -> ReleaseState:
        """Deploy it as far as it goes."""
        self.world.deploy(QA, release_id)
        return self.go_on(release_id)

    def go_on(self, release_id: ReleaseId) -> ReleaseState:
        """Carry out what is asked for."""
        self.world.run("advance")
        return self.world.view(release_id).release.state

    def shown(self, release_id: ReleaseId, kind: PlanKind) -> dict[str, tuple[Mutation, ...]]:
        """What `/release plan` shows, by step."""
        found = plan_of_release(self.world.deps, self.world.view(release_id).release)
        assert [step.trouble for step in found if step.trouble] == []
        return {step.spec.id: step.changes for step in found if step.plan is kind and step.changes}

    def done(self, release_id: ReleaseId, kind: PlanKind) -> dict[str, tuple[Mutation, ...]]:
        """What the journal says that was about to be changed, by step, each once."""
        found: dict[str, tuple[Mutation, ...]] = {}
        for step in self.world.view(release_id).steps:
            with self.world.store.transaction() as tx:
                lines = [line["body"]["changes"] for line in steps.journal(tx, step.row) if line["entry"] == "intent"]
            changes = dict.fromkeys(Mutation.of(change) for line in lines for change in line)
            if step.plan is kind and changes:
                found[step.id] = tuple(changes)
        return found

    def summary(self, release_id: ReleaseId) -> str:
        """What the step that failed says."""
        return next(step.summary for step in self.world.view(release_id).steps if step.state is StepState.FAILED)

    def failed(self, release_id: ReleaseId) -> int:
        """The row of the step that failed."""
        return next(step.row for step in self.world.view(release_id).steps if step.state is StepState.FAILED)


@pytest.fixture
def production(world: World, kube: Kube, vendors: Vendors, database_url: str) -> Production:
    """Production as the release before has left it."""
    deployed(kube, "app:1")
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


def test_what_was_shown_is_what_is_done_and_back(production: Production) -> None:
    """Forward: every change in the same words, before and as it happens. Back: each plane to the very thing of before."""
    before, release_id = production.stands(), production.ready()
    shown = production.shown(release_id, PlanKind.DEPLOY)
    assert list(shown) == [f"deploy.{name}" for name in ("tag", "migrations", "backend", "frontend", "jobs")]
    assert production.stands() == before
    assert production.vendors.posts() == []
    assert production.deploy(release_id) is ReleaseState.WATCHING
    assert production.done(release_id, PlanKind.DEPLOY) == shown
    view = production.world.view(release_id)
    assert {step.id: step.planned for step in view.steps if step.planned} == shown
    assert production.shown(release_id, PlanKind.DEPLOY) == {}  # all of it stands there now
    stands = production.stands()
    container = stands["template"]["spec"]["containers"][0]
    assert (container["image"], stands["schedule"]) == (NEW, NEW_BACKUP_SCHEDULE)
    assert {"name": "VERSION", "value": "4.8.0"} in container["env"]
    live = production.vendors.vercel.live()
    assert live is not None
    assert live["meta"]["githubCommitSha"] == COMMIT
    assert production.vendors.github.tag("v4.8.0") == (COMMIT, True)
    back = production.shown(release_id, PlanKind.ROLLBACK)
    production.world.act(judge_rollback, MANAGER, release_id, "errors")
    assert production.go_on(release_id) is ReleaseState.ROLLED_BACK
    assert production.stands() == before
    assert production.done(release_id, PlanKind.ROLLBACK) == back
    with production.world.store.transaction() as tx:
        assert set(steps.rollback_targets(tx, release_id)) == set(Plane)
    production.world.events()


@pytest.mark.parametrize("fault", ["vercel_down", "commit_checks_fail"])
def test_what_cannot_be_seen_or_is_not_fit_changes_nothing(production: Production, fault: str) -> None:
    """Not even the steps before it; once it is well again, the same deploy goes on."""
    before, release_id = production.stands(), production.ready()
    production.vendors.faults.set(fault, True)
    assert production.deploy(release_id) is ReleaseState.DEPLOY_FAILED
    production.vendors.faults.set(fault, False)
    assert production.stands() == before
    assert production.vendors.posts() == []
    assert production.done(release_id, PlanKind.DEPLOY) == {}
    said = production.summary(release_id)
    assert ("deploy frontend: Vercel answered 503" in said) or ("not green" in said)
    production.world.act(step_clicks.retry, QA, production.failed(release_id))
    assert production.go_on(release_id) is ReleaseState.WATCHING


def test_changed_by_somebody_after_it_was_planned(production: Production) -> None:
    """The step does not change what was not shown; a retry plans it anew, and the way back with it: nothing was ours yet."""
    release_id = production.ready()
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
    assert "has changed since the plan was made: it is app:hotfix now" in production.summary(release_id)
    assert read(production.kube).spec.template.spec.containers[0].image == "app:hotfix"
    production.world.act(step_clicks.retry, QA, production.failed(release_id))
    assert production.go_on(release_id) is ReleaseState.WATCHING
    production.world.act(judge_rollback, MANAGER, release_id, "")
    assert production.go_on(release_id) is ReleaseState.ROLLED_BACK
    assert (
        read(production.kube).spec.template.spec.containers[0].image == "app:hotfix"
    )  # what stood there before our patch
