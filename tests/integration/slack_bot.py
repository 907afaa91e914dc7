"""The Slack half of the bot, wired as in `bot.app`, against a workspace of the sandbox and a database of its own."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from slack_sdk import WebClient

from bot.domain.actor import Actor
from bot.domain.checklist import Checklist
from bot.domain.ids import ReleaseId, UserId, Version
from bot.domain.policy import Policy, Role
from bot.flows import abort, start
from bot.flows.deps import Deps, Job
from bot.settings import Roles
from bot.slack import checkup
from bot.slack.client import web_client
from bot.slack.dispatch import GIVE_UP_AFTER, Dispatch
from bot.slack.identity import Identity
from bot.slack.listeners import keep, register
from bot.slack.publisher import Publisher
from bot.slack.transport import Socket, build_app
from bot.steps.sources import Resolved, Sources
from bot.store import posts
from bot.store.migrate import migrate
from bot.store.pool import Store, Tx
from bot.store.posts import PostRow
from bot.store.work import Claim
from bot.workers import Queue, Workers
from checks.registry import Registry
from tests.sandbox.slack_world import RELEASES, RITA, SlackWorld, eventually
from tests.unit.factories import make_checklist

MAX, PAT = "U0MAX00001", "U0PAT00001"
GROUPS = Roles(release_manager=("S0RELMGR01",), qa=("S0QA000001",), product=("S0PRODUCT1",))
RESOLVED = Resolved("c0ffee" * 6 + "c0ff", "ghcr.io/solvereign/api", "sha256:" + "ab" * 32, tagged=True)
MANAGER = Actor(UserId(RITA), frozenset({Role.RELEASE_MANAGER}))
Json = dict[str, Any]
Row = Mapping[str, Any]


class BotClock:
    """The time of the bot: real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class Bot:
    """One process of the bot, without its timers and without the queues that are not Slack's."""

    def __init__(
        self,
        database_url: str,
        slack: SlackWorld,
        *,
        roles: Roles = GROUPS,
        checklist: Checklist | None = None,
        vendors_url: str = "http://127.0.0.1:1/",
    ) -> None:
        self.slack = slack
        self.store = Store(database_url, size=12)
        self.store.open()
        migrate(self.store)
        self.store.join()
        self.clock = BotClock()
        self.deps = Deps(
            store=self.store,
            clock=self.clock,
            environment="production",
            channel=RELEASES,
            checklist=checklist or make_checklist(),
            policy=Policy(),
            targets={},
            sources=Sources(
                github_url=vendors_url,
                repository="solvereign/solvereign",
                ref="main",
                token="",
                registry_url=vendors_url,
                image=RESOLVED.image,
                login=("", ""),
            ),
            registry=Registry.load(),
            watch_for=timedelta(minutes=15),
            poll_every=timedelta(seconds=30),
            redact=lambda text: text.replace("hunter2", "[redacted]"),
        )
        self.client: WebClient = web_client(slack.server.bot_token, slack.url + "api/")
        self.workspace = checkup.workspace(self.client)
        self.dispatch = Dispatch(self.deps, self.client, Identity(self.client, roles, self.workspace))
        self.publisher = Publisher(self.deps, self.client)

    def close(self) -> None:
        self.store.close()

    @contextlib.contextmanager
    def online(self, *, ping: float = 5) -> Iterator[Socket]:
        """Connected to the workspace: deliveries are stored and acknowledged."""
        bolt = build_app(self.client)
        register(bolt, lambda delivery, kind, body: keep(self.store, delivery, kind, body), self.workspace)
        socket = Socket(bolt, self.slack.server.app_token, ping=ping)
        socket.connect()
        try:
            yield socket
        finally:
            socket.close()

    @contextlib.contextmanager
    def working(self, *names: str) -> Iterator[None]:
        """With the workers of the named queues (default: all of Slack's)."""
        queues = [
            Queue("inbox", 4, self.dispatch.execute, give_up_after=GIVE_UP_AFTER, on_give_up=self.dispatch.give_up),
            Queue("reply", 2, self.publisher.answer, give_up_after=GIVE_UP_AFTER),
            Queue("post", 1, self.publisher.execute),
        ]
        workers = Workers(self.store, self.clock, [queue for queue in queues if not names or queue.name in names])
        workers.start()
        try:
            yield
        finally:
            workers.stop()

    # What is in the database

    def rows(self, query: str, *values: object) -> list[Json]:
        """The rows of a query, as dicts."""
        with self.store.transaction() as tx:
            return tx.execute(query.encode(), values).fetchall()

    def audited(self) -> list[tuple[str, str]]:
        """Actor and event of the whole record, in order."""
        return [(row["actor"], row["event"]) for row in self.rows("SELECT actor, event FROM audit ORDER BY seq")]

    def told(self, user: str) -> list[str]:
        """The answers that a person is owed or was given, in order."""
        found = self.rows("SELECT body FROM replies WHERE user_id = %s ORDER BY id", user)
        return [row["body"]["text"] for row in found]

    def change(self, make: Callable[[Tx], object]) -> None:
        """Change something in a transaction."""
        with self.store.transaction() as tx:
            make(tx)

    # A release and its messages

    def open_release(self, version: str = "v4.8.0") -> ReleaseId:
        """Open a release as Rita. No check runs, because their queue has no workers here."""
        meant = Version.parse(version)
        assert meant is not None
        with self.store.transaction() as tx:
            start.open_release(tx, self.deps, MANAGER, meant, "", RESOLVED)
            return ReleaseId(only_id(tx))

    def abort_release(self, release_id: ReleaseId) -> None:
        """End it, so that another one may begin."""
        with self.store.transaction() as tx:
            abort.abort(tx, self.deps, MANAGER, release_id, "enough")

    def post(self, release_id: ReleaseId, kind: str, subject: str = "") -> PostRow:
        """One message of a release."""
        with self.store.transaction() as tx:
            post_id = posts.find(tx, release_id, kind, subject)
            assert post_id is not None
            post = posts.get(tx, post_id)
        assert post is not None
        return post

    def publish(self, release_id: ReleaseId, kind: str = "card", subject: str = "") -> datetime | None:
        """Bring one message up to date, as a worker would; returns when to look again."""
        return self.publisher.execute(a_job("post", self.post(release_id, kind, subject).id))

    def published(self, release_id: ReleaseId) -> None:
        """Bring all messages of a release to Slack, each at most once a second of the bot's clock."""
        with self.store.transaction() as tx:
            every = tx.execute(b"SELECT id FROM posts WHERE release_id = %s ORDER BY id", [release_id]).fetchall()
        self.clock.advance(1)
        for row in every:
            assert self.publisher.execute(a_job("post", row["id"])) is None

    def ts(self, release_id: ReleaseId, kind: str = "card", subject: str = "") -> str:
        """Where a message stands in Slack."""
        ts = self.post(release_id, kind, subject).ts
        assert ts is not None
        return ts


def only_id(tx: Tx) -> int:
    """The id of the newest release."""
    row = tx.execute(b"SELECT max(id) AS id FROM releases").fetchone()
    assert row is not None
    return int(row["id"])


def a_job(queue: str, key: object) -> Job:
    """Something that a worker does now."""
    return Job(Claim(id=0, queue=queue, key=str(key), token=0, attempts=1), threading.Event())


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """As `eventually`, under a name that reads well after a click."""
    return eventually(condition, seconds)


def elapsed(since: float) -> float:
    """Seconds since a moment of the monotonic clock."""
    return time.monotonic() - since
