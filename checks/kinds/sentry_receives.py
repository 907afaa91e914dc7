"""Kind ``sentry_receives``: an event that is sent to the product's Sentry project can be read back from Sentry."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome, Params
from clients.errors import ClientError
from clients.needs import SENTRY_DSN, Changes, Need, sentry
from clients.target import require

if TYPE_CHECKING:
    from sentry_sdk.types import Event

    from clients.sentry import Sentry
    from clients.settings import SentrySettings

_FIRST_POLLS = (0.3, 0.3, 0.5, 0.5, 1.0)  # seconds; an event normally shows within two or three
_POLL = 2.0  # seconds between the later ones: Sentry asks callers to poll no faster
_MARGIN = 1.0  # seconds before the deadline at which to give up, so that "not seen" is said and not cut off
_PATIENCE = sum(_FIRST_POLLS)  # seconds before which "not seen" says nothing about Sentry


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
    timeout = 120.0  # seconds; normally it takes a few, but minutes have been seen

    def needs(self, params: SentryReceivesParams) -> tuple[Need, ...]:
        """To send an event, and to read it."""
        return (Changes("sentry"), SENTRY_DSN, *sentry("project:read"))

    def run(self, params: SentryReceivesParams, ctx: CheckContext) -> Answer:
        """Send one event, then ask for it until it shows or the time is over. Raises CheckError when Sentry refuses,
        and when the time was too short to tell.
        """
        target = ctx.target
        part = require(target.sentry, target, "sentry")
        dsn = require(part.dsn, target, "sentry.dsn").get_secret_value()
        sentry = ctx.clients.sentry()
        environment = target.environment or target.name
        event = _event(part, ctx, environment, params.level)
        event_id = sentry.send(event, dsn)
        send_time = time.monotonic()
        ctx.progress(f"sent test event {event_id}, waiting for Sentry to show it")
        event_body = _wait_for(event_id, sentry, ctx)
        seconds = time.monotonic() - send_time
        question = f"one {params.level} event to {part.project}, environment {environment}; then GET {sentry.event_address(event_id)}"
        if event_body is None:
            if seconds < _PATIENCE:
                raise CheckError(
                    f"the time for this check was up {seconds:.1f} s after the test event was sent",
                    hint=f"Sentry may need minutes to show it: the default timeout is {self.timeout:.0f} s.",
                )
            return Answer(
                Outcome.FAIL,
                f"test event not seen within {seconds:.0f} s",
                Evidence(
                    question, "the event can be read back", f"404 for {seconds:.0f} s after the ingest had accepted it"
                ),
                hint="Check the project's inbound filters, rate limits and quota in Sentry.",
            )
        if event_body.get("eventID") != event_id:
            raise CheckError(
                f"The bot asked for event {event_id}, but Sentry answered with event {event_body.get('eventID')}",
                hint="Does sentry.url point to Sentry?",
                seen=json.dumps(event_body),
            )
        seen_in = _tags(event_body).get("environment")
        evidence = Evidence(
            question,
            f"the event can be read back with environment {environment}",
            f"event {event_body.get('eventID')} of issue {event_body.get('groupID')}, tags {_tags(event_body)}",
        )
        data = {"event_id": event_id, "issue": event_body.get("groupID")}
        if seen_in != environment:
            summary = f"test event seen, but with environment {seen_in}, not {environment}"
            hint = f"Does something between the bot and Sentry rewrite events? Those of {environment} must say {environment}."
            return Answer(Outcome.FAIL, summary, evidence, data, hint)
        return Answer(Outcome.PASS, f"test event seen after {seconds:.1f} s in {environment}", evidence, data)


def _event(part: SentrySettings, ctx: CheckContext, environment: str, level: Literal["error", "fatal"]) -> Event:
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


def _wait_for(event_id: str, sentry: Sentry, ctx: CheckContext) -> dict[str, Any] | None:
    """The event once Sentry has it; None when it did not show in time. Raises CheckError when Sentry cannot be asked.

    One bad answer of a poll is no end: event look-ups are flaky under load. The last one decides.
    """
    trouble: ClientError | None = None
    for pause in itertools.chain(_FIRST_POLLS, itertools.repeat(_POLL)):
        if ctx.remaining() < pause + _MARGIN:
            break
        ctx.wait(pause)
        try:
            event = sentry.event(event_id)
        except ClientError as exc:
            if not exc.is_temporary:
                raise  # no rights, for one: asking again changes nothing
            trouble = exc
            continue
        if event is not None:
            return event
        trouble = None
    if trouble is not None:
        raise trouble
    return None


def _tags(event: dict[str, Any]) -> dict[str, str]:
    tags = event.get("tags")
    entries = tags if isinstance(tags, list) else []
    return {
        str(tag["key"]): str(tag["value"])
        for tag in entries
        if isinstance(tag, dict) and "key" in tag and "value" in tag
    }
