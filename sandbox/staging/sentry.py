"""The simulated Sentry: the ingest that an SDK sends to, and the web API that a release bot reads and writes."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from urllib.parse import unquote

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
    iso,
    issue_json,
    links,
    release_json,
)
from sandbox.staging.sentry_store import DAY, NOISE_EVERY, Event, Store, noise, parse_time
from sandbox.staging.serving import bearer, json_errors, refuse_while, require_right, require_token

PUBLIC_KEY = "5a4db0c05a4db0c05a4db0c05a4db0c0"
TOKEN = "sandbox-sentry-token"
CI_TOKEN = "sntrys_sandbox"  # of the organization, for builds: it may make releases and read no issue
SCOPES = {TOKEN: {"org:read", "project:read", "event:read", "project:releases"}, CI_TOKEN: {"project:releases"}}
VISIBLE_AFTER_SECONDS = 0.5
RATE_SECONDS = 0.25  # between two errors while there are many
RETRY_SECONDS = 3  # that a client is asked to wait while the rate is limited
_PAGE = 100
_PERIODS = {"m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}


class Sentry:
    """The server's state and its handlers; `app` is what listens."""

    def __init__(self, faults: Faults, snapshot: Snapshot, releases: Snapshot) -> None:
        self._faults = faults
        self._store = Store(snapshot)
        self._releases_file = releases
        self._releases: dict[str, Json] = releases.load() or {}
        self._arriving: set[asyncio.TimerHandle] = set()
        self._late: list[tuple[Json, float]] = []  # events held back, with the time at which they happened
        self._life: asyncio.Task[None] | None = None
        faults.subscribe(self._moved)
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
                web.get(f"{organization}/projects/", self._projects),
                web.get(f"{project}/", self._project),
                web.get(f"{project}/events/", self._events),
                web.get(f"{project}/events/{{event_id}}/", self._event),
                web.get(f"{organization}/eventids/{{event_id}}/", self._resolve_event),
                web.get(f"{organization}/issues/", self._issues),
                web.get(f"{organization}/issues/{{issue_id}}/", self._issue),
                web.get(f"{organization}/issues/{{issue_id}}/events/", self._issue_events),
                web.get(f"{organization}/events/", self._count_events),
                web.get(f"{organization}/events-timeseries/", self._timeseries),
                web.get(f"{organization}/releases/", self._list_releases),
                web.post(f"{organization}/releases/", self._create_release),
                web.get(f"{organization}/releases/{{version}}/", self._get_release),
                web.put(f"{organization}/releases/{{version}}/", self._update_release),
                web.get(f"{organization}/releases/{{version}}/deploys/", self._list_deploys),
                web.post(f"{organization}/releases/{{version}}/deploys/", self._create_deploy),
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
        self._releases_file.flush()

    async def _live(self) -> None:
        """Production as it is: a known error now and then, and often while its switch is on."""
        quiet_until = time.monotonic() + NOISE_EVERY
        while True:
            await asyncio.sleep(RATE_SECONDS)
            often = self._faults.on("sentry_error_rate")
            if often or time.monotonic() >= quiet_until:
                self._happen(noise(), time.time())
                quiet_until = time.monotonic() + NOISE_EVERY

    def _happen(self, payload: Json, at: float) -> None:
        """An event that can be read at once, or, while events are late, once they are not any more."""
        if self._faults.on("sentry_late_events"):
            self._late.append((payload, at))
        else:
            self._store.add(payload, at)

    def _moved(self, name: str, on: bool) -> None:
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
        """As in the real service, an accepted event can be read a moment later."""

        def arrive() -> None:
            self._arriving.discard(handle)
            self._happen(payload, at)

        at = _moment_of(payload, time.time())
        handle = asyncio.get_running_loop().call_later(VISIBLE_AFTER_SECONDS, arrive)
        self._arriving.add(handle)

    # Organization and project

    async def _organization(self, _request: web.Request) -> web.Response:
        return web.json_response({"id": "1", "slug": ORGANIZATION, "name": "SOLVEREIGN", "status": {"id": "active"}})

    async def _projects(self, _request: web.Request) -> web.Response:
        return web.json_response([PROJECT_JSON])

    async def _project(self, _request: web.Request) -> web.Response:
        return web.json_response(PROJECT_JSON)

    # Events

    async def _events(self, _request: web.Request) -> web.Response:
        return web.json_response([event_json(event) for event in reversed(self._store.events.values())][:_PAGE])

    async def _event(self, request: web.Request) -> web.Response:
        event = self._store.events.get(request.match_info["event_id"].replace("-", ""))
        if event is None:
            return _detail(404, "Event not found")
        return web.json_response(event_json(event))

    async def _resolve_event(self, request: web.Request) -> web.Response:
        event = self._store.events.get(request.match_info["event_id"].replace("-", ""))
        if event is None:
            return _detail(404, "The requested resource does not exist")
        return web.json_response(
            {
                "organizationSlug": ORGANIZATION,
                "projectSlug": PROJECT,
                "groupId": event.issue_id,
                "eventId": event.event_id,
                "event": event_json(event),
            }
        )

    # Issues

    async def _issues(self, request: web.Request) -> web.Response:
        if not _asks_for_this_project(request):
            return _detail(403, _NO_PERMISSION)
        environments = request.query.getall("environment", [])
        try:
            start, end = _window(request)
            query = request.query.get("query", "is:unresolved")  # the server's default; an empty one means all
            found = self._store.search(query, environments, start, end)
            offset = int(request.query.get("cursor", "0:0:0").split(":")[1])
            limit = min(int(request.query.get("limit", str(_PAGE))), _PAGE)
        except (ValueError, IndexError) as exc:
            return _detail(400, f"Error parsing search query: {exc}")
        keys = {
            "new": lambda issue: issue.first_seen(environments),
            "freq": lambda issue: issue.count(environments),
        }
        found.sort(key=keys.get(request.query.get("sort", "date"), lambda issue: issue.last_seen(environments)))
        found.reverse()
        page = [issue_json(_base(request), issue, environments) for issue in found[offset : offset + limit]]
        response = web.json_response(page)
        response.headers["Link"] = links(request, offset, limit, len(found))
        return response

    async def _issue(self, request: web.Request) -> web.Response:
        issue = self._store.issues.get(request.match_info["issue_id"])
        if issue is None:
            return _detail(404, "The requested resource does not exist")
        return web.json_response(issue_json(_base(request), issue, request.query.getall("environment", [])))

    async def _issue_events(self, request: web.Request) -> web.Response:
        wanted = request.match_info["issue_id"]
        events = [event for event in self._store.events.values() if event.issue_id == wanted]
        return web.json_response([event_json(event) for event in reversed(events)][:_PAGE])

    # Rates

    async def _count_events(self, request: web.Request) -> web.Response:
        events = self._in_window(request)
        fields = request.query.getall("field", [])
        return web.json_response(
            {
                "data": [{name: len(events) for name in fields if name == "count()"}],
                "meta": {"fields": dict.fromkeys(fields, "integer"), "dataset": "errors"},
            }
        )

    async def _timeseries(self, request: web.Request) -> web.Response:
        interval = int(request.query.get("interval", "60"))
        start, end = _window(request)
        first = int(start // interval)
        counts = [0] * (int(end // interval) - first + 1)
        for event in self._in_window(request):
            counts[int(event.received // interval) - first] += 1
        values = [
            {
                "timestamp": (first + number) * interval * 1000,
                "value": count,
                **_completeness((first + number + 1) * interval > end),
            }
            for number, count in enumerate(counts)
        ]
        meta = {"valueType": "integer", "valueUnit": None, "interval": interval * 1000}
        return web.json_response(
            {
                "meta": {"dataset": "errors", "start": int(start * 1000), "end": int(end * 1000)},
                "timeSeries": [{"yAxis": request.query.get("yAxis", "count()"), "values": values, "meta": meta}],
            }
        )

    def _in_window(self, request: web.Request) -> list[Event]:
        start, end = _window(request)
        return self._store.happened(request.query.get("query", ""), request.query.getall("environment", []), start, end)

    # Releases and deploys

    async def _list_releases(self, _request: web.Request) -> web.Response:
        return web.json_response([release_json(release) for release in reversed(self._releases.values())])

    async def _create_release(self, request: web.Request) -> web.Response:
        body = await request.json()
        missing = {key: ["This field is required."] for key in ("version", "projects") if not body.get(key)}
        if missing:
            return web.json_response(missing, status=400)
        known = body["version"] in self._releases
        release = self._releases.setdefault(
            body["version"], {"version": body["version"], "created": time.time(), "deploys": []}
        )
        self._change(release, body)
        return web.json_response(release_json(release), status=208 if known else 201)

    async def _get_release(self, request: web.Request) -> web.Response:
        release = self._find_release(request)
        return web.json_response(release_json(release)) if release else _detail(404, _NO_RELEASE)

    async def _update_release(self, request: web.Request) -> web.Response:
        release = self._find_release(request)
        if release is None:
            return _detail(404, _NO_RELEASE)
        self._change(release, await request.json())
        return web.json_response(release_json(release))

    async def _list_deploys(self, request: web.Request) -> web.Response:
        release = self._find_release(request)
        return web.json_response(release["deploys"][::-1]) if release else _detail(404, _NO_RELEASE)

    async def _create_deploy(self, request: web.Request) -> web.Response:
        release = self._find_release(request)
        if release is None:
            return _detail(404, _NO_RELEASE)
        body = await request.json()
        if not body.get("environment"):
            return web.json_response({"environment": ["This field is required."]}, status=400)
        deploy = {
            "id": str(sum(len(other["deploys"]) for other in self._releases.values()) + 1),
            "environment": body["environment"],
            "name": body.get("name"),
            "url": body.get("url"),
            "dateStarted": body.get("dateStarted"),
            "dateFinished": body.get("dateFinished") or iso(time.time()),
        }
        release["deploys"].append(deploy)
        self._releases_file.save(self._releases)
        return web.json_response(deploy, status=201)

    def _find_release(self, request: web.Request) -> Json | None:
        return self._releases.get(unquote(request.match_info["version"]))

    def _change(self, release: Json, body: Json) -> None:
        release.update({key: body[key] for key in ("ref", "url", "dateReleased", "commits", "refs") if key in body})
        self._releases_file.save(self._releases)


_NO_RELEASE = "The requested resource does not exist"
_NO_PERMISSION = "You do not have permission to perform this action."


def _rate_limit(limited: Callable[[], bool]) -> Middleware:
    """The headers of every answer, and 429 with the words of Sentry's middleware while the rate is limited.

    The ingest has limits of its own, which this is not about.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        over = limited() and request.path.startswith("/api/0/")
        if over:
            words = "You are attempting to use this endpoint too frequently. Limit is 40 requests in 1 seconds"
            response: web.StreamResponse = _detail(429, words)
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        else:
            response = await handler(request)
        response.headers["X-Sentry-Rate-Limit-Limit"] = "40"
        response.headers["X-Sentry-Rate-Limit-Remaining"] = "0" if over else "39"
        response.headers["X-Sentry-Rate-Limit-Reset"] = str(int(time.time()) + (RETRY_SECONDS if over else 1))
        return response

    return middleware


def _moment_of(payload: Json, now: float) -> float:
    """When an event happened: it says so itself (text or Unix time); one from the future happened when it arrived."""
    said = payload.get("timestamp")
    try:
        moment = parse_time(said) if isinstance(said, str) else float(said or now)
    except ValueError:
        moment = now
    return min(moment, now)


def _completeness(incomplete: bool) -> Json:
    return {"incomplete": True, "incompleteReason": "INCOMPLETE_BUCKET"} if incomplete else {"incomplete": False}


def _event_items(items: bytes) -> list[Json]:
    """The payloads of the items of type "event" in an envelope's body (develop.sentry.dev, "Envelopes")."""
    found = []
    rest = items
    while rest.strip():
        head, _, rest = rest.partition(b"\n")
        header = json.loads(head)
        length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
        if header.get("type") == "event":
            found.append(json.loads(rest[:length]))
        rest = rest[length:].lstrip(b"\n")
    return found


def _asks_for_this_project(request: web.Request) -> bool:
    return set(request.query.getall("project", ["-1"])) <= {"-1", PROJECT, PROJECT_ID}


def _window(request: web.Request) -> tuple[float, float]:
    """[start, end] in Unix time: statsPeriod wins over start and end; 90 days when neither is given."""
    now = time.time()
    if period := request.query.get("statsPeriod"):
        return now - int(period[:-1]) * _PERIODS[period[-1]], now
    start, end = request.query.get("start"), request.query.get("end")
    return parse_time(start) if start else now - 90 * DAY, parse_time(end) if end else now


def _base(request: web.Request) -> str:
    return str(request.url.origin())


def _detail(status: int, text: str) -> web.Response:
    return web.json_response({"detail": text}, status=status)


def _scope_of(request: web.Request) -> str:
    """The scope that a call takes (docs.sentry.io/api/permissions); the ingest asks for none."""
    if not request.path.startswith("/api/0/"):
        return ""
    kind, _, rest = request.path.removeprefix("/api/0/").partition("/")
    if kind == "projects":
        return "project:read"
    what = rest.partition("/")[2]
    if what.startswith("issues/"):
        return "event:read"
    return "project:releases" if what.startswith("releases/") else "org:read"
