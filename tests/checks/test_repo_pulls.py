"""repo_pulls and repo_issues: what a release brings, by what GitHub says of its commits."""

import httpx
import pytest

from checks.contract import Answer, Outcome, Subject
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, Route
from tests.fix_checks import run, staging_target

HEAD = "e" * 40
TAGS = ["v1.0.0", "v1.2.0", "v1.10.0-rc1", "v1.9.0", "v2.0.0", "v9.9.9", "v1.x"]


def commit(number: int, message: str = "Change") -> dict[str, object]:
    """A commit as GitHub lists it."""
    return {"sha": f"{number:040x}", "commit": {"message": message}}


def pull(number: int, body: str | None = "", merged_at: str | None = "2026-01-15T09:00:00Z") -> dict[str, object]:
    """A pull request as GitHub lists it."""
    return {"number": number, "title": f"Title {number}", "body": body, "merged_at": merged_at}


def github(commits, pulls, issues=None, *, behind: int = 0) -> dict[str, Route]:
    """A repository; ``pulls`` maps the number of a commit to its pull requests, ``issues`` a number to its state."""

    def compare(request: Request) -> Reply:
        page, size = int(request.query["page"][0]), int(request.query["per_page"][0])
        commits_of_page = commits[(page - 1) * size : page * size]
        return Reply(200, {"behind_by": behind, "total_commits": len(commits), "commits": commits_of_page})

    routes: dict[str, Route] = {
        "GET /repos/o/r/git/matching-refs/tags/v": Reply(200, [{"ref": f"refs/tags/{name}"} for name in TAGS]),
        f"GET /repos/o/r/compare/v1.9.0...{HEAD}": compare,
    }
    for number, one in enumerate(commits, 1):
        routes[f"GET /repos/o/r/commits/{one['sha']}/pulls"] = Reply(200, pulls.get(number, []))
    for number, state in (issues or {}).items():
        routes[f"GET /repos/o/r/issues/{number}"] = Reply(200, {"number": number, "state": state})
    return routes


def ask(kind: str, routes, version: str = "v1.10.0", head: str = HEAD) -> Answer:
    """Run the check for the release v1.10.0, whose previous release is v1.9.0."""
    with Replies(routes) as server:
        part = {"url": server.url, "repository": "o/r"}
        target = Target.model_validate({"name": "production", "github": part})
        return run(kind, {}, target, subject=Subject(version, head)).answer


def test_pull_requests_are_listed_once():
    """Each pull request is listed once and in order; an unmerged one is left out, and one named in a title counts."""
    commits = [commit(1), commit(2), commit(3, "Mend it (#7)\n\nsee (#99)"), commit(4)]
    pulls = {1: [pull(12)], 2: [pull(12), pull(3)], 4: [pull(5, merged_at=None)]}
    answer = ask("repo_pulls", github(commits, pulls))

    assert answer.outcome is Outcome.PASS
    assert answer.summary == "#3, #7, #12 since v1.9.0; without one: 000000000000"
    assert answer.evidence.attachment == "#3 Title 3\n#7 Mend it (#7)\n#12 Title 12"


def test_all_pages_of_commits_are_read():
    """A release with more commits than one page is read completely."""
    commits = [commit(number, f"Change (#{number})") for number in range(1, 151)]
    answer = ask("repo_pulls", github(commits, {}))

    assert answer.outcome is Outcome.PASS
    assert answer.evidence.seen == "150 commits, 150 pull requests; without one: none"
    assert answer.summary.endswith("#20 and 130 more since v1.9.0")


def test_commits_without_pull_requests_are_inconclusive():
    """Only a person can say what such commits contain; a release without commits passes."""
    none = ask("repo_pulls", github([commit(1)], {}))
    empty = ask("repo_pulls", github([], {}))

    assert none.outcome is Outcome.INCONCLUSIVE
    assert none.summary == "none of the 1 commits since v1.9.0 belongs to a pull request"
    assert (empty.outcome, empty.summary) == (Outcome.PASS, "nothing since v1.9.0")


@pytest.mark.parametrize(
    ("issues", "outcome", "summary"),
    [
        ({8: "closed", 9: "closed"}, Outcome.PASS, "#8, #9: closed"),
        ({8: "closed", 9: "open"}, Outcome.FAIL, "1 of 2 are open: #9"),
    ],
)
def test_the_issues_of_a_release_have_to_be_closed(issues, outcome, summary):
    """GitHub's own keywords name an issue in any case; a number that is only mentioned does not count."""
    pulls = {1: [pull(12, "Closes #8, see #77."), pull(13, "This FIXED: #9\nresolves #8")], 2: [pull(14, None)]}
    answer = ask("repo_issues", github([commit(1), commit(2)], pulls, issues))

    assert (answer.outcome, answer.summary) == (outcome, summary)


def test_a_release_without_issues_passes():
    """Pull requests that name no issue are no problem, and the summary says so."""
    answer = ask("repo_issues", github([commit(1)], {1: [pull(12)]}))

    assert (answer.outcome, answer.summary) == (
        Outcome.PASS,
        "no pull request since v1.9.0 names an issue to close",
    )


@pytest.mark.parametrize("kind", ["repo_pulls", "repo_issues"])
@pytest.mark.parametrize(
    ("routes", "version", "head", "message"),
    [
        (github([commit(1)], {}), "", HEAD, "there is no release to compare"),
        (github([commit(1)], {}), "v1.10.0", "", "there is no release to compare"),
        (github([commit(1)], {}), "latest", HEAD, "latest isn't a version like v1.2.3"),
        (github([commit(1)], {}), "v0.9.0", HEAD, "no release before v0.9.0 is tagged"),
        (github([commit(1)], {}, behind=2), "v1.10.0", HEAD, "v1.9.0 isn't part of the release"),
        (github([commit(1)] * 501, {}), "v1.10.0", HEAD, "501 commits since v1.9.0"),
        ({}, "v1.10.0", HEAD, "GitHub has no git/matching-refs"),
    ],
    ids=["no version", "no commit", "no number", "the first", "beside", "too many", "refused"],
)
def test_a_range_that_cannot_be_determined_is_an_error(kind, routes, version, head, message):
    """The error says why the range of commits is unknown."""
    answer = ask(kind, routes, version, head)

    assert answer.outcome is Outcome.ERROR
    assert message in answer.summary


@pytest.mark.parametrize(
    ("kind", "summary"),
    [("repo_pulls", "#1201, #1204, #1207 since v4.7.0"), ("repo_issues", "#1198, #1201, #1204: closed")],
)
def test_the_pull_requests_and_issues_of_the_sandbox_are_listed(sandbox, kind, summary):
    """The candidate in the sandbox has three pull requests with closed issues."""
    facts = sandbox["github"]
    url = f"{facts['url']}/repos/{facts['repository']}/commits/main"
    sha = httpx.get(url, headers={"Authorization": f"Bearer {facts['token']}"}).json()["sha"]
    answer = run(kind, {}, staging_target(sandbox), subject=Subject("v4.8.0", sha)).answer

    assert (answer.outcome, answer.summary) == (Outcome.PASS, summary)
