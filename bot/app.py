"""The composition root: builds every part once, hands it in, starts and stops them in order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from slack_sdk import WebClient

from bot import health
from bot.checklists.read import read_checklist
from bot.clock import Clock, SharedClock, SystemClock
from bot.domain.checklist import Checklist
from bot.domain.policy import Policy, Role
from bot.domain.runbook import document
from bot.domain.staffing import find_review_shortage, find_shortage
from bot.domain.watch import WatchTimes
from bot.errors import BotError, ChecklistError, ConfigError
from bot.flows import doctor, expiry, mitigation, picture, release_run, reminders, upkeep, watch
from bot.flows.deploying import advance
from bot.flows.deps import Deps, TargetDeps
from bot.flows.undo import undo_orphans
from bot.redact import Redactor
from bot.settings import Settings
from bot.slack import checkup, http_mode
from bot.slack.client import web_client
from bot.slack.dispatch import GIVE_UP_AFTER, Dispatch
from bot.slack.doctor import Doctor
from bot.slack.http_mode import Endpoint
from bot.slack.identity import Identity
from bot.slack.listeners import keep, register
from bot.slack.publisher import Publisher
from bot.slack.transport import Socket, build_app
from bot.slack.uploads import Uploader
from bot.steps.sources import Sources
from bot.store import posts, work
from bot.store.embedded import EmbeddedPostgres
from bot.store.migrate import migrate
from bot.store.pool import Store
from bot.texts.staffing import shortage_text
from bot.timers import Period, Timers
from bot.web import Pages, WebPage, WebServer
from bot.workers import Queue, Workers
from checks.registry import Registry, RegistryError
from checks.spelling import did_you_mean

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

logger = logging.getLogger(__name__)

CHECKLISTS_FOLDER = Path(__file__).parent / "checklists"
CHECK_THREADS = 24  # about as many as a checklist asks of systems: they mostly wait, so all run side by side
POOL = 16
PATIENCE = 2.0  # seconds that a page of the HTTP port waits for the database


def load_checklist(name: str, registry: Registry) -> Checklist:
    """Read a checklist by path, or by the name of one that ships with the bot. Raises ChecklistError."""
    path = Path(name)
    if not path.suffix:
        path = CHECKLISTS_FOLDER / f"{name}.yml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        names = ", ".join(sorted(file.stem for file in CHECKLISTS_FOLDER.glob("*.yml")))
        raise ChecklistError(
            f"{path}: can't be read: {error.strerror}.", hint=f"Shipped: {names}. Or give a path."
        ) from error
    except UnicodeDecodeError as error:
        raise ChecklistError(f"{path}: can't be read: it isn't UTF-8.") from error
    return read_checklist(text, str(path), registry)


def configured_checklist(settings: Settings, registry: Registry) -> Checklist:
    """Read the checklist of the configuration, with links to the runbook in the configured repository. Raises ChecklistError."""
    checklist = load_checklist(settings.checklist, registry)
    files = settings.github.files if settings.github is not None else ""
    return checklist.model_copy(update={"runbook": document(checklist.runbook, files)})


def load_registry() -> Registry:
    """Load every kind of check, also of plugins. Raises ConfigError with the name of a plugin that cannot be loaded."""
    try:
        return Registry.load()
    except RegistryError as error:
        raise ConfigError(f"A kind of check can't be loaded: {error}", hint="Fix or uninstall that plugin.") from error


def read_policy(settings: Settings, checklist: Checklist) -> Policy:
    """Read the policy section. Raises ConfigError if it is malformed, or if the configured people could never meet it."""
    try:
        policy = Policy.model_validate(settings.policy)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        key = ".".join(str(part) for part in ("policy", *first["loc"]))
        raise ConfigError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from error
    line_ids = {section.id for section in checklist.sections} | {check.id for check in checklist.checks}
    steps = {step.id for step in (*checklist.deploy, *checklist.rollback)}
    if strange := [line for line in policy.lines if line not in line_ids | steps]:
        suggestion = did_you_mean(strange[0], line_ids | steps)
        raise ConfigError(
            f"policy.lines.{strange[0]}: the checklist {checklist.id} has no such check, section or step{suggestion or '.'}",
            hint=f"Sections: {', '.join(section.id for section in checklist.sections)}.",
        )
    if strange := [line for line, rule in policy.lines.items() if line in steps and rule.waive is not None]:
        raise ConfigError(f"policy.lines.{strange[0]}.waive: a step can't be waived.", hint="Set attest, or nothing.")
    holders = {Role(name): ids for name, ids in settings.slack.roles}
    for key, shortage in (
        ("policy: nobody could ever deploy", find_shortage(policy, holders)),
        ("policy.break_glass", find_review_shortage(policy, holders)),
    ):
        if shortage is not None:
            raise ConfigError(
                f"{key}: {shortage_text(shortage)}.", hint="Change policy, or name people in slack.roles."
            )
    return policy


def build_sources(settings: Settings) -> Sources:
    """Build what resolves versions. Raises ConfigError if GitHub or the registry is not configured."""
    if settings.github is None or settings.registry is None:
        section = "github" if settings.github is None else "registry"
        raise ConfigError(
            f"There is no {section} section, so no version can be resolved.", hint=f"Add {section}: to release-bot.yml."
        )
    return Sources(settings.github, settings.registry)


def build_target_deps(settings: Settings, registry: Registry, redact: Callable[[str], str]) -> TargetDeps:
    """Build what checks need to run without Slack and without a database."""
    return TargetDeps(
        clock=SystemClock(),
        targets=settings.target_values(),
        registry=registry,
        redact=redact,
        environment=settings.environment,
    )


def build_deps(settings: Settings, store: Store, clock: Clock, redact: Callable[[str], str]) -> Deps:
    """Build everything that the flows need; nothing is started. Raises ConfigError and ChecklistError."""
    registry = load_registry()
    checklist = configured_checklist(settings, registry)
    return Deps(
        store=store,
        clock=clock,
        environment=settings.environment,
        channel=settings.slack.channel,
        checklist=checklist,
        policy=read_policy(settings, checklist),
        targets=settings.target_values(),
        sources=build_sources(settings),
        registry=registry,
        watch=WatchTimes(**settings.watch_times),
        redact=redact,
    )


class Application:
    """The running bot."""

    def __init__(self, settings: Settings, redactor: Redactor) -> None:
        """Check the configuration, without any connection. Raises ConfigError."""
        for secret in settings.secrets():
            redactor.register(secret)
        self._settings, self._redactor = settings, redactor
        if settings.slack.bot_token is None:
            raise ConfigError(
                "SLACK_BOT_TOKEN is not set, or empty.",
                hint="Copy it from the app's page (xoxb-…); see README. `make demo` needs none.",
            )
        if settings.slack.app_token is None and settings.slack.signing_secret is None:
            raise ConfigError(
                "Neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set; an empty one doesn't count.",
                hint="Socket Mode needs the first (xapp-…), HTTP mode the second. Both are on the app's page; see README.",
            )
        if not settings.slack.channel:
            raise ConfigError("slack.channel is not set.", hint="Set it to the id of #releases (C…).")
        self._running: list[Callable[[], None]] = []  # what to stop, in the order of starting
        self.health_url = ""  # of the HTTP port

    def start(self) -> None:
        """Start all parts; if one fails, those before it are stopped again, and its error is raised."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        settings = self._settings
        store = self._open_store()
        clock = SharedClock(store.now)
        deps = build_deps(settings, store, clock, self._redactor.scrub)
        token = settings.slack.bot_token.get_secret_value() if settings.slack.bot_token else ""
        client = web_client(token, settings.slack.api_url)
        workspace = checkup.workspace(client)
        store.join()
        identity = Identity(client, settings.slack.roles, workspace)
        deps = replace(
            deps,
            people=identity.holders,
            roles_of=identity.roles_of,
            channel_access=lambda channel: checkup.channel_access(client, channel, settings.slack.shared_channel),
            examination=lambda: self._examination(deps),
        )
        with store.transaction() as tx:
            upkeep.resume(tx, deps)
        workers = self._workers(deps, client, identity, clock.sync)
        bolt = build_app(client)
        register(bolt, lambda delivery, kind, body: keep(store, self._redactor.scrub, delivery, kind, body), workspace)
        workers.start()
        self._running.append(workers.stop)
        periods = [
            Period("put back what was left behind", 5.0, lambda: undo_orphans(deps)),
            Period("poll in time", 5.0, lambda: watch.hasten(deps)),
            Period("remind people", reminders.INTERVAL, lambda: reminders.remind_if_due(deps)),
        ]
        pages: dict[str, Callable[[WSGIEnvironment], WebPage]] = {}
        socket = None
        if settings.slack.signing_secret is not None:
            pages[http_mode.PATH] = Endpoint(bolt, settings.slack.signing_secret.get_secret_value(), deps.clock)
        elif settings.slack.app_token is not None:
            socket = Socket(bolt, settings.slack.app_token.get_secret_value())
            periods.append(Period("keep the socket", 5.0, socket.ensure))
        timers = Timers(periods, wake=workers.wake, next_due=workers.next_due, clock=clock)
        timers.start()
        self._running.append(timers.stop)
        if socket is not None:
            socket.connect()
            self._running.append(socket.close)
        self._serve(
            {**pages, **health.pages(ready=lambda: _ready(store, workers, socket), backlog=lambda: _backlog(store))}
        )
        for problem in checkup.examine(client, settings.slack, deps.policy):
            if not problem.good:
                logger.warning("%s. %s", problem.what, problem.hint)
        for notice in (*settings.notices, *deps.checklist.notices):
            logger.warning("%s. Rename it.", notice)
        mode = "Socket Mode" if socket is not None else f"HTTP at {http_mode.PATH}"
        logger.info(
            "ready",
            extra={"checklist": deps.checklist.id, "channel": deps.channel, "http": self.health_url, "slack": mode},
        )

    def _examination(self, deps: Deps) -> doctor.Examination:
        settings = self._settings
        database = doctor.database_question(deps.store.url, is_embedded=settings.database_url is None)
        questions = (checkup.question(settings.slack, deps.policy), database)
        own = doctor.Examination(questions, tuple(doctor.configuration_findings(settings, deps.checklist)))
        return doctor.examination(settings, deps.checklist, deps.registry, own)

    def _serve(self, pages: Pages) -> None:
        server = WebServer(self._settings.http.host, self._settings.http.port, pages)
        server.start()
        self._running.append(server.stop)
        self.health_url = server.url

    def _open_store(self) -> Store:
        settings = self._settings
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
        else:
            folder = Path(settings.data_dir) / "postgres"
            logger.info("DATABASE_URL is not set, or empty: the bot keeps a PostgreSQL of its own in %s", folder)
            postgres = EmbeddedPostgres(folder)
            url = postgres.start()
            self._running.append(postgres.stop)
        store = Store(url, size=POOL)
        store.open()
        self._running.append(store.close)
        if migration_names := migrate(store):
            logger.info("migrated the database: %s", ", ".join(migration_names))
        return store

    def _workers(self, deps: Deps, client: WebClient, identity: Identity, beat: Callable[[], None]) -> Workers:
        dispatch, publisher = Dispatch(deps, client, identity), Publisher(deps, client)
        uploader, examiner = Uploader(deps, client), Doctor(deps)
        queues = [
            Queue("inbox", 4, dispatch.execute, give_up_after=GIVE_UP_AFTER, on_give_up=dispatch.give_up),
            Queue("reply", 2, publisher.answer, give_up_after=GIVE_UP_AFTER),
            Queue(posts.QUEUE, 1, publisher.execute, of_release=True),
            Queue("file", 1, uploader.execute),
            Queue(doctor.QUEUE, 1, examiner.execute, give_up_after=GIVE_UP_AFTER, on_give_up=examiner.give_up),
            Queue("check", CHECK_THREADS, lambda job: release_run.execute(deps, job), of_release=True),
            Queue(expiry.QUEUE, 1, lambda job: expiry.execute(deps, job), of_release=True),
            Queue(upkeep.QUEUE, 1, lambda job: upkeep.execute(deps, job), of_release=True),
            Queue("advance", 2, lambda job: advance.execute(deps, job), of_release=True),
            Queue(mitigation.QUEUE, 1, lambda job: mitigation.execute(deps, job)),
            Queue("watch", 1, lambda job: watch.execute(deps, job), of_release=True),
            Queue("picture", 1, lambda job: picture.execute(deps, job), give_up_after=3, of_release=True),
        ]
        return Workers(deps.store, deps.clock, queues, beat=beat)

    def stop(self) -> None:
        """Stop all parts, the last started first. Work that is under way goes on at the next start."""
        while self._running:
            stop = self._running.pop()
            try:
                stop()
            except (BotError, OSError) as error:
                logger.warning("while stopping: %s", error)


def _ready(store: Store, workers: Workers, socket: Socket | None) -> dict[str, str]:
    """Return what is wrong with each part, empty if it works. In HTTP mode the state of Slack is not known, so it is left out."""
    try:
        with store.transaction(wait=PATIENCE) as tx:
            tx.execute("SELECT 1")
        parts = {"database": ""}
    except BotError as error:
        parts = {"database": error.user_message}
    parts["work"] = "" if workers.listening else "does not hear of new work; it is looked for every few seconds"
    if socket is not None:
        parts["slack"] = "" if socket.connected else "not connected"
    return parts


def _backlog(store: Store) -> dict[str, tuple[int, float]]:
    with store.transaction(wait=PATIENCE) as tx:
        return work.backlog(tx)
