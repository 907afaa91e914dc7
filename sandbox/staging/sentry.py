"""The simulated Sentry: the ingest that an SDK sends to, and the web API that a release bot reads."""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import NamedTuple, Self

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox.faults import Faults
from sandbox.persist import Snapshot
from sandbox.staging.sentry_json import (
    ORGANIZATION,
    PROJECT,
    PROJECT_ID,
    PROJECT_JSON,
    Json,
    event_json,
    issue_json,
    links,
)
from sandbox.staging.sentry_store import DAY, NOISE_EVERY, IssueStore, noise, parse_time
from sandbox.staging.serving import bearer, json_errors, refuse_while, require_right, require_token

PUBLIC_KEY = "5a4db0c05a4db0c05a4db0c05a4db0c0"
TOKEN = "sandbox-sentry-token"
CI_TOKEN = "sntrys_sandbox"  # of the organization, for builds: it may make releases and read no issue
SCOPES = {TOKEN: {"org:read", "project:read", "event:read"}, CI_TOKEN: {"project:releases"}}
VISIBLE_AFTER_SECONDS = 0.5
RATE_SECONDS = 0.25  # between two errors while there are many
RETRY_SECONDS = 3  # that a client is asked to wait while the rate is limited
_PAGE = 100


class SentrySimulator:
    """The server's state and its handlers; `app` is what listens."""

    def __init__(self, faults: Faults, snapshot: Snapshot) -> None:
        self._faults = faults
        self._store = IssueStore(snapshot)
        self._arriving: set[asyncio.TimerHandle] = set()
        self._late: list[tuple[Json, float]] = []  # events held back, with the time at which they happened
        self._life: asyncio.Task[None] | None = None
        faults.subscribe(self._follow_switch)
        self.app = web.Application(
            middlewares=[
                refuse_while(lambda: faults.on("sentry_down")),
                json_errors(lambda _status, _reason: {"detail": "The requested resource does not exist"}),
                _rate_limit(lambda: faults.on("sentry_rate_limited")),
                require_token(
                    bearer(*SCOPES),
                    lambda _request: web.json_response({"detail": "Invalid token"}, status=401),
                    open_paths=(f"/api/{PROJECT_ID}/",),
                ),
                require_right(SCOPES, _scope_of, lambda _request: _detail(403, _NO_PERMISSION)),
            ]
        )
        organization, project = f"/api/0/organizations/{ORGANIZATION}", f"/api/0/projects/{ORGANIZATION}/{PROJECT}"
        self.app.add_routes(
            [
                web.post(f"/api/{PROJECT_ID}/envelope/", self._envelope),
                web.get(f"{organization}/", self._organization),
                web.get(f"{project}/", self._project),
                web.get(f"{project}/events/{{event_id}}/", self._event),
                web.get(f"{organization}/issues/", self._issues),
                web.get(f"{organization}/events-timeseries/", self._timeseries),
            ]
        )
        self.app.on_startup.append(self._start)
        self.app.on_cleanup.append(self._stop)

    def new_issue(self) -> None:
        """Let an error happen in production now that never happened before."""
        number = uuid.uuid4().hex[:6]
        self._happen(
            {
                "event_id": uuid.uuid4().hex,
                "level": "error",
                "platform": "python",
                "environment": "production",
                "release": "solvereign@3.3.0",
                "transaction": "api.packs.roster.routers.create_plan",
                "exception": {
                    "values": [
                        {"type": "AttributeError", "value": f"'NoneType' object has no attribute 'site_{number}'"}
                    ]
                },
            },
            time.time(),
        )

    async def _start(self, _app: web.Application) -> None:
        self._life = asyncio.create_task(self._live())

    async def _stop(self, _app: web.Application) -> None:
        if self._life is not None:
            self._life.cancel()
        for handle in self._arriving:
            handle.cancel()
        self._store.flush()

    async def _live(self) -> None:
        """Let a known error happen in production every few minutes, and often while its switch is on."""
        quiet_until = time.monotonic() + NOISE_EVERY
        while True:
            await asyncio.sleep(RATE_SECONDS)
            often = self._faults.on("sentry_error_rate")
            if often or time.monotonic() >= quiet_until:
                self._happen(noise(), time.time())
                quiet_until = time.monotonic() + NOISE_EVERY

    def _happen(self, payload: Json, at: float) -> None:
        """Store an event at once, or, while events arrive late, when the switch for that goes off."""
        if self._faults.on("sentry_late_events"):
            self._late.append((payload, at))
        else:
            self._store.add(payload, at)

    def _follow_switch(self, name: str, on: bool) -> None:
        if name == "sentry_late_events" and not on:
            for payload, at in self._late:
                self._store.add(payload, at)
            self._late.clear()

    # Ingest

    async def _envelope(self, request: web.Request) -> web.Response:
        if PUBLIC_KEY not in request.headers.get("X-Sentry-Auth", "") + request.query.get("sentry_key", ""):
            return web.json_response({"detail": "event submission rejected with_reason: ProjectId"}, status=403)
        header, _, items = (await request.read()).partition(b"\n")
        event_id = json.loads(header).get("event_id")
        for payload in _event_items(items):
            payload.setdefault("event_id", event_id)
            if not self._faults.on("sentry_drops_events"):
                self._store_soon(payload)
        return web.json_response({"id": event_id} if event_id else {})

    def _store_soon(self, payload: Json) -> None:
        """Store an accepted event a moment later, as the real service does."""

        def arrive() -> None:
            self._arriving.discard(handle)
            self._happen(payload, at)

        at = _moment_of(payload, time.time())
        handle = asyncio.get_running_loop().call_later(VISIBLE_AFTER_SECONDS, arrive)
        self._arriving.add(handle)

    # Organization, project, events

    async def _organization(self, _request: web.Request) -> web.Response:
        return web.json_response({"id": "1", "slug": ORGANIZATION, "name": "SOLVEREIGN", "status": {"id": "active"}})

    async def _project(self, _request: web.Request) -> web.Response:
        return web.json_response(PROJECT_JSON)

    async def _event(self, request: web.Request) -> web.Response:
        event = self._store.events.get(request.match_info["event_id"].replace("-", ""))
        return web.json_response(event_json(event)) if event else _detail(404, "Event not found")

    # Issues and rates

    async def _issues(self, request: web.Request) -> web.Response:
        if request.query.get("project", PROJECT) not in (PROJECT, PROJECT_ID):
            return _detail(403, _NO_PERMISSION)
        try:
            window = _Window.of(request)
            offset = int(request.query.get("cursor", "0:0:0").split(":")[1])
            limit = min(int(request.query.get("limit", str(_PAGE))), _PAGE)
        except (ValueError, IndexError) as exc:
            return _detail(400, f"Error parsing search query: {exc}")
        issues = self._store.search(*window)
        issues.sort(key=lambda issue: issue.last_seen(window.environment), reverse=True)
        base = str(request.url.origin())
        page = [issue_json(base, issue, window.environment) for issue in issues[offset : offset + limit]]
        return web.json_response(page, headers={"Link": links(request, offset, limit, len(issues))})

    async def _timeseries(self, request: web.Request) -> web.Response:
        interval = int(request.query["interval"])
        try:
            window = _Window.of(request)
        except ValueError as exc:
            return _detail(400, f"Error parsing search query: {exc}")
        first = int(window.start // interval)
        counts = [0] * (int(window.end // interval) - first + 1)
        for event in self._store.search_events(*window):
            counts[int(event.received // interval) - first] += 1
        values = [
            {
                "timestamp": (first + number) * interval * 1000,
                "value": count,
                **_completeness((first + number + 1) * interval > window.end),
            }
            for number, count in enumerate(counts)
        ]
        meta = {"valueType": "integer", "valueUnit": None, "interval": interval * 1000}
        return web.json_response(
            {
                "meta": {"dataset": "errors", "start": int(window.start * 1000), "end": int(window.end * 1000)},
                "timeSeries": [{"yAxis": request.query["yAxis"], "values": values, "meta": meta}],
            }
        )


_NO_PERMISSION = "You do not have permission to perform this action."


class _Window(NamedTuple):
    """What a question is about: a release and an environment (empty: any), from a moment to another in Unix time."""

    release: str
    environment: str
    start: float
    end: float

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """Read from the parameters; 90 days where they name no time. ValueError for a search that is not for a release.

        An omitted query would mean is:unresolved, which nobody asks here.
        """
        query = request.query
        search = re.fullmatch(r'(?:release:"([^"]*)")?', query.get("query", "is:unresolved"))
        if search is None:
            raise ValueError('the sandbox knows an empty query and release:"…" only')
        now = time.time()
        start = parse_time(query["start"]) if "start" in query else now - 90 * DAY
        return cls(
            search[1] or "", query.get("environment", ""), start, parse_time(query["end"]) if "end" in query else now
        )


def _rate_limit(is_limited: Callable[[], bool]) -> Middleware:
    """The headers of every answer, and 429 with the words of Sentry's middleware while the rate is limited.

    The ingest has limits of its own, which this is not about.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_over = is_limited() and request.path.startswith("/api/0/")
        if is_over:
            words = "You are attempting to use this endpoint too frequently. Limit is 40 requests in 1 seconds"
            response: web.StreamResponse = _detail(429, words)
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        else:
            response = await handler(request)
        response.headers["X-Sentry-Rate-Limit-Limit"] = "40"
        response.headers["X-Sentry-Rate-Limit-Remaining"] = "0" if is_over else "39"
        response.headers["X-Sentry-Rate-Limit-Reset"] = str(int(time.time()) + (RETRY_SECONDS if is_over else 1))
        return response

    return middleware


def _moment_of(payload: Json, now: float) -> float:
    """When an event happened: it says so itself (text or Unix time); one from the future happened when it arrived."""
    timestamp = payload.get("timestamp")
    try:
        moment = parse_time(timestamp) if isinstance(timestamp, str) else float(timestamp or now)
    except ValueError:
        moment = now
    return min(moment, now)


def _completeness(incomplete: bool) -> Json:
    return {"incomplete": True, "incompleteReason": "INCOMPLETE_BUCKET"} if incomplete else {"incomplete": False}


def _event_items(items: bytes) -> list[Json]:
    """The payloads of the items of type "event" in an envelope's body (develop.sentry.dev, "Envelopes")."""
    payloads = []
    rest = items
    while rest.strip():
        head, _, rest = rest.partition(b"\n")
        header = json.loads(head)
        length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
        if header.get("type") == "event":
            payloads.append(json.loads(rest[:length]))
        rest = rest[length:].lstrip(b"\n")
    return payloads


def _detail(status: int, text: str) -> web.Response:
    return web.json_response({"detail": text}, status=status)


def _scope_of(request: web.Request) -> str:
    """The scope that a call takes (docs.sentry.io/api/permissions); the ingest asks for none."""
    if not request.path.startswith("/api/0/"):
        return ""
    kind, _, rest = request.path.removeprefix("/api/0/").partition("/")
    if kind == "projects":
        return "project:read"
    return "event:read" if rest.partition("/")[2].startswith("issues/") else "org:read"
