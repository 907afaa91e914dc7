"""sentry_quiet: new and regressed issues are found, known ones are not, and no answer is never a pass."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from checks.contract import Outcome, Subject
from checks.registry import Registry, RegistryError
from clients.settings import SentrySettings
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.fix_checks import production_target, run

SINCE = datetime(2026, 1, 16, 18, 0, tzinfo=UTC)
ISSUES = "GET /api/0/organizations/solvereign/issues/"


def production(url: str) -> Target:
    """A target with Sentry only."""
    sentry = SentrySettings(url=url, token="sntryu_x", organization="solvereign", project="api")
    return Target(name="production", sentry=sentry)


def issue(number: int, first: timedelta, last: timedelta, substatus: str = "ongoing") -> dict[str, str]:
    """An issue as Sentry lists it, with times relative to SINCE."""
    return {
        "id": str(number),
        "shortId": f"API-{number}",
        "title": f"KeyError: {number}",
        "permalink": f"https://sentry.example/issues/{number}/",
        "firstSeen": (SINCE + first).isoformat().replace("+00:00", "Z"),
        "lastSeen": (SINCE + last).isoformat().replace("+00:00", "Z"),
        "count": "7",
        "substatus": substatus,
    }


MINUTE = timedelta(minutes=1)
OLD = issue(1, -1000 * MINUTE, MINUTE)
NEW = issue(2, MINUTE, MINUTE, "new")
REGRESSION = issue(3, -1000 * MINUTE, MINUTE, "regressed")
OLD_REGRESSION = issue(4, -1000 * MINUTE, -MINUTE, "regressed")


def ask(reply: Reply, **params: object):
    """Run the check against one reply; returns the result and the requests."""
    with Replies({ISSUES: reply}) as server:
        result = run("sentry_quiet", {"since": SINCE} | params, target=production(server.url))
        return result, server.requests


def moment() -> datetime:
    """The current time at the beginning of a second, so that issues of earlier tests belong to an earlier second."""
    start = int(time.time())
    while int(time.time()) == start:
        time.sleep(0.01)
    return datetime.now(UTC)


def test_a_quiet_project_passes(sandbox):
    """Without a new issue since now the answer is PASS."""
    result = run("sentry_quiet", {"since": moment()}, target=production_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary.endswith("UTC in production")
    assert result.answer.data == {"findings": []}


def test_a_new_issue_fails(sandbox):
    """A new issue in production is a FAIL that names it and hands it on."""
    since = moment()
    with sandbox.fault("sentry_new_issue"):
        result = run("sentry_quiet", {"since": since}, target=production_target(sandbox))

    assert result.outcome is Outcome.FAIL
    (finding,) = result.answer.data["findings"]
    assert finding["kind"] == "new"
    assert finding["shortId"] in result.answer.summary
    assert finding["permalink"] in result.answer.evidence.attachment


def test_an_acknowledged_issue_is_ignored(sandbox):
    """An acknowledged issue does not fail a second time."""
    target = production_target(sandbox)
    since = moment()
    with sandbox.fault("sentry_new_issue"):
        (finding,) = run("sentry_quiet", {"since": since}, target=target).answer.data["findings"]
        result = run("sentry_quiet", {"since": since, "ignore": [finding["id"]]}, target=target)

    assert result.outcome is Outcome.PASS
    assert "1 ignored on request" in result.answer.evidence.seen


def test_another_environment_is_ignored(sandbox):
    """An issue of production does not fail the check of staging."""
    since = moment()
    with sandbox.fault("sentry_new_issue"):
        result = run("sentry_quiet", {"since": since, "environment": "staging"}, target=production_target(sandbox))

    assert result.outcome is Outcome.PASS


@pytest.mark.parametrize("old_issue", [OLD, OLD_REGRESSION], ids=["ongoing", "regressed before"])
def test_an_old_issue_is_ignored(old_issue):
    """An issue that existed or came back before the moment is not new."""
    result, _ = ask(Reply(200, [old_issue]))

    assert result.outcome is Outcome.PASS
    assert "1 known before" in result.answer.evidence.seen


def test_an_issue_of_the_same_second_is_new():
    """An issue whose time Sentry rounded down to the second counts as new."""
    result, _ = ask(Reply(200, [issue(9, timedelta(0), timedelta(0))]), since=SINCE + timedelta(milliseconds=400))

    assert result.outcome is Outcome.FAIL


@pytest.mark.parametrize(("new_issue", "kind"), [(NEW, "new"), (REGRESSION, "regressed")])
def test_new_and_regressed_issues_fail(new_issue, kind):
    """An issue that was first seen since the moment, or was resolved and came back, is a FAIL."""
    result, _ = ask(Reply(200, [OLD, new_issue]))

    assert result.outcome is Outcome.FAIL
    assert [(entry["id"], entry["kind"]) for entry in result.answer.data["findings"]] == [(new_issue["id"], kind)]


def test_a_long_list_of_issues_is_cut_in_the_summary():
    """The summary names three of five new issues, and the attachment all."""
    result, _ = ask(Reply(200, [issue(number, MINUTE, MINUTE) for number in range(1, 6)]))

    assert result.answer.summary.startswith("5 new issues since 18:00:00 UTC in production: API-1 ")
    assert result.answer.summary.endswith(" and 2 more")
    assert "API-5 (new, 7 events)" in result.answer.evidence.attachment


def test_the_whole_window_is_requested():
    """The request asks for issues of every state in the environment from the moment until now."""
    _, (request,) = ask(Reply(200, []))

    assert request.query["query"] == [""]
    assert request.query["environment"] == ["production"]
    assert request.query["project"] == ["api"]
    assert request.query["start"] == ["2026-01-16T18:00:00.000000Z"]
    assert request.query["end"] > request.query["start"]
    assert request.headers["Authorization"] == "Bearer sntryu_x"


def test_the_release_narrows_the_request():
    """With a release only its events count."""
    _, (request,) = ask(Reply(200, []), release="solvereign@4.8.0")

    assert request.query["query"] == ['release:"solvereign@4.8.0"']


def test_release_and_time_come_from_the_deploy():
    """In the watch both are those of the deploy, and without a time the check is an ERROR."""
    with Replies({ISSUES: Reply(200, [])}) as server:
        target = production(server.url)
        subject = Subject(version="v4.8.0", deploy_began=SINCE)
        run("sentry_quiet", {"release": "this"}, target=target, subject=subject)
        nothing = run("sentry_quiet", {}, target=target)

    (request,) = server.requests
    assert request.query["query"] == ['release:"solvereign@4.8.0"']
    assert request.query["start"] == ["2026-01-16T18:00:00.000000Z"]
    assert (nothing.outcome, nothing.answer.summary) == (Outcome.ERROR, "the start of the period is unknown")


def test_all_pages_are_read():
    """A new issue on the second page is found, and the last page ends the reading."""

    def page(request: Request) -> Reply:
        last = request.query.get("cursor") == ["0:100:0"]
        results, offset = ("false", 200) if last else ("true", 100)
        link = f'<http://127.0.0.1/x>; rel="next"; results="{results}"; cursor="0:{offset}:0"'
        return Reply(200, [NEW if last else OLD], {"Link": link})

    with Replies({ISSUES: page}) as server:
        result = run("sentry_quiet", {"since": SINCE}, target=production(server.url))

    assert [entry["id"] for entry in result.answer.data["findings"]] == ["2"]
    assert len(server.requests) == 2


def test_endless_pages_are_an_error():
    """A list without an end is an ERROR and neither an endless loop nor a PASS."""
    link = '<http://127.0.0.1/x>; rel="next"; results="true"; cursor="0:100:0"'
    result, requests = ask(Reply(200, [OLD], {"Link": link}))

    assert result.outcome is Outcome.ERROR
    assert len(requests) == 20


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(401, {"detail": "Invalid token"}), "401"),
        (Reply(403, {"detail": "You do not have permission"}), "403"),
        (Reply(404, {"detail": "The requested resource does not exist"}), "404"),
        (Reply(429, {"detail": "You are attempting to use this endpoint too frequently."}), "429"),
        (Reply(500, {"detail": "Internal Error"}), "500"),
        (Reply(200, "<h1>Log in</h1>"), "isn't JSON"),
        (Reply(200, {"detail": "something else"}), "not a list of issues"),
        (Reply(200, [{"id": "1", "firstSeen": "yesterday"}]), "no readable firstSeen"),
    ],
)
def test_an_unusable_answer_is_an_error(reply, message):
    """A refused, limited, broken or strange answer is an ERROR that names the problem."""
    result, _ = ask(reply)

    assert result.outcome is Outcome.ERROR
    assert message in result.answer.summary


def test_a_sentry_that_is_down_is_an_error(sandbox):
    """A Sentry that answers 503 is an ERROR."""
    with sandbox.fault("sentry_down"):
        result = run("sentry_quiet", {"since": SINCE}, target=production_target(sandbox))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("cannot list Sentry issues: 503")


def test_an_unreachable_sentry_is_an_error():
    """A Sentry that cannot be reached is an ERROR."""
    assert run("sentry_quiet", {"since": SINCE}, target=production(closed_port_url())).outcome is Outcome.ERROR


def test_the_moment_needs_a_time_zone():
    """A moment without a time zone could be hours off, so it is rejected with the checklist."""
    with pytest.raises(RegistryError, match="since"):
        Registry.load().validate("sentry_quiet", {"since": "2026-01-16T18:00:00"})


@pytest.mark.parametrize("setting", ["organization", "project", "token"])
def test_a_missing_setting_is_named(setting):
    """The error names each required setting that is missing."""
    settings = {"token": "t", "organization": "o", "project": "p"}
    del settings[setting]
    result = run("sentry_quiet", {"since": SINCE}, target=Target(name="production", sentry=SentrySettings(**settings)))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == f"production has no sentry.{setting}"
