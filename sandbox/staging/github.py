"""The simulated GitHub: one repository with commits, tags, checks, pull requests and files."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from sandbox.faults import Faults
from sandbox.persist import Snapshot
from sandbox.staging.serving import bearer, json_errors, refuse_while, require_right, require_token, token_of
from sandbox.staging.versions import (
    BACKUP_MANIFEST,
    BRANCH,
    CANDIDATE,
    GITHUB_REPOSITORY,
    LIVE,
    RELEASED_VERSIONS,
    backup_manifest,
    commit_sha,
    documents,
    migrations,
)

TOKEN = "sandbox-github-token"
POOR_TOKEN = (
    "sandbox-github-poor"  # fine-grained, of somebody who may only read, and with the permission contents: read
)
PERMISSIONS = {TOKEN: {"contents", "write", "pulls", "issues", "checks", "statuses"}, POOR_TOKEN: {"contents"}}
MIGRATIONS_PATH = "backend_py/db/migrations"
_COMMITS = (
    ("Solve night shifts across midnight", 1201),
    ("Show the imprint in the footer", 1204),
    ("Retry a lost connection to the routing provider", 1207),
)
_NOT_ACCESSIBLE = "Resource not accessible by personal access token"
_SUITES = ("backend tests", "frontend tests", "schema gate", "security gate")

Json = dict[str, Any]


class GitHubSimulator:
    """The server's state and its handlers; `app` is what listens."""

    def __init__(self, faults: Faults, snapshot: Snapshot, on_tag: Callable[[str, str], None]) -> None:
        """``on_tag(tag, commit)`` is called for each new tag, as a webhook would be."""
        self._faults, self._snapshot, self._on_tag = faults, snapshot, on_tag
        self._history = _history()
        document = snapshot.load() or {"refs": _first_refs(), "tags": _first_tags()}
        self._refs: dict[str, Json] = document["refs"]
        self._tags: dict[str, Json] = document["tags"]
        self.app = web.Application(
            middlewares=[
                refuse_while(lambda: faults.on("github_down")),
                json_errors(lambda status, _reason: {"message": "Not Found", "status": str(status)}),
                require_token(bearer(*PERMISSIONS), lambda _request: _error(401, "Bad credentials")),
                require_right(PERMISSIONS, _permission_of, lambda _request: _error(403, _NOT_ACCESSIBLE)),
            ]
        )
        repository = f"/repos/{GITHUB_REPOSITORY}"
        self.app.add_routes(
            [
                web.get(repository, self._repository),
                web.get(f"{repository}/commits/{{ref}}", self._commit),
                web.get(f"{repository}/commits/{{ref}}/check-runs", self._check_runs),
                web.get(f"{repository}/commits/{{ref}}/status", self._status),
                web.get(f"{repository}/commits/{{ref}}/pulls", self._pulls),
                web.get(f"{repository}/issues", self._issues),
                web.get(f"{repository}/issues/{{number}}", self._issue),
                web.get(f"{repository}/compare/{{base}}...{{head}}", self._compare),
                web.get(f"{repository}/git/ref/{{ref:.+}}", self._get_ref),
                web.get(f"{repository}/git/matching-refs/{{ref:.+}}", self._matching_refs),
                web.post(f"{repository}/git/refs", self._create_ref),
                web.get(f"{repository}/git/tags/{{sha}}", self._get_tag),
                web.post(f"{repository}/git/tags", self._create_tag),
                web.get(f"{repository}/contents/{{path:.+}}", self._contents),
            ]
        )
        self.app.on_cleanup.append(self._stop)

    async def _stop(self, _app: web.Application) -> None:
        self._snapshot.flush()

    def _save(self) -> None:
        self._snapshot.save(lambda: {"refs": self._refs, "tags": self._tags})

    def _resolve(self, ref: str) -> str | None:
        """The commit behind a branch, a tag or a (full) commit id; None when there is none."""
        if ref in self._history:
            return ref
        for name in (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}", ref):
            if target := self._refs.get(name):
                return str(self._tags[target["sha"]]["object"]["sha"] if target["type"] == "tag" else target["sha"])
        return None

    # Repository, commits, checks

    async def _repository(self, request: web.Request) -> web.Response:
        owner, name = GITHUB_REPOSITORY.split("/")
        return web.json_response(
            {
                "id": 1,
                "name": name,
                "full_name": GITHUB_REPOSITORY,
                "owner": {"login": owner},
                "default_branch": BRANCH,
                "private": True,
                "permissions": {"admin": False, "push": token_of(request) != POOR_TOKEN, "pull": True},
            },
        )

    async def _commit(self, request: web.Request) -> web.Response:
        sha = self._resolve(request.match_info["ref"])
        if sha is None:
            return _error(422, f"No commit found for SHA: {request.match_info['ref']}")
        return web.json_response(self._commit_json(sha))

    def _commit_json(self, sha: str) -> Json:
        position = self._history.index(sha)
        parents = self._history[position - 1 : position] if position else []
        return {
            "sha": sha,
            "html_url": f"https://github.com/{GITHUB_REPOSITORY}/commit/{sha}",
            "commit": {"message": _message(position), "author": {"name": "Dev Diaz", "date": "2026-01-15T09:00:00Z"}},
            "author": {"login": "dev-diaz"},
            "parents": [{"sha": parent} for parent in parents],
        }

    async def _check_runs(self, request: web.Request) -> web.Response:
        sha = self._resolve(request.match_info["ref"])
        if sha is None:
            return _error(422, f"No commit found for SHA: {request.match_info['ref']}")
        red = self._faults.on("commit_checks_fail")
        check_runs = [
            {
                "id": number,
                "name": name,
                "head_sha": sha,
                "status": "completed",
                "conclusion": "failure" if red and number == 1 else "success",
            }
            for number, name in enumerate(_SUITES, start=1)
        ]
        return web.json_response({"total_count": len(check_runs), "check_runs": check_runs})

    async def _status(self, request: web.Request) -> web.Response:
        sha = self._resolve(request.match_info["ref"])
        if sha is None:
            return _error(404, "Not Found")
        statuses = [{"context": "deploy/preview", "state": "success", "description": "Deployment has completed"}]
        return web.json_response({"state": "success", "sha": sha, "total_count": len(statuses), "statuses": statuses})

    async def _pulls(self, request: web.Request) -> web.Response:
        sha = self._resolve(request.match_info["ref"])
        if sha is None:
            return _error(422, f"No commit found for SHA: {request.match_info['ref']}")
        position = self._history.index(sha) - len(RELEASED_VERSIONS)
        if position not in range(len(_COMMITS)):
            return web.json_response([])
        title, number = _COMMITS[position]
        url = f"https://github.com/{GITHUB_REPOSITORY}/pull/{number}"
        pull = {
            "number": number,
            "title": title,
            "body": f"Closes #{number - 3}.",
            "merged_at": "2026-01-15T09:00:00Z",
            "html_url": url,
            "state": "closed",
        }
        return web.json_response([{**pull, "merge_commit_sha": sha}])

    async def _issues(self, _request: web.Request) -> web.Response:
        """The open issues: none."""
        return web.json_response([])

    async def _issue(self, request: web.Request) -> web.Response:
        """The issues that the pull requests close; everything else is a pull request or is not there."""
        titles = {str(number - 3): title for title, number in _COMMITS}
        number = request.match_info["number"]
        if number not in titles:
            return _error(404, "Not Found")
        return web.json_response({"number": int(number), "title": titles[number], "state": "closed"})

    async def _compare(self, request: web.Request) -> web.Response:
        base, head = (self._resolve(request.match_info[side]) for side in ("base", "head"))
        if base is None or head is None:
            return _error(404, "Not Found")
        first, last = self._history.index(base), self._history.index(head)
        ahead, behind = max(0, last - first), max(0, first - last)
        return web.json_response(
            {
                "status": "ahead" if ahead else "behind" if behind else "identical",
                "ahead_by": ahead,
                "behind_by": behind,
                "total_commits": ahead,
                "merge_base_commit": self._commit_json(self._history[min(first, last)]),
                "commits": [self._commit_json(sha) for sha in self._history[first + 1 : last + 1]],
                "files": [],
            }
        )

    async def _contents(self, request: web.Request) -> web.Response:
        path, ref = request.match_info["path"].rstrip("/"), request.query.get("ref", BRANCH)
        sha = self._resolve(ref)
        if sha is None:
            return _error(404, f"No commit found for the ref {ref}")
        is_released = self._history.index(sha) < len(RELEASED_VERSIONS)
        files = {
            f"{MIGRATIONS_PATH}/{name}": text.encode() for name, text in migrations(is_released=is_released).items()
        }
        files[BACKUP_MANIFEST] = backup_manifest(is_released=is_released).encode()
        version = LIVE if is_released else CANDIDATE
        files |= {name: text.encode() for name, text in documents(version).items()}
        if path == MIGRATIONS_PATH:
            return web.json_response([_file_json(name, data) for name, data in files.items() if name.startswith(path)])
        if path not in files:
            return _error(404, "Not Found")
        content = base64.encodebytes(files[path]).decode()
        return web.json_response({**_file_json(path, files[path]), "encoding": "base64", "content": content})

    # Refs and tags

    async def _get_ref(self, request: web.Request) -> web.Response:
        name = f"refs/{request.match_info['ref']}"
        return web.json_response(self._ref_json(name)) if name in self._refs else _error(404, "Not Found")

    async def _matching_refs(self, request: web.Request) -> web.Response:
        prefix = f"refs/{request.match_info['ref']}"
        return web.json_response([self._ref_json(name) for name in sorted(self._refs) if name.startswith(prefix)])

    async def _create_ref(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, sha = str(body.get("ref", "")), str(body.get("sha", ""))
        if not name.startswith("refs/") or name.count("/") < 2:
            return _error(422, "Reference name must start with 'refs/' and contain at least two slashes")
        if name in self._refs:
            return _error(422, "Reference already exists")
        if sha not in self._tags and sha not in self._history:
            return _error(422, "Object does not exist")
        self._refs[name] = {"sha": sha, "type": "tag" if sha in self._tags else "commit"}
        self._save()
        if name.startswith("refs/tags/"):
            tag = name.removeprefix("refs/tags/")
            self._on_tag(tag, str(self._resolve(tag)))
        return web.json_response(self._ref_json(name), status=201)

    def _ref_json(self, name: str) -> Json:
        return {"ref": name, "node_id": name, "object": self._refs[name]}

    async def _get_tag(self, request: web.Request) -> web.Response:
        tag = self._tags.get(request.match_info["sha"])
        return web.json_response(tag) if tag else _error(404, "Not Found")

    async def _create_tag(self, request: web.Request) -> web.Response:
        body = await request.json()
        is_missing = [key for key in ("tag", "message", "object", "type") if not body.get(key)]
        if is_missing:
            return _error(422, f"Invalid request. {is_missing[0]!r} wasn't supplied.")
        if body["object"] not in self._history:
            return _error(422, "Object does not exist")
        tag = _tag_object(body["tag"], body["message"], body["object"], body.get("tagger"))
        self._tags[tag["sha"]] = tag
        self._save()
        return web.json_response(tag, status=201)


def _history() -> list[str]:
    """Commits of main, oldest first: one per released version, then those of the candidate."""
    new_commits = [commit_sha(title) for title, _ in _COMMITS[:-1]]
    return [*(commit_sha(version) for version in RELEASED_VERSIONS), *new_commits, commit_sha(BRANCH)]


def _message(position: int) -> str:
    if position < len(RELEASED_VERSIONS):
        return f"Release {RELEASED_VERSIONS[position]}"
    title, number = _COMMITS[position - len(RELEASED_VERSIONS)]
    return f"{title} (#{number})"


def _first_tags() -> dict[str, Json]:
    tags = (_tag_object(version, f"Release {version}", commit_sha(version), None) for version in RELEASED_VERSIONS)
    return {tag["sha"]: tag for tag in tags}


def _first_refs() -> dict[str, Json]:
    refs = {f"refs/tags/{tag['tag']}": {"sha": sha, "type": "tag"} for sha, tag in _first_tags().items()}
    return {"refs/heads/" + BRANCH: {"sha": commit_sha(BRANCH), "type": "commit"}, **refs}


def _tag_object(name: str, message: str, commit: str, tagger: Json | None) -> Json:
    sha = hashlib.sha1(json.dumps([name, message, commit, tagger]).encode(), usedforsecurity=False).hexdigest()
    return {
        "sha": sha,
        "tag": name,
        "message": message,
        "object": {"type": "commit", "sha": commit},
        "tagger": tagger or {"name": "release-bot", "email": "release-bot@solvereign.example"},
    }


def _file_json(path: str, data: bytes) -> Json:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return {"type": "file", "name": path.rpartition("/")[2], "path": path, "sha": blob, "size": len(data)}


def _permission_of(request: web.Request) -> str:
    """The permission that a call takes (docs.github.com: permissions required for fine-grained personal access tokens)."""
    what = request.path.removeprefix(f"/repos/{GITHUB_REPOSITORY}").lstrip("/")
    if not what or not request.path.startswith("/repos/"):
        return ""
    if request.method != "GET":
        return "write"
    last = {"pulls": "pulls", "check-runs": "checks", "status": "statuses"}.get(what.rpartition("/")[2])
    return last or ("issues" if what.startswith("issues") else "contents")


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"message": message, "status": str(status)}, status=status)
