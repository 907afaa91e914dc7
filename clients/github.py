"""GitHub: refs, tags, commits, checks, pull requests, issues and files of the product's repository (REST API, 2022-11-28)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from clients.answers import listed, reading
from clients.declared import Guarded
from clients.errors import ClientError
from clients.json_api import JsonApi
from clients.needs import READ_CHECKS, READ_CONTENTS, READ_ISSUES, READ_PULLS, READ_STATUSES, WRITE_CONTENTS, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

GOOD = frozenset({"success", "neutral", "skipped"})  # conclusions of a check run that do not speak against a commit
PAGE = 100  # of what GitHub lists, the most that it gives
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)(-\S+)?", re.ASCII)
_IN_TITLE = re.compile(r"\(#(\d+)\)")  # as GitHub writes it into the commit of a squashed pull request
_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)", re.IGNORECASE)  # GitHub's own keywords


@dataclass(frozen=True)
class Commit:
    """One commit, with the first line of its message."""

    sha: str
    title: str


@dataclass(frozen=True)
class CommitComparison:
    """One page of what a commit has and another has not."""

    status: str  # ahead, behind, identical or diverged
    behind_by: int
    total: int  # commits, on all pages
    commits: tuple[Commit, ...]


@dataclass(frozen=True)
class PullRequest:
    """One merged pull request, with the issues that it says to close."""

    number: int
    title: str
    closes: tuple[int, ...] = ()


class GitHub(Guarded):
    """One repository. Every method raises ClientError, also where the repository has not what is asked for."""

    def __init__(self, url: str, repository: str, token: str, *, timeout: float = 10.0) -> None:
        """``repository`` is owner/name; ``token`` may be empty for reading a public one; ``timeout``: seconds for an answer."""
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        self.repository = repository
        self._api = JsonApi("GitHub", "github", url, timeout=timeout, token=token, headers=headers)
        self._base = f"repos/{repository}"

    def close(self) -> None:
        """Close its connections."""
        self._api.close()

    def describe(self) -> tuple[Any, Mapping[str, str]]:
        """What GitHub says of the repository, and the headers of its answer, which tell a classic token's scopes."""
        self._declared.retry_read(Setting("github.repository"))
        body, headers = self._api.read(self._base)
        if body is None:
            raise self._missing("")
        return body, headers

    def probe(self, path: str) -> None:
        """See whether the token may read ``path`` of the repository."""
        self._declared.retry_read(Setting("github.repository"))
        self._must(path, per_page="1")

    def tag(self, name: str) -> tuple[str, bool] | None:
        """The commit that a tag points to and whether the tag is annotated; None when there is no such tag."""
        self._declared.retry_read(READ_CONTENTS)
        ref = self._api.get(f"{self._base}/git/ref/tags/{quote(name)}")
        if ref is None:
            return None
        with reading("GitHub", f"the tag {name}", ref):
            target, kind = str(ref["object"]["sha"]), ref["object"]["type"]
        if kind != "tag":
            return target, False
        tag = self._must(f"git/tags/{target}")
        with reading("GitHub", f"the tag {name}", tag):
            return str(tag["object"]["sha"]), True

    def create_tag(self, name: str, commit: str, message: str) -> None:
        """Make an annotated tag: its object, then the ref. A ref that is there already stays as it is.

        Where ``outcome_unknown`` it may or may not be there now: look again.
        """
        self._declared.retry_read(WRITE_CONTENTS)
        self._declared.insist_on_change(f"create the tag {name}")
        body = {"tag": name, "message": message, "object": commit, "type": "commit"}
        tag = self._api.post(f"{self._base}/git/tags", body).json()
        with reading("GitHub", f"the tag {name}", tag):
            ref = {"ref": f"refs/tags/{name}", "sha": tag["sha"]}
        unprocessable = int(httpx.codes.UNPROCESSABLE_ENTITY)
        answer = self._api.post(f"{self._base}/git/refs", ref, known=frozenset({unprocessable}))
        if answer.status_code == unprocessable:
            message = answer.json().get("message", "")
            raise ClientError(f"GitHub didn't create the tag: {message}", status=unprocessable, outcome_unknown=True)

    def tags(self) -> list[str]:
        """Names of all tags that begin with v."""
        self._declared.retry_read(READ_CONTENTS)
        refs = self._must("git/matching-refs/tags/v")
        with reading("GitHub", "the tags of releases", refs):
            return [str(ref["ref"]).removeprefix("refs/tags/") for ref in listed(refs)]

    def commit_of(self, ref: str) -> str:
        """The commit that a branch or tag points to now."""
        self._declared.retry_read(READ_CONTENTS)
        commit = self._must(f"commits/{quote(ref, safe='')}")
        with reading("GitHub", f"the commit of {ref}", commit):
            return str(commit["sha"])

    def compare(self, base: str, head: str, *, page: int = 1, size: int = 1) -> CommitComparison:
        """How ``head`` stands to ``base``, with ``size`` of its commits."""
        self._declared.retry_read(READ_CONTENTS)
        path = f"compare/{quote(base)}...{quote(head)}"
        body = self._must(path, per_page=str(size), page=str(page))
        with reading("GitHub", f"the commits since {base}", body):
            commits = [
                Commit(str(one["sha"]), str(one["commit"]["message"]).partition("\n")[0])
                for one in body.get("commits", [])
            ]
            status = str(body.get("status", ""))
            return CommitComparison(status, int(body["behind_by"]), int(body.get("total_commits", 0)), tuple(commits))

    def pull_requests(self, commit: Commit) -> list[PullRequest]:
        """The merged pull requests that a commit belongs to; by its title where GitHub knows of none."""
        self._declared.retry_read(READ_PULLS)
        body = self._must(f"commits/{commit.sha}/pulls")
        with reading("GitHub", f"the pull requests of {commit.sha[:12]}", body):
            merged_pulls = [
                PullRequest(
                    int(one["number"]), str(one["title"]), tuple(map(int, _CLOSES.findall(one.get("body") or "")))
                )
                for one in listed(body)
                if one.get("merged_at")
            ]
        numbers = _IN_TITLE.findall(commit.title)
        return merged_pulls or [PullRequest(int(number), commit.title) for number in numbers[-1:]]

    def is_closed(self, issue: int) -> bool:
        """Whether an issue is closed."""
        self._declared.retry_read(READ_ISSUES)
        body = self._must(f"issues/{issue}")
        with reading("GitHub", f"issue {issue}", body):
            return bool(body["state"] == "closed")

    def trouble_of(self, commit: str) -> str:
        """What the checks of a commit say against it; empty when all are good. No check at all is no good sign either."""
        self._declared.retry_read(READ_CHECKS)
        self._declared.retry_read(READ_STATUSES)
        check_runs = self._must(f"commits/{commit}/check-runs", filter="latest", per_page=str(PAGE))
        status = self._must(f"commits/{commit}/status")
        with reading("GitHub", f"the checks of {commit[:12]}"):
            if not check_runs["total_count"] and not status["total_count"]:
                return "no check has run on it"
            if check_runs["total_count"] > len(check_runs["check_runs"]):
                return f"it has more than {PAGE} check runs, so the bot didn't see them all"
            bad = [str(run["name"]) for run in check_runs["check_runs"] if run["conclusion"] not in GOOD]
            if status["total_count"] and status["state"] != "success":
                bad += [
                    str(entry["context"]) for entry in status.get("statuses", []) if entry.get("state") != "success"
                ] or ["its commit status"]
        return f"not green: {', '.join(bad[:5])}" if bad else ""

    def folder(self, path: str, ref: str = "") -> dict[str, str]:
        """Name to blob sha of the files in a folder at ``ref``, else on the default branch."""
        self._declared.retry_read(READ_CONTENTS)
        body = self._must(f"contents/{quote(path)}", **_at(ref))
        if isinstance(body, dict) and body.get("type") == "file":
            where = f" at {ref}" if ref else ""
            raise ClientError(f"{path} isn't a folder{where}", hint="Fix the path in the checklist.")
        with reading("GitHub", f"the files of {path}", body):
            return {str(entry["name"]): str(entry["sha"]) for entry in listed(body) if entry["type"] == "file"}

    def file(self, path: str, ref: str = "") -> bytes | None:
        """The content of a file at ``ref``, else on the default branch; None when it is not there."""
        self._declared.retry_read(READ_CONTENTS)
        body = self._api.get(f"{self._base}/contents/{quote(path)}", **_at(ref))
        if body is None:
            return None
        with reading("GitHub", f"the content of {path}", body):
            if body["encoding"] != "base64":
                raise ClientError(f"GitHub doesn't return {path}: it is larger than 1 MB", seen=str(body.get("size")))
            return base64.b64decode(body["content"])

    def content(self, path: str, ref: str = "") -> bytes:
        """The content of a file that has to be there; else as `file`."""
        content = self.file(path, ref)
        if content is None:
            raise self._missing(f"{path} at {ref[:12]}" if ref else path)
        return content

    def _must(self, path: str, **params: str) -> Any:
        body = self._api.get(f"{self._base}/{path}", **params)
        if body is None:
            raise self._missing(path)
        return body

    def _missing(self, path: str) -> ClientError:
        what = f"GitHub has no {path} in {self.repository}" if path else f"GitHub has no repository {self.repository}"
        hint = "Does the repository have it, and can the token see it? Settings: github in release-bot.yml."
        return ClientError(what, hint=hint, status=int(httpx.codes.NOT_FOUND))


def _at(ref: str) -> dict[str, str]:
    return {"ref": ref} if ref else {}


def previous_release(github: GitHub, version: str, deployed_before: str) -> str:
    """The release before ``version``: what the bot has deployed before it, else the highest plain version below it that is
    tagged; or empty.

    Other candidates of the same version are no release before it. Raises ClientError for what is no version.
    """
    ours = _triple(version)
    if ours is None:
        raise ClientError(f"{version} isn't a version like v1.2.3, so nothing comes before it")
    if _triple(deployed_before) not in {None, ours}:
        return deployed_before
    plain = [(triple, name) for name in github.tags() if (triple := _triple(name)) and not _VERSION.fullmatch(name)[4]]  # type: ignore[index]
    return max(((triple, name) for triple, name in plain if triple < ours), default=((0, 0, 0), ""))[1]


def _triple(name: str) -> tuple[int, int, int] | None:
    match = _VERSION.fullmatch(name)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
