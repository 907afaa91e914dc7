"""The registry of the product's image, by the OCI distribution specification: what a tag points to now."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from clients.challenge import challenge_in, is_safe, may_get_login
from clients.errors import SERVER_ERRORS, ClientError, StrangeAnswer, retry_after
from clients.http import http_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.challenge import Challenge
    from clients.settings import RegistrySettings

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)  # all four, or ghcr.io answers 404 for an image index


class ImageRegistry:
    """One image in a registry. Logs in as the registry asks for it: with a token
    (distribution.github.io/distribution/spec/auth/token), or by name and password. Every method raises ClientError.
    """

    def __init__(self, settings: RegistrySettings, *, timeout: float = 10.0) -> None:
        """An empty token is anonymous; ``timeout``: seconds for one answer."""
        self.image, self._url, self._timeout = settings.image, str(settings.url), timeout
        self._login = (settings.username, settings.token.get_secret_value() if settings.token else "")
        self._token_host = settings.token_host
        self._repository = self.image.split("/", 1)[1] if "/" in self.image else self.image

    def digest(self, tag: str) -> str | None:
        """The digest that ``tag`` of the image points to now; None when there is no such tag."""
        path = f"v2/{self._repository}/manifests/{quote(tag)}"
        with self._client() as client:
            answer = self._ask(client, client.build_request("HEAD", path, headers={"Accept": MANIFESTS}))
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK or "Docker-Content-Digest" not in answer.headers:
            hint = "Check registry.url, registry.username and registry.token."
            raise _failure(f"The image registry answered {answer.status_code} for {tag}", answer, hint)
        return str(answer.headers["Docker-Content-Digest"])

    def probe(self) -> None:
        """See whether its tags may be listed."""
        with self._client() as client:
            request = client.build_request("GET", f"v2/{self._repository}/tags/list", params={"n": "1"})
            body = _json(self._ask(client, request))
        if not isinstance(body, dict) or "tags" not in body:
            raise StrangeAnswer("The image registry didn't answer with tags", hint="Is registry.url right?")

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        """The seam to httpx's errors, and to answers of another shape, such as those of a proxy in between."""
        try:
            with http_client(self._url, timeout=self._timeout) as client:
                yield client
        except (LookupError, TypeError, ValueError) as error:
            what = "The image registry sent an answer the bot doesn't understand"
            raise StrangeAnswer(what, hint="Does registry.url point to it, not to a proxy?") from error
        except httpx.HTTPError as error:
            what = f"The image registry doesn't answer ({type(error).__name__})"
            raise ClientError(what, hint="Is it up, and is registry.url right?", outcome_unknown=True) from error

    def _ask(self, client: httpx.Client, request: httpx.Request) -> httpx.Response:
        """The answer, after a login where the registry asks for one."""
        answer = client.send(request)
        challenge = challenge_in(answer.headers.get_list("WWW-Authenticate"))
        if answer.status_code != httpx.codes.UNAUTHORIZED or challenge is None:
            return answer
        if challenge.bearer:
            request.headers["Authorization"] = f"Bearer {self._token(client, challenge)}"
            return client.send(request)
        return client.send(request, auth=self._login) if self._login[1] else answer

    def _token(self, client: httpx.Client, challenge: Challenge) -> str:
        registry = httpx.URL(self._url)
        realm = registry.join(challenge.realm)
        if not is_safe(realm, registry):
            what = "The image registry gets its tokens from an address that isn't https"
            raise ClientError(what, hint="Is registry.url right?")
        auth = self._login if self._login[1] else None
        if auth and not may_get_login(realm, registry, self._token_host):
            raise ClientError(
                f"The image registry gets its tokens from {realm.host}, which is outside its domain",
                hint="The bot didn't send its login there. If that host belongs to the registry, set registry.token_host to it.",
            )
        params = {"scope": challenge.scopes or (f"repository:{self._repository}:pull",)}
        if challenge.service:
            params["service"] = (challenge.service,)
        body = _json(client.get(realm.copy_merge_params(params), auth=auth))
        return str(body.get("token") or body["access_token"])


def _json(answer: httpx.Response) -> Any:
    if answer.status_code != httpx.codes.OK:
        what = f"The image registry answered {answer.status_code} to {answer.request.url.path}"
        raise _failure(what, answer, "Check registry.image, registry.username and registry.token.")
    try:
        return answer.json()
    except ValueError as error:
        hint = "Is registry.url the address of its API?"
        raise StrangeAnswer("The image registry didn't answer with JSON", hint=hint) from error


def _failure(what: str, answer: httpx.Response, hint: str) -> ClientError:
    status = answer.status_code
    pause = retry_after(status, answer.headers)
    return ClientError(what, hint=hint, status=status, retry_after=pause, outcome_unknown=status >= SERVER_ERRORS)
