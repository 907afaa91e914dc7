"""Events and issues of the simulated Sentry; no HTTP."""

import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.persist import Snapshot

KEEP_EVENTS = 2000
DAY = 86400.0
NOISE = "TimeoutError: routing provider did not answer"  # the error that production always has
NOISE_EVERY = 170.0  # seconds between two of them
NOISE_BEFORE = 3 * 3600.0  # seconds of it that a new project has behind it


@dataclass
class SentryEvent:
    """One stored event; `received` is Unix time."""

    event_id: str
    issue_id: str
    received: float
    environment: str
    release: str
    payload: dict[str, Any]


@dataclass
class Issue:
    """A group of events; `seen` maps an environment to [first seen, last seen, count]."""

    id: str
    key: str
    title: str
    culprit: str
    level: str
    status: str = "unresolved"
    substatus: str | None = "new"
    is_unhandled: bool = False
    releases: list[str] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=dict)

    def first_seen(self, environment: str = "") -> float:
        """When the first event came, in this environment or in any."""
        return min(times[0] for times in self._times(environment))

    def last_seen(self, environment: str = "") -> float:
        """When the latest event came."""
        return max(times[1] for times in self._times(environment))

    def count(self, environment: str = "") -> int:
        """How many events came."""
        return int(sum(times[2] for times in self._times(environment)))

    def _times(self, environment: str) -> list[list[float]]:
        return [times for name, times in self.seen.items() if environment in ("", name)]


class IssueStore:
    """All events and issues of the one project, kept over a restart."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        document = snapshot.load()
        self.issues: dict[str, Issue] = {}
        self.events: dict[str, SentryEvent] = {}
        if document is None:
            self._add_old_issues(time.time())
        else:
            self.issues = {item["id"]: Issue(**item) for item in document["issues"]}
            self.events = {item["event_id"]: SentryEvent(**item) for item in document["events"]}

    def add(self, payload: dict[str, Any], now: float) -> SentryEvent:
        """Store one event as the SDK sent it, and put it into its issue, a new one if nothing like it came before.

        ``now``: when it happened; it may have happened before others that are known.
        """
        key, title = _grouping(payload)
        environment = str(payload.get("environment") or "production")
        release = str(payload.get("release") or "")
        issue = next((issue for issue in self.issues.values() if issue.key == key), None)
        if issue is None:
            issue = Issue(
                id=str(4_500_000_000 + len(self.issues) + 1),
                key=key,
                title=title,
                culprit=str(payload.get("transaction") or payload.get("logger") or ""),
                level=str(payload.get("level") or "error"),
                is_unhandled=_is_unhandled(payload),
            )
            self.issues[issue.id] = issue
        times = issue.seen.setdefault(environment, [now, now, 0])
        times[0], times[1], times[2] = min(times[0], now), max(times[1], now), times[2] + 1
        if release and release not in issue.releases:
            issue.releases.append(release)
        event_id = str(payload.get("event_id") or uuid.uuid4().hex)
        event = SentryEvent(event_id, issue.id, now, environment, release, payload)
        self.events[event_id] = event
        for old in list(self.events)[: max(0, len(self.events) - KEEP_EVENTS)]:
            del self.events[old]
        self.save()
        return event

    def search(self, release: str, environment: str, start: float, end: float) -> list[Issue]:
        """The issues with an event in [start, end]; in the environment and of the release, where these are not empty."""
        return [
            issue
            for issue in self.issues.values()
            if (not environment or environment in issue.seen)
            and issue.last_seen(environment) >= start
            and issue.first_seen(environment) <= end
            and (not release or release in issue.releases)
        ]

    def search_events(self, release: str, environment: str, start: float, end: float) -> list[SentryEvent]:
        """The events in [start, end]; in the environment and of the release, where these are not empty."""
        return [
            event
            for event in self.events.values()
            if start <= event.received <= end
            and environment in ("", event.environment)
            and release in ("", event.release)
        ]

    def save(self) -> None:
        """Have the snapshot written soon."""
        self._snapshot.save(self._document)

    def flush(self) -> None:
        """Write the snapshot now."""
        self._snapshot.flush()

    def _document(self) -> dict[str, Any]:
        return {
            "issues": [asdict(issue) for issue in self.issues.values()],
            "events": [asdict(event) for event in self.events.values()],
        }

    def _add_old_issues(self, now: float) -> None:
        """Add issues from before the release, such as every real project has."""
        old = (
            (NOISE, "production", 41.0, 0.1, 132, "unresolved", "ongoing"),
            ("ValueError: shift ends before it starts", "production", 9.0, 1.5, 7, "unresolved", "ongoing"),
            ("OperationalError: the connection is closed", "staging", 20.0, 2.0, 18, "unresolved", "ongoing"),
            ("KeyError: 'plan_id'", "production", 60.0, 35.0, 3, "resolved", None),
        )
        for number, (title, environment, first, last, count, status, substatus) in enumerate(old, start=1):
            identifier = str(4_400_000_000 + number)
            self.issues[identifier] = Issue(
                id=identifier,
                key=title,
                title=title,
                culprit="api.packs.roster.service",
                level="error",
                status=status,
                substatus=substatus,
                releases=["solvereign@3.3.0"],
                seen={environment: [now - first * DAY, now - last * DAY, count]},
            )
        for number in range(int(NOISE_BEFORE / NOISE_EVERY), 0, -1):
            # Not as regular as a clock: each up to half an interval early, always the same way.
            early = (number * 37 % 100) / 200
            self.add(noise(), now - (number - 1 + early) * NOISE_EVERY - 1)
        self.save()


def noise() -> dict[str, Any]:
    """One more event of the error that production always has."""
    kind, _, value = NOISE.partition(": ")
    return {
        "level": "error",
        "platform": "python",
        "environment": "production",
        "release": "solvereign@3.3.0",
        "transaction": "api.packs.roster.service",
        "exception": {"values": [{"type": kind, "value": value}]},
    }


def parse_time(text: str) -> float:
    """ISO 8601, with UTC where no zone is given, as Unix time. Raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _grouping(payload: dict[str, Any]) -> tuple[str, str]:
    """(key by which events are put together, title of the issue)."""
    title = _title(payload)
    fingerprint = payload.get("fingerprint") or ["{{ default }}"]
    return "|".join(title if part == "{{ default }}" else str(part) for part in fingerprint), title


def _title(payload: dict[str, Any]) -> str:
    values = (payload.get("exception") or {}).get("values") or []
    if values:
        return f"{values[-1].get('type', 'Error')}: {values[-1].get('value', '')}"
    log_entry = payload.get("logentry") or {}
    message = payload.get("message")
    text = message if isinstance(message, str) else log_entry.get("formatted") or log_entry.get("message")
    return str(text or "<unlabeled event>").splitlines()[0]


def _is_unhandled(payload: dict[str, Any]) -> bool:
    values = (payload.get("exception") or {}).get("values") or []
    return any((value.get("mechanism") or {}).get("handled") is False for value in values)
