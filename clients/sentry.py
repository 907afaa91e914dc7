"""Sentry: issues, events and error counts of the product's project, and sending it an event (docs.sentry.io/api)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx

from clients.declared import Guarded
from clients.errors import ClientError, StrangeAnswer
from clients.http import http_client, http_errors
from clients.needs import SENTRY_DSN, VendorRight
from clients.packages import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sentry_sdk.types import Event

PAGE = 100  # issues a page, the most that Sentry gives
MAX_PAGES = 20  # far more issues than a quarter of an hour can hold; beyond it the answer would be a guess
READ_ORGANIZATION, READ_PROJECT, READ_EVENTS = (
    VendorRight("sentry.token", scope) for scope in ("org:read", "project:read", "event:read")
)
FLUSH = 15.0  # seconds to hand an event over
WRONG_ADDRESS = "Does sentry.url point to Sentry?"


@dataclass(frozen=True)
class Bucket:
    """The errors of one stretch of time that is over: Sentry counts nothing more into it."""

    start: datetime
    count: float


@dataclass(frozen=True)
class Counts:
    """Complete buckets in order of time, each ``interval`` seconds long."""

    interval: float
    buckets: tuple[Bucket, ...]


class Sentry(Guarded):
    """One project of Sentry."""

    def __init__(self, url: str, token: str, organization: str, project: str, *, timeout: float) -> None:
        """``url``: of the server; ``timeout``: seconds for one answer."""
        self.project = project
        self._organization, self._project = f"organizations/{organization}/", f"projects/{organization}/{project}/"
        self._client = http_client(f"{url.rstrip('/')}/api/0/", timeout=timeout, token=token)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get_organization(self) -> Any:
        """The organization; takes the scope org:read. Raises ClientError."""
        self._declared.retry_read(READ_ORGANIZATION)
        return self._get(self._organization, {}, "read Sentry").json()

    def get_project(self) -> Any:
        """The project; takes the scope project:read. Raises ClientError."""
        self._declared.retry_read(READ_PROJECT)
        return self._get(self._project, {}, "read Sentry").json()

    def issues(self, query: Mapping[str, str], *, limit: int = PAGE) -> Iterator[dict[str, Any]]:
        """All issues of all pages that match ``query`` (docs.sentry.io/api/pagination). Raises ClientError."""
        self._declared.retry_read(READ_EVENTS)
        params = {"project": self.project, "limit": str(limit), **query}
        cursor: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            response = self._get(f"{self._organization}issues/", params | cursor, "list Sentry issues")
            issues = response.json()
            if not isinstance(issues, list) or not all(isinstance(issue, dict) and "id" in issue for issue in issues):
                raise StrangeAnswer("Sentry's answer is not a list of issues", hint=WRONG_ADDRESS, seen=response.text)
            yield from issues
            following = response.links.get("next", {})
            if following.get("results") != "true":  # there is a next link on the last page too
                return
            cursor = {"cursor": following.get("cursor", "")}
        raise ClientError(
            f"Sentry has more than {PAGE * MAX_PAGES} issues here", hint="See Sentry: it has too many issues right now."
        )

    def event_address(self, event_id: str) -> str:
        """Where an event is read, for people."""
        return f"{self._client.base_url}{self._project}events/{event_id}/"

    def event(self, event_id: str) -> dict[str, Any] | None:
        """An event; None as long as Sentry does not show it. Raises ClientError."""
        self._declared.retry_read(READ_PROJECT)
        with http_errors("read the test event back"):
            response = self._client.get(f"{self._project}events/{event_id}/")
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            response.raise_for_status()
            body = response.json()
        if not isinstance(body, dict):
            raise StrangeAnswer(
                "Sentry's answer about the test event isn't a JSON object", hint=WRONG_ADDRESS, seen=response.text
            )
        return body

    def error_counts(
        self, *, environment: str, start: datetime, end: datetime, interval: int, query: str = ""
    ) -> Counts:
        """How many errors there were in each ``interval`` (seconds) between two moments.

        Buckets that Sentry calls incomplete are left out. It may choose another interval than was asked for, so the one
        that it used is read from the answer. Raises ClientError when it does not answer, or not with counts.
        """
        self._declared.retry_read(READ_ORGANIZATION)
        params = {
            "dataset": "errors",
            "yAxis": "count()",
            "interval": str(interval),
            "project": self.project,
            "environment": environment,
            "start": iso(start),
            "end": iso(end),
            "query": query,
        }
        response = self._get(f"{self._organization}events-timeseries/", params, "count Sentry's errors")
        try:
            values = [value for series in response.json()["timeSeries"] for value in series["values"]]
            every = [
                (_moment(value["timestamp"]), float(value["value"]), bool(value["incomplete"])) for value in values
            ]
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise StrangeAnswer("Sentry's answer has no counts", hint=WRONG_ADDRESS, seen=response.text) from exc
        every.sort()
        gaps = [(after[0] - before[0]).total_seconds() for before, after in pairwise(every)]
        length = min((gap for gap in gaps if gap > 0), default=float(interval))
        return Counts(length, tuple(Bucket(moment, count) for moment, count, incomplete in every if not incomplete))

    def send(self, event: Event, dsn: str) -> str:
        """Hand an event to Sentry, by the project's DSN; returns its id. Raises ClientError when it was refused."""
        self._declared.retry_read(SENTRY_DSN)
        self._declared.insist_on_change("send an event to Sentry")
        return _send(event, dsn)

    def _get(self, path: str, query: Mapping[str, str], what: str) -> httpx.Response:
        """An answer that is JSON."""
        with http_errors(what):
            response = self._client.get(path, params=dict(query))
            response.raise_for_status()
            response.json()
            return response


def _send(event: Event, dsn: str) -> str:
    """With a client of its own."""
    load("sentry_sdk.transport", "sentry_sdk.utils")
    import sentry_sdk  # half a second to load, so only who sends one pays for it
    from sentry_sdk.transport import HttpTransport
    from sentry_sdk.utils import BadDsn

    reasons: list[str] = []

    class Witness(HttpTransport):
        """The SDK drops what is refused without a word; this notes why."""

        TIMEOUT = 10

        def on_dropped_event(self, _reason: str) -> None:
            reasons.append(_reason)

    try:
        client = sentry_sdk.Client(
            dsn=dsn,
            transport=Witness,
            environment=event["environment"],
            release="",  # else the SDK asks git for one
            default_integrations=False,
            auto_enabling_integrations=False,
            send_client_reports=False,
        )
    except BadDsn as exc:
        raise ClientError(f"the Sentry DSN is malformed: {exc}", hint="Set sentry.dsn to the project's DSN.") from exc
    try:
        event_id = client.capture_event(event)
        client.flush(timeout=FLUSH)
    finally:
        client.close(timeout=0)
    if event_id is None or reasons:
        raise ClientError(
            f"Sentry refused the test event: {', '.join(reasons) or 'dropped by the SDK'}",
            hint="Is the DSN right, and is Sentry's ingest up and under its rate limit?",
        )
    return event_id


def _moment(timestamp: float) -> datetime:
    """The schema says only "number"; Sentry's own example has milliseconds. What is too small for them is seconds."""
    number = float(timestamp)
    return datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC)  # noqa: PLR2004  the year 5138 in seconds


def iso(moment: datetime) -> str:
    """A moment as Sentry's parameters take it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def end_of(bucket: Bucket, counts: Counts) -> datetime:
    """The moment at which a bucket is full."""
    return bucket.start + timedelta(seconds=counts.interval)
