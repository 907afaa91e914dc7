"""The simulated Sentry: the ingest that an SDK sends to, and the web API that a release bot reads and writes."""

import asyncio
import hashlib
import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from sandbox.faults import Faults
from sandbox.persist import Snapshot
from sandbox.staging.sentry_store import DAY, Event, Issue, Store, parse_time
from sandbox.staging.serving import bearer, json_errors, refuse_while, require_token

ORGANIZATION = "solvereign"
PROJECT = "api"
PROJECT_ID = "42"
PUBLIC_KEY = "5a4db0c05a4db0c05a4db0c05a4db0c0"
TOKEN = "sandbox-sentry-token"
VISIBLE_AFTER_SECONDS = 0.5
_PAGE = 100
_PERIODS = {"m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}

Json = dict[str, Any]


class Sentry:
    """The server's state and its handlers; `app` is what listens."""

    def __init__(self, faults: Faults, snapshot: Snapshot, releases: Snapshot) -> None:
        self._faults = faults
        self._store = Store(snapshot)
        self._releases_file = releases
        self._releases: dict[str, Json] = releases.load() or {}
        self._arriving: set[asyncio.TimerHandle] = set()
        self.app = web.Application(
            middlewares=[
                refuse_while(lambda: faults.on("sentry_down")),
                json_errors(lambda _status, _reason: {"detail": "The requested resource does not exist"}),
                _rate_limit_headers,
                require_token(
                    bearer(TOKEN),
                    lambda _request: web.json_response({"detail": "Invalid token"}, status=401),
                    open_paths=(f"/api/{PROJECT_ID}/",),
                ),
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
        self.app.on_cleanup.append(self._stop)

    def new_issue(self) -> None:
        """Let an error happen in production now that never happened before."""
        number = uuid.uuid4().hex[:6]
        self._store.add(
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

    async def _stop(self, _app: web.Application) -> None:
        for handle in self._arriving:
            handle.cancel()
        self._store.flush()
        self._releases_file.flush()

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
            self._store.add(payload, time.time())

        handle = asyncio.get_running_loop().call_later(VISIBLE_AFTER_SECONDS, arrive)
        self._arriving.add(handle)

    # Organization and project

    async def _organization(self, _request: web.Request) -> web.Response:
        return web.json_response({"id": "1", "slug": ORGANIZATION, "name": "SOLVEREIGN", "status": {"id": "active"}})

    async def _projects(self, _request: web.Request) -> web.Response:
        return web.json_response([_PROJECT])

    async def _project(self, _request: web.Request) -> web.Response:
        return web.json_response(_PROJECT)

    # Events

    async def _events(self, _request: web.Request) -> web.Response:
        return web.json_response([_event_json(event) for event in reversed(self._store.events.values())][:_PAGE])

    async def _event(self, request: web.Request) -> web.Response:
        event = self._store.events.get(request.match_info["event_id"].replace("-", ""))
        if event is None:
            return _detail(404, "Event not found")
        return web.json_response(_event_json(event))

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
                "event": _event_json(event),
            }
        )

    # Issues

    async def _issues(self, request: web.Request) -> web.Response:
        if not _asks_for_this_project(request):
            return _detail(403, "You do not have permission to perform this action.")
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
        page = [self._issue_json(request, issue, environments) for issue in found[offset : offset + limit]]
        response = web.json_response(page)
        response.headers["Link"] = _links(request, offset, limit, len(found))
        return response

    async def _issue(self, request: web.Request) -> web.Response:
        issue = self._store.issues.get(request.match_info["issue_id"])
        if issue is None:
            return _detail(404, "The requested resource does not exist")
        return web.json_response(self._issue_json(request, issue, request.query.getall("environment", [])))

    async def _issue_events(self, request: web.Request) -> web.Response:
        wanted = request.match_info["issue_id"]
        events = [event for event in self._store.events.values() if event.issue_id == wanted]
        return web.json_response([_event_json(event) for event in reversed(events)][:_PAGE])

    def _issue_json(self, request: web.Request, issue: Issue, environments: list[str]) -> Json:
        kind, _, value = issue.title.partition(": ")
        project = {key: _PROJECT[key] for key in ("id", "name", "slug", "platform")}
        return {
            "id": issue.id,
            "shareId": None,
            "shortId": f"API-{int(issue.id) % 1000:X}",
            "title": issue.title,
            "culprit": issue.culprit,
            "permalink": f"{_base(request)}/organizations/{ORGANIZATION}/issues/{issue.id}/",
            "logger": None,
            "level": issue.level,
            "status": issue.status,
            "statusDetails": {},
            "substatus": issue.substatus,
            "isPublic": False,
            "platform": "python",
            "project": project,
            "type": "error",
            "issueType": "error",
            "issueCategory": "error",
            "metadata": {"type": kind, "value": value},
            "numComments": 0,
            "assignedTo": None,
            "isBookmarked": False,
            "isSubscribed": False,
            "subscriptionDetails": None,
            "hasSeen": False,
            "annotations": [],
            "isUnhandled": issue.is_unhandled,
            "priority": "high",
            "priorityLockedAt": None,
            "count": str(issue.count(environments)),
            "userCount": 0,
            "firstSeen": _iso(issue.first_seen(environments)),
            "lastSeen": _iso(issue.last_seen(environments)),
            "lifetime": {
                "count": str(issue.count()),
                "userCount": 0,
                "firstSeen": _iso(issue.first_seen()),
                "lastSeen": _iso(issue.last_seen()),
            },
        }

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
                "incomplete": (first + number + 1) * interval > end,
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
        environments = request.query.getall("environment", [])
        start, end = _window(request)
        matching = {issue.id for issue in self._store.search(request.query.get("query", ""), environments, start, end)}
        return [
            event
            for event in self._store.events.values()
            if start <= event.received <= end
            and event.issue_id in matching
            and (not environments or event.environment in environments)
        ]

    # Releases and deploys

    async def _list_releases(self, _request: web.Request) -> web.Response:
        return web.json_response([_release_json(release) for release in reversed(self._releases.values())])

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
        return web.json_response(_release_json(release), status=208 if known else 201)

    async def _get_release(self, request: web.Request) -> web.Response:
        release = self._find_release(request)
        return web.json_response(_release_json(release)) if release else _detail(404, _NO_RELEASE)

    async def _update_release(self, request: web.Request) -> web.Response:
        release = self._find_release(request)
        if release is None:
            return _detail(404, _NO_RELEASE)
        self._change(release, await request.json())
        return web.json_response(_release_json(release))

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
            "dateFinished": body.get("dateFinished") or _iso(time.time()),
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
_PROJECT: Json = {
    "id": PROJECT_ID,
    "slug": PROJECT,
    "name": PROJECT,
    "platform": "python",
    "status": "active",
    "organization": {"id": "1", "slug": ORGANIZATION, "name": "SOLVEREIGN"},
}


@web.middleware
async def _rate_limit_headers(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    response.headers["X-Sentry-Rate-Limit-Limit"] = "40"
    response.headers["X-Sentry-Rate-Limit-Remaining"] = "39"
    response.headers["X-Sentry-Rate-Limit-Reset"] = str(int(time.time()) + 1)
    return response


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


def _links(request: web.Request, offset: int, limit: int, total: int) -> str:
    """The Link header: always both directions; `results` says whether there is more (docs.sentry.io, pagination)."""

    def link(rel: str, start: int, results: bool) -> str:
        cursor = f"0:{start}:{int(rel == 'previous')}"
        url = request.url.update_query(cursor=cursor)
        return f'<{url}>; rel="{rel}"; results="{str(results).lower()}"; cursor="{cursor}"'

    before, after = max(0, offset - limit), offset + limit
    return f"{link('previous', before, offset > 0)}, {link('next', after, after < total)}"


def _event_json(event: Event) -> Json:
    payload = event.payload
    sent_tags = payload.get("tags") or {}
    tags = dict(sent_tags.items() if isinstance(sent_tags, dict) else sent_tags)
    tags |= {"environment": event.environment, "level": payload.get("level", "error"), "release": event.release}
    values = (payload.get("exception") or {}).get("values") or []
    last = values[-1] if values else {}
    title = f"{last.get('type')}: {last.get('value')}" if last else str(payload.get("message") or "")
    return {
        "id": event.event_id,
        "eventID": event.event_id,
        "groupID": event.issue_id,
        "projectID": PROJECT_ID,
        "message": payload.get("message") or (payload.get("logentry") or {}).get("message") or "",
        "title": title,
        "location": None,
        "culprit": payload.get("transaction"),
        "user": None,
        "tags": [{"key": key, "value": str(value)} for key, value in tags.items() if value],
        "platform": payload.get("platform", "other"),
        "dateCreated": _iso(event.received),
        "dateReceived": _iso(event.received),
        "contexts": payload.get("contexts") or {},
        "context": payload.get("extra") or {},
        "size": len(json.dumps(payload)),
        "entries": [{"type": "exception", "data": {"values": values}}] if values else [],
        "dist": None,
        "sdk": {key: (payload.get("sdk") or {}).get(key) for key in ("name", "version")},
        "packages": {},
        "type": "error" if values else "default",
        "metadata": {"type": last.get("type", ""), "value": last.get("value", "")},
        "errors": [],
        "occurrence": None,
        "_meta": {},
        "release": {"version": event.release} if event.release else None,
        "userReport": None,
        "sdkUpdates": [],
        "resolvedWith": [],
        "nextEventID": None,
        "previousEventID": None,
    }


def _release_json(release: Json) -> Json:
    deploys = release["deploys"]
    version = release["version"]
    return {
        "id": int(hashlib.sha256(version.encode()).hexdigest()[:7], 16),
        "version": version,
        "shortVersion": version,
        "status": "open",
        "ref": release.get("ref"),
        "url": release.get("url"),
        "dateCreated": _iso(release["created"]),
        "dateReleased": release.get("dateReleased"),
        "newGroups": 0,
        "commitCount": len(release.get("commits") or []),
        "deployCount": len(deploys),
        "lastDeploy": deploys[-1] if deploys else None,
        "versionInfo": None,
        "data": {},
        "authors": [],
        "projects": [
            {
                **{key: _PROJECT[key] for key in ("slug", "name", "platform")},
                "id": int(PROJECT_ID),
                "platforms": ["python"],
                "hasHealthData": False,
                "newGroups": 0,
            }
        ],
    }


def _base(request: web.Request) -> str:
    return str(request.url.origin())


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _detail(status: int, text: str) -> web.Response:
    return web.json_response({"detail": text}, status=status)
