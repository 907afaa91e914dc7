"""Checkup of GitHub: is the token taken, and may it do what is needed in the repository?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks.checkup.finding import (
    FORBIDDEN,
    NOT_FOUND,
    PATIENCE,
    REFUSED,
    Finding,
    Needs,
    State,
    lines_of,
    rights_in,
    trouble,
)
from clients.answers import reading
from clients.connections import Clients
from clients.errors import ClientError
from clients.needs import READ_CHECKS, READ_CONTENTS, READ_ISSUES, READ_PULLS, READ_STATUSES, WRITE_CONTENTS
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clients.github import GitHub
    from clients.target import Target

# GitHub does not tell what a fine-grained token or an App may do, so what reads is tried (docs.github.com: permissions
# required for fine-grained personal access tokens). A right that is not granted is 403, or 404 as if nothing were there.
_PROBES = {
    READ_CONTENTS.right: "git/matching-refs/tags",
    READ_PULLS.right: "commits/{branch}/pulls",
    READ_ISSUES.right: "issues",
    READ_CHECKS.right: "commits/{branch}/check-runs",
    READ_STATUSES.right: "commits/{branch}/status",
}
_OF_WHOLE_REPOSITORY = {"repo"}  # scopes of a classic token that hold all of the above
_OF_PUBLIC = {"public_repo"}
_OF_INSTALLATION = "ghs_"  # how the token of an App's installation begins (docs.github.com: about authentication)


def github(target: Target, needs: Needs) -> list[Finding]:
    """The repository, then each right."""
    part = require(target.github, target, "github")
    with Clients(target, http_timeout=PATIENCE) as clients:
        client = clients.github()
        try:
            repository, headers = client.describe()
            with reading("GitHub", "a repository"):
                branch = str(repository["default_branch"])
        except ClientError as error:
            hint = f"Set github.token to one that can see {part.repository}, and check github.repository."
            if error.status == REFUSED:
                hint = "Set github.token to a valid token that hasn't expired."
            return [limited(error, lines_of(needs)) or trouble(error, lines_of(needs), hint=hint)]
        findings = _probe_rights(client, branch, needs)
        if lines := lines_of(needs, WRITE_CONTENTS.right):
            findings += _writing(headers, repository, lines, part.token.get_secret_value() if part.token else "")
    if any(finding.state is not State.NOTE for finding in findings):
        return findings
    rights = [right for right in rights_in(needs) if right in _PROBES]
    what = (
        f"connected to {part.repository}; granted: {', '.join(rights)}" if rights else f"connected to {part.repository}"
    )
    return [Finding(State.OK, what), *findings]


def _probe_rights(client: GitHub, branch: str, needs: Needs) -> list[Finding]:
    findings: list[Finding] = []
    for right in rights_in(needs):
        if right not in _PROBES:
            continue
        lines = lines_of(needs, right)
        try:
            client.probe(_PROBES[right].format(branch=branch))
        except ClientError as error:
            if limit := limited(error, lines):
                return [*findings, limit]
            if error.status in {FORBIDDEN, NOT_FOUND}:
                hint = f"Give the token the permission {right} for the repository."
                findings.append(Finding(State.MISSING, f"the token lacks {right}", hint, lines=lines))
            else:
                findings.append(trouble(error, lines))
    return findings


def limited(error: ClientError, lines: tuple[str, ...]) -> Finding | None:
    """What a refusal says that is none: GitHub answers 403 as well to who asks too often (docs.github.com: rate limits)."""
    if error.status != FORBIDDEN or "rate limit" not in f"{error.summary} {error.seen}".lower():
        return None
    hint = "Wait an hour. Without github.token GitHub allows only 60 calls an hour."
    return Finding(State.UNREACHABLE, "the rate limit is used up: 403 rate limit exceeded", hint, lines=lines)


def _writing(headers: Mapping[str, str], repository: Any, lines: tuple[str, ...], token: str) -> list[Finding]:
    """Only a classic token tells its scopes; of others GitHub tells what their owner may do, which is not all of it.

    The token of an App's installation has no owner: of it GitHub says that it may not push, whatever it may.
    """
    right = WRITE_CONTENTS.right
    if not token:
        return [Finding(State.MISSING, f"{right} needs a token", "Set github.token.", lines=lines)]
    scopes = {scope.strip() for scope in headers.get("X-OAuth-Scopes", "").split(",") if scope.strip()}
    enough = _OF_WHOLE_REPOSITORY if repository.get("private") else _OF_WHOLE_REPOSITORY | _OF_PUBLIC
    if "X-OAuth-Scopes" in headers and scopes and not scopes & enough:
        hint = f"Give the token the scope {' or '.join(sorted(enough))}."
        return [
            Finding(State.MISSING, f"the token lacks {right}: it has {', '.join(sorted(scopes))}", hint, lines=lines)
        ]
    permissions = None if token.startswith(_OF_INSTALLATION) else repository.get("permissions")
    if permissions is not None and not permissions.get("push"):
        hint = "Give its owner, or the App, write access to the repository."
        return [Finding(State.MISSING, f"the token's owner can't push: {right} is missing", hint, lines=lines)]
    if scopes:
        return []
    owner = "" if permissions is None else "its owner can push; "
    what = f"{owner}GitHub doesn't show whether the token has {right}; the first tag will"
    return [Finding(State.NOTE, what, lines=lines)]
