"""What a release brings since the one before: its commits and their pull requests, for the kinds that ask about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks.contract import CheckError
from clients.github import PAGE, previous_release

if TYPE_CHECKING:
    from checks.contract import CheckContext
    from clients.github import Commit, GitHub, PullRequest

MAX_COMMITS = 500  # far more than a release holds; beyond it the tag that it is compared with is the wrong one


@dataclass(frozen=True)
class ReleaseRange:
    """What a release brings since the one before."""

    since: str  # tag of the release before
    commits: int
    pulls: tuple[PullRequest, ...]
    without: tuple[str, ...]  # commits that belong to no pull request


def release_range(ctx: CheckContext) -> ReleaseRange:
    """The commits and pull requests of the release that the check is run for.

    Raises CheckError without a release and without an earlier tag, ClientError when GitHub cannot be asked.
    """
    github = ctx.clients.github()
    version, commit = ctx.subject.version, ctx.subject.commit
    if not version or not commit:
        raise CheckError("there is no release to compare", hint="Run it in a release: `/release check`.")
    since = previous_release(github, version, ctx.subject.previous)
    if not since:
        raise CheckError(f"no release before {version} is tagged", hint="Tag the previous release.")
    commits = _commits(github, since, commit)
    pulls: dict[int, PullRequest] = {}
    without = []
    for number, one in enumerate(commits, 1):
        ctx.wait(0)
        ctx.progress(f"reading commit {number} of {len(commits)}")
        pulls_of_commit = github.pull_requests(one)
        pulls |= {pull.number: pull for pull in pulls_of_commit}
        if not pulls_of_commit:
            without.append(one.sha[:12])
    return ReleaseRange(since, len(commits), tuple(pulls[number] for number in sorted(pulls)), tuple(without))


def _commits(github: GitHub, since: str, commit: str) -> list[Commit]:
    commits: list[Commit] = []
    while True:
        page = github.compare(since, commit, page=len(commits) // PAGE + 1, size=PAGE)
        if page.behind_by:
            raise CheckError(
                f"{since} isn't part of the release: it has {page.behind_by} commits that the release lacks",
                hint="Was the previous release made from another branch? Compare the two on GitHub.",
            )
        if page.total > MAX_COMMITS:
            raise CheckError(f"{page.total} commits since {since}: more than one release can have")
        commits += page.commits
        if len(commits) >= page.total or not page.commits:
            return commits
