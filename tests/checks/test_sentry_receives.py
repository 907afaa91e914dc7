"""sentry_receives: a test event is read back from Sentry; a 200 of the ingest proves nothing."""

import gzip
import json
import time
from typing import Any

import pytest

from checks.contract import Outcome, Subject
from clients.settings import SentrySettings
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.fix_checks import run, staging_target

ENVELOPE = "POST /api/42/envelope/"


class Project:
    """A Sentry project whose accepted event can be read after some 404s."""

    def __init__(
        self,
        *,
        not_yet: int = 0,
        ingest: Reply | None = None,
        event_reply: Reply | None = None,
        filed_under: str = "",
        slow: float = 0,
    ) -> None:
        self.event: dict[str, Any] = {}
        self._not_yet = not_yet
        self._ingest = ingest or Reply(200, {})
        self._event_reply = event_reply
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
        is_compressed = request.headers.get("Content-Encoding") == "gzip"
        lines = (gzip.decompress(request.body) if is_compressed else request.body).splitlines()
        self.event = json.loads(lines[2])
        path = f"/api/0/projects/solvereign/api/events/{self.event['event_id']}/"
        self.server.routes[f"GET {path}"] = self._show
        return self._ingest

    def _show(self, request: Request) -> Reply:
        if self._not_yet:
            self._not_yet -= 1
            return Reply(404, {"detail": "Event not found"})
        if self._event_reply:
            return self._event_reply
        tags = [{"key": "environment", "value": self._filed_under or self.event["environment"]}]
        return Reply(200, {"eventID": self.event["event_id"], "groupID": "77", "tags": tags})


def test_an_event_that_arrives_passes(sandbox):
    """The sandbox's Sentry shows the event: PASS."""
    result = run("sentry_receives", {}, target=staging_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary.startswith("test event seen after ")
    assert len(result.answer.data["event_id"]) == 32


def test_a_dropped_event_fails(sandbox):
    """If the ingest answers 200 but the event never appears, the FAIL says how long was waited."""
    with sandbox.fault("sentry_drops_events"):
        result = run("sentry_receives", {}, target=staging_target(sandbox), seconds=4.5)

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary.startswith("test event not seen within ")


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_too_little_time_is_an_error(seconds):
    """If the deadline comes before an event could appear, nothing is known: ERROR."""
    project = Project(not_yet=99)
    with project.server:
        result = run("sentry_receives", {}, target=project.target(), seconds=seconds)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("the time for this check was up ")


def test_time_spent_on_sending_does_not_count():
    """If sending took all the time nobody looked for the event: ERROR."""
    project = Project(slow=3.2)
    with project.server:
        result = run("sentry_receives", {}, target=project.target(), seconds=3)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("the time for this check was up 0.")


def test_a_sentry_that_is_down_is_an_error(sandbox):
    """If ingest and API are down the answer is ERROR at once."""
    with sandbox.fault("sentry_down"):
        result = run("sentry_receives", {}, target=staging_target(sandbox))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == "Sentry refused the test event: status_503"
    assert result.seconds < 10


def test_an_event_that_appears_late_passes():
    """An event that is missing at first is asked for again."""
    project = Project(not_yet=2)
    with project.server:
        result = run("sentry_receives", {}, target=project.target())

    assert result.outcome is Outcome.PASS


def test_the_event_looks_like_one_of_the_product():
    """Environment and release are those of the product, and the marker is no hexadecimal text, which the product would
    blank.
    """
    project = Project()
    with project.server:
        run("sentry_receives", {}, target=project.target(environment="stage"), subject=Subject(version="v4.8.0"))

    assert project.event["environment"] == "stage"
    assert project.event["release"] == "solvereign@4.8.0"
    assert project.event["level"] == "error"
    assert project.event["fingerprint"] == ["release-bot-test-event"]
    assert project.event["tags"]["release_bot"] in project.event["message"]


def test_an_unknown_release_is_left_out():
    """Without a version the event has no release, and not the bot's own commit."""
    project = Project()
    with project.server:
        run("sentry_receives", {}, target=project.target())

    assert not project.event.get("release")


def test_a_wrong_environment_fails():
    """An event in another environment would be missed by every filter: FAIL."""
    project = Project(filed_under="production")
    with project.server:
        result = run("sentry_receives", {}, target=project.target())

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "test event seen, but with environment production, not staging"


@pytest.mark.parametrize("status", [403, 413, 429])
def test_an_event_that_the_ingest_refuses_is_an_error(status):
    """The SDK ignores a refusal, but the check does not."""
    project = Project(ingest=Reply(status, {"detail": "no"}))
    with project.server:
        result = run("sentry_receives", {}, target=project.target())

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == f"Sentry refused the test event: status_{status}"


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_without_rights_is_an_error(status):
    """A token that may not read events is an ERROR at once."""
    project = Project(event_reply=Reply(status, {"detail": "You do not have permission"}))
    with project.server:
        result = run("sentry_receives", {}, target=project.target())

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith(f"cannot read the test event back: {status}")
    assert result.seconds < 10


@pytest.mark.parametrize("status", [429, 500])
def test_an_answer_that_stays_bad_is_an_error(status):
    """If Sentry fails until the end, nobody knows whether the event arrived."""
    project = Project(event_reply=Reply(status, {"detail": "no"}))
    with project.server:
        result = run("sentry_receives", {}, target=project.target(), seconds=2.0)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith(f"cannot read the test event back: {status}")


def test_an_unreachable_ingest_is_an_error():
    """An ingest that cannot be reached is an ERROR."""
    url = closed_port_url()
    dsn = url.replace("http://", "http://publickey@") + "/42"
    sentry = SentrySettings(url=url, token="t", organization="o", project="p", dsn=dsn)
    result = run("sentry_receives", {}, target=Target(name="staging", mutable=True, sentry=sentry))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("Sentry refused the test event")


def test_a_malformed_dsn_is_an_error():
    """The error says which setting to correct."""
    sentry = SentrySettings(token="t", organization="o", project="p", dsn="not a dsn")
    result = run("sentry_receives", {}, target=Target(name="staging", mutable=True, sentry=sentry))

    assert result.outcome is Outcome.ERROR
    assert result.answer.hint == "Set sentry.dsn to the project's DSN."


@pytest.mark.parametrize("setting", ["dsn", "organization", "project", "token"])
def test_a_missing_setting_is_named(setting):
    """The error names each required setting that is missing, before anything is sent."""
    settings = {"token": "t", "organization": "o", "project": "p", "dsn": "http://k@127.0.0.1:1/42"}
    del settings[setting]
    result = run("sentry_receives", {}, target=Target(name="staging", mutable=True, sentry=SentrySettings(**settings)))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == f"staging has no sentry.{setting}"
