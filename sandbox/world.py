"""The whole simulated world in one event loop: starts every part, moves the switches, says where everything is."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from psycopg.conninfo import conninfo_to_dict

from sandbox import kube
from sandbox.faults import Faults, FaultSwitch, Scope, UnknownFault
from sandbox.kube.account import BOT
from sandbox.kube.seed import BACKUP_CRONJOB, CONTAINER, DEPLOYMENT, PRODUCTION, STAGING
from sandbox.persist import Snapshot
from sandbox.slack import SlackServer
from sandbox.staging import app, database_faults, frontend, github, grafana, sentry, sentry_json, stripe_api, vercel
from sandbox.staging.database import RESTORE_PASSWORD, ProductDatabase, prepare
from sandbox.staging.registry import RegistrySimulator
from sandbox.staging.serving import Server, listen, reserved_port
from sandbox.staging.versions import GITHUB_REPOSITORY, IMAGE, IMAGE_REPOSITORY

if TYPE_CHECKING:
    from sandbox.staging.s3 import S3

ENVIRONMENTS = ("staging", "production")
SLOW_SECONDS = 2.0
DATABASE_VARIABLE = "SOLVEREIGN_DATABASE_URL"
_log = logging.getLogger(__name__)

Json = dict[str, Any]
_T = TypeVar("_T")


@dataclass(frozen=True)
class WorldSettings:
    """What a world is started with; `kubeconfig` None means the simulated cluster, `port` 0 the last or a free one."""

    data_dir: Path
    postgres_url: str
    manifest: Path
    kubernetes_manifests: Path  # deploy/kubernetes, whose Roles the bot's account gets
    kubeconfig: Path | None = None
    port: int = 0
    staging_namespace: str = STAGING
    production_namespace: str = PRODUCTION
    database_prefix: str = "solvereign"
    login_attempts: int = app.LOGIN_ATTEMPTS


class World:
    """Every server of the sandbox. `start` returns the facts of the ready line, `stop` leaves nothing running."""

    def __init__(self, settings: WorldSettings) -> None:
        self._settings = settings
        self._folder = settings.data_dir
        self._faults = Faults(self._snapshot("faults"))
        self._ports = _Ports(self._snapshot("ports"))
        self._moving = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._databases: dict[str, ProductDatabase] = {}
        self._servers: dict[str, Server] = {}
        self._kubeconfig = settings.kubeconfig or Path()  # the administrator's
        self._bot_kubeconfig = self._folder / "bot-kubeconfig"
        self._sentry = sentry.SentrySimulator(self._faults, self._snapshot("sentry"))
        self._slack = SlackServer(
            data_dir=self._folder / "slack", manifest=settings.manifest, extra_routes=self._add_routes
        )

    async def start(self) -> Json:
        """Start everything, each part beside the others where it can be, and return the facts of the ready line.

        What fails to start takes down what had started. Raises psycopg.Error without a PostgreSQL superuser, and
        kube.KubeError or OSError where the cluster cannot be reached.
        """
        try:
            self._stack.callback(self._faults.flush)
            self._stack.callback(self._ports.flush)
            async with asyncio.TaskGroup() as group:
                databases = [group.create_task(self._start_database(name)) for name in ENVIRONMENTS]
                s3 = group.create_task(self._start_s3())
                cluster = group.create_task(self._start_cluster())
            for task in databases:
                database = task.result()
                self._databases[database.environment] = database
            self._kubeconfig = cluster.result()
            await self._start_product()
            await self._start_vendors()
            await _with_timing("seeding the cluster", kube.seed(self._kubeconfig, self._seed(s3.result())))
            await _with_timing("giving the bot its rights", self._install_account())
            page = await self._start_slack()
            await _with_timing("moving the switches", self._restore_faults())
            return self._facts(page, s3.result())
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything in the reverse order of its start, and write the state to the disk."""
        await self._stack.aclose()

    # Parts

    async def _start_database(self, environment: str) -> ProductDatabase:
        work = asyncio.to_thread(
            prepare, self._settings.postgres_url, prefix=self._settings.database_prefix, environment=environment
        )
        return await _with_timing(f"preparing the {environment} database", work)

    async def _start_s3(self) -> dict[str, str]:
        sock = self._ports.listen("s3")

        def start() -> "S3":
            from sandbox.staging.s3 import S3  # moto takes a second to import: beside the other parts

            server = S3(self._faults, self._folder / "s3", sock)
            server.start()
            return server

        server = await _with_timing("starting S3", asyncio.to_thread(start))
        self._stack.push_async_callback(asyncio.to_thread, server.stop)
        return server.facts()

    async def _start_cluster(self) -> Path:
        if self._settings.kubeconfig is not None:
            return self._settings.kubeconfig
        server = kube.KubeServer(self._folder / "kube")
        self._stack.push_async_callback(server.stop)
        await _with_timing("starting the cluster", server.start())
        return server.kubeconfig

    async def _start_product(self) -> None:
        for environment, database in self._databases.items():
            settings = app.ProductSettings(
                environment=environment,
                database_url=database.app_url,
                stripe_api_key=stripe_api.API_KEY,
                webhook_secret=stripe_api.WEBHOOK_SECRET,
                login_attempts=self._settings.login_attempts,
            )
            await self._serve(f"{environment}-api", app.make_app(settings, self._faults))
            await self._serve(f"{environment}-frontend", frontend.make_app(Scope(self._faults, environment)))

    async def _start_vendors(self) -> None:
        stripe = stripe_api.StripeApi(
            self._faults,
            webhooks={
                f"{self._servers[f'{name}-api'].url}/api/billing/webhook": name == "production" for name in ENVIRONMENTS
            },
        )
        await self._serve("sentry", self._sentry.app)
        metrics = f"{self._servers['production-api'].url}/metrics"
        await self._serve("grafana", grafana.GrafanaSimulator(self._faults, metrics_url=metrics).app)
        await self._serve("stripe", stripe.app)
        frontends = vercel.VercelSimulator(self._faults, self._snapshot("vercel"))
        repository = github.GitHubSimulator(self._faults, self._snapshot("github"), on_tag=frontends.build_of_tag)
        await self._serve("github", repository.app)
        await self._serve("registry", RegistrySimulator(self._faults).app)
        await self._serve("vercel", frontends.app)

    async def _start_slack(self) -> str:
        self._stack.push_async_callback(self._slack.stop)
        return await self._slack.start(port=self._settings.port)

    async def _serve(self, name: str, application: web.Application) -> None:
        server = Server(application, self._ports.listen(name))
        self._stack.push_async_callback(server.stop)
        await server.start()
        self._servers[name] = server

    def _snapshot(self, name: str) -> Snapshot:
        return Snapshot(self._folder / f"{name}.json")

    # Cluster

    def _seed(self, s3: dict[str, str]) -> kube.Seed:
        secrets = {
            "SOLVEREIGN_SENTRY_DSN": self._dsn(),
            "SOLVEREIGN_STRIPE_API_KEY": stripe_api.API_KEY,
            "SOLVEREIGN_STRIPE_WEBHOOK_SECRET": stripe_api.WEBHOOK_SECRET,
        }
        bucket = kube.BucketSeed(**s3)
        staging, production = self._settings.staging_namespace, self._settings.production_namespace
        return kube.Seed(
            apps=(
                kube.staging_app(
                    {**secrets, DATABASE_VARIABLE: self._databases["staging"].app_url},
                    staging,
                    port=self._ports.reserve("pod"),
                    restore_password=RESTORE_PASSWORD,
                ),
                kube.production_app({**secrets, DATABASE_VARIABLE: self._databases["production"].app_url}, production),
            ),
            backups=tuple(
                kube.BackupSeed(namespace, name, _libpq_variables(self._databases[name].superuser_url), bucket)
                for namespace, name in ((staging, "staging"), (production, "production"))
            ),
        )

    async def _install_account(self) -> None:
        """Make the bot's account with the shipped Roles only, so that a right that they lack shows in the sandbox."""
        settings = self._settings
        names = {PRODUCTION: settings.production_namespace, STAGING: settings.staging_namespace, BOT: BOT}
        await kube.install(self._kubeconfig, settings.kubernetes_manifests, names, self._bot_kubeconfig)

    # Switches

    def _add_routes(self, application: web.Application) -> None:
        application.add_routes(
            [
                web.get("/sandbox/faults", self._list_faults),
                web.get("/sandbox/faults/{name}", self._get_fault),
                web.put("/sandbox/faults/{name}", self._put_fault),
            ]
        )

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return web.json_response({"faults": [self._fault_json(fault) for fault in self._faults.catalogue()]})

    async def _get_fault(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(self._fault_json(_fault(request.match_info["name"])))
        except UnknownFault as exc:
            return web.json_response({"ok": False, "error": f"unknown switch {exc}"}, status=404)

    async def _put_fault(self, request: web.Request) -> web.Response:
        """Move a switch; the answer comes when the world shows it."""
        try:
            fault = _fault(request.match_info["name"])
            on = (await request.json())["on"]
        except UnknownFault as exc:
            return web.json_response({"ok": False, "error": f"unknown switch {exc}"}, status=404)
        except (json.JSONDecodeError, KeyError, TypeError):
            return web.json_response(
                {"ok": False, "error": 'the body must be {"on": true} or {"on": false}'}, status=400
            )
        async with self._moving:
            was = self._faults.on(fault.name)
            if on is not was:
                await self._act(fault.name, on)
            if fault.name == "sentry_new_issue" and on:
                self._sentry.new_issue()
            self._faults.set(fault.name, on)
        self._slack.publish({"type": "faults", "name": fault.name, "on": on})
        return web.json_response(self._fault_json(fault))

    async def _act(self, name: str, on: bool) -> None:
        """Change the databases and the cluster as a switch demands."""
        if name in database_faults.NAMES:
            await asyncio.to_thread(database_faults.apply_fault, self._databases["staging"].superuser_url, name, on)
        if name in kube.FAULTS:
            await kube.apply_fault(
                self._kubeconfig,
                name,
                on,
                staging_namespace=self._settings.staging_namespace,
                production_namespace=self._settings.production_namespace,
            )

    async def _restore_faults(self) -> None:
        """Act again for the switches that are on from the last run: the databases or the cluster may be new ones."""
        for fault in self._faults.catalogue():
            if self._faults.on(fault.name):
                await self._act(fault.name, True)

    def _fault_json(self, fault: FaultSwitch) -> Json:
        return {
            "name": fault.name,
            "title": fault.title,
            "description": fault.description,
            "group": fault.group,
            "on": self._faults.on(fault.name),
        }

    # Facts

    def _dsn(self) -> str:
        return self._servers["sentry"].url.replace("://", f"://{sentry.PUBLIC_KEY}@") + f"/{sentry_json.PROJECT_ID}"

    def _facts(self, page: str, s3: dict[str, str]) -> Json:
        url = {name: server.url for name, server in self._servers.items()}
        return {
            "page": page,
            "slack_api_url": f"{page}api/",
            "control_url": f"{page}sandbox/",
            "bot_token": self._slack.bot_token,
            "app_token": self._slack.app_token,
            "signing_secret": self._slack.signing_secret,
            "channel_id": self._slack.channel_id,
            "people": self._slack.people,
            "kubeconfig": str(self._kubeconfig),
            "bot_kubeconfig": str(self._bot_kubeconfig),
            "staging": {
                **self._environment("staging", self._settings.staging_namespace),
                "database_admin_url": self._databases["staging"].restore_url,
                "restore_secret": kube.RESTORE_SECRET,
            },
            "production": self._environment("production", self._settings.production_namespace),
            "s3": s3,
            "backup": {"namespace": self._settings.staging_namespace, "cronjob": BACKUP_CRONJOB},
            "sentry": {
                "url": f"{url['sentry']}/",
                "token": sentry.TOKEN,
                "organization": sentry_json.ORGANIZATION,
                "project": sentry_json.PROJECT,
                "dsn": self._dsn(),
            },
            "grafana": {
                "url": url["grafana"],
                "token": grafana.TOKEN,
                "dashboard_uid": grafana.DASHBOARD_UID,
            },
            "stripe": {
                "url": url["stripe"],
                "api_key": stripe_api.API_KEY,
                "live_api_key": stripe_api.LIVE_KEY,
                "webhook_secret": stripe_api.WEBHOOK_SECRET,
            },
            "github": {"url": url["github"], "token": github.TOKEN, "repository": GITHUB_REPOSITORY},
            "registry": {"url": url["registry"], "repository": IMAGE_REPOSITORY, "image": IMAGE},
            "vercel": {"url": url["vercel"], "token": vercel.TOKEN, "project": vercel.PROJECT, "team": vercel.TEAM},
        }

    def _environment(self, name: str, namespace: str) -> Json:
        database = self._databases[name]
        return {
            "namespace": namespace,
            "deployment": DEPLOYMENT,
            "container": CONTAINER,
            "database_url": database.bot_url,
            "database_owner_url": database.superuser_url,
            "api_url": self._servers[f"{name}-api"].url,
            "frontend_url": self._servers[f"{name}-frontend"].url,
            "tenant_id": database.tenant_id,
            "stripe_customer_id": database.stripe_customer_id,
            "login_email": database.login_email,
            "login_password": database.login_password,
        }


class _Ports:
    """Remembers the port of each part, so that addresses stay the same over a restart."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._last: dict[str, int] = snapshot.load() or {}

    def listen(self, name: str) -> socket.socket:
        """A socket on the part's last port, or on a free one."""
        sock = listen(self._last.get(name, 0))
        self._last[name] = sock.getsockname()[1]
        self._snapshot.save(self._last)
        return sock

    def reserve(self, name: str) -> int:
        """The part's last port, or another one, for a process that takes it later."""
        self._last[name] = reserved_port(self._last.get(name, 0))
        self._snapshot.save(self._last)
        return self._last[name]

    def flush(self) -> None:
        """Write the ports to the snapshot now."""
        self._snapshot.flush()


def _fault(name: str) -> FaultSwitch:
    for fault in Faults.catalogue():
        if fault.name == name:
            return fault
    raise UnknownFault(name)


def _libpq_variables(url: str) -> dict[str, str]:
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD"}
    return {names[key]: str(value) for key, value in conninfo_to_dict(url).items() if key in names and value}


async def _with_timing(what: str, work: Awaitable[_T]) -> _T:
    """Wait for ``work``, and log how long it took if that is more than SLOW_SECONDS."""
    start_time = time.monotonic()
    result = await work
    if (seconds := time.monotonic() - start_time) > SLOW_SECONDS:
        _log.info("%s took %.1f s", what, seconds)
    return result
