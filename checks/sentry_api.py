"""Sentry's web API as kinds use it: where to ask, the release's name there, and error counts over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, Field

from checks.clients import http_errors, require
from checks.contract import CheckError, Params

if TYPE_CHECKING:
    from checks.contract import CheckContext

THIS = "this"  # the release that the check is run for


class SinceParams(Params):
    """Since when, and where."""

    since: AwareDatetime | None = Field(default=None, description="Unset: since the deploy began.")
    environment: str = Field(default="", description="Empty: the target's own.")
    release: str = Field(
        default="", description='Only events of this release, "this": the one that is deployed; empty: all.'
    )

    def begun(self, ctx: CheckContext) -> datetime:
        """The moment. Raises CheckError when nothing says when it was, as before a deploy."""
        begun = self.since or ctx.subject.deploy_began
        if begun is None:
            raise CheckError("nothing says since when", hint="Set since, or ask after a deploy.")
        return begun

    def where(self, ctx: CheckContext) -> str:
        """The environment as Sentry calls it."""
        return self.environment or ctx.target.environment or ctx.target.name


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


def sentry_release(name: str, ctx: CheckContext) -> str:
    """The release as Sentry calls it: ``name``, or for ``this`` the one that the check is run for.

    Raises CheckError when there is none, as in a check from a terminal.
    """
    if name != THIS:
        return name
    part = require(ctx.target.sentry, ctx.target, "sentry")
    if not ctx.subject.version:
        raise CheckError("there is no release that `release: this` could mean", hint="Name it, or ask for a release.")
    return part.release_prefix + ctx.subject.version.removeprefix("v")


def error_counts(
    ctx: CheckContext, *, environment: str, start: datetime, end: datetime, interval: int, query: str = ""
) -> Counts:
    """Ask Sentry how many errors there were in each ``interval`` (seconds) between two moments.

    Buckets that Sentry calls incomplete are left out. It may choose another interval than was asked for, so the one
    that it used is read from the answer. Raises CheckError when it does not answer, or not with counts.
    """
    part = require(ctx.target.sentry, ctx.target, "sentry")
    organization = require(part.organization, ctx.target, "sentry.organization")
    asked = {
        "dataset": "errors",
        "yAxis": "count()",
        "interval": str(interval),
        "project": require(part.project, ctx.target, "sentry.project"),
        "environment": environment,
        "start": iso(start),
        "end": iso(end),
        "query": query,
    }
    client = ctx.clients.sentry()
    with http_errors("count Sentry's errors"):
        response = client.get(f"organizations/{organization}/events-timeseries/", params=asked)
        response.raise_for_status()
        body = response.json()
    try:
        values = [value for series in body["timeSeries"] for value in series["values"]]
        every = [(_moment(value["timestamp"]), float(value["value"]), bool(value["incomplete"])) for value in values]
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise CheckError(
            "Sentry's answer holds no counts", hint="Does sentry.url point to Sentry?", seen=response.text
        ) from exc
    every.sort()
    gaps = [(after[0] - before[0]).total_seconds() for before, after in pairwise(every)]
    length = min((gap for gap in gaps if gap > 0), default=float(interval))
    return Counts(length, tuple(Bucket(moment, count) for moment, count, incomplete in every if not incomplete))


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
