"""A production of its own for each run: all planes, the databases, and a release that is about to be deployed or rolled back."""

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
from tests.fix_bot import MANAGER, QA, SOURCE, Outside, World, checklist, database, url_of
from tests.fix_demo import until
from tests.fix_kube import Kube, new_namespace
from tests.fix_vendors import Vendors
from tests.integration.test_steps_jobs import _cron, job
from tests.killing.links import DatabaseLink, HttpLink, Namer, forward_to
from tests.killing.points import Fault, Point, Trace
from tests.killing.worker import Addresses, ProcessServer, Worker
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
    """What a person has ordered."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    SET = "set"  # a variable for a while
    LIFT = "lift"  # and put back


def prepare_deploy(postgres_url: str, name: str) -> None:
    """Bring an empty, migrated database to a release whose deploy has just been ordered and has not begun."""
    store = Store(url_of(postgres_url, name))
    store.open()
    store.join()
    world = World(store, Outside())
    world.change(checklist=checklist(deploy=DEPLOY, rollback=ROLLBACK))
    assert world.start("v4.8.0", source=replace(SOURCE, commit=COMMIT, is_tagged=False)) == RELEASE
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
    process_server: ProcessServer

    def rows(self, query: str) -> list[DictRow]:
        """The rows of a query in the bot's database."""
        with psycopg.connect(self.bot_url, row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()

    @contextlib.contextmanager
    def links(self, trace: Trace) -> Iterator[Addresses]:
        """The addresses at which a process reaches everything, each through a link that reports to ``trace``."""
        api = self.kube.api
        account = {entry["key"]: entry["value"] for entry in api.configuration.auth_settings().values()}
        pool = urllib3.PoolManager()
        with contextlib.ExitStack() as stack:
            cluster = HttpLink(
                trace,
                self._name_in_cluster,
                forward_to(api.rest_client.pool_manager, api.configuration.host, **account),
            )
            github = HttpLink(trace, _name_by_path("GitHub"), forward_to(pool, self.vendors.github_url.rstrip("/")))
            vercel = HttpLink(trace, _name_by_path("Vercel"), forward_to(pool, self.vendors.vercel_url.rstrip("/")))
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
                outcome_file=str(kubeconfig.with_suffix(".ended")),
            )

    def _name_in_cluster(self, method: str, path: str) -> str:
        is_read = method == "GET" or path.startswith("/apis/authorization.k8s.io/")
        place = POD.sub("pods/…", path.partition("?")[0].rpartition(f"{self.kube.namespace}/")[2])
        return f"Kubernetes {'reads' if is_read else method} {place}"

    def is_over(self) -> bool:
        """Whether what was ordered has come to its end and no process has a claim on it."""
        (row,) = self.rows(
            "SELECT state, EXISTS (SELECT FROM work WHERE queue IN ('advance', 'mitigation')"
            " AND (owner IS NOT NULL OR due_at <= now()))"
            " OR EXISTS (SELECT FROM mitigations WHERE state IN ('setting', 'lifting') AND trouble = '') AS open"
            " FROM releases"
        )
        return row["state"] in OVER and not row["open"]

    def has_no_process(self) -> bool:
        """Whether the database has noticed the end of every process."""
        return not self.rows(
            f"SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = {INSTANCE_LOCK}"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    def carry_out(self, *kill_points: Point) -> Trace:
        """Let a process carry out what was ordered; it is killed at each of these points, and each time another process
        is started.
        """
        workers: list[Worker] = []

        def kill(_point: Point) -> Fault:
            until(lambda: workers, "the number of the process")
            workers[-1].kill()
            return Fault.LOST

        with contextlib.ExitStack() as stack:
            trace = Trace(kill_points, kill)
            addresses = stack.enter_context(self.links(trace))
            while not self.is_over():
                if not workers or not workers[-1].is_alive(0.02):
                    until(self.has_no_process, "the end of a process to be noticed")
                    workers.append(self.process_server.start(addresses))
                    stack.callback(workers[-1].end)
            return trace

    def carry_out_despite(self, faults: Mapping[Point, Fault]) -> Trace:
        """Let one process carry out what was ordered, while it receives bad answers at these points."""
        with contextlib.ExitStack() as stack:
            trace = Trace(faults, faults.__getitem__, with_reads=True)
            worker = self.process_server.start(stack.enter_context(self.links(trace)))
            stack.callback(worker.end)
            until(lambda: self.is_over() or not worker.is_alive(), "what was asked for to come to its end", PATIENCE)
            assert worker.is_alive()
            return trace

    def overtake(self, stop_point: Point, seconds_stopped: float) -> tuple[str, list[Point]]:
        """Stop a process at a point, let another one finish, and continue the first after ``seconds_stopped`` or more.

        Returns how the work of the first process ended, and the points that it passed afterwards.
        """
        stop_times: list[float] = []
        first: list[Worker] = []

        def stop(_point: Point) -> None:
            until(lambda: first, "the number of the process")
            first[0].stop()
            stop_times.append(time.monotonic())

        with contextlib.ExitStack() as stack:
            trace = Trace({stop_point}, stop)
            slow = stack.enter_context(self.links(trace))
            fast = stack.enter_context(self.links(Trace()))
            first.append(self.process_server.start(slow))
            stack.callback(first[0].end)
            until(lambda: stop_times, f"the process to stop {stop_point}")
            with psycopg.connect(self.bot_url) as connection:
                connection.execute("UPDATE work SET lease_until = now() WHERE owner IS NOT NULL")
            stack.callback(self.process_server.start(fast).end)
            until(self.is_over, "the other one to finish")
            until(lambda: time.monotonic() - stop_times[0] > seconds_stopped, "the time to pass")
            count = len(trace.points)
            first[0].send(signal.SIGCONT)
            outcome_file = Path(slow.outcome_file)
            until(outcome_file.exists, "its work to end there")
            return outcome_file.read_text(encoding="utf-8"), trace.points[count:]

    def begin(self, phase: Phase) -> None:
        """Order what the phase is about; the deploy has been ordered already."""
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
        """Press Retry at each step that has failed; returns what people are told of the failures, or an empty text if
        there are none.
        """
        store = Store(self.bot_url)
        store.open()
        world = World(store, Outside())
        view = world.view(RELEASE)
        failed_steps = [step for step in view.steps if step.state is StepState.FAILED]
        for step in failed_steps:
            world.act(step_clicks.retry, MANAGER, step.row)
        store.close()
        return " ".join(
            [step.summary for step in failed_steps] + [entry.trouble for entry in view.mitigations if entry.is_stuck]
        )

    def bring_to(self, phase: Phase) -> Self:
        """Carry out all phases before this one, and order this one."""
        for earlier, later in pairwise(Phase):
            if earlier is phase:
                break
            self.carry_out()
            self.begin(later)
        return self

    def outcome(self) -> dict[str, Any]:
        """Everything in the systems and tables afterwards that must be the same after every run."""
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
            "closed": view.release.is_closed,
            "steps": [
                (step.id, step.state, step.attempt, step.planned_changes and len(step.planned_changes))
                for step in view.steps
            ],
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
        kube, posts = self.kube, Counter(self.vendors.posts())
        live = self.vendors.vercel.live()
        assert live is not None
        jobs = kube.batch.list_namespaced_job(kube.namespace).items
        with psycopg.connect(self.product_url) as connection:
            migrations = connection.execute("SELECT version, checksum FROM schema_migrations ORDER BY 1").fetchall()
        return {
            "revisions": revisions(kube),
            "template": kube.api.sanitize_for_serialization(read(kube).spec.template),
            "schedule": kube.batch.read_namespaced_cron_job("solvereign-backup", kube.namespace).spec.schedule,
            "jobs": [(entry.metadata.name, entry.status.succeeded, entry.status.failed) for entry in jobs],
            "pods of jobs": len(kube.core.list_namespaced_pod(kube.namespace, label_selector="job-name").items),
            "tag": self.vendors.github.tag("v4.8.0"),
            "live": live["id"],
            "builds": posts["/v13/deployments"],
            "moves": {path: number for path, number in posts.items() if "/rollback/" in path or "/promote/" in path},
            "migrations": migrations,
        }


def _name_by_path(vendor: str) -> Namer:
    """A namer that uses the method and the last two parts of the path."""
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
def production(
    kube: Kube, postgres_url: str, template: str, folder: Path, process_server: ProcessServer
) -> Iterator[Production]:
    """A production as the previous release has left it, in a fresh namespace; ``template`` is a database after
    `prepare_deploy`.
    """
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
            yield Production(kube, vendors, url_of(postgres_url, bot), product_url, folder, process_server)
        finally:
            vendors.close()
            kube.core.delete_namespace(kube.namespace)


Make = Callable[[Kube], AbstractContextManager[Production]]  # on that cluster


@dataclass(frozen=True)
class ReferenceRun:
    """A run in which no process was killed and every answer was good."""

    points: list[Point]
    outcome: dict[str, Any]
