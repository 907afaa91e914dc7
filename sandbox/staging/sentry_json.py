"""The JSON shapes of the simulated Sentry: project, issue, event, and the header of a page; no state."""

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from sandbox.staging.sentry_store import Issue, SentryEvent

ORGANIZATION = "solvereign"
PROJECT = "api"
PROJECT_ID = "42"

Json = dict[str, Any]

PROJECT_JSON: Json = {
    "id": PROJECT_ID,
    "slug": PROJECT,
    "name": PROJECT,
    "platform": "python",
    "status": "active",
    "organization": {"id": "1", "slug": ORGANIZATION, "name": "SOLVEREIGN"},
}


def issue_json(base: str, issue: Issue, environment: str) -> Json:
    """An issue as the list shows it; counts and times are those of ``environment``. ``base``: address of the server."""
    kind, _, value = issue.title.partition(": ")
    project = {key: PROJECT_JSON[key] for key in ("id", "name", "slug", "platform")}
    return {
        "id": issue.id,
        "shareId": None,
        "shortId": f"API-{int(issue.id) % 1000:X}",
        "title": issue.title,
        "culprit": issue.culprit,
        "permalink": f"{base}/organizations/{ORGANIZATION}/issues/{issue.id}/",
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
        "seerAutofixLastTriggered": None,
        "seerExplorerAutofixLastTriggered": None,
        "seerFixabilityScore": None,
        "count": str(issue.count(environment)),
        "userCount": 0,
        "firstSeen": iso(issue.first_seen(environment)),
        "lastSeen": iso(issue.last_seen(environment)),
        "lifetime": {
            "count": str(issue.count()),
            "userCount": 0,
            "firstSeen": iso(issue.first_seen()),
            "lastSeen": iso(issue.last_seen()),
        },
    }


def links(request: web.Request, offset: int, limit: int, total: int) -> str:
    """The Link header: always both directions; `results` says whether there is more (docs.sentry.io, pagination)."""

    def link(rel: str, start: int, results: bool) -> str:
        cursor = f"0:{start}:{int(rel == 'previous')}"
        url = request.url.update_query(cursor=cursor)
        return f'<{url}>; rel="{rel}"; results="{str(results).lower()}"; cursor="{cursor}"'

    before, after = max(0, offset - limit), offset + limit
    return f"{link('previous', before, offset > 0)}, {link('next', after, after < total)}"


def event_json(event: SentryEvent) -> Json:
    """An event with its tags and its exception."""
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
        "tags": [{"key": key, "value": str(value)} for key, value in tags.items() if value],
        "platform": payload.get("platform", "other"),
        "dateCreated": iso(event.received),
        "dateReceived": iso(event.received),
        "type": "error" if values else "default",
        "release": {"version": event.release} if event.release else None,
    }


def iso(moment: float) -> str:
    """A moment in Unix time as the API writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
