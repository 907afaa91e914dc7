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
from bot.steps.sources import Resolved, Sources
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
RESOLVED = Resolved("c0ffee" * 6 + "c0ff", "ghcr.io/solvereign/api", "sha256:" + "ab" * 32, tagged=True)
P = ParamSpec("P")


class MovableClock:
    """The time, which moves when a test says so."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._steady = 0.0

    def now(self) -> datetime:
        return self._now

    def steady(self) -> float:
        return self._steady

    def elsewhere(self) -> "MovableClock":
        """The clocks of a process on another machine: the same time, and steady seconds of its own."""
        other = MovableClock()
        other._now, other._steady = self._now, self._steady + 1e6
        return other

    def advance(self, **duration: float) -> None:
        """Let time pass: ``minutes=5``."""
        self._now += timedelta(**duration)
        self._steady += timedelta(**duration).total_seconds()

    def set(self, **by: float) -> None:
        """Somebody sets the clock, forward or (negative) back; no time passes."""
        self._now += timedelta(**by)


@dataclass
class Outside:
    """The systems that the test's kinds ask and change."""

    answers: dict[str, Outcome | Exception | str] = field(default_factory=dict)  # by check or step id; a str: summary
    runs: list[str] = field(default_factory=list)
    tenant: str = "active"
    billing_answers: bool = True  # whether the tenant can be put back
    dies: bool = False  # the process is killed while the tenant is changed
    issues: list[str] = field(default_factory=list)
    series: dict[str, Any] | None = None  # of the error rate
    sentry: Outcome | Exception | None = None  # instead of what the issues say
    going: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    during: Callable[[str], None] = lambda name: None  # called in the middle of a run


def hanging(outside: Outside, where: str) -> Callable[[str], None]:
    """For ``during``: it goes no further at its first ``where`` until ``go_on`` is set, whatever the deadline says."""
    firsts = iter([where])

    def during(name: str) -> None:
        if name == where and next(firsts, None):
            assert outside.go_on.wait(20)

    return during


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


def kinds(outside: Outside) -> Registry:
    """Kinds that ask ``outside``: ask, log_in, look (at the tenant), slow, tenant (changes it, puts it back), quiet; the bot's.

    ``quiet`` is for the watch.
    """
    asking = (_ask(outside), _ask(outside, "log_in", LOG_IN), _ask(outside, "look", Reads("tenant")))
    made = (*asking, _slow(outside), _tenant(outside), _quiet(outside))
    return Registry({**BUILT_IN, **{kind.name: kind for kind in made}})


def _evidence(ctx: CheckContext) -> Evidence:
    return Evidence(asked=ctx.check, expected="all is well", seen="see summary")


def _ask(outside: Outside, called: str = "ask", *needs_of_it: Need) -> type[Kind]:
    class Ask(Kind):
        name, summary, params = called, "asks", Params

        def needs(self, params: Any) -> tuple[Need, ...]:
            return needs_of_it

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
            outside.going.set()
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
            if outside.dies:
                raise Killed
            self.undo({"status": "active"}, ctx)
            ctx.undo.settle(undo_id)
            return Answer(Outcome.PASS, "402 as it should be", _evidence(ctx))

        def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
            outside.during("undo")
            if not outside.billing_answers:
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
    """Two checks that decide and one that only a person can answer, two before them, two after; plans without a cluster."""
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
    """What an event tells, without what binds rows to it."""
    return {key: value for key, value in event.body.items() if key not in {"event_version", "rows"}}


class World:
    """The flows on a database of their own. Queues are carried out when a test says so, in its own thread."""

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
        """Other Deps from now on."""
        self.deps = replace(self.deps, **changes)

    def on_production(self, **parts: Any) -> None:
        """Other parts of the target that is deployed to from now on."""
        production = self.deps.targets["production"].model_copy(update=parts)
        self.change(targets={**self.deps.targets, "production": production})

    def act(self, flow: Callable[Concatenate[Tx, Deps, P], str], *args: P.args, **kwargs: P.kwargs) -> str:
        """A flow that a person starts, in its one transaction."""
        with self.store.transaction() as tx:
            return flow(tx, self.deps, *args, **kwargs)

    def view(self, release_id: ReleaseId) -> ReleaseView:
        """Everything of a release."""
        with self.store.transaction() as tx:
            found = releases.view(tx, release_id, self.clock.now())
        assert found is not None
        return found

    def rows(self, query: str, *params: Any) -> list[DictRow]:
        """What a query of the test finds."""
        with self.store.transaction() as tx:
            return tx.execute(query, params).fetchall()

    def start(self, version: str = "v4.8.0", actor: Actor = MANAGER, resolved: Resolved | None = None) -> ReleaseId:
        """Open a release; its checks wait to run. Each version has an image of its own, v4.8.0 that of RESOLVED."""
        other = replace(RESOLVED, digest=f"sha256:{hashlib.sha256(version.encode()).hexdigest()}")
        resolved = resolved or (RESOLVED if version == "v4.8.0" else other)
        parsed = Version.parse(version)
        assert parsed is not None
        self.act(start.open_release, actor, parsed, "", resolved)
        with self.store.transaction() as tx:
            found = releases.active(tx, "production")
        assert found is not None
        return found.id

    def claim(self, queue: str) -> Job | None:
        """Take the next thing of a queue, whenever it is due."""
        with self.store.transaction() as tx:
            tx.execute("UPDATE work SET due_at = now() WHERE queue = %s AND owner IS NULL", [queue])
            found = work.claim(tx, queue, self.store.instance)
        return None if found is None else Job(found, threading.Event())

    def claim_all(self, queue: str) -> dict[str, Job]:
        """Take all of a queue, by key."""
        found = {}
        while (job := self.claim(queue)) is not None:
            found[job.claim.key] = job
        return found

    def carry_out(self, job: Job) -> datetime | None:
        """What a worker does with a job; returns when it is due again."""
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
        """Carry out all of a queue; what was taken from us is left alone, as the workers do."""
        while (job := self.claim(queue)) is not None:
            try:
                self.carry_out(job)
            except Superseded:
                continue

    def poll(self) -> datetime | None:
        """One poll of the watch."""
        job = self.claim("watch")
        assert job is not None
        return self.carry_out(job)

    def ready(self, version: str = "v4.8.0") -> ReleaseId:
        """A release whose checks have passed and which the release manager has approved."""
        release_id = self.start(version)
        self.run("check")
        self.approve(release_id)
        return release_id

    def approve(self, release_id: ReleaseId, actor: Actor = MANAGER) -> str:
        """Sign with the actor's first role."""
        role = min(actor.roles)
        return self.act(sign.sign, actor, release_id, role=role, verdict=Verdict.APPROVE, reason="", permalink="")

    def deploy(self, actor: Actor, release_id: ReleaseId) -> str:
        """Judge a deploy with nothing found out against it from outside, and begin it."""
        return self.act(judge_deploy, actor, self.findings(release_id))

    def break_glass(self, actor: Actor, release_id: ReleaseId, reason: str) -> str:
        """The same past the gate."""
        return self.act(judge_break_glass, actor, self.findings(release_id), reason)

    def findings(self, release_id: ReleaseId) -> DeployFindings:
        """What is found out about a release where nobody asks GitHub and the registry."""
        return DeployFindings(release_id, self.view(release_id).fingerprint, ChannelAccess())

    def resolve_source(self, release_id: ReleaseId) -> None:
        """Look up what the version of a release means now, and store that."""
        store_resolution(self.deps, release_id, resolve_source(self.deps, self.view(release_id).release))

    def deployed(self, version: str = "v4.8.0") -> ReleaseId:
        """A release that is deployed and watched."""
        release_id = self.ready(version)
        self.deploy(QA, release_id)
        self.run("advance")
        return release_id

    def done(self, version: str = "v4.8.0") -> ReleaseId:
        """A release that is DONE."""
        release_id = self.deployed(version)
        self.clock.advance(minutes=16)
        self.poll()
        return release_id

    def events(self) -> list[AuditEvent]:
        """The audit record; its chain must hold."""
        with self.store.transaction() as tx:
            found = audit.events(tx)
        assert find_break(found) is None
        assert {event.event for event in found} <= set(EVENTS)
        return found

    def unbound(self, release_id: ReleaseId) -> list[str]:
        """What the verifier of an evidence pack finds wrong with the rows of a release."""
        with self.store.transaction() as tx:
            view = self.view(release_id)
            facts, digests = report.gather(tx, view, self.deps.redact, 3)
            return list(_CHECK_ROWS(facts, digests, report.record(tx, view, self.deps.redact), {}, []))

    def last_fields(self) -> dict[str, Any]:
        """What the newest event tells."""
        return fields_of(self.last())

    def recorded_events(self) -> list[tuple[str, str]]:
        """Who and what of each audit row."""
        return [(event.actor, event.event) for event in self.events()]

    def last(self) -> AuditEvent:
        """The newest audit row."""
        return self.events()[-1]

    def outcome(self, release_id: ReleaseId, check_id: str) -> Outcome | None:
        """The latest outcome of a check."""
        result = self.view(release_id).checks[CheckId(check_id)].result
        return None if result is None else result.outcome


@contextmanager
def database(postgres_url: str, template: str | None = None) -> Iterator[str]:
    """A new database, empty or a copy of another one, for the length of a block: its name."""
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
    """URL of one migrated database for all tests of a process: emptying it costs a tenth of making another."""
    with database(postgres_url, migrated_template) as name:
        yield url_of(postgres_url, name)


STILL_AT_WORK = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity AS a
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND (state <> 'idle' OR EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND l.locktype = 'advisory'))"""


@pytest.fixture
def emptied(shared_database: str) -> str:
    """URL of that database with no row, also in what is append-only for the bot, all ids from 1, and nobody at work in it."""
    with psycopg.connect(shared_database, autocommit=True) as connection:
        connection.execute(STILL_AT_WORK)
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
def kept_store(shared_database: str) -> Iterator[Store]:
    """The connections to that database: another pool for each test would cost more than most tests."""
    opened = Store(shared_database, size=12)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def store(emptied: str, kept_store: Store) -> Iterator[Store]:
    """A migrated database with nothing in it, joined as a living process. A test that closes it takes `another_process`."""
    assert kept_store.url == emptied
    kept_store.join()
    yield kept_store
    kept_store.leave()


@pytest.fixture
def another_process(store: Store) -> Iterator[Callable[[], Store]]:
    """Makes more Stores on the same database, as other processes have them."""
    made: list[Store] = []

    def make() -> Store:
        other = Store(store.url)
        other.open()
        other.join()
        made.append(other)
        return other

    yield make
    for other in made:
        other.close()


def die(process: Store, witness: Store) -> None:
    """End a process, and wait until the server has noticed; ``witness`` is another one on the same database."""
    process.close()
    query = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s::oid AND objid = %s::oid"
    query += " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"

    def gone() -> bool:
        with witness.transaction() as tx:
            return tx.execute(query, [INSTANCE_LOCK, process.instance]).rowcount == 0

    eventually("the end of its session", gone)


@pytest.fixture
def outside() -> Iterator[Outside]:
    """What the kinds of the test ask."""
    world = Outside()
    yield world
    world.go_on.set()


@pytest.fixture
def world(store: Store, outside: Outside) -> World:
    """The flows, with no release yet."""
    return World(store, outside)


@pytest.fixture
def deps(world: World) -> Deps:
    """What the flows need, on a database of its own."""
    return world.deps
