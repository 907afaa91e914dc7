"""sentry_receives: a test event is read back from Sentry; a 200 of the ingest proves nothing."""

import gzip
import json
import time
from typing import Any

import pytest

from checks.contract import Outcome, Subject
from clients.sentry import SentrySettings
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.fix_checks import run, staging_target

ENVELOPE = "POST /api/42/envelope/"


class Project:
    """A Sentry project with canned behaviour: what the ingest takes can be read back after some 404s."""

    def __init__(
        self,
        *,
        not_yet: int = 0,
        ingest: Reply | None = None,
        read: Reply | None = None,
        filed_under: str = "",
        slow: float = 0,
    ) -> None:
        self.event: dict[str, Any] = {}
        self._not_yet = not_yet
        self._ingest = ingest or Reply(200, {})
        self._read = read
        self._filed_under = filed_under
        self._slow = slow  # seconds until the ingest has taken an event
        self.server = Replies({ENVELOPE: self._take})

    def target(self, **more: object) -> Target:
        """A staging target with this project."""
        url = self.server.url
        dsn = url.replace("http://", "http://publickey@") + "/42"
        sentry = SentrySettings(url=url, token="sntryu_x", organization="solvereign", project="api", dsn=dsn)
        return Target(name="staging", mutable=True, sentry=sentry, **more)

    def _take(self, request: Request) -> Reply:
        time.sleep(self._slow)
        packed = request.headers.get("Content-Encoding") == "gzip"
        lines = (gzip.decompress(request.body) if packed else request.body).splitlines()
        self.event = json.loads(lines[2])
        path = f"/api/0/projects/solvereign/api/events/{self.event['event_id']}/"
        self.server.routes[f"GET {path}"] = self._show
        return self._ingest

    def _show(self, request: Request) -> Reply:
        if self._not_yet:
            self._not_yet -= 1
            return Reply(404, {"detail": "Event not found"})
        if self._read:
            return self._read
        tags = [{"key": "environment", "value": self._filed_under or self.event["environment"]}]
        return Reply(200, {"eventID": self.event["event_id"], "groupID": "77", "tags": tags})


def test_event_is_seen(sandbox):
    """The sandbox's Sentry shows the event: PASS."""
    result = run("sentry_receives", {}, target=staging_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary.startswith("test event seen after ")
    assert len(result.answer.data["event_id"]) == 32


def test_dropped_event_fails(sandbox):
    """The ingest says 200 and the event never shows: FAIL, in words that say how long was waited."""
    with sandbox.fault("sentry_drops_events"):
        result = run("sentry_receives", {}, target=staging_target(sandbox), seconds=4.5)

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary.startswith("test event not seen within ")


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_too_short_a_time_is_no_verdict(seconds):
    """The deadline comes before an event could show: ERROR, since nothing was found out."""
    project = Project(not_yet=99)
    with project.server:
        result = run("sentry_receives", {}, target=project.target(), seconds=seconds)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("the time for this check was up ")


def test_time_spent_on_sending_is_no_time_to_show():
    """An ingest that is slow to take the event leaves no time to look for it: ERROR, since nobody looked."""
    project = Project(slow=3.2)
    with project.server:
        result = run("sentry_receives", {}, target=project.target(), seconds=3)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("the time for this check was up 0.")


def test_sentry_down(sandbox):
    """Ingest and API are down: ERROR at once."""
    with sandbox.fault("sentry_down"):
        result = run("sentry_receives", {}, target=staging_target(sandbox))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == "Sentry did not take the test event: status_503"
    assert result.seconds < 10


def test_event_shows_late():
    """Not there at first is no verdict: it is asked again."""
    project = Project(not_yet=2)
    with project.server:
        result = run("sentry_receives", {}, target=project.target())

    assert result.outcome is Outcome.PASS


def test_event_carries_what_the_product_sends():
    """Environment and release are those of the product; the marker is no run of hex that the product would blank."""
    project = Project()
    with project.server:
        run("sentry_receives", {}, target=project.target(environment="stage"), subject=Subject(version="v4.8.0"))

    assert project.event["environment"] == "stage"
    assert project.event["release"] == "solvereign@4.8.0"
    assert project.event["level"] == "error"
    assert project.event["fingerprint"] == ["release-bot-test-event"]
    assert project.event["tags"]["release_bot"] in project.event["message"]


def test_no_release_is_made_up():
    """Without a version the event has no release, least of all the bot's own git commit."""
    project = Project()
    with project.server:
        run("sentry_receives", {}, target=project.target())

    assert not project.event.get("release")


def test_wrong_environment_fails():
    """An event that Sentry files under another environment would be missed by every filter: FAIL."""
    project = Project(filed_under="production")
    with project.server:
        result = run("sentry_receives", {}, target=project.target())

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "test event seen, but with environment production, not staging"


@pytest.mark.parametrize("status", [403, 413, 429])
def test_refused_by_the_ingest_is_no_verdict(status):
    """The SDK keeps quiet about a refusal; the check does not: ERROR."""
    project = Project(ingest=Reply(status, {"detail": "no"}))
    with project.server:
        result = run("sentry_receives", {}, target=project.target())

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == f"Sentry did not take the test event: status_{status}"


@pytest.mark.parametrize("status", [401, 403])
def test_token_without_rights_is_no_verdict(status):
    """A token that may not read events is ERROR at once, not a wait until the deadline."""
    project = Project(read=Reply(status, {"detail": "You do not have permission"}))
    with project.server:
        result = run("sentry_receives", {}, target=project.target())

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith(f"cannot read the test event back: {status}")
    assert result.seconds < 10


@pytest.mark.parametrize("status", [429, 500])
def test_last_answer_decides(status):
    """Sentry fails to the end: ERROR, since whether the event is there was not found out."""
    project = Project(read=Reply(status, {"detail": "no"}))
    with project.server:
        result = run("sentry_receives", {}, target=project.target(), seconds=2.0)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith(f"cannot read the test event back: {status}")


def test_nobody_listens():
    """An ingest that cannot be reached is ERROR."""
    url = closed_port_url()
    dsn = url.replace("http://", "http://publickey@") + "/42"
    sentry = SentrySettings(url=url, token="t", organization="o", project="p", dsn=dsn)
    result = run("sentry_receives", {}, target=Target(name="staging", mutable=True, sentry=sentry))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("Sentry did not take the test event")


def test_malformed_dsn_is_no_verdict():
    """A DSN that is none is ERROR with what to set."""
    sentry = SentrySettings(token="t", organization="o", project="p", dsn="not a dsn")
    result = run("sentry_receives", {}, target=Target(name="staging", mutable=True, sentry=sentry))

    assert result.outcome is Outcome.ERROR
    assert result.answer.hint == "Set sentry.dsn to the project's DSN."


@pytest.mark.parametrize("lacking", ["dsn", "organization", "project", "token"])
def test_missing_setting_is_named(lacking):
    """Each setting that is needed is named when it is missing, before anything is sent."""
    settings = {"token": "t", "organization": "o", "project": "p", "dsn": "http://k@127.0.0.1:1/42"}
    del settings[lacking]
    result = run("sentry_receives", {}, target=Target(name="staging", mutable=True, sentry=SentrySettings(**settings)))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == f"staging has no sentry.{lacking}"
