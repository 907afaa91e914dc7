"""How kinds read the product's repository on GitHub: a file, and the pull requests of a release."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from checks.clients import http_errors
from checks.contract import CheckError

if TYPE_CHECKING:
    from checks.contract import CheckContext

_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)(-\S+)?", re.ASCII)
_IN_TITLE = re.compile(r"\(#(\d+)\)")  # as GitHub writes it into the commit of a squashed pull request
_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)", re.IGNORECASE)  # GitHub's own keywords
_PAGE = 100  # commits a page, the most that GitHub gives
_MAX_COMMITS = 500  # far more than a release holds; beyond it the tag that it is compared with is the wrong one


@dataclass(frozen=True)
class Pull:
    """One merged pull request, with the issues that it says to close."""

    number: int
    title: str
    closes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Range:
    """What a release brings since the one before."""

    since: str  # tag of the release before
    commits: int
    pulls: tuple[Pull, ...]
    without: tuple[str, ...]  # commits that belong to no pull request


def file_text(ctx: CheckContext, path: str) -> str | None:
    """The text of a file on the default branch; None when there is none. Raises CheckError."""
    with http_errors(f"read {path} of the repository"):
        response = ctx.clients.github().get(f"contents/{path}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        response.raise_for_status()
        body = response.json()
    if not isinstance(body, dict) or body.get("encoding") != "base64":
        raise CheckError(f"{path} is no file that GitHub shows the text of", hint="Correct path in the checklist.")
    return base64.b64decode(body["content"]).decode(errors="replace")


def release_range(ctx: CheckContext) -> Range:
    """The commits and pull requests of the release that the check is run for.

    Raises CheckError without a release, without an earlier tag, and when GitHub cannot be asked.
    """
    github = ctx.clients.github()
    version, commit = ctx.subject.version, ctx.subject.commit
    if not version or not commit:
        raise CheckError("there is no release to compare", hint="This is asked for a release only: `/release check`.")
    since = _tag_before(github, version)
    commits = _commits(github, since, commit)
    pulls: dict[int, Pull] = {}
    without = []
    for number, one in enumerate(commits, 1):
        ctx.wait(0)
        ctx.progress(f"reading commit {number} of {len(commits)}")
        found = _pulls_of(github, one)
        pulls |= {pull.number: pull for pull in found}
        if not found:
            without.append(str(one["sha"])[:12])
    return Range(since, len(commits), tuple(pulls[number] for number in sorted(pulls)), tuple(without))


def open_issues(ctx: CheckContext, numbers: list[int]) -> list[int]:
    """Those of the issues that are not closed. Raises CheckError."""
    return [number for number in numbers if _get(ctx.clients.github(), f"issues/{number}", {})["state"] != "closed"]


def _tag_before(github: httpx.Client, version: str) -> str:
    """The tag of the highest release below ``version``: other tags are there too, and none in order of time."""
    wanted = _parsed(version)
    if wanted is None:
        raise CheckError(f"{version} is no version like v1.2.3, so nothing comes before it")
    names = [str(ref["ref"]).removeprefix("refs/tags/") for ref in _get(github, "git/matching-refs/tags/v", {})]
    below = [
        (parsed, name)
        for name in names
        if (parsed := _parsed(name)) is not None and parsed < wanted and not _VERSION.fullmatch(name)[4]  # type: ignore[index]
    ]
    if not below:
        raise CheckError(f"there is no tag of a release before {version}", hint="Tag the release before it.")
    return max(below)[1]


def _parsed(name: str) -> tuple[int, int, int] | None:
    found = _VERSION.fullmatch(name)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _commits(github: httpx.Client, since: str, commit: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = len(found) // _PAGE + 1
        body = _get(github, f"compare/{since}...{commit}", {"per_page": str(_PAGE), "page": str(page)})
        if body["behind_by"]:
            raise CheckError(
                f"{since} is not part of the release: it lies {body['behind_by']} commits beside it",
                hint="Was the release before made from another branch? Compare the two on GitHub.",
            )
        if body["total_commits"] > _MAX_COMMITS:
            raise CheckError(f"{body['total_commits']} commits since {since}: more than one release holds")
        found += body["commits"]
        if len(found) >= body["total_commits"] or not body["commits"]:
            return found


def _pulls_of(github: httpx.Client, commit: dict[str, Any]) -> list[Pull]:
    """The merged pull requests that a commit belongs to; by its title where GitHub knows of none."""
    listed = _get(github, f"commits/{commit['sha']}/pulls", {})
    found = [
        Pull(
            pull["number"], str(pull["title"]), tuple(int(number) for number in _CLOSES.findall(pull.get("body") or ""))
        )
        for pull in listed
        if pull.get("merged_at")
    ]
    title = str(commit["commit"]["message"]).partition("\n")[0]
    named = _IN_TITLE.findall(title)
    return found or [Pull(int(number), title) for number in named[-1:]]


def _get(github: httpx.Client, path: str, query: dict[str, str]) -> Any:
    with http_errors(f"read {path} of the repository"):
        response = github.get(path, params=query)
        response.raise_for_status()
        return response.json()
