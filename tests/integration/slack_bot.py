"""The Slack half of the bot, wired as in `bot.app`, against a workspace of the sandbox and a database of its own."""

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from slack_sdk import WebClient

from bot.domain.actor import Actor
from bot.domain.checklist import Checklist
from bot.domain.ids import ReleaseId, UserId, Version
from bot.domain.policy import Policy, Role
from bot.domain.posts import read_subject
from bot.flows import abort, start
from bot.flows.deps import Deps, Job
from bot.settings import Roles, SharedChannel
from bot.slack import checkup
from bot.slack.client import web_client
from bot.slack.dispatch import GIVE_UP_AFTER, Dispatch
from bot.slack.doctor import Doctor
from bot.slack.identity import Identity
from bot.slack.listeners import keep, register
from bot.slack.publisher import Publisher
from bot.slack.transport import Socket, build_app
from bot.slack.uploads import Uploader
from bot.steps.sources import ResolvedSource, Sources
from bot.store import posts, releases
from bot.store.pool import Store, Tx
from bot.store.posts import PostRow
from bot.store.work import Claim
from bot.workers import Queue, Workers
from checks.registry import Registry
from clients.settings import GitHubSettings, RegistrySettings
from tests.sandbox.slack_world import RELEASES, RITA, SlackWorld
from tests.unit.factories import WATCH, make_checklist

MAX, PAT = "U0MAX00001", "U0PAT00001"
GROUPS = Roles(release_manager=("S0RELMGR01",), qa=("S0QA000001",), product=("S0PRODUCT1",))
SOURCE = ResolvedSource("c0ffee" * 6 + "c0ff", "ghcr.io/solvereign/api", "sha256:" + "ab" * 32, is_tagged=True)
MANAGER = Actor(UserId(RITA), frozenset({Role.RELEASE_MANAGER}))
Json = dict[str, Any]
Row = Mapping[str, Any]


class BotClock:
    """The time of the bot: real time plus what a test adds."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def steady(self) -> float:
        return time.monotonic() + self.ahead.total_seconds()

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class Bot:
    """One process of the bot, without its timers and without the queues that are not Slack's."""

    def __init__(
        self,
        store: Store,
        slack: SlackWorld,
        *,
        roles: Roles = GROUPS,
        checklist: Checklist | None = None,
    ) -> None:
        self.slack = slack
        self._since = slack.clock()
        self.store = store
        self.clock = BotClock()
        self.deps = Deps(
            store=self.store,
            clock=self.clock,
            environment="production",
            channel=RELEASES,
            checklist=checklist or make_checklist(),
            policy=Policy(),
            targets={},
            sources=sources_at("http://127.0.0.1:1/"),  # nobody listens there
            registry=Registry.load(),
            watch=WATCH,
            redact=lambda text: text.replace("hunter2", "[redacted]"),
        )
        self.client: WebClient = web_client(slack.server.bot_token, slack.url + "api/")
        self.workspace = checkup.workspace(self.client)
        self.identity = Identity(self.client, roles, self.workspace)
        self.change_deps(roles_of=self.identity.roles_of)
        self.allow_shared_channel(SharedChannel.WARN)  # a guest of another company is in it

    def allow_shared_channel(self, rule: SharedChannel) -> None:
        """Set what happens when another organisation reads the channel."""
        self.change_deps(channel_access=lambda channel: checkup.channel_access(self.client, channel, rule))

    def ask_vendors_at(self, url: str) -> None:
        """Resolve versions at a server of the test."""
        self.change_deps(sources=sources_at(url))

    def change_deps(self, **changes: Any) -> None:
        """Replace parts of the dependencies from now on."""
        self.deps = replace(self.deps, **changes)
        self.dispatch = Dispatch(self.deps, self.client, self.identity)
        self.publisher = Publisher(self.deps, self.client)
        self.uploader = Uploader(self.deps, self.client)

    @contextlib.contextmanager
    def online(self, *, ping: float = 5) -> Iterator[Socket]:
        """Connect to the workspace, so that deliveries are stored and acknowledged."""
        bolt = build_app(self.client)
        register(
            bolt, lambda delivery, kind, body: keep(self.store, self.deps.redact, delivery, kind, body), self.workspace
        )
        socket = Socket(bolt, self.slack.server.app_token, ping=ping)
        socket.connect()
        try:
            yield socket
        finally:
            socket.close()
            gc.collect()  # as in slack_world: what the client leaves unclosed goes while CLIENT_LEAKS_SOCKETS is in force

    @contextlib.contextmanager
    def working(self, *names: str) -> Iterator[None]:
        """Run the workers of these queues, by default all of Slack's."""
        queues = [
            Queue("inbox", 4, self.dispatch.execute, give_up_after=GIVE_UP_AFTER, on_give_up=self.dispatch.give_up),
            Queue("reply", 2, self.publisher.answer, give_up_after=GIVE_UP_AFTER),
            Queue(posts.QUEUE, 1, self.publisher.execute),
            Queue("file", 1, self.uploader.execute),
            Queue("doctor", 1, Doctor(self.deps).execute),
        ]
        workers = Workers(self.store, self.clock, [queue for queue in queues if not names or queue.name in names])
        workers.start()
        try:
            yield
        finally:
            workers.stop()

    # What people do, and what becomes of it

    def command(self, text: str, user: str = RITA) -> Json:
        """Type a command and handle it; returns its row of the inbox."""
        return self._handle_delivery(self.slack.command(f"/release {text}", user=user))

    def click(self, user: str, ts: str, action_id: str, **more: Any) -> Json:
        """Press a button and handle the click; returns its row of the inbox."""
        return self._handle_delivery(
            self.slack.post("click", user=user, channel=RELEASES, ts=ts, action_id=action_id, **more)
        )

    def submit(self, user: str, reason: str) -> Json:
        """Submit the open form of ``user`` and handle it; returns its row of the inbox."""
        (view,) = self.slack.state(user)["views"]
        values = {"reason": {"reason": reason}}
        return self._handle_delivery(self.slack.post("submit", user=user, view_id=view["id"], values=values))

    def _handle_delivery(self, delivery: Json) -> Json:
        assert delivery["ok"], delivery
        self.handle()
        return self.rows("SELECT kind, outcome, handled_at FROM inbox ORDER BY id DESC LIMIT 1")[0]

    def handle(self) -> None:
        """Handle all deliveries, as a worker would."""
        for row in self.rows("SELECT id FROM inbox WHERE handled_at IS NULL ORDER BY id"):
            assert self.dispatch.execute(a_job("inbox", row["id"])) is None

    def answer(self) -> None:
        """Send all stored answers, as a worker would."""
        for row in self.rows("SELECT id FROM replies WHERE sent_at IS NULL ORDER BY id"):
            assert self.publisher.answer(a_job("reply", row["id"])) is None

    # What is in the database

    def rows(self, query: str, *values: object) -> list[Json]:
        """The rows of a query, as dicts."""
        with self.store.transaction() as tx:
            return tx.execute(query.encode(), values).fetchall()

    def recorded_events(self) -> list[tuple[str, str]]:
        """Actor and event of the whole record, in order."""
        return [(row["actor"], row["event"]) for row in self.rows("SELECT actor, event FROM audit ORDER BY seq")]

    def reply_texts(self, user: str) -> list[str]:
        """The stored answers to a person, in order."""
        replies = self.rows("SELECT body FROM replies WHERE user_id = %s ORDER BY id", user)
        return [row["body"]["text"] for row in replies]

    def ephemeral_texts(self, user: str) -> list[str]:
        """The answers that a person sees in Slack, in order."""
        messages = self.slack.messages(user)
        return [m["text"] for m in messages if m.get("ephemeral") and float(m["ts"]) >= self._since]

    def change(self, make: Callable[[Tx], object]) -> None:
        """Run a function in a transaction."""
        with self.store.transaction() as tx:
            make(tx)

    # A release and its messages

    def open_release(self, version: str = "v4.8.0") -> ReleaseId:
        """Open a release as Rita; no check runs, because their queue has no workers here."""
        parsed_version = Version.parse(version)
        assert parsed_version is not None
        with self.store.transaction() as tx:
            start.open_release(tx, self.deps, MANAGER, parsed_version, "", SOURCE)
            return ReleaseId(only_id(tx))

    def abort_release(self, release_id: ReleaseId) -> None:
        """Abort a release, so that another one can be opened."""
        with self.store.transaction() as tx:
            abort.abort(tx, self.deps, MANAGER, release_id, "enough")

    def post(self, release_id: ReleaseId, kind: str, subject: str = "") -> PostRow:
        """The row of one message of a release."""
        with self.store.transaction() as tx:
            post = posts.find(tx, release_id, read_subject(kind, subject))
        assert post is not None
        return post

    def publish(self, release_id: ReleaseId, kind: str = "card", subject: str = "") -> datetime | None:
        """Publish one message, as a worker would; returns when to look again."""
        with self.store.transaction() as tx:
            view = releases.view(tx, release_id, self.clock.now())
        assert view is not None
        return self.publisher.bring_up_to_date(self.post(release_id, kind, subject), view)

    def publish_all(self, release_id: ReleaseId) -> None:
        """Publish all messages of a release, each at most once a second of the bot's clock."""
        self.clock.advance(1)
        assert self.publisher.execute(a_job(posts.QUEUE, release_id)) is None

    def ts(self, release_id: ReleaseId, kind: str = "card", subject: str = "") -> str:
        """The timestamp of a message in Slack."""
        ts = self.post(release_id, kind, subject).ts
        assert ts is not None
        return ts


class Line:
    """A workspace and one open socket for many tests; deliveries go to the bot of the current test."""

    def __init__(self, slack: SlackWorld) -> None:
        self.slack = slack
        self.bot: Bot | None = None
        client = web_client(slack.server.bot_token, slack.url + "api/")
        bolt = build_app(client)
        register(bolt, self._put, checkup.workspace(client))
        self.socket = Socket(bolt, slack.server.app_token)
        self.socket.connect()

    def _put(self, delivery: str, kind: str, body: Json) -> int | None:
        assert self.bot is not None
        return keep(self.bot.store, self.bot.deps.redact, delivery, kind, body)


def sources_at(url: str) -> Sources:
    """GitHub and the image registry at one address."""
    return Sources(
        GitHubSettings.model_validate({"url": url, "repository": "solvereign/solvereign"}),
        RegistrySettings.model_validate({"url": url, "image": SOURCE.image}),
    )


def only_id(tx: Tx) -> int:
    """The id of the newest release."""
    row = tx.execute(b"SELECT max(id) AS id FROM releases").fetchone()
    assert row is not None
    return int(row["id"])


def a_job(queue: str, key: object) -> Job:
    """A job for a worker."""
    return Job(Claim(id=0, queue=queue, key=str(key), token=0, attempts=1), threading.Event())
