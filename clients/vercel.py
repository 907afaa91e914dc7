"""Vercel: which deployment is live, making one, moving production to one (Vercel's REST API)."""

from __future__ import annotations

from typing import Any

import httpx

from clients.answers import listed, reading
from clients.declared import Guarded
from clients.errors import ClientError, StrangeAnswer
from clients.json_api import JsonApi
from clients.needs import Setting

TOKEN = Setting("vercel.token")
MARK = "releaseBot"  # key in a deployment's meta
UNDER_WAY = frozenset({"QUEUED", "INITIALIZING", "BUILDING"})  # states of a build
MOVES = frozenset({"pending", "in-progress"})  # statuses of a move of production that is not over
CONFLICT = int(httpx.codes.CONFLICT)  # it is live already, or another move is under way: the caller looks


class Vercel(Guarded):
    """One project. Every method raises ClientError; after one that changes something, where ``outcome_unknown``: look again."""

    def __init__(self, url: str, token: str, project: str, team: str, *, timeout: float = 10.0) -> None:
        """``project`` is its id or name; ``team`` (team_…) may be empty for a personal account; ``timeout``: seconds."""
        params = {"teamId": team} if team else {}
        self.project_id = project
        self._api = JsonApi("Vercel", "vercel", url, timeout=timeout, token=token, params=params)

    def close(self) -> None:
        """Close its connections."""
        self._api.close()

    def project(self) -> dict[str, Any]:
        """The project: what is live (targets.production), what moved production last (lastAliasRequest)."""
        self._declared.retry_read(TOKEN)
        project = self._api.get(f"v9/projects/{self.project_id}")
        if project is None:
            raise ClientError(
                f"Vercel has no project {self.project_id}",
                hint="Check vercel.project, vercel.team and what the token can see.",
                status=int(httpx.codes.NOT_FOUND),
            )
        if not isinstance(project, dict) or "id" not in project:
            raise StrangeAnswer("Vercel didn't answer with a project", hint="Is vercel.url the address of its API?")
        return project

    def live(self) -> dict[str, Any] | None:
        """The deployment that production shows; None when there is none yet."""
        deployment = (self.project().get("targets") or {}).get("production")
        return dict(deployment) if deployment else None

    def deployment(self, deployment_id: str) -> dict[str, Any] | None:
        """One deployment; None when it is gone."""
        self._declared.retry_read(TOKEN)
        deployment = self._api.get(f"v13/deployments/{deployment_id}")
        return None if deployment is None else dict(deployment)

    def of_commit(self, commit: str) -> dict[str, Any] | None:
        """The newest production deployment of a commit; None when there is none."""
        same = [item for item in self._deployments(sha=commit, limit="20") if commit_of(item) == commit]
        return max(same, key=lambda item: item.get("created", 0), default=None)

    def candidates(self) -> list[dict[str, Any]]:
        """The deployments that production can be rolled back to, the newest first."""
        return self._deployments(state="READY", rollbackCandidate="true")

    def _deployments(self, **query: str) -> list[dict[str, Any]]:
        self._declared.retry_read(TOKEN)
        body = self._api.get("v6/deployments", projectId=self.project_id, target="production", **query) or {}
        with reading("Vercel", "deployments", body):
            return [dict(item) for item in listed(body.get("deployments", []))]

    def create(self, commit: str, ref: str, mark: str) -> None:
        """Have the project build and deploy ``commit`` of the branch or tag ``ref``; ``mark`` tells ours from others."""
        self._declared.insist_on_change(f"deploy {commit[:12]}")
        project = self.project()
        link = project.get("link") or {}
        if not link.get("type"):
            raise ClientError(
                "the Vercel project isn't connected to a repository", hint="Connect it, or deploy by hand."
            )
        source = {"type": link["type"], "repoId": link.get("repoId"), "ref": ref, "sha": commit}
        body = {"name": project["name"], "project": project["id"], "target": "production", "gitSource": source}
        self._api.post("v13/deployments", {**body, "meta": {MARK: mark}}, forceNew="1")

    def promote(self, deployment_id: str) -> None:
        """Move production to a deployment that is built."""
        self._declared.insist_on_change(f"promote {deployment_id}")
        self._api.post(f"v10/projects/{self.project_id}/promote/{deployment_id}", {}, known=frozenset({CONFLICT}))

    def roll_back(self, deployment_id: str) -> None:
        """Move production back to a deployment, named, never "the previous one"."""
        self._declared.insist_on_change(f"roll back to {deployment_id}")
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


def describe_deployment(deployment: dict[str, Any]) -> str:
    """A deployment as people read it."""
    commit = commit_of(deployment)
    return f"{id_of(deployment)}, commit {commit[:12]}" if commit else id_of(deployment)
