"""Kind ``sentry_quiet``: no new and no regressed issue in Sentry since a moment. The Watch asks this after a deploy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checks.clients import http_errors, require
from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome
from checks.sentry_api import SinceParams, sentry_release
from checks.uses import Use, sentry

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

_PAGE = 100  # issues a page, the most that Sentry gives
_MAX_PAGES = 20  # far more issues than a quarter of an hour can hold; beyond it the answer would be a guess
_FIELDS = ("id", "shortId", "title", "permalink", "firstSeen", "lastSeen", "count")
_NAMED = 3  # issues named in the summary; the evidence has all


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
    timeout = 60.0

    def uses(self, params: SentryQuietParams) -> tuple[Use, ...]:
        """To read issues."""
        return sentry("event:read")

    def run(self, params: SentryQuietParams, ctx: CheckContext) -> Answer:
        """Ask for all issues seen since then and pick the new ones. Raises CheckError when Sentry cannot be asked."""
        part = require(ctx.target.sentry, ctx.target, "sentry")
        organization = require(part.organization, ctx.target, "sentry.organization")
        project = require(part.project, ctx.target, "sentry.project")
        since = params.begun(ctx).replace(microsecond=0)
        release = sentry_release(params.release, ctx)
        environment = params.where(ctx)
        query = {
            "project": project,
            "environment": environment,
            "start": _iso(since),
            "end": _iso(datetime.now(UTC)),
            "query": f'release:"{release}"' if release else "",  # left out, it would mean is:unresolved
            "sort": "date",
            "limit": str(_PAGE),
        }
        sentry = ctx.clients.sentry()
        new: list[dict[str, Any]] = []
        known = ignored = 0
        for issue in _issues(sentry, f"organizations/{organization}/issues/", query):
            kind = _kind(issue, since)
            if not kind:
                known += 1
            elif {str(issue["id"]), str(issue.get("shortId"))} & set(params.ignore):
                ignored += 1
            else:
                new.append({field: issue.get(field) for field in _FIELDS} | {"kind": kind})
        where = f"since {since.astimezone(UTC):%H:%M:%S} UTC in {environment}"
        evidence = Evidence(
            asked=f"issues of {organization}/{project} {where}" + (f", release {release}" if release else ""),
            expected="none that is new or has come back",
            seen=f"{len(new)} new or regressed, {known} known before, {ignored} left out on request",
            attachment="\n".join(_line(issue) for issue in new),
            attachment_name="issues.txt" if new else "",
        )
        if new:
            named = "; ".join(f"{issue['shortId']} {issue['title']}" for issue in new[:_NAMED])
            more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
            summary = f"{len(new)} new {'issue' if len(new) == 1 else 'issues'} {where}: {named}{more}"
            hint = "Open them in Sentry, then acknowledge or roll back."
            return Answer(Outcome.FAIL, summary, evidence, {"findings": new}, hint)
        return Answer(Outcome.PASS, f"no new issues {where}", evidence, {"findings": []})


def _issues(sentry: httpx.Client, path: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """All issues of all pages (docs.sentry.io/api/pagination). Raises CheckError on a reply that makes no sense."""
    cursor: dict[str, str] = {}
    for _ in range(_MAX_PAGES):
        with http_errors("list Sentry issues"):
            response = sentry.get(path, params=query | cursor)
            response.raise_for_status()
            issues = response.json()
        if not isinstance(issues, list) or not all(isinstance(issue, dict) and "id" in issue for issue in issues):
            raise CheckError(
                "Sentry's answer is not a list of issues", hint="Does sentry.url point to Sentry?", seen=response.text
            )
        yield from issues
        following = response.links.get("next", {})
        if following.get("results") != "true":  # there is a next link on the last page too
            return
        cursor = {"cursor": following.get("cursor", "")}
    raise CheckError(
        f"Sentry has more than {_PAGE * _MAX_PAGES} issues here", hint="Look in Sentry: this is no quiet moment."
    )


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


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _line(issue: dict[str, Any]) -> str:
    return (
        f"{issue['shortId']} ({issue['kind']}, {issue['count']} events) {issue['title']}\n"
        f"  first {issue['firstSeen']}, last {issue['lastSeen']}\n  {issue['permalink']}"
    )
