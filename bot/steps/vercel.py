"""Vercel as the steps use it: which deployment is live, making one, moving production to one (Vercel's REST API)."""

from __future__ import annotations

from typing import Any

import httpx

from bot.errors import StepError
from bot.steps.contract import Look
from bot.steps.http import Api

MARK = "releaseBot"  # key in a deployment's meta
UNDER_WAY = frozenset({"QUEUED", "INITIALIZING", "BUILDING"})  # states of a build
MOVES = frozenset({"pending", "in-progress"})  # statuses of a move of production that is not over
CONFLICT = int(httpx.codes.CONFLICT)  # it is live already, or another move is under way: the caller looks


class Vercel:
    """One project."""

    def __init__(self, url: str, token: str, project: str, team: str) -> None:
        """``project`` is its id or name; ``team`` (team_…) may be empty for a personal account."""
        params = {"teamId": team} if team else {}
        self.project_id = project
        self._api = Api("Vercel", url, headers={"Authorization": f"Bearer {token}"}, params=params, section="vercel")

    def project(self) -> dict[str, Any]:
        """The project: what is live (targets.production), what moved production last (lastAliasRequest)."""
        found = self._api.get(f"v9/projects/{self.project_id}")
        if found is None:
            raise StepError(
                f"Vercel has no project {self.project_id}",
                hint="Check vercel.project, vercel.team and what the token may see.",
            )
        if not isinstance(found, dict) or "id" not in found:
            raise StepError("Vercel did not answer with a project", hint="Is vercel.url the address of its API?")
        return found

    def live(self) -> dict[str, Any] | None:
        """The deployment that production shows; None when there is none yet."""
        found = (self.project().get("targets") or {}).get("production")
        return dict(found) if found else None

    def deployment(self, deployment_id: str) -> dict[str, Any] | None:
        """One deployment; None when it is gone."""
        found = self._api.get(f"v13/deployments/{deployment_id}")
        return None if found is None else dict(found)

    def of_commit(self, commit: str) -> dict[str, Any] | None:
        """The newest production deployment of a commit; None when there is none."""
        listed = self._api.get("v6/deployments", projectId=self.project_id, target="production", sha=commit, limit="20")
        found = [dict(item) for item in (listed or {}).get("deployments", []) if commit_of(item) == commit]
        return max(found, key=lambda item: item.get("created", 0), default=None)

    def candidates(self) -> list[dict[str, Any]]:
        """The deployments that production can be rolled back to, the newest first."""
        listed = self._api.get(
            "v6/deployments", projectId=self.project_id, target="production", state="READY", rollbackCandidate="true"
        )
        return [dict(item) for item in (listed or {}).get("deployments", [])]

    def create(self, commit: str, ref: str, mark: str) -> None:
        """Have the project build and deploy ``commit`` of the branch or tag ``ref``; ``mark`` tells ours from others.

        Raises NoAnswer: look again.
        """
        project = self.project()
        link = project.get("link") or {}
        if not link.get("type"):
            raise StepError("the Vercel project is connected to no repository", hint="Connect it, or deploy by hand.")
        source = {"type": link["type"], "repoId": link.get("repoId"), "ref": ref, "sha": commit}
        body = {"name": project["name"], "project": project["id"], "target": "production", "gitSource": source}
        self._api.post("v13/deployments", {**body, "meta": {MARK: mark}}, forceNew="1")

    def promote(self, deployment_id: str) -> None:
        """Move production to a deployment that is built. Raises NoAnswer: look again."""
        self._api.post(f"v10/projects/{self.project_id}/promote/{deployment_id}", {}, known=frozenset({CONFLICT}))

    def roll_back(self, deployment_id: str) -> None:
        """Move production back to a deployment, named, never "the previous one". Raises NoAnswer: look again."""
        self._api.post(f"v9/projects/{self.project_id}/rollback/{deployment_id}", {}, known=frozenset({CONFLICT}))


def commit_of(deployment: dict[str, Any]) -> str:
    """The commit that a deployment was built from."""
    return str((deployment.get("meta") or {}).get("githubCommitSha", ""))


def id_of(deployment: dict[str, Any]) -> str:
    """The id of a deployment: a list calls it uid."""
    return str(deployment.get("id") or deployment.get("uid") or "")


def mark_of(deployment: dict[str, Any]) -> str:
    """What `create` has marked it with; empty for one that is not ours."""
    return str((deployment.get("meta") or {}).get(MARK, ""))


def state_of(deployment: dict[str, Any]) -> str:
    """Where its build stands: READY, ERROR, CANCELED, or one of `UNDER_WAY`."""
    return str(deployment.get("readyState") or deployment.get("state") or "")


def named(deployment: dict[str, Any]) -> str:
    """A deployment as people read it."""
    commit = commit_of(deployment)
    return f"{id_of(deployment)}, commit {commit[:12]}" if commit else id_of(deployment)


def of(look: Look) -> Vercel:
    """The project of a step. Raises StepError where Vercel is not configured."""
    if look.vercel is None:
        raise StepError(
            "there is no vercel section, so the frontend cannot be deployed", hint="Add vercel: to release-bot.yml."
        )
    return look.vercel
