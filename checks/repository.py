"""How kinds read the product's repository on GitHub: a file, and the pull requests of a release."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from checks.answers import listed, reading
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
class _Commit:
    """One commit of the release, with the first line of its message."""

    sha: str
    title: str


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
    with reading("GitHub", f"the text of {path}", body):
        return base64.b64decode(body["content"]).decode(errors="replace")


def folder(ctx: CheckContext, path: str, ref: str = "") -> dict[str, str]:
    """Name to blob sha of the files in a folder at ``ref``, else on the default branch. Raises CheckError."""
    with http_errors(f"list {path} of the release"):
        response = ctx.clients.github().get(f"contents/{path}", params={"ref": ref} if ref else {})
        response.raise_for_status()
        body = response.json()
    if isinstance(body, dict) and body.get("type") == "file":
        raise CheckError(f"{path} is no folder in the repository", hint="Correct path in the checklist.")
    with reading("GitHub", f"the files of {path}", body):
        return {str(item["name"]): str(item["sha"]) for item in listed(body) if item["type"] == "file"}


def content(ctx: CheckContext, path: str, ref: str = "") -> bytes:
    """A file at ``ref``, else on the default branch. Raises CheckError, also where there is none."""
    with http_errors(f"read {path} of the release"):
        response = ctx.clients.github().get(f"contents/{path}", params={"ref": ref} if ref else {})
        response.raise_for_status()
        body = response.json()
    name = path.rpartition("/")[2]
    with reading("GitHub", f"the content of {name}", body):
        if body["encoding"] != "base64":  # GitHub sends no content of files over 1 MB
            raise CheckError(f"GitHub sends no content of {name}: it is too large", seen=str(body.get("size")))
        return base64.b64decode(body["content"])


def release_before(ctx: CheckContext) -> str:
    """The tag of the release before this one: of what the bot has deployed, else of the highest one below; empty: none.

    Other candidates of the same version are no release before it.
    """
    known, ours = _parsed(ctx.subject.previous), _parsed(ctx.subject.version)
    if known is not None and known != ours:
        return ctx.subject.previous
    return _tag_before(ctx.clients.github(), ctx.subject.version)


def release_range(ctx: CheckContext) -> Range:
    """The commits and pull requests of the release that the check is run for.

    Raises CheckError without a release, without an earlier tag, and when GitHub cannot be asked.
    """
    github = ctx.clients.github()
    version, commit = ctx.subject.version, ctx.subject.commit
    if not version or not commit:
        raise CheckError("there is no release to compare", hint="This is asked for a release only: `/release check`.")
    since = _tag_before(github, version)
    if not since:
        raise CheckError(f"there is no tag of a release before {version}", hint="Tag the release before it.")
    commits = _commits(github, since, commit)
    pulls: dict[int, Pull] = {}
    without = []
    for number, one in enumerate(commits, 1):
        ctx.wait(0)
        ctx.progress(f"reading commit {number} of {len(commits)}")
        found = _pulls_of(github, one)
        pulls |= {pull.number: pull for pull in found}
        if not found:
            without.append(one.sha[:12])
    return Range(since, len(commits), tuple(pulls[number] for number in sorted(pulls)), tuple(without))


def open_issues(ctx: CheckContext, numbers: list[int]) -> list[int]:
    """Those of the issues that are not closed. Raises CheckError."""
    found = []
    for number in numbers:
        issue = _get(ctx.clients.github(), f"issues/{number}", {})
        with reading("GitHub", f"issue {number}", issue):
            if issue["state"] != "closed":
                found.append(number)
    return found


def _tag_before(github: httpx.Client, version: str) -> str:
    """The tag of the highest release below ``version``, or empty: other tags are there too, and none in order of time."""
    wanted = _parsed(version)
    if wanted is None:
        raise CheckError(f"{version} is no version like v1.2.3, so nothing comes before it")
    refs = _get(github, "git/matching-refs/tags/v", {})
    with reading("GitHub", "the tags of releases", refs):
        names = [str(ref["ref"]).removeprefix("refs/tags/") for ref in listed(refs)]
    below = [
        (parsed, name)
        for name in names
        if (parsed := _parsed(name)) is not None and parsed < wanted and not _VERSION.fullmatch(name)[4]  # type: ignore[index]
    ]
    return max(below)[1] if below else ""


def _parsed(name: str) -> tuple[int, int, int] | None:
    found = _VERSION.fullmatch(name)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _commits(github: httpx.Client, since: str, commit: str) -> list[_Commit]:
    found: list[_Commit] = []
    while True:
        page = len(found) // _PAGE + 1
        body = _get(github, f"compare/{since}...{commit}", {"per_page": str(_PAGE), "page": str(page)})
        with reading("GitHub", f"the commits since {since}", body):
            beside, total = int(body["behind_by"]), int(body["total_commits"])
            commits = [
                _Commit(str(one["sha"]), str(one["commit"]["message"]).partition("\n")[0]) for one in body["commits"]
            ]
        if beside:
            raise CheckError(
                f"{since} is not part of the release: it lies {beside} commits beside it",
                hint="Was the release before made from another branch? Compare the two on GitHub.",
            )
        if total > _MAX_COMMITS:
            raise CheckError(f"{total} commits since {since}: more than one release holds")
        found += commits
        if len(found) >= total or not commits:
            return found


def _pulls_of(github: httpx.Client, commit: _Commit) -> list[Pull]:
    """The merged pull requests that a commit belongs to; by its title where GitHub knows of none."""
    body = _get(github, f"commits/{commit.sha}/pulls", {})
    with reading("GitHub", f"the pull requests of {commit.sha[:12]}", body):
        found = [
            Pull(int(pull["number"]), str(pull["title"]), tuple(map(int, _CLOSES.findall(pull.get("body") or ""))))
            for pull in listed(body)
            if pull.get("merged_at")
        ]
    named = _IN_TITLE.findall(commit.title)
    return found or [Pull(int(number), commit.title) for number in named[-1:]]


def _get(github: httpx.Client, path: str, query: dict[str, str]) -> Any:
    with http_errors(f"read {path} of the repository"):
        response = github.get(path, params=query)
        response.raise_for_status()
        return response.json()
