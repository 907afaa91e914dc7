"""sentry_quiet: new and regressed issues are found, known ones are not, and no answer is never a pass."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from checks.contract import Outcome, Subject
from checks.registry import Registry, RegistryError
from clients.sentry import SentrySettings
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.fix_checks import production_target, run

SINCE = datetime(2026, 1, 16, 18, 0, tzinfo=UTC)
ISSUES = "GET /api/0/organizations/solvereign/issues/"


def production(url: str) -> Target:
    """A target that has nothing but Sentry."""
    sentry = SentrySettings(url=url, token="sntryu_x", organization="solvereign", project="api")
    return Target(name="production", sentry=sentry)


def issue(number: int, first: timedelta, last: timedelta, substatus: str = "ongoing") -> dict[str, str]:
    """One issue as Sentry lists it; times are counted from SINCE."""
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
REGRESSED = issue(3, -1000 * MINUTE, MINUTE, "regressed")
REGRESSED_BEFORE = issue(4, -1000 * MINUTE, -MINUTE, "regressed")


def ask(reply: Reply, **params: object):
    """Run the kind against one reply; returns the result and the requests that were made."""
    with Replies({ISSUES: reply}) as server:
        result = run("sentry_quiet", {"since": SINCE} | params, target=production(server.url))
        return result, server.requests


def moment() -> datetime:
    """Now, in a second that has only just begun: an issue of an earlier test belongs to an earlier second."""
    begun = int(time.time())
    while int(time.time()) == begun:
        time.sleep(0.01)
    return datetime.now(UTC)


def test_quiet(sandbox):
    """Nothing new since now: PASS."""
    result = run("sentry_quiet", {"since": moment()}, target=production_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary.endswith("UTC in production")
    assert result.answer.data == {"findings": []}


def test_new_issue(sandbox):
    """A new issue in production: FAIL that names it and hands it on."""
    since = moment()
    with sandbox.fault("sentry_new_issue"):
        result = run("sentry_quiet", {"since": since}, target=production_target(sandbox))

    assert result.outcome is Outcome.FAIL
    (found,) = result.answer.data["findings"]
    assert found["kind"] == "new"
    assert found["shortId"] in result.answer.summary
    assert found["permalink"] in result.answer.evidence.attachment


def test_issue_that_somebody_has_looked_at(sandbox):
    """An acknowledged issue does not alarm a second time."""
    target = production_target(sandbox)
    since = moment()
    with sandbox.fault("sentry_new_issue"):
        (found,) = run("sentry_quiet", {"since": since}, target=target).answer.data["findings"]
        result = run("sentry_quiet", {"since": since, "ignore": [found["id"]]}, target=target)

    assert result.outcome is Outcome.PASS
    assert "1 left out on request" in result.answer.evidence.seen


def test_other_environment(sandbox):
    """What happens in production is no news of staging."""
    since = moment()
    with sandbox.fault("sentry_new_issue"):
        result = run("sentry_quiet", {"since": since, "environment": "staging"}, target=production_target(sandbox))

    assert result.outcome is Outcome.PASS


@pytest.mark.parametrize("found", [OLD, REGRESSED_BEFORE], ids=["ongoing", "regressed before"])
def test_known_issue_is_no_news(found):
    """An issue that was there before, or came back before the moment, is not new."""
    result, _ = ask(Reply(200, [found]))

    assert result.outcome is Outcome.PASS
    assert "1 known before" in result.answer.evidence.seen


def test_whole_second_counts():
    """An issue whose time Sentry cut to the second of the moment is new, too."""
    result, _ = ask(Reply(200, [issue(9, timedelta(0), timedelta(0))]), since=SINCE + timedelta(milliseconds=400))

    assert result.outcome is Outcome.FAIL


@pytest.mark.parametrize(("found", "kind"), [(NEW, "new"), (REGRESSED, "regressed")])
def test_new_and_regressed_issues_fail(found, kind):
    """First seen since the moment, or resolved and back: FAIL."""
    result, _ = ask(Reply(200, [OLD, found]))

    assert result.outcome is Outcome.FAIL
    assert [(entry["id"], entry["kind"]) for entry in result.answer.data["findings"]] == [(found["id"], kind)]


def test_long_list_is_cut_in_the_summary():
    """Five new issues: the summary names three, the attachment all."""
    result, _ = ask(Reply(200, [issue(number, MINUTE, MINUTE) for number in range(1, 6)]))

    assert result.answer.summary.startswith("5 new issues since 18:00:00 UTC in production: API-1 ")
    assert result.answer.summary.endswith(" and 2 more")
    assert "API-5 (new, 7 events)" in result.answer.evidence.attachment


def test_whole_window_is_asked_for():
    """All states are asked for (an empty query), in the environment, from the moment until now."""
    _, (request,) = ask(Reply(200, []))

    assert request.query["query"] == [""]
    assert request.query["environment"] == ["production"]
    assert request.query["project"] == ["api"]
    assert request.query["start"] == ["2026-01-16T18:00:00.000000Z"]
    assert request.query["end"] > request.query["start"]
    assert request.headers["Authorization"] == "Bearer sntryu_x"


def test_release_narrows_the_question():
    """With a release only its events count."""
    _, (request,) = ask(Reply(200, []), release="solvereign@4.8.0")

    assert request.query["query"] == ['release:"solvereign@4.8.0"']


def test_the_release_that_is_deployed_and_the_moment_of_its_deploy():
    """In the watch the kind is told both; asked without either, it says what is missing."""
    with Replies({ISSUES: Reply(200, [])}) as server:
        target = production(server.url)
        subject = Subject(version="v4.8.0", deploy_began=SINCE)
        run("sentry_quiet", {"release": "this"}, target=target, subject=subject)
        nothing = run("sentry_quiet", {}, target=target)

    (request,) = server.requests
    assert request.query["query"] == ['release:"solvereign@4.8.0"']
    assert request.query["start"] == ["2026-01-16T18:00:00.000000Z"]
    assert (nothing.outcome, nothing.answer.summary) == (Outcome.ERROR, "nothing says since when")


def test_all_pages_are_read():
    """The new issue stands on the second page; the last page has a next link too, and ends it."""

    def page(request: Request) -> Reply:
        last = request.query.get("cursor") == ["0:100:0"]
        results, offset = ("false", 200) if last else ("true", 100)
        link = f'<http://127.0.0.1/x>; rel="next"; results="{results}"; cursor="0:{offset}:0"'
        return Reply(200, [NEW if last else OLD], {"Link": link})

    with Replies({ISSUES: page}) as server:
        result = run("sentry_quiet", {"since": SINCE}, target=production(server.url))

    assert [entry["id"] for entry in result.answer.data["findings"]] == ["2"]
    assert len(server.requests) == 2


def test_endless_pages_are_no_verdict():
    """A list without an end is ERROR, not an endless loop and not a pass."""
    link = '<http://127.0.0.1/x>; rel="next"; results="true"; cursor="0:100:0"'
    result, requests = ask(Reply(200, [OLD], {"Link": link}))

    assert result.outcome is Outcome.ERROR
    assert len(requests) == 20


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(401, {"detail": "Invalid token"}), "401"),
        (Reply(403, {"detail": "You do not have permission"}), "403"),
        (Reply(404, {"detail": "The requested resource does not exist"}), "404"),
        (Reply(429, {"detail": "You are attempting to use this endpoint too frequently."}), "429"),
        (Reply(500, {"detail": "Internal Error"}), "500"),
        (Reply(200, "<h1>Log in</h1>"), "no JSON"),
        (Reply(200, {"detail": "something else"}), "not a list of issues"),
        (Reply(200, [{"id": "1", "firstSeen": "yesterday"}]), "no readable firstSeen"),
    ],
)
def test_no_answer_is_no_pass(reply, told):
    """Refused, limited, broken or odd: ERROR that says which."""
    result, _ = ask(reply)

    assert result.outcome is Outcome.ERROR
    assert told in result.answer.summary


def test_sentry_down(sandbox):
    """Sentry itself is down: ERROR."""
    with sandbox.fault("sentry_down"):
        result = run("sentry_quiet", {"since": SINCE}, target=production_target(sandbox))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("cannot list Sentry issues: 503")


def test_nobody_listens():
    """A Sentry that cannot be reached is ERROR."""
    assert run("sentry_quiet", {"since": SINCE}, target=production(closed_port_url())).outcome is Outcome.ERROR


def test_moment_needs_a_time_zone():
    """A moment without a time zone could be hours off, so it is refused when the checklist is read."""
    with pytest.raises(RegistryError, match="since"):
        Registry.load().validate("sentry_quiet", {"since": "2026-01-16T18:00:00"})


@pytest.mark.parametrize("lacking", ["organization", "project", "token"])
def test_missing_setting_is_named(lacking):
    """Each setting that is needed is named when it is missing."""
    settings = {"token": "t", "organization": "o", "project": "p"}
    del settings[lacking]
    result = run("sentry_quiet", {"since": SINCE}, target=Target(name="production", sentry=SentrySettings(**settings)))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == f"production has no sentry.{lacking}"
