"""Fixtures: a migrated database for each test, and a World that drives the flows on it, with kinds of its own.

The kinds here are what a plugin author would write: they ask and change an `Outside` that belongs to the test.
"""

import hashlib
import runpy
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import DictRow

from bot.domain.actions import StepSpec
from bot.domain.actor import Actor
from bot.domain.audit import AuditEvent, find_break
from bot.domain.checklist import Checklist, Section
from bot.domain.deploy_findings import ChannelAccess, DeployFindings
from bot.domain.events import EVENTS
from bot.domain.ids import CheckId, ReleaseId, StepId, UserId, Version
from bot.domain.policy import Policy, Role
from bot.domain.signoff import Verdict
from bot.domain.view import ReleaseView
from bot.errors import Superseded
from bot.flows import expiry, mitigation, picture, release_run, report, sign, start, upkeep, watch
from bot.flows.deploying import advance
from bot.flows.deploying.judge import judge_break_glass, judge_deploy
from bot.flows.deps import Deps, Job
from bot.flows.source_resolution import resolve_source, store_resolution
from bot.steps.sources import ResolvedSource, Sources
from bot.store import audit, releases, work
from bot.store.migrate import migrate
from bot.store.pool import INSTANCE_LOCK, Store, Tx
from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from checks.registry import BUILT_IN, Registry
from clients.needs import LOG_IN, Changes, Need, Reads
from clients.settings import GitHubSettings, RegistrySettings
from clients.target import Target
from tests.fix_kube import eventually
from tests.unit.factories import PAT, QUINN, RITA, WATCH, make_check

MANAGER = Actor(RITA, frozenset({Role.RELEASE_MANAGER}))
QA = Actor(QUINN, frozenset({Role.QA}))
PRODUCT = Actor(PAT, frozenset({Role.PRODUCT}))
GUEST = Actor(UserId("U0GUEST001"))
SOURCE = ResolvedSource("c0ffee" * 6 + "c0ff", "ghcr.io/solvereign/api", "sha256:" + "ab" * 32, is_tagged=True)
P = ParamSpec("P")


class MovableClock:
    """The time, which moves only when a test moves it."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._steady = 0.0

    def now(self) -> datetime:
        return self._now

    def steady(self) -> float:
        return self._steady

    def on_another_machine(self) -> "MovableClock":
        """The clocks of a process on another machine: the same time, and steady seconds of its own."""
        other = MovableClock()
        other._now, other._steady = self._now, self._steady + 1e6
        return other

    def advance(self, **duration: float) -> None:
        """Let time pass, such as ``minutes=5``."""
        self._now += timedelta(**duration)
        self._steady += timedelta(**duration).total_seconds()

    def set(self, **by: float) -> None:
        """Set the clock forward or, with a negative duration, back; no time passes."""
        self._now += timedelta(**by)


@dataclass
class Outside:
    """The systems that the test's kinds query and change."""

    answers: dict[str, Outcome | Exception | str] = field(default_factory=dict)  # by check or step id; a str: summary
    runs: list[str] = field(default_factory=list)
    tenant: str = "active"
    billing_is_up: bool = True  # whether the tenant can be put back
    kills_process: bool = False  # the process is killed while the tenant is changed
    issues: list[str] = field(default_factory=list)
    series: dict[str, Any] | None = None  # of the error rate
    sentry: Outcome | Exception | None = None  # instead of what the issues say
    is_running: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    during: Callable[[str], None] = lambda name: None  # called in the middle of a run


def hang_at(outside: Outside, place: str) -> Callable[[str], None]:
    """A function for ``during`` that stops at its first ``place`` until ``go_on`` is set, whatever the deadline is."""
    pending = iter([place])

    def during(name: str) -> None:
        if name == place and next(pending, None):
            assert outside.go_on.wait(20)

    return during


class ProcessEnd(BaseException):
    """Stands for the end of the process: nothing catches it."""


def kinds(outside: Outside) -> Registry:
    """The bot's kinds, and those that use ``outside``: ask, log_in, look (at the tenant), slow, tenant (changes it,
    puts it back), quiet.

    ``quiet`` is for the watch.
    """
    asking_kinds = (_ask(outside), _ask(outside, "log_in", LOG_IN), _ask(outside, "look", Reads("tenant")))
    new_kinds = (*asking_kinds, _slow(outside), _tenant(outside), _quiet(outside))
    return Registry({**BUILT_IN, **{kind.name: kind for kind in new_kinds}})


def _evidence(ctx: CheckContext) -> Evidence:
    return Evidence(asked=ctx.check, expected="all is well", seen="see summary")


def _ask(outside: Outside, kind_name: str = "ask", *kind_needs: Need) -> type[Kind]:
    class Ask(Kind):
        name, summary, params = kind_name, "asks", Params

        def needs(self, params: Any) -> tuple[Need, ...]:
            return kind_needs

        def run(self, params: Any, ctx: CheckContext) -> Answer:
            outside.runs.append(ctx.check)
            outside.during(ctx.check)
            answer = outside.answers.get(ctx.check, Outcome.PASS)
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, Outcome):
                return Answer(answer, f"it is {answer}", _evidence(ctx), data={"key": ctx.check})
            return Answer(Outcome.FAIL, answer, _evidence(ctx), data={"text": answer})

    return Ask


def _slow(outside: Outside) -> type[Kind]:
    class Slow(Kind):
        name, summary, params = "slow", "waits", Params

        def run(self, params: Any, ctx: CheckContext) -> Answer:
            outside.runs.append(ctx.check)
            outside.is_running.set()
            while not outside.go_on.is_set():
                ctx.wait(0.02)
            return Answer(Outcome.PASS, "it was slow", _evidence(ctx))

    return Slow


def _tenant(outside: Outside) -> type[Kind]:
    class Tenant(Kind):
        name, summary, params = "tenant", "changes", Params
        grace = 0.1  # it ends at once, but for a test that lets it hang

        def needs(self, params: Any) -> tuple[Need, ...]:
            return (Changes("tenant"),)

        def run(self, params: Any, ctx: CheckContext) -> Answer:
            outside.runs.append(ctx.check)
            undo_id = ctx.undo.record("the tenant's status", {"status": outside.tenant})
            outside.tenant = "past_due"
            outside.during(ctx.check)
            if outside.kills_process:
                raise ProcessEnd
            self.undo({"status": "active"}, ctx)
            ctx.undo.settle(undo_id)
            return Answer(Outcome.PASS, "402 as it should be", _evidence(ctx))

        def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
            outside.during("undo")
            if not outside.billing_is_up:
                raise ConnectionError("the product is away")
            outside.tenant = payload["status"]

    return Tenant


def _quiet(outside: Outside) -> type[Kind]:
    class Quiet(Kind):
        name, summary, params, grace = "quiet", "asks for issues", Params, 0.5

        def run(self, params: Any, ctx: CheckContext) -> Answer:
            outside.runs.append(ctx.check)
            outside.during("watch")
            if isinstance(outside.sentry, Exception):
                raise outside.sentry
            outcome = outside.sentry or (Outcome.FAIL if outside.issues else Outcome.PASS)
            findings = [{"id": issue, "shortId": issue, "title": f"Error {issue}"} for issue in outside.issues]
            return Answer(
                outcome, f"{len(findings)} new", _evidence(ctx), data={"findings": findings, "series": outside.series}
            )

    return Quiet


def checklist(**changes: Any) -> Checklist:
    """Two checks that decide, one that only a person can answer, two before them and two after; the plans need no
    cluster.
    """
    values: dict[str, Any] = {
        "id": "small",
        "title": "Small",
        "sections": (
            Section(
                id="go",
                title="Go/No-Go",
                gate=True,
                checks=(make_check("go.one", kind="ask"), make_check("go.two", kind="ask", waivable=False)),
            ),
            Section(
                id="prep",
                title="Preparations",
                checks=(
                    make_check("prep.first", kind="ask"),
                    make_check("prep.second", kind="ask", needs=("prep.first",)),
                    make_check("prep.person", kind="attest"),
                ),
            ),
            Section(
                id="after",
                title="Afterwards",
                phase="after",
                checks=(make_check("after.health", kind="ask"), make_check("after.notes", kind="attest")),
            ),
        ),
        "deploy": (
            _step("deploy.tag", {"do": "check", "kind": "ask"}),
            _step("deploy.health", {"do": "check", "kind": "ask"}),
            _step("deploy.smoke", {"do": "check", "kind": "ask"}),
        ),
        "rollback": (
            _step("rollback.health", {"do": "check", "kind": "ask"}),
            _step("rollback.frontend", {"do": "check", "kind": "ask"}),
        ),
        "watch": {"probes": ({"id": "watch.issues", "title": "Issues", "kind": "quiet"},)},
        **changes,
    }
    return Checklist.model_validate(values)


def _step(step_id: str, action: dict[str, Any]) -> StepSpec:
    return StepSpec(id=StepId(step_id), title=f"Step {step_id}", action=action)


_CHECK_ROWS = runpy.run_path(str(Path(__file__).parents[1] / "bot" / "evidence" / "verify.py"))["check_rows"]


def fields_of(event: AuditEvent) -> dict[str, Any]:
    """What an event says, without what binds rows to it."""
    return {key: value for key, value in event.body.items() if key not in {"event_version", "rows"}}


class World:
    """The flows on a database of their own. A queue is carried out when a test says so, in the thread of the test."""

    def __init__(self, store: Store, outside: Outside) -> None:
        self.store, self.outside, self.clock = store, outside, MovableClock()
        self.deps = Deps(
            store=store,
            clock=self.clock,
            environment="production",
            channel="C0RELEASES1",
            checklist=checklist(),
            policy=Policy(),
            targets={
                "staging": Target(name="staging", mutable=True),
                "production": Target(name="production"),
            },
            sources=Sources(GitHubSettings(), RegistrySettings()),
            registry=kinds(outside),
            watch=WATCH,
            redact=lambda text: text.replace("s3cret", "[redacted]"),
            roles_of=lambda users: dict.fromkeys(users, frozenset(Role)),  # nobody loses one
            channel_access=lambda channel: ChannelAccess(),
        )

    def change(self, **changes: Any) -> None:
        """Replace fields of Deps."""
        self.deps = replace(self.deps, **changes)

    def on_production(self, **parts: Any) -> None:
        """Replace sections of the target that releases are deployed to."""
        production = self.deps.targets["production"].model_copy(update=parts)
        self.change(targets={**self.deps.targets, "production": production})

    def act(self, flow: Callable[Concatenate[Tx, Deps, P], str], *args: P.args, **kwargs: P.kwargs) -> str:
        """Call a flow that a person starts, in its one transaction."""
        with self.store.transaction() as tx:
            return flow(tx, self.deps, *args, **kwargs)

    def view(self, release_id: ReleaseId) -> ReleaseView:
        """Everything about a release."""
        with self.store.transaction() as tx:
            view = releases.view(tx, release_id, self.clock.now())
        assert view is not None
        return view

    def rows(self, query: str, *params: Any) -> list[DictRow]:
        """The rows of a query of the test."""
        with self.store.transaction() as tx:
            return tx.execute(query, params).fetchall()

    def start(self, version: str = "v4.8.0", actor: Actor = MANAGER, source: ResolvedSource | None = None) -> ReleaseId:
        """Open a release whose checks wait to run. Each version has its own image; that of v4.8.0 is SOURCE's."""
        own_source = replace(SOURCE, digest=f"sha256:{hashlib.sha256(version.encode()).hexdigest()}")
        source = source or (SOURCE if version == "v4.8.0" else own_source)
        parsed_version = Version.parse(version)
        assert parsed_version is not None
        self.act(start.open_release, actor, parsed_version, "", source)
        with self.store.transaction() as tx:
            release = releases.active(tx, "production")
        assert release is not None
        return release.id

    def claim(self, queue: str) -> Job | None:
        """Claim the next job of a queue, whenever it is due."""
        with self.store.transaction() as tx:
            tx.execute("UPDATE work SET due_at = now() WHERE queue = %s AND owner IS NULL", [queue])
            work_claim = work.claim(tx, queue, self.store.instance)
        return None if work_claim is None else Job(work_claim, threading.Event())

    def claim_all(self, queue: str) -> dict[str, Job]:
        """Claim all jobs of a queue, by key."""
        jobs = {}
        while (job := self.claim(queue)) is not None:
            jobs[job.claim.key] = job
        return jobs

    def carry_out(self, job: Job) -> datetime | None:
        """Carry out a job as a worker does; returns when it is due again."""
        handlers = {
            "check": release_run.execute,
            "expiry": expiry.execute,
            "upkeep": upkeep.execute,
            "advance": advance.execute,
            "watch": watch.execute,
            "picture": picture.execute,
            "mitigation": mitigation.execute,
        }
        due = handlers[job.claim.queue](self.deps, job)
        with self.store.transaction() as tx:
            if due is None:
                work.finish(tx, job.claim, datetime.now(UTC))
            else:
                work.reschedule(tx, job.claim, due)
        return due

    def run(self, queue: str) -> None:
        """Carry out all jobs of a queue; a job whose claim another process has taken over is left alone, as the workers
        do.
        """
        while (job := self.claim(queue)) is not None:
            try:
                self.carry_out(job)
            except Superseded:
                continue

    def poll(self) -> datetime | None:
        """Poll the watch once."""
        job = self.claim("watch")
        assert job is not None
        return self.carry_out(job)

    def run_to_approval(self, version: str = "v4.8.0") -> ReleaseId:
        """Start a release, run its checks, and approve it as the release manager."""
        release_id = self.start(version)
        self.run("check")
        self.approve(release_id)
        return release_id

    def approve(self, release_id: ReleaseId, actor: Actor = MANAGER) -> str:
        """Approve with the actor's first role."""
        role = min(actor.roles)
        return self.act(sign.sign, actor, release_id, role=role, verdict=Verdict.APPROVE, reason="", permalink="")

    def deploy(self, actor: Actor, release_id: ReleaseId) -> str:
        """Judge a deploy with no findings from outside, and begin it."""
        return self.act(judge_deploy, actor, self.findings(release_id))

    def break_glass(self, actor: Actor, release_id: ReleaseId, reason: str) -> str:
        """Deploy past the gate, with no findings from outside."""
        return self.act(judge_break_glass, actor, self.findings(release_id), reason)

    def findings(self, release_id: ReleaseId) -> DeployFindings:
        """The findings about a release for which neither GitHub nor the registry is asked."""
        return DeployFindings(release_id, self.view(release_id).fingerprint, ChannelAccess())

    def resolve_source(self, release_id: ReleaseId) -> None:
        """Resolve the version of a release again, and store the result."""
        store_resolution(self.deps, release_id, resolve_source(self.deps, self.view(release_id).release))

    def run_to_watch(self, version: str = "v4.8.0") -> ReleaseId:
        """Deploy a release, up to its watch."""
        release_id = self.run_to_approval(version)
        self.deploy(QA, release_id)
        self.run("advance")
        return release_id

    def run_to_done(self, version: str = "v4.8.0") -> ReleaseId:
        """Deploy a release and finish its watch."""
        release_id = self.run_to_watch(version)
        self.clock.advance(minutes=16)
        self.poll()
        return release_id

    def events(self) -> list[AuditEvent]:
        """The audit record, whose chain must be unbroken."""
        with self.store.transaction() as tx:
            events = audit.events(tx)
        assert find_break(events) is None
        assert {event.event for event in events} <= set(EVENTS)
        return events

    def find_unbound_rows(self, release_id: ReleaseId) -> list[str]:
        """The problems that the verifier of an evidence pack finds with the rows of a release."""
        with self.store.transaction() as tx:
            view = self.view(release_id)
            facts, digests = report.gather(tx, view, self.deps.redact, 3)
            return list(_CHECK_ROWS(facts, digests, report.record(tx, view, self.deps.redact), {}, []))

    def last_fields(self) -> dict[str, Any]:
        """What the newest event says."""
        return fields_of(self.last_event())

    def recorded_events(self) -> list[tuple[str, str]]:
        """The actor and the name of each event in the audit record."""
        return [(event.actor, event.event) for event in self.events()]

    def last_event(self) -> AuditEvent:
        """The newest event of the audit record."""
        return self.events()[-1]

    def outcome(self, release_id: ReleaseId, check_id: str) -> Outcome | None:
        """The latest outcome of a check."""
        result = self.view(release_id).checks[CheckId(check_id)].result
        return None if result is None else result.outcome


@contextmanager
def database(postgres_url: str, template: str | None = None) -> Iterator[str]:
    """A new database, empty or a copy of another one, for the length of a block; yields its name."""
    name = f"bot_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        create += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(create)
        yield name
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def url_of(postgres_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlsplit(postgres_url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """Name of a migrated database that each test gets a copy of."""
    with database(postgres_url) as name:
        store = Store(url_of(postgres_url, name))
        store.open()
        migrate(store)
        store.close()
        yield name


@pytest.fixture(scope="session")
def shared_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """URL of one migrated database for all tests of a process: emptying it takes a tenth of the time of making another."""
    with database(postgres_url, migrated_template) as name:
        yield url_of(postgres_url, name)


END_SESSIONS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity AS a
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND (state <> 'idle' OR EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND l.locktype = 'advisory'))"""


@pytest.fixture
def empty_database(shared_database: str) -> str:
    """URL of the shared database without rows (also in append-only tables), with ids that start at 1 and no other
    session.
    """
    with psycopg.connect(shared_database, autocommit=True) as connection:
        connection.execute(END_SESSIONS)
        connection.execute("SET session_replication_role = replica")  # no triggers
        tables = connection.execute(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
        )
        connection.execute(";".join(f"DELETE FROM {table}" for (table,) in tables.fetchall()).encode())
        connection.execute(
            "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence"
            " WHERE pg_sequence_last_value(seqrelid) IS NOT NULL"
        )
    return shared_database


@pytest.fixture(scope="session")
def shared_store(shared_database: str) -> Iterator[Store]:
    """The connections to the shared database: a new pool for each test would take longer than most tests."""
    store = Store(shared_database, size=12)
    store.open()
    yield store
    store.close()


@pytest.fixture
def store(empty_database: str, shared_store: Store) -> Iterator[Store]:
    """A migrated, empty database, joined like a live process. A test that closes it uses `another_process`."""
    assert shared_store.url == empty_database
    shared_store.join()
    yield shared_store
    shared_store.leave()


@pytest.fixture
def another_process(store: Store) -> Iterator[Callable[[], Store]]:
    """A function that makes more Stores on the same database, as other processes have them."""
    stores: list[Store] = []

    def make() -> Store:
        other = Store(store.url)
        other.open()
        other.join()
        stores.append(other)
        return other

    yield make
    for other in stores:
        other.close()


def die(process: Store, witness: Store) -> None:
    """End a process, and wait until the server has noticed; ``witness`` is another process on the same database."""
    process.close()
    query = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s::oid AND objid = %s::oid"
    query += " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"

    def is_gone() -> bool:
        with witness.transaction() as tx:
            return tx.execute(query, [INSTANCE_LOCK, process.instance]).rowcount == 0

    eventually("the end of its session", is_gone)


@pytest.fixture
def outside() -> Iterator[Outside]:
    """What the test's kinds query and change."""
    world = Outside()
    yield world
    world.go_on.set()


@pytest.fixture
def world(store: Store, outside: Outside) -> World:
    """The flows on an empty database."""
    return World(store, outside)


@pytest.fixture
def deps(world: World) -> Deps:
    """What the flows need, on an empty database."""
    return world.deps
