"""The simulated image registry: token endpoint and manifests, as far as a tag is turned into a digest."""

import json
import secrets

from aiohttp import BasicAuth, web
from aiohttp.typedefs import Handler

from sandbox.faults import Faults
from sandbox.staging.serving import refuse_while
from sandbox.staging.versions import IMAGE_REPOSITORY, image_digest, image_tags, in_registry

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
USERNAME, PASSWORD = "release-bot", "sandbox-registry-token"
_SERVICE = "ghcr.io"


class RegistrySimulator:
    """The server's state and its handlers; `app` is what listens."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._tokens: set[str] = set()
        self.app = web.Application(middlewares=[refuse_while(lambda: faults.on("registry_down")), self._require_token])
        self.app.add_routes(
            [
                web.get("/token", self._token),
                web.get(f"/v2/{IMAGE_REPOSITORY}/manifests/{{reference}}", self._manifest),
                web.get(f"/v2/{IMAGE_REPOSITORY}/tags/list", self._tags),
            ]
        )

    @web.middleware
    async def _require_token(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if request.path == "/token" or token in self._tokens:
            return await handler(request)
        scope = f"repository:{IMAGE_REPOSITORY}:pull"
        challenge = f'Bearer realm="{request.url.origin()}/token",service="{_SERVICE}",scope="{scope}"'
        response = _error(401, "UNAUTHORIZED", "authentication required")
        response.headers["Www-Authenticate"] = challenge
        return response

    async def _token(self, request: web.Request) -> web.Response:
        """A token for anonymous pulls, as the public part of ghcr.io gives it; a login that it does not know is refused."""
        login = BasicAuth(USERNAME, PASSWORD).encode()
        if (
            request.headers.get("Authorization", login) != login
            or request.query.get("scope") != f"repository:{IMAGE_REPOSITORY}:pull"
        ):
            return _error(403, "DENIED", "requested access to the resource is denied")
        token = secrets.token_urlsafe(24)
        self._tokens.add(token)
        return web.json_response({"token": token})

    async def _manifest(self, request: web.Request) -> web.Response:
        reference = request.match_info["reference"]
        is_moved = self._faults.on("tag_moved")
        if in_registry(reference):
            digest = image_digest(reference, is_moved=is_moved)
        elif reference in {image_digest(tag, is_moved=again) for tag in image_tags() for again in (False, is_moved)}:
            digest = reference
        else:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if INDEX_TYPE not in ",".join(request.headers.getall("Accept", [])):
            message = "OCI index found, but Accept header does not support OCI indexes"
            return _error(404, "MANIFEST_UNKNOWN", message)
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}).encode()
        return web.Response(body=body, headers={"Content-Type": INDEX_TYPE, "Docker-Content-Digest": digest})

    async def _tags(self, request: web.Request) -> web.Response:
        tags = sorted(image_tags())[: int(request.query.get("n", "100"))]
        return web.json_response({"name": IMAGE_REPOSITORY, "tags": tags})


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status)
