"""A production of its own for each run: all planes, the databases, and a release that is about to be deployed or taken back."""

import contextlib
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import psycopg
import urllib3
import yaml
from psycopg.rows import DictRow, dict_row

from bot.domain.audit import find_break
from bot.domain.ids import ReleaseId
from bot.domain.plan import PlanKind, StepState
from bot.flows import mitigation
from bot.flows.deploying import step_clicks
from bot.flows.deploying.rollback import judge_rollback
from bot.store import audit, releases
from bot.store.pool import INSTANCE_LOCK, Store
from sandbox.staging.github import MIGRATIONS_PATH
from sandbox.staging.versions import BACKUP_MANIFEST, BACKUP_SCHEDULE, BRANCH, commit_sha
from tests.fix_bot import MANAGER, QA, RESOLVED, Outside, World, checklist, database, url_of
from tests.fix_demo import until
from tests.fix_kube import Kube, new_namespace
from tests.fix_vendors import Vendors
from tests.integration.test_steps_jobs import _cron, job
from tests.killing.links import DatabaseLink, HttpLink, Namer, forward_to
from tests.killing.points import Fault, Point, Trace
from tests.killing.worker import Addresses, Nursery, Worker
from tests.sandbox.kube_objects import deploy as deploy_web
from tests.sandbox.kube_objects import is_rolled_out, read, revisions

COMMIT = commit_sha(BRANCH)
OLD_IMAGE = "app:1"
OVER = {"WATCHING", "ROLLED_BACK", "DEPLOY_FAILED", "ROLLBACK_FAILED"}
POD = re.compile(r"\bpods/[^/]+")  # which the cluster names
PATIENCE = 120.0  # seconds: a client waits ten of them for an answer
RELEASE = ReleaseId(1)
PRODUCT = """
CREATE SCHEMA billing;
CREATE TABLE billing.invoices (id integer);
CREATE TABLE schema_migrations (version varchar(50) PRIMARY KEY, description text,
    applied_at timestamptz NOT NULL DEFAULT now(), checksum varchar(64), file_name varchar(100));
"""


def _plan(kind: PlanKind, **actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"id": f"{kind}.{name}", "title": name, "action": {"do": name, **action}} for name, action in actions.items()
    )


DEPLOY = (
    *_plan(PlanKind.DEPLOY, tag={}, migrate={"files": MIGRATIONS_PATH, "timeout": 20}),
    {
        "id": "deploy.job",
        "title": "job",
        "action": {**job("print('applied')").model_dump(exclude_none=True), "files": MIGRATIONS_PATH},
    },
    *_plan(
        PlanKind.DEPLOY,
        set_image={"version_env": "VERSION"},
        vercel_deploy={"wait_for_auto": 0},
        cronjob={"name": "solvereign-backup", "manifest": BACKUP_MANIFEST},
        check={"kind": "ask"},
    ),
)
ROLLBACK = _plan(
    PlanKind.ROLLBACK,
    restore_backend={},
    restore_frontend={},
    restore_cronjob={},
    set_variable={"name": "SOLVEREIGN_BILLING_ENFORCEMENT", "value": "off"},
)


class Phase(StrEnum):
    """What a person has had done."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    SET = "set"  # a variable for a while
    LIFT = "lift"  # and put back


def go(postgres_url: str, name: str) -> None:
    """Make a release in an empty, migrated database that has just been allowed to be deployed: nothing of it is done yet."""
    store = Store(url_of(postgres_url, name))
    store.open()
    store.join()
    world = World(store, Outside())
    world.change(checklist=checklist(deploy=DEPLOY, rollback=ROLLBACK))
    assert world.start("v4.8.0", resolved=replace(RESOLVED, commit=COMMIT, tagged=False)) == RELEASE
    world.run("check")
    world.approve(RELEASE)
    world.deploy(QA, RELEASE)
    store.close()


@dataclass
class Production:
    """All planes of production, the bot's database and the product's."""

    kube: Kube
    vendors: Vendors
    bot_url: str
    product_url: str
    folder: Path
    nursery: Nursery

    def rows(self, query: str) -> list[DictRow]:
        """What a query finds in the bot's database."""
        with psycopg.connect(self.bot_url, row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()

    @contextlib.contextmanager
    def links(self, trace: Trace) -> Iterator[Addresses]:
        """Addresses at which a process reaches all of it, in sight of ``trace``."""
        api = self.kube.api
        account = {entry["key"]: entry["value"] for entry in api.configuration.auth_settings().values()}
        pool = urllib3.PoolManager()
        with contextlib.ExitStack() as stack:
            cluster = HttpLink(
                trace,
                self._named_in_cluster,
                forward_to(api.rest_client.pool_manager, api.configuration.host, **account),
            )
            github = HttpLink(trace, _named_by_path("GitHub"), forward_to(pool, self.vendors.github_url.rstrip("/")))
            vercel = HttpLink(trace, _named_by_path("Vercel"), forward_to(pool, self.vendors.vercel_url.rstrip("/")))
            bot, product = (
                DatabaseLink(trace, url, name) for url, name in ((self.bot_url, "bot"), (self.product_url, "product"))
            )
            for link in (cluster, github, vercel, bot, product):
                stack.callback(link.close)
            kubeconfig = self.folder / f"kubeconfig-{cluster.url.rpartition(':')[2]}"
            kubeconfig.write_text(_kubeconfig(cluster.url), encoding="utf-8")
            yield Addresses(
                database_url=bot.url,
                kubeconfig=str(kubeconfig),
                namespace=self.kube.namespace,
                product_url=product.url,
                github_url=github.url,
                vercel_url=vercel.url,
                ended=str(kubeconfig.with_suffix(".ended")),
            )

    def _named_in_cluster(self, method: str, path: str) -> str:
        reads = method == "GET" or path.startswith("/apis/authorization.k8s.io/")
        place = POD.sub("pods/…", path.partition("?")[0].rpartition(f"{self.kube.namespace}/")[2])
        return f"Kubernetes {'reads' if reads else method} {place}"

    def over(self) -> bool:
        """Whether what was asked for has come to its end and nobody has it in hand."""
        (found,) = self.rows(
            "SELECT state, EXISTS (SELECT FROM work WHERE queue IN ('advance', 'mitigation')"
            " AND (owner IS NOT NULL OR due_at <= now()))"
            " OR EXISTS (SELECT FROM mitigations WHERE state IN ('setting', 'lifting') AND trouble = '') AS open"
            " FROM releases"
        )
        return found["state"] in OVER and not found["open"]

    def nobody_lives(self) -> bool:
        """Whether the database has noticed the end of every process."""
        return not self.rows(
            f"SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = {INSTANCE_LOCK}"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    def carry_out(self, *killed_at: Point) -> Trace:
        """Let a process carry out what is to be done; it is killed at these points, and another one started each time."""
        workers: list[Worker] = []

        def kill(_point: Point) -> Fault:
            until(lambda: workers, "the number of the process")
            workers[-1].kill()
            return Fault.LOST

        with contextlib.ExitStack() as stack:
            trace = Trace(killed_at, kill)
            addresses = stack.enter_context(self.links(trace))
            while not self.over():
                if not workers or not workers[-1].lives(0.02):
                    until(self.nobody_lives, "the end of a process to be noticed")
                    workers.append(self.nursery.start(addresses))
                    stack.callback(workers[-1].end)
            return trace

    def carry_out_despite(self, faults: Mapping[Point, Fault]) -> Trace:
        """Let one process carry out what is to be done, while it gets bad answers at these points."""
        with contextlib.ExitStack() as stack:
            trace = Trace(faults, faults.__getitem__, reads=True)
            worker = self.nursery.start(stack.enter_context(self.links(trace)))
            stack.callback(worker.end)
            until(lambda: self.over() or not worker.lives(), "what was asked for to come to its end", PATIENCE)
            assert worker.lives()
            return trace

    def overtaken(self, stopped_at: Point, asleep: float) -> tuple[str, list[Point]]:
        """Let a process stand still at a point, another one finish, and the first wake after ``asleep`` seconds at least.

        Returns how its work ended there, and what it still asked for.
        """
        stopped_since: list[float] = []
        first: list[Worker] = []

        def stop(_point: Point) -> None:
            until(lambda: first, "the number of the process")
            first[0].stop()
            stopped_since.append(time.monotonic())

        with contextlib.ExitStack() as stack:
            trace = Trace({stopped_at}, stop)
            slow = stack.enter_context(self.links(trace))
            fast = stack.enter_context(self.links(Trace()))
            first.append(self.nursery.start(slow))
            stack.callback(first[0].end)
            until(lambda: stopped_since, f"the process to stop {stopped_at}")
            with psycopg.connect(self.bot_url) as connection:
                connection.execute("UPDATE work SET lease_until = now() WHERE owner IS NOT NULL")
            stack.callback(self.nursery.start(fast).end)
            until(self.over, "the other one to finish")
            until(lambda: time.monotonic() - stopped_since[0] > asleep, "the time to pass")
            asked = len(trace.passed)
            first[0].send(signal.SIGCONT)
            ended = Path(slow.ended)
            until(ended.exists, "its work to end there")
            return ended.read_text(encoding="utf-8"), trace.passed[asked:]

    def begin(self, phase: Phase) -> None:
        """Have somebody begin it; the deploy is begun already."""
        store = Store(self.bot_url)
        store.open()
        world = World(store, Outside())
        if phase is Phase.ROLLBACK:
            world.act(judge_rollback, MANAGER, RELEASE, "errors")
        elif phase is Phase.SET:
            row = next(step.row for step in world.view(RELEASE).steps if step.id == "rollback.set_variable")
            world.act(mitigation.apply, MANAGER, row, "tenants are locked out")
        elif phase is Phase.LIFT:
            world.act(mitigation.resolve, MANAGER, world.view(RELEASE).mitigations[0].id)
        store.close()

    def retry(self) -> str:
        """Have somebody press Retry at a step that has failed; returns what people are told of a failure, empty: there is none."""
        store = Store(self.bot_url)
        store.open()
        world = World(store, Outside())
        view = world.view(RELEASE)
        failed = [step for step in view.steps if step.state is StepState.FAILED]
        for step in failed:
            world.act(step_clicks.retry, MANAGER, step.row)
        store.close()
        return " ".join(
            [step.summary for step in failed] + [entry.trouble for entry in view.mitigations if entry.stuck]
        )

    def bring_to(self, phase: Phase) -> Self:
        """Carry out all that comes before it, and begin it."""
        for earlier, later in pairwise(Phase):
            if earlier is phase:
                break
            self.carry_out()
            self.begin(later)
        return self

    def outcome(self) -> dict[str, Any]:
        """All that stands in the world and in the tables afterwards, as far as it must be the same after every run."""
        return {**self._record(), **self._planes()}

    def _record(self) -> dict[str, Any]:
        store = Store(self.bot_url)
        store.open()
        with store.transaction() as tx:
            view = releases.view(tx, RELEASE, datetime.now(UTC))
            events = audit.events(tx)
        store.close()
        assert view is not None
        assert find_break(events) is None
        return {
            "release": view.release.state,
            "closed": view.release.closed,
            "steps": [(step.id, step.state, step.attempt, step.planned and len(step.planned)) for step in view.steps],
            "audit": [event.event for event in events],
            # the subject of a record ends with a hash, in which is the time
            "posts": Counter(
                (row["kind"], row["subject"].partition(":")[0]) for row in self.rows("SELECT kind, subject FROM posts")
            ),
            "files": self.rows("SELECT kind, subject FROM files ORDER BY 1, 2"),
            "planes": [row["plane"] for row in self.rows("SELECT plane FROM rollback_targets ORDER BY plane")],
            "watches": self.rows("SELECT state FROM watches"),
            "mitigations": [(entry.state, entry.what, entry.trouble) for entry in view.mitigations],
            "results": self.rows(
                "SELECT s.plan, s.step_id, count(*) AS n FROM journal j JOIN steps s ON s.id = j.step"
                " WHERE entry = 'result' GROUP BY 1, 2 ORDER BY 1, 2"
            ),
        }

    def _planes(self) -> dict[str, Any]:
        kube, asked = self.kube, Counter(self.vendors.posts())
        live = self.vendors.vercel.live()
        assert live is not None
        jobs = kube.batch.list_namespaced_job(kube.namespace).items
        with psycopg.connect(self.product_url) as connection:
            applied = connection.execute("SELECT version, checksum FROM schema_migrations ORDER BY 1").fetchall()
        return {
            "revisions": revisions(kube),
            "template": kube.api.sanitize_for_serialization(read(kube).spec.template),
            "schedule": kube.batch.read_namespaced_cron_job("solvereign-backup", kube.namespace).spec.schedule,
            "jobs": [(found.metadata.name, found.status.succeeded, found.status.failed) for found in jobs],
            "pods of jobs": len(kube.core.list_namespaced_pod(kube.namespace, label_selector="job-name").items),
            "tag": self.vendors.github.tag("v4.8.0"),
            "live": live["id"],
            "builds": asked["/v13/deployments"],
            "moves": {path: number for path, number in asked.items() if "/rollback/" in path or "/promote/" in path},
            "migrations": applied,
        }


def _named_by_path(vendor: str) -> Namer:
    """A call is called by its method and the end of its path."""
    return lambda method, path: (
        f"{vendor} {'reads' if method == 'GET' else method} {'/'.join(path.partition('?')[0].split('/')[-2:])}"
    )


def _kubeconfig(url: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "link", "cluster": {"server": url}}],
            "users": [{"name": "link", "user": {}}],
            "contexts": [{"name": "link", "context": {"cluster": "link", "user": "link"}}],
            "current-context": "link",
        }
    )


@contextlib.contextmanager
def production(kube: Kube, postgres_url: str, template: str, folder: Path, nursery: Nursery) -> Iterator[Production]:
    """Production as the release before has left it, in a fresh namespace; ``template``: a database after `go`."""
    folder.mkdir()
    kube = replace(kube, namespace=new_namespace(kube.api))
    deploy_web(kube, OLD_IMAGE)
    cron = _cron(BACKUP_SCHEDULE, "ghcr.io/solvereign/backup:latest")
    cron["metadata"]["name"] = "solvereign-backup"
    kube.batch.create_namespaced_cron_job(kube.namespace, cron)
    with database(postgres_url, template) as bot, database(postgres_url) as product:
        product_url = url_of(postgres_url, product)
        with psycopg.connect(product_url) as connection:
            connection.execute(PRODUCT)
        vendors = Vendors(folder)
        vendors.faults.set("vercel_no_auto_deploy", True)
        until(lambda: is_rolled_out(kube), "the first rollout")
        try:
            yield Production(kube, vendors, url_of(postgres_url, bot), product_url, folder, nursery)
        finally:
            vendors.close()
            kube.core.delete_namespace(kube.namespace)


Make = Callable[[Kube], AbstractContextManager[Production]]  # on that cluster


@dataclass(frozen=True)
class Recorded:
    """A run in which nobody died and every answer was good."""

    points: list[Point]
    outcome: dict[str, Any]
