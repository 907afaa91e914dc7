"""The simulated Sentry as a watch sees it: counts over time, late events, limits; held against Sentry's own schema."""

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.fix_kube import eventually
from tests.fix_sandbox import Sandbox, send_event

SCHEMAS = json.loads((Path(__file__).parent / "sentry-answers.json").read_text(encoding="utf-8"))["answers"]
RATES, ISSUES = "organizations/solvereign/events-timeseries/", "organizations/solvereign/issues/"
# The schema calls these required, but they come with `expand` or a search only.
ON_REQUEST = {
    "derivedData", "filtered", "inbox", "integrationIssues", "latestEventHasAttachments", "matchingEventEnvironment",
    "matchingEventId", "owners", "sentryAppIssues", "sessionCount", "stats",
}  # fmt: skip
QUERY = {"dataset": "errors", "yAxis": "count()", "environment": "production", "query": ""}


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """Sentry's web API with its token."""
    facts = sandbox["sentry"]
    headers = {"Authorization": f"Bearer {facts['token']}"}
    with httpx.Client(base_url=f"{facts['url'].rstrip('/')}/api/0/", headers=headers) as client:
        yield client


def last_minutes(minutes: int) -> dict[str, str]:
    """The parameters of so much time until now."""
    now = datetime.now(UTC)
    return {"start": (now - timedelta(minutes=minutes)).isoformat(), "end": now.isoformat()}


def counts(api: httpx.Client, minutes: int, **query: str) -> list[dict[str, Any]]:
    """The errors of each of the last minutes."""
    answer = api.get(RATES, params={**QUERY, "interval": "60", **last_minutes(minutes), **query})
    answer.raise_for_status()
    buckets: list[dict[str, Any]] = answer.json()["timeSeries"][0]["values"]
    return buckets


def total(api: httpx.Client, **query: str) -> int:
    """All errors of the last minutes."""
    return int(sum(bucket["value"] for bucket in counts(api, 15, **query)))


def as_json_schema(schema: Any) -> Any:
    """OpenAPI 3.0 says ``nullable: true`` where JSON Schema has the type null."""
    if isinstance(schema, list):
        return [as_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: as_json_schema(value) for key, value in schema.items() if key != "nullable"}
    if isinstance(plain.get("required"), list):
        plain["required"] = [name for name in plain["required"] if name not in ON_REQUEST]
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


@pytest.mark.parametrize(
    ("path", "query"), [(RATES, {**QUERY, "interval": "60", **last_minutes(15)}), (ISSUES, {"query": ""})]
)
def test_answers_are_as_sentry_says_they_are(api: httpx.Client, path: str, query: dict[str, str]) -> None:
    """Every field that its published schema has, with its type."""
    schema = SCHEMAS[f"/api/0/{path}".replace("solvereign", "{organization}")]
    jsonschema.validate(api.get(path, params=query).json(), as_json_schema(schema))


def test_rates_end_with_an_incomplete_bucket(api: httpx.Client) -> None:
    """The last minute may still grow, and says so; those before do not."""
    buckets = counts(api, 15)
    assert (len(buckets), [bucket["incomplete"] for bucket in buckets].index(True)) == (16, 15)
    assert {after["timestamp"] - before["timestamp"] for before, after in pairwise(buckets)} == {60_000}


def test_production_always_has_some_errors(api: httpx.Client) -> None:
    """A known one, a few in a quarter of an hour and for hours back: the noise that a release is not to blame for."""
    assert total(api) >= 3
    assert sum(bucket["value"] for bucket in counts(api, 120)) > 30
    assert total(api, query='release:"solvereign@9.9.9"') == 0
    (noise,) = [
        issue for issue in api.get(ISSUES, params={"query": ""}).json() if issue["title"].startswith("TimeoutError")
    ]
    assert noise["substatus"] == "ongoing"


def test_an_event_has_the_time_at_which_it_happened(sandbox: Sandbox, api: httpx.Client) -> None:
    """It says so itself, as an SDK that could not send it at once; one from the future happened now."""
    title, past = uuid.uuid4().hex, datetime.now(UTC) - timedelta(minutes=7)
    for moment in (past, past + timedelta(days=9)):
        send_event(sandbox, {"message": title, "environment": "production", "timestamp": moment.isoformat()})

    def issue() -> list[dict[str, Any]]:
        return [
            one for one in api.get(ISSUES, params={"query": ""}).json() if one["title"] == title and one["count"] == "2"
        ]

    eventually("both events", lambda: bool(issue()))
    (issue_now,) = issue()
    assert abs((datetime.fromisoformat(issue_now["firstSeen"]) - past).total_seconds()) < 0.01
    assert abs((datetime.fromisoformat(issue_now["lastSeen"]) - datetime.now(UTC)).total_seconds()) < 10


def test_the_rate_of_errors_rises(sandbox: Sandbox, api: httpx.Client) -> None:
    """Of a known error: there is no new issue."""
    ids_before, before = {issue["id"] for issue in api.get(ISSUES, params={"query": ""}).json()}, total(api)
    with sandbox.fault("sentry_error_rate"):
        eventually("three more errors", lambda: total(api) >= before + 3)
    assert {issue["id"] for issue in api.get(ISSUES, params={"query": ""}).json()} == ids_before


def test_events_that_arrive_late_have_the_time_at_which_they_happened(sandbox: Sandbox, api: httpx.Client) -> None:
    """Not there at first; afterwards first seen when it happened."""
    ids_before = {issue["id"] for issue in api.get(ISSUES, params={"query": ""}).json()}

    def new() -> list[str]:
        issues = api.get(ISSUES, params={"query": ""}).json()
        return [issue["firstSeen"] for issue in issues if issue["id"] not in ids_before]

    with sandbox.fault("sentry_late_events"):
        start_time = time.time()
        with sandbox.fault("sentry_new_issue"):
            event_time = time.time()
        assert new() == []
        eventually("a second between event and arrival", lambda: time.time() > event_time + 1)
    (first_seen,) = new()
    assert start_time - 0.01 <= datetime.fromisoformat(first_seen).timestamp() <= event_time


def test_a_limited_rate_says_how_long_to_wait(sandbox: Sandbox, api: httpx.Client) -> None:
    """429 on the web API, with Retry-After and Sentry's own headers; the ingest goes on."""
    with sandbox.fault("sentry_rate_limited"):
        answer = api.get(ISSUES, params={"query": ""})
        send_event(sandbox, {"message": "taken all the same"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert int(answer.headers["X-Sentry-Rate-Limit-Reset"]) >= time.time()
    assert "too frequently" in answer.json()["detail"]
    assert api.get(ISSUES, params={"query": ""}).status_code == 200
