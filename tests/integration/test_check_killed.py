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
    """A process that carries out checks."""

    def __init__(self, spec: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "tests.integration.check_process"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(spec) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()
        self.end()

    def end(self) -> None:
        """Let it end, and wait for that."""
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
        """A backup that begins now does not end before the block does."""
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
            found = kube.batch.list_namespaced_job(debt["namespace"], _request_timeout=kube.timeout).items
        return debt["job"] in {job.metadata.name for job in found}

    def booting(self) -> bool:
        """Is the pod of a restore drill there?"""
        target = staging_target(self._sandbox)
        assert target.kubernetes is not None
        with Clients(target) as clients:
            kube = clients.kube()
            found = kube.core.list_namespaced_pod(target.kubernetes.namespace, _request_timeout=kube.timeout).items
        return NAME in {pod.metadata.name for pod in found}


@pytest.fixture
def staging(sandbox: Sandbox, postgres_url: str) -> Iterator[Staging]:
    """Staging with a table that a backup waits for when it is locked, and a view that takes a restore half a second."""
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
    """A release whose checks are killed in the middle, and the processes that carry them out."""

    def __init__(self, world: World, sandbox: Sandbox, staging: Staging) -> None:
        self.world, self.staging = world, staging
        sections = (Section(id="go", title="Go", gate=True, checks=CHECKS),)
        world.change(registry=Registry.load(), checklist=checklist(sections=sections))
        self.api = sandbox["staging"]["api_url"]
        self._spec = {"database_url": world.store.url, "facts": sandbox.facts}
        self.release_id = world.start()
        self._started: list[Process] = []

    def close(self) -> None:
        """End what still runs."""
        for process in self._started:
            process.end()

    def process(self, **api_urls: str) -> Process:
        """A process to which the targets' API is at these addresses, by default the sandbox's own."""
        self._started.append(Process({**self._spec, "api_urls": {"staging": self.api, "twin": self.api, **api_urls}}))
        return self._started[-1]

    def owed(self, check: str) -> dict[str, Any]:
        """The payload of the newest debt of a check, once there is one."""
        query = "SELECT payload FROM undos WHERE check_id = %s ORDER BY id DESC LIMIT 1"
        payload: dict[str, Any] = until(lambda: self.world.rows(query, check), f"a debt of {check}")[0]["payload"]
        return payload

    def open_debts(self) -> set[int]:
        """What is not put back."""
        return {row["id"] for row in self.world.rows("SELECT id FROM undos WHERE settled_at IS NULL")}

    def paid_soon(self, debts: set[int], since: datetime) -> None:
        """All of these are paid within the promised time."""
        query = "SELECT max(settled_at) AS last FROM undos WHERE id = ANY(%s) HAVING bool_and(settled_at IS NOT NULL)"
        found = until(lambda: self.world.rows(query, list(debts)), "the debts of the dead to be paid", 30)
        assert found[0]["last"] - since < WITHIN

    def now(self) -> datetime:
        """The time of the database."""
        moment: datetime = self.world.rows("SELECT clock_timestamp() AS now")[0]["now"]
        return moment


def killed_while_three_are_changing_staging(story: Story) -> tuple[set[int], str, dict[str, Any]]:
    """Kill it while the tenant is past_due, the event's rows are there and the Job runs; its debts, event and job."""
    staging, port = story.staging, int(story.api.rstrip("/").rpartition(":")[2])
    with Proxy(port) as billing, Proxy(port) as webhook:
        for link in (billing, webhook):
            link.hold()
        first = story.process(staging=f"http://127.0.0.1:{billing.port}", twin=f"http://127.0.0.1:{webhook.port}")

        def stands_still(link: Proxy, *, changed: bool) -> bool:
            """Lets requests go on, one after the other, until staging is changed and the next one waits."""
            if link.held.is_set() and not changed:
                link.let_one_pass()
            return changed and link.held.is_set()

        until(lambda: stands_still(billing, changed=staging.tenant() == "past_due"), "the tenant to be past_due")
        event = story.owed("go.webhook")["event"]
        until(lambda: stands_still(webhook, changed=staging.events(event) > 0), "the rows of the event")
        job = story.owed("go.backup")
        until(lambda: staging.job_is_there(job), "the job")
        first.kill()
        assert (staging.tenant(), staging.events(event), staging.job_is_there(job)) == ("past_due", 1, True)
        billing.drop()
        webhook.drop()
    return story.open_debts(), event, job


@pytest.fixture
def story(world: World, sandbox: Sandbox, staging: Staging) -> Iterator[Story]:
    """A release whose checks wait to run."""
    told = Story(world, sandbox, staging)
    yield told
    told.close()


@pytest.mark.slow
def test_staging_is_as_before_within_ten_seconds_of_the_restart(story: Story) -> None:
    """Killed in the middle of four checks, by three kills: each time the next process puts back, then asks anew."""
    staging, before = story.staging, story.staging.tenant()
    with staging.held_table():
        left, event, job = killed_while_three_are_changing_staging(story)
        assert len(left) == 3
        second = story.process()
        story.paid_soon(left, story.now())
        assert (staging.events(event), staging.job_is_there(job)) == (0, False)

    until(lambda: staging.scratch() > 0, "the scratch database")
    second.kill()
    assert staging.scratch() == 1
    left = story.open_debts()
    third = story.process()
    story.paid_soon(left, story.now())

    until(staging.booting, "the product that is started")
    third.kill()
    assert staging.booting()
    left = story.open_debts()
    assert len(left) == 2
    story.process()
    story.paid_soon(left, story.now())

    def outcomes() -> set[Outcome | None]:
        return {story.world.outcome(story.release_id, check.id) for check in CHECKS}

    until(lambda: None not in outcomes(), "the answers of all checks")
    assert outcomes() == {Outcome.PASS}
    assert story.open_debts() == set()
    assert (staging.tenant(), staging.scratch(), staging.booting()) == (before, 0, False)


def test_each_mutating_kind_that_changes_staging_is_covered() -> None:
    """A new one must be killed here too. The test event of sentry_receives cannot be taken back: Sentry keeps one issue."""
    registry = Registry.load()
    mutating = {name for name in BUILT_IN if registry.get(name).mutates}
    assert mutating - {check.kind for check in CHECKS} == {"sentry_receives"}
