"""Kind ``sentry_quiet``: no new and no regressed issue in Sentry since a moment. The Watch asks this after a deploy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome
from checks.kit.since import SinceParams, sentry_release
from clients.needs import Need, sentry
from clients.sentry import iso
from clients.target import require

_FIELDS = ("id", "shortId", "title", "permalink", "firstSeen", "lastSeen", "count")
_MAX_NAMES = 3  # issues named in the summary; the evidence has all


class SentryQuietParams(SinceParams):
    """Since when, where, and what may be left out."""

    ignore: tuple[str, ...] = ()  # issue ids or short ids that are known and do not count


class SentryQuiet(Kind):
    """PASS when no issue was first seen, or came back, since the moment. A Sentry that cannot be asked is ERROR.

    All releases count unless one is named: a product that misnames its release would hide its errors. An event that
    arrives late still counts, as long as it happened after the moment. Some of Sentry's times are cut to the second,
    so the whole second of the moment counts.
    """

    name = "sentry_quiet"
    summary = "No new or regressed issue in Sentry since a moment"
    params = SentryQuietParams
    example: ClassVar[Mapping[str, Any]] = {"since": "2026-01-16T18:00:00Z"}
    timeout = 60.0

    def needs(self, params: SentryQuietParams) -> tuple[Need, ...]:
        """To read issues."""
        return sentry("event:read")

    def run(self, params: SentryQuietParams, ctx: CheckContext) -> Answer:
        """Ask for all issues seen since then and pick the new ones. Raises CheckError when Sentry cannot be asked."""
        part = require(ctx.target.sentry, ctx.target, "sentry")
        sentry = ctx.clients.sentry()
        since = params.start(ctx).replace(microsecond=0)
        release = sentry_release(params.release, ctx)
        environment = params.where(ctx)
        query = {
            "environment": environment,
            "start": iso(since),
            "end": iso(datetime.now(UTC)),
            "query": f'release:"{release}"' if release else "",  # left out, it would mean is:unresolved
            "sort": "date",
        }
        new: list[dict[str, Any]] = []
        old_count = ignored_count = 0
        for issue in sentry.issues(query):
            kind = _kind(issue, since)
            if not kind:
                old_count += 1
            elif {str(issue["id"]), str(issue.get("shortId"))} & set(params.ignore):
                ignored_count += 1
            else:
                new.append({field: issue.get(field) for field in _FIELDS} | {"kind": kind})
        where = f"since {since.astimezone(UTC):%H:%M:%S} UTC in {environment}"
        evidence = Evidence(
            asked=f"issues of {part.organization}/{part.project} {where}" + (f", release {release}" if release else ""),
            expected="no new or regressed issue",
            seen=f"{len(new)} new or regressed, {old_count} known before, {ignored_count} ignored on request",
            attachment="\n".join(_line(issue) for issue in new),
            attachment_name="issues.txt" if new else "",
        )
        if new:
            titles = "; ".join(f"{issue['shortId']} {issue['title']}" for issue in new[:_MAX_NAMES])
            more = f" and {len(new) - _MAX_NAMES} more" if len(new) > _MAX_NAMES else ""
            summary = f"{len(new)} new {'issue' if len(new) == 1 else 'issues'} {where}: {titles}{more}"
            hint = "Open them in Sentry, then acknowledge or roll back."
            return Answer(Outcome.FAIL, summary, evidence, {"findings": new}, hint)
        return Answer(Outcome.PASS, f"no new issues {where}", evidence, {"findings": []})


def _kind(issue: dict[str, Any], since: datetime) -> str:
    """``new``, ``regressed`` (it was resolved and came back), or empty for one that was there before."""
    if _time(issue, "firstSeen") >= since:
        return "new"
    if issue.get("substatus") == "regressed" and _time(issue, "lastSeen") >= since:
        return "regressed"
    return ""


def _time(issue: dict[str, Any], field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(issue[field]))
    except (KeyError, ValueError) as exc:
        raise CheckError(f"Sentry's issue {issue['id']} has no readable {field}", seen=str(issue)) from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _line(issue: dict[str, Any]) -> str:
    return (
        f"{issue['shortId']} ({issue['kind']}, {issue['count']} events) {issue['title']}\n"
        f"  first {issue['firstSeen']}, last {issue['lastSeen']}\n  {issue['permalink']}"
    )
