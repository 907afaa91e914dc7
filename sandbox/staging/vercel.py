"""The simulated Vercel: one project, its deployments, promotion and rollback of what production shows."""

import time
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.faults import Faults
from sandbox.persist import Snapshot
from sandbox.staging.serving import bearer, json_errors, refuse_while, require_token
from sandbox.staging.versions import BRANCH, LIVE, RELEASED_VERSIONS, commit_sha

TOKEN = "sandbox-vercel-token"
PROJECT = "prj_solvereign"
TEAM = "team_solvereign"

Json = dict[str, Any]


class VercelSimulator:
    """The server's state and its handlers; `app` is what listens."""

    def __init__(self, faults: Faults, snapshot: Snapshot, *, pace: float = 1.0) -> None:
        """``pace``: seconds for a build; a move of production takes half as long."""
        self._faults, self._snapshot, self._pace = faults, snapshot, pace
        document = snapshot.load() or {"deployments": _first_deployments(), "live": f"dpl_{LIVE}", "request": None}
        self._deployments: dict[str, Json] = document["deployments"]
        self._live: str = document["live"]
        self._request: Json | None = document["request"]
        self._auto_assign: bool = document.get("auto_assign", True)  # off after a rollback, until something is promoted
        self.app = web.Application(
            middlewares=[
                refuse_while(lambda: faults.on("vercel_down")),
                json_errors(lambda _status, reason: {"error": {"code": "not_found", "message": reason}}),
                require_token(bearer(TOKEN), lambda _request: _error(403, "forbidden", "Not authorized")),
                _require_team,
            ]
        )
        project = f"/{{version:v\\d+}}/projects/{PROJECT}"
        self.app.add_routes(
            [
                web.get(project, self._project),
                web.get("/{version:v[67]}/deployments", self._list),
                web.get("/v13/deployments/{id}", self._get),
                web.post("/v13/deployments", self._create),
                web.post(f"{project}/rollback/{{id}}", self._rollback),
                web.post(f"{project}/promote/{{id}}", self._promote),
            ]
        )
        self.app.on_cleanup.append(self._stop)

    async def _stop(self, _app: web.Application) -> None:
        self._snapshot.flush()

    def _save(self) -> None:
        state = {"deployments": self._deployments, "live": self._live, "request": self._request}
        self._snapshot.save({**state, "auto_assign": self._auto_assign})

    def build_of_tag(self, tag: str, commit: str) -> None:
        """Build a new release tag and deploy it to production, as the connection to the repository does."""
        if not self._faults.on("vercel_no_auto_deploy"):
            self._build(tag, commit, "production", {})

    def _build(self, ref: str, commit: str, target: str | None, meta: Json) -> Json:
        identifier = f"dpl_{len(self._deployments) + 1:04}"
        deployment = _deployment(identifier, ref, commit, created_at=time.time(), state="BUILDING", target=target)
        deployment["meta"] |= meta
        self._deployments[identifier] = deployment
        self._save()
        return deployment

    def _settle(self) -> None:
        """Carry out what is due by now: builds that end and go live, a requested rollback or promotion."""
        now = time.time()
        for deployment in self._deployments.values():
            if deployment["readyState"] == "BUILDING" and now >= deployment["created"] / 1000 + self._pace:
                deployment["readyState"] = "ERROR" if self._faults.on("vercel_build_fails") else "READY"
                deployment["ready"] = int(now * 1000)
                if deployment["target"] == "production" and deployment["readyState"] == "READY" and self._auto_assign:
                    self._live = deployment["id"]
        request = self._request
        if request and request["jobStatus"] == "in-progress" and now >= request["requestedAt"] / 1000 + self._pace / 2:
            request["jobStatus"] = "succeeded"
            self._live = request["toDeploymentId"]
            self._auto_assign = request["type"] == "promote"
        self._save()

    async def _project(self, _request: web.Request) -> web.Response:
        self._settle()
        return web.json_response(
            {
                "id": PROJECT,
                "name": "solvereign",
                "accountId": TEAM,
                "autoAssignCustomDomains": self._auto_assign,
                "targets": {"production": self._as_json(self._deployments[self._live])},
                "lastAliasRequest": self._request,
                "link": {"type": "github", "org": "solvereign", "repo": "solvereign", "repoId": 1},
            }
        )

    async def _list(self, request: web.Request) -> web.Response:
        self._settle()
        query = request.query
        states = query["state"].split(",") if "state" in query else None
        deployments = [
            deployment
            for deployment in sorted(self._deployments.values(), key=lambda item: item["created"], reverse=True)
            if query.get("target", deployment["target"]) == deployment["target"]
            and (states is None or deployment["readyState"] in states)
            and query.get("sha", deployment["meta"]["githubCommitSha"]) == deployment["meta"]["githubCommitSha"]
            and query.get("rollbackCandidate") in {None, "false", str(self._is_candidate(deployment)).lower()}
            and deployment["created"] >= int(query.get("since", "0"))
        ][: int(query.get("limit", "20"))]
        items = [{**self._as_json(deployment), "uid": deployment["id"]} for deployment in deployments]
        return web.json_response({"deployments": items, "pagination": {"count": len(items), "next": None}})

    async def _get(self, request: web.Request) -> web.Response:
        self._settle()
        key = request.match_info["id"]
        for deployment in self._deployments.values():
            if key in {deployment["id"], deployment["url"]}:
                return web.json_response(self._as_json(deployment))
        return _error(404, "not_found", "The deployment could not be found")

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        source = body.get("gitSource") or {}
        source_deployment = self._deployments.get(body.get("deploymentId", ""))
        ref = source.get("ref") or (source_deployment["meta"]["githubCommitRef"] if source_deployment else None)
        if not body.get("name") or not ref:
            return _error(400, "bad_request", "Invalid request: `name` and `gitSource` or `deploymentId` are needed")
        sha = source.get("sha") or (
            source_deployment["meta"]["githubCommitSha"] if source_deployment else commit_sha(ref)
        )
        return web.json_response(self._as_json(self._build(ref, sha, body.get("target"), body.get("meta") or {})))

    async def _rollback(self, request: web.Request) -> web.Response:
        return self._move(request, "rollback", 201)

    async def _promote(self, request: web.Request) -> web.Response:
        return self._move(request, "promote", 201)

    def _move(self, request: web.Request, kind: str, status: int) -> web.Response:
        self._settle()
        target = self._deployments.get(request.match_info["id"])
        if target is None:
            return _error(404, "not_found", "The deployment could not be found")
        if target["readyState"] != "READY" or target["target"] != "production":
            return _error(422, "invalid_deployment", "The deployment is no ready production deployment")
        if target["id"] == self._live:
            return _error(409, "conflict", "The deployment is already live")
        self._request = {
            "type": kind,
            "fromDeploymentId": self._live,
            "toDeploymentId": target["id"],
            "jobStatus": "in-progress",
            "requestedAt": int(time.time() * 1000),
        }
        self._save()
        return web.Response(status=status)

    def _is_candidate(self, deployment: Json) -> bool:
        ready = deployment["readyState"] == "READY" and deployment["target"] == "production"
        return bool(ready and deployment["id"] != self._live)

    def _as_json(self, deployment: Json) -> Json:
        live = deployment["id"] == self._live
        return {
            **deployment,
            "state": deployment["readyState"],
            "readySubstate": "PROMOTED" if live else "STAGED",
            "createdAt": deployment["created"],
            "aliasAssigned": live,
            "aliasError": None,
            "alias": ["portal.solvereign.com"] if live else [],
            "isRollbackCandidate": self._is_candidate(deployment),
            "inspectorUrl": f"https://vercel.com/solvereign/solvereign/{deployment['id']}",
        }


def _first_deployments() -> dict[str, Json]:
    now = time.time()
    deployments = [
        _deployment(f"dpl_{version}", version, commit_sha(version), created_at=now - (40 - 10 * age) * 86400)
        for age, version in enumerate(RELEASED_VERSIONS)
    ]
    preview = _deployment("dpl_main", BRANCH, commit_sha(BRANCH), created_at=now - 3600, target=None)
    return {deployment["id"]: deployment for deployment in [*deployments, preview]}


def _deployment(
    identifier: str, ref: str, sha: str, *, created_at: float, state: str = "READY", target: str | None = "production"
) -> Json:
    return {
        "id": identifier,
        "name": "solvereign",
        "url": f"solvereign-{identifier.removeprefix('dpl_').replace('.', '-')}.vercel.app",
        "projectId": PROJECT,
        "target": target,
        "readyState": state,
        "created": int(created_at * 1000),
        "ready": int((created_at + 60) * 1000) if state == "READY" else None,
        "source": "git",
        "meta": {"githubCommitSha": sha, "githubCommitRef": ref},
    }


@web.middleware
async def _require_team(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.query.get("teamId") == TEAM or request.query.get("slug") == "solvereign":
        return await handler(request)
    return _error(404, "not_found", "Project not found")


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
