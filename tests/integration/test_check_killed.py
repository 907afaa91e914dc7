"""P7 by kill -9: in the middle of each mutating check the process dies, and the next one puts staging back and goes on."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from bot.domain.checklist import Section
from checks.contract import Outcome
from checks.kinds.restore_drill.boot_pod import NAME
from checks.registry import BUILT_IN, Registry
from clients.connections import Clients
from tests.fix_bot import World, checklist
from tests.fix_checks import staging_target
from tests.fix_demo import until
from tests.fix_proxy import Proxy
from tests.fix_sandbox import ROOT, Sandbox
from tests.unit.factories import make_check

WITHIN = timedelta(seconds=10)  # of the restart
CHECKS = (
    make_check("go.billing", kind="billing_gate"),
    make_check("go.webhook", kind="stripe_webhook", target="twin", params={"deliveries": 3}),
    make_check("go.backup", kind="backup_job"),
    make_check("go.restore", kind="restore_drill", needs=("go.backup",), params={"boot": {}}),
)


class Process:
    """A process that runs checks."""

    def __init__(self, spec: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "tests.integration.check_process"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(spec) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._process.kill()
        self.end()

    def end(self) -> None:
        """Let the process end, and wait for it."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self._process.wait(20)


class Staging:
    """What the checks change in the sandbox's staging."""

    def __init__(self, sandbox: Sandbox, connection: psycopg.Connection) -> None:
        self._sandbox, self._connection = sandbox, connection

    def _value(self, query: str, *values: object) -> Any:
        row = self._connection.execute(query.encode(), values).fetchone()
        return None if row is None else row[0]

    @contextlib.contextmanager
    def held_table(self) -> Iterator[None]:
        """Hold up backups that begin now until the block ends."""
        with self._connection.transaction():
            self._connection.execute("LOCK TABLE public.held IN ACCESS EXCLUSIVE MODE")
            yield

    def tenant(self) -> str:
        return str(
            self._value("SELECT billing_status FROM tenants WHERE id = %s", self._sandbox["staging"]["tenant_id"])
        )

    def events(self, event: str) -> int:
        return int(self._value("SELECT count(*) FROM billing.webhook_events WHERE stripe_event_id = %s", event))

    def scratch(self) -> int:
        return int(self._value("SELECT count(*) FROM pg_database WHERE datname LIKE 'restore_drill_%%'"))

    def job_is_there(self, debt: dict[str, Any]) -> bool:
        with Clients(staging_target(self._sandbox)) as clients:
            kube = clients.kube()
            jobs = kube.batch.list_namespaced_job(debt["namespace"], _request_timeout=kube.timeout).items
        return debt["job"] in {job.metadata.name for job in jobs}

    def booting(self) -> bool:
        """Whether the pod of a restore drill exists."""
        target = staging_target(self._sandbox)
        assert target.kubernetes is not None
        with Clients(target) as clients:
            kube = clients.kube()
            pods = kube.core.list_namespaced_pod(target.kubernetes.namespace, _request_timeout=kube.timeout).items
        return NAME in {pod.metadata.name for pod in pods}


@pytest.fixture
def staging(sandbox: Sandbox, postgres_url: str) -> Iterator[Staging]:
    """Staging with a table whose lock holds up a backup, and a view that makes a restore last half a second."""
    database = urlsplit(sandbox["staging"]["database_url"]).path
    url = urlsplit(postgres_url)._replace(path=database).geturl()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.held ()")
        connection.execute("GRANT SELECT ON public.held TO PUBLIC")
        connection.execute("CREATE MATERIALIZED VIEW public.slow AS SELECT pg_sleep(0.5)::text AS slept")
        connection.execute("GRANT SELECT ON public.slow TO PUBLIC")
        yield Staging(sandbox, connection)
        connection.execute("DROP MATERIALIZED VIEW public.slow")
        connection.execute("DROP TABLE public.held")


class Story:
    """A release whose checks are killed midway, and the processes that run them."""

    def __init__(self, world: World, sandbox: Sandbox, staging: Staging) -> None:
        self.world, self.staging = world, staging
        sections = (Section(id="go", title="Go", gate=True, checks=CHECKS),)
        world.change(registry=Registry.load(), checklist=checklist(sections=sections))
        self.api = sandbox["staging"]["api_url"]
        self._spec = {"database_url": world.store.url, "facts": sandbox.facts}
        self.release_id = world.start()
        self._started: list[Process] = []

    def close(self) -> None:
        """End the processes that still run."""
        for process in self._started:
            process.end()

    def process(self, **api_urls: str) -> Process:
        """Start a process whose targets have their API at these addresses, by default the sandbox's own."""
        self._started.append(Process({**self._spec, "api_urls": {"staging": self.api, "twin": self.api, **api_urls}}))
        return self._started[-1]

    def wait_for_undo(self, check: str) -> dict[str, Any]:
        """The payload of the newest undo record of a check, once there is one."""
        query = "SELECT payload FROM undos WHERE check_id = %s ORDER BY id DESC LIMIT 1"
        payload: dict[str, Any] = until(lambda: self.world.rows(query, check), f"a debt of {check}")[0]["payload"]
        return payload

    def open_debts(self) -> set[int]:
        """The ids of the undo records that are not settled."""
        return {row["id"] for row in self.world.rows("SELECT id FROM undos WHERE settled_at IS NULL")}

    def assert_settled_soon(self, debts: set[int], since: datetime) -> None:
        """Assert that these undo records are settled within the promised time."""
        query = "SELECT max(settled_at) AS last FROM undos WHERE id = ANY(%s) HAVING bool_and(settled_at IS NOT NULL)"
        rows = until(lambda: self.world.rows(query, list(debts)), "the debts of the dead to be paid", 30)
        assert rows[0]["last"] - since < WITHIN

    def now(self) -> datetime:
        """The time of the database."""
        moment: datetime = self.world.rows("SELECT clock_timestamp() AS now")[0]["now"]
        return moment


def kill_while_three_checks_change_staging(story: Story) -> tuple[set[int], str, dict[str, Any]]:
    """Kill the process while the tenant is past_due, the event has rows and the Job runs; returns undo records, event
    and job.
    """
    staging, port = story.staging, int(story.api.rstrip("/").rpartition(":")[2])
    with Proxy(port) as billing, Proxy(port) as webhook:
        for link in (billing, webhook):
            link.hold()
        first = story.process(staging=f"http://127.0.0.1:{billing.port}", twin=f"http://127.0.0.1:{webhook.port}")

        def is_waiting(link: Proxy, *, is_changed: bool) -> bool:
            """Let requests through one by one until staging is changed and the next one waits."""
            if link.holds_request.is_set() and not is_changed:
                link.let_one_pass()
            return is_changed and link.holds_request.is_set()

        until(lambda: is_waiting(billing, is_changed=staging.tenant() == "past_due"), "the tenant to be past_due")
        event = story.wait_for_undo("go.webhook")["event"]
        until(lambda: is_waiting(webhook, is_changed=staging.events(event) > 0), "the rows of the event")
        job = story.wait_for_undo("go.backup")
        until(lambda: staging.job_is_there(job), "the job")
        first.kill()
        assert (staging.tenant(), staging.events(event), staging.job_is_there(job)) == ("past_due", 1, True)
        billing.drop()
        webhook.drop()
    return story.open_debts(), event, job


@pytest.fixture
def story(world: World, sandbox: Sandbox, staging: Staging) -> Iterator[Story]:
    """A release whose checks are waiting to run."""
    new_story = Story(world, sandbox, staging)
    yield new_story
    new_story.close()


@pytest.mark.slow
def test_staging_is_restored_within_ten_seconds_of_a_restart(story: Story) -> None:
    """After each of three kills during four checks, the next process restores staging and runs the checks again."""
    staging, before = story.staging, story.staging.tenant()
    with staging.held_table():
        open_undos, event, job = kill_while_three_checks_change_staging(story)
        assert len(open_undos) == 3
        second = story.process()
        story.assert_settled_soon(open_undos, story.now())
        assert (staging.events(event), staging.job_is_there(job)) == (0, False)

    until(lambda: staging.scratch() > 0, "the scratch database")
    second.kill()
    assert staging.scratch() == 1
    open_undos = story.open_debts()
    third = story.process()
    story.assert_settled_soon(open_undos, story.now())

    until(staging.booting, "the product that is started")
    third.kill()
    assert staging.booting()
    open_undos = story.open_debts()
    assert len(open_undos) == 2
    story.process()
    story.assert_settled_soon(open_undos, story.now())

    def outcomes() -> set[Outcome | None]:
        return {story.world.outcome(story.release_id, check.id) for check in CHECKS}

    until(lambda: None not in outcomes(), "the answers of all checks")
    assert outcomes() == {Outcome.PASS}
    assert story.open_debts() == set()
    assert (staging.tenant(), staging.scratch(), staging.booting()) == (before, 0, False)


def test_each_mutating_kind_that_changes_staging_is_covered() -> None:
    """Every mutating kind is killed here, except sentry_receives, whose test event cannot be undone."""
    registry = Registry.load()
    mutating = {name for name in BUILT_IN if registry.get(name).mutates}
    assert mutating - {check.kind for check in CHECKS} == {"sentry_receives"}
