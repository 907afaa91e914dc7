"""GitHub as the steps use it: refs, tags, comparison, checks and files at a commit (facts of the REST API, 2022-11-28)."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import httpx

from bot.domain.ids import Version
from bot.errors import NoAnswer, StepError
from bot.steps.contract import Look
from bot.steps.http import Api

GOOD = frozenset({"success", "neutral", "skipped"})  # conclusions of a check run that do not speak against a commit
PAGE = 100


class GitHub:
    """One repository."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        """``repository`` is owner/name; ``token`` may be empty for reading a public one."""
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.repository = repository
        self._api = Api("GitHub", url, headers=headers, params={}, section="github")
        self._base = f"repos/{repository}"

    def tag(self, name: str) -> tuple[str, bool] | None:
        """The commit that a tag points to and whether the tag is annotated; None when there is no such tag."""
        ref = self._api.get(f"{self._base}/git/ref/tags/{quote(name)}")
        if ref is None:
            return None
        found = ref["object"]
        if found["type"] != "tag":
            return str(found["sha"]), False
        return str(self._must(f"{self._base}/git/tags/{found['sha']}")["object"]["sha"]), True

    def create_tag(self, name: str, commit: str, message: str) -> None:
        """Make an annotated tag: its object, then the ref. A ref that is there already stays as it is.

        Raises NoAnswer when it may or may not be there now: look again.
        """
        body = {"tag": name, "message": message, "object": commit, "type": "commit"}
        made = self._api.post(f"{self._base}/git/tags", body).json()
        ref = {"ref": f"refs/tags/{name}", "sha": made["sha"]}
        unprocessable = int(httpx.codes.UNPROCESSABLE_ENTITY)
        answer = self._api.post(f"{self._base}/git/refs", ref, known=frozenset({unprocessable}))
        if answer.status_code == unprocessable:
            raise NoAnswer(f"GitHub did not create the tag: {answer.json().get('message', '')}")

    def tags(self) -> list[str]:
        """Names of all tags that begin with v."""
        refs = self._must(f"{self._base}/git/matching-refs/tags/v")
        return [str(ref["ref"]).removeprefix("refs/tags/") for ref in refs]

    def compare(self, base: str, head: str) -> dict[str, Any]:
        """How ``head`` stands to ``base``: status, ahead_by, behind_by."""
        return dict(self._must(f"{self._base}/compare/{quote(base)}...{quote(head)}", per_page="1"))

    def trouble_of(self, commit: str) -> str:
        """What the checks of a commit say against it; empty when all are good. No check at all is no good sign either."""
        runs = self._must(f"{self._base}/commits/{commit}/check-runs", filter="latest", per_page=str(PAGE))
        status = self._must(f"{self._base}/commits/{commit}/status")
        if not runs["total_count"] and not status["total_count"]:
            return "no check has run on it"
        if runs["total_count"] > len(runs["check_runs"]):
            return f"it has more than {PAGE} check runs, so not all were seen"
        bad = [str(run["name"]) for run in runs["check_runs"] if run["conclusion"] not in GOOD]
        if status["total_count"] and status["state"] != "success":
            bad += [
                str(entry["context"]) for entry in status.get("statuses", []) if entry.get("state") != "success"
            ] or ["its commit status"]
        return f"not green: {', '.join(bad[:5])}" if bad else ""

    def folder(self, path: str, ref: str) -> dict[str, str]:
        """Name to blob sha of the files in a folder at ``ref``."""
        listed = self._must(f"{self._base}/contents/{quote(path)}", ref=ref)
        if not isinstance(listed, list):
            raise StepError(f"{path} is no folder at {ref}")
        return {str(entry["name"]): str(entry["sha"]) for entry in listed if entry["type"] == "file"}

    def file(self, path: str, ref: str) -> bytes | None:
        """The content of a file at ``ref``; None when it is not there."""
        found = self._api.get(f"{self._base}/contents/{quote(path)}", ref=ref)
        if found is None:
            return None
        if found.get("encoding") != "base64":
            raise StepError(f"GitHub does not give the content of {path}: it is larger than 1 MB")
        return base64.b64decode(found["content"])

    def _must(self, path: str, **params: str) -> Any:
        found = self._api.get(path, **params)
        if found is None:
            raise StepError(
                f"GitHub has no {path.removeprefix(self._base + '/')} in {self.repository}",
                hint="Does the repository have it, and may the token see it? Settings: github in release-bot.yml.",
            )
        return found


def of(look: Look) -> GitHub:
    """The repository of a step. Raises StepError where GitHub is not configured."""
    if look.github is None:
        raise StepError(
            "there is no github section, so the repository cannot be asked", hint="Add github: to release-bot.yml."
        )
    return look.github


def last_release(look: Look) -> str:
    """The release before this one: as the bot has seen it, else the highest plain version below it that is tagged; or empty.

    Other candidates of the same version are no release before it.
    """
    ours = Version.parse(look.shipment.version)
    if ours is None:
        raise StepError(f"{look.shipment.version} is no version")
    same = (ours.major, ours.minor, ours.patch)
    known = Version.parse(look.shipment.previous)
    if known is not None and (known.major, known.minor, known.patch) != same:
        return look.shipment.previous
    tags = (Version.parse(name) for name in look.insist(of(look).tags))
    below = [
        tag
        for tag in tags
        if tag is not None and tag < ours and tag.plain and (tag.major, tag.minor, tag.patch) != same
    ]
    return str(max(below)) if below else ""
