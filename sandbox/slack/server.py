"""The Slack workspace as one server on a loopback address: page, Web API, sockets, control API."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from sandbox.slack.control import Control
from sandbox.slack.faults import SlackFaults
from sandbox.slack.grants import Clock
from sandbox.slack.http_mode import HttpMode
from sandbox.slack.journal import CallLog
from sandbox.slack.manifest import read_manifest
from sandbox.slack.people import PEOPLE, RELEASES_ID
from sandbox.slack.response_url import ResponseUrlRoutes
from sandbox.slack.shapes import Json
from sandbox.slack.socket_mode import SocketMode
from sandbox.slack.web_api import WebApi
from sandbox.slack.workspace import Workspace

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024 * 1024
STOP_SECONDS = 1.0  # open requests get so long when the server stops
_STATIC = Path(__file__).parent / "static"


class SlackServer:
    """A workspace with one app installed in it."""

    def __init__(
        self,
        *,
        data_dir: Path,
        manifest: Path,
        extra_routes: Callable[[web.Application], None] | None = None,
        clock: Clock = time.time,
    ) -> None:
        """Load the workspace kept in `data_dir`, or found a new one.

        `extra_routes` may add routes of its own to the same server. Raises ValueError for a manifest or a state that
        cannot be read.
        """
        self._workspace = Workspace(data_dir, read_manifest(manifest), clock)
        self._journal = CallLog()
        self._faults = SlackFaults()
        self._socket = SocketMode(self._workspace, self._journal, self._tell_bot_online)
        self._http = HttpMode(self._workspace, self._journal)
        self._extra_routes = extra_routes
        self._runner: web.AppRunner | None = None
        self.bot_token = self._workspace.secret("bot_token")
        self.app_token = self._workspace.secret("app_token")
        self.signing_secret = self._workspace.secret("signing_secret")
        self.channel_id = RELEASES_ID
        self.people = {person.role: person.id for person in PEOPLE}

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and answer the base URL. With port 0 the port of the last time is tried before any free one."""
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        preferred_port = port or self._workspace.port
        try:
            await web.TCPSite(self._runner, host, preferred_port).start()
        except OSError:
            if port:
                await self._runner.cleanup()
                raise
            log.info("port %s of the last time is taken", preferred_port)
            await web.TCPSite(self._runner, host, 0).start()
        actual_port: int = self._runner.addresses[0][1]
        base_url = f"http://{host}:{actual_port}/"
        self._workspace.serve_at(base_url, actual_port)
        return base_url

    async def stop(self) -> None:
        """Close every connection and write the state."""
        self._workspace.hub.close()
        await self._socket.close()
        await self._http.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._workspace.flush()

    def publish(self, event: Json) -> None:
        """Tell every open page of something, e.g. `{"type": "faults", ...}`."""
        self._workspace.hub.publish(event)

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        WebApi(self._workspace, self._journal, self._faults).add_routes(app)
        ResponseUrlRoutes(self._workspace, self._journal).add_routes(app)
        Control(self._workspace, self._journal, self._socket, self._http, self._faults).add_routes(app)
        app.router.add_get("/link/", self._socket.handle)
        app.router.add_get("/", _page)
        app.router.add_static("/static/", _STATIC)
        if self._extra_routes is not None:
            self._extra_routes(app)
        return app

    def _tell_bot_online(self) -> None:
        self._workspace.hub.publish({"type": "bot_online", "online": self._socket.connections > 0})


async def _page(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})
