"""Kind ``sentry_receives``: an event that is sent to the product's Sentry project can be read back from Sentry."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Literal

import httpx
from pydantic import Field

from checks.clients import http_errors, load, require
from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome, Params
from checks.uses import SENTRY_DSN, Use, sentry

if TYPE_CHECKING:
    from sentry_sdk.types import Event

    from checks.target import Sentry

_FIRST_POLLS = (0.3, 0.3, 0.5, 0.5, 1.0)  # seconds; an event normally shows within two or three
_POLL = 2.0  # seconds between the later ones: Sentry asks callers to poll no faster
_FLUSH = 15.0  # seconds to hand the event over
_MARGIN = 1.0  # seconds before the deadline at which to give up, so that "not seen" is said and not cut off
_PATIENCE = sum(_FIRST_POLLS)  # seconds before which "not seen" says nothing about Sentry
_BUSY = 429


class SentryReceivesParams(Params):
    """The level of the test event."""

    level: Literal["error", "fatal"] = Field(default="error")


class SentryReceives(Kind):
    """PASS when the event that was sent is read back by its id. The ingest's 200 proves nothing: it may drop it later.

    All test events share one fingerprint, so that they make one issue in Sentry and not one a run.
    """

    name = "sentry_receives"
    summary = "A test event sent with the product's DSN shows up in Sentry"
    params = SentryReceivesParams
    mutates = True
    timeout = 120.0  # seconds; normally it takes a few, but minutes have been seen

    def uses(self, params: SentryReceivesParams) -> tuple[Use, ...]:
        """To send an event, and to read it."""
        return (SENTRY_DSN, *sentry("project:read"))

    def run(self, params: SentryReceivesParams, ctx: CheckContext) -> Answer:
        """Send one event, then ask for it until it shows or the time is over. Raises CheckError when Sentry refuses,
        and when the time was too short to tell.
        """
        target = ctx.target
        part = require(target.sentry, target, "sentry")
        dsn = require(part.dsn, target, "sentry.dsn").get_secret_value()
        organization = require(part.organization, target, "sentry.organization")
        project = require(part.project, target, "sentry.project")
        sentry = ctx.clients.sentry()
        environment = target.environment or target.name
        event = _event(part, ctx, environment, params.level)
        event_id = _send(event, dsn)
        sent = time.monotonic()
        ctx.progress(f"sent test event {event_id}, waiting for Sentry to show it")
        path = f"projects/{organization}/{project}/events/{event_id}/"
        found = _wait_for(path, sentry, ctx)
        seconds = time.monotonic() - sent
        asked = f"one {params.level} event to {project}, environment {environment}; then GET {sentry.base_url}{path}"
        if found is None:
            if seconds < _PATIENCE:
                raise CheckError(
                    f"the time for this check was up {seconds:.1f} s after the test event was sent",
                    hint=f"Sentry may need minutes to show it: the default timeout is {self.timeout:.0f} s.",
                )
            return Answer(
                Outcome.FAIL,
                f"test event not seen within {seconds:.0f} s",
                Evidence(
                    asked, "the event can be read back", f"404 for {seconds:.0f} s after the ingest had accepted it"
                ),
                hint="Look in Sentry at the project's inbound filters, rate limits and quota.",
            )
        if found.get("eventID") != event_id:
            raise CheckError(
                f"Sentry was asked for event {event_id} and answered with event {found.get('eventID')}",
                hint="Does sentry.url point to Sentry?",
                seen=json.dumps(found),
            )
        seen_in = _tags(found).get("environment")
        evidence = Evidence(
            asked,
            f"the event can be read back with environment {environment}",
            f"event {found.get('eventID')} of issue {found.get('groupID')}, tags {_tags(found)}",
        )
        data = {"event_id": event_id, "issue": found.get("groupID")}
        if seen_in != environment:
            summary = f"test event seen, but with environment {seen_in}, not {environment}"
            hint = (
                f"Does something between here and Sentry rewrite events? Those of {environment} must say {environment}."
            )
            return Answer(Outcome.FAIL, summary, evidence, data, hint)
        return Answer(Outcome.PASS, f"test event seen after {seconds:.1f} s in {environment}", evidence, data)


def _event(part: Sentry, ctx: CheckContext, environment: str, level: Literal["error", "fatal"]) -> Event:
    marker = f"relbot-{secrets.token_hex(6)}"  # short: the product blanks 32 and more hex digits as an API key
    event: Event = {
        "level": level,
        "logger": "release-bot",
        "message": f"Test event of the release bot, nothing is broken ({marker})",
        "fingerprint": ["release-bot-test-event"],
        "environment": environment,
        "tags": {"release_bot": marker},
    }
    if ctx.subject.version:
        event["release"] = part.release_prefix + ctx.subject.version.removeprefix("v")
    return event


def _send(event: Event, dsn: str) -> str:
    """Hand the event to Sentry with a client of its own; returns its id. Raises CheckError when it was refused."""
    load("sentry_sdk.transport", "sentry_sdk.utils")
    import sentry_sdk  # half a second to load, so only this check pays for it
    from sentry_sdk.transport import HttpTransport
    from sentry_sdk.utils import BadDsn

    dropped: list[str] = []

    class Witness(HttpTransport):
        """The SDK drops what is refused without a word; this notes why."""

        TIMEOUT = 10

        def on_dropped_event(self, _reason: str) -> None:
            dropped.append(_reason)

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
        raise CheckError(f"the Sentry DSN is malformed: {exc}", hint="Set sentry.dsn to the project's DSN.") from exc
    try:
        event_id = client.capture_event(event)
        client.flush(timeout=_FLUSH)
    finally:
        client.close(timeout=0)
    if event_id is None or dropped:
        raise CheckError(
            f"Sentry did not take the test event: {', '.join(dropped) or 'dropped by the SDK'}",
            hint="Is the DSN right, and is Sentry's ingest up and under its rate limit?",
        )
    return event_id


def _wait_for(path: str, sentry: httpx.Client, ctx: CheckContext) -> dict[str, Any] | None:
    """The event once Sentry has it; None when it did not show in time. Raises CheckError when Sentry cannot be asked.

    One bad answer of a poll is no end: event look-ups are flaky under load. The last one decides.
    """
    trouble: CheckError | None = None
    for pause in itertools.chain(_FIRST_POLLS, itertools.repeat(_POLL)):
        if ctx.remaining() < pause + _MARGIN:
            break
        ctx.wait(pause)
        try:
            with http_errors("read the test event back"):
                response = sentry.get(path)
                if response.status_code == httpx.codes.NOT_FOUND:
                    trouble = None
                    continue
                response.raise_for_status()
                body = response.json()
        except CheckError as exc:
            status = getattr(getattr(exc.__cause__, "response", None), "status_code", _BUSY)
            if status != _BUSY and status < httpx.codes.INTERNAL_SERVER_ERROR:
                raise  # no rights, for one: asking again changes nothing
            trouble = exc
            continue
        if not isinstance(body, dict):
            raise CheckError(
                "Sentry's answer about the test event is no JSON object",
                hint="Does sentry.url point to Sentry?",
                seen=response.text,
            )
        return body
    if trouble is not None:
        raise trouble
    return None


def _tags(found: dict[str, Any]) -> dict[str, str]:
    tags = found.get("tags")
    entries = tags if isinstance(tags, list) else []
    return {
        str(tag["key"]): str(tag["value"])
        for tag in entries
        if isinstance(tag, dict) and "key" in tag and "value" in tag
    }
