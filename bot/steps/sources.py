"""Sources: from a version to the commit and the image digest that it means. Reads GitHub and the image registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from bot.errors import InvalidInput, VendorError
from bot.steps.challenge import Challenge, challenge_in, is_safe, may_get_login
from checks.clients import certificates

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)  # all four, or ghcr.io answers 404 for an image index
TIMEOUT = httpx.Timeout(10.0, connect=3.0)


@dataclass(frozen=True)
class Resolved:
    """What a version means at this moment."""

    commit: str
    image: str  # without tag
    digest: str
    tagged: bool  # whether the commit came from a tag of that name


class Sources:
    """Looks up commits and digests. ``token`` and ``registry_token`` may be empty for public repositories."""

    def __init__(
        self,
        *,
        github_url: str,
        repository: str,
        ref: str,
        token: str,
        registry_url: str,
        image: str,
        login: tuple[str, str],
        token_host: str = "",
    ) -> None:
        self._github_url, self._repository, self._ref, self._token = github_url, repository, ref, token
        self._image, self._images = image, Images(registry_url, image, login, token_host)

    def resolve(self, version: str) -> Resolved:
        """Return commit and digest of ``version``: the commit of its tag where there is one, else of the release branch.

        Raises InvalidInput when there is no image of that version, VendorError when GitHub or the registry cannot say.
        """
        commit, tagged = self._commit(version)
        return Resolved(commit, self._image, self.digest(version), tagged)

    def _commit(self, version: str) -> tuple[str, bool]:
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        with _vendor("GitHub"), _client(self._github_url, headers) as client:
            base = f"repos/{self._repository}"
            found = client.get(f"{base}/git/ref/tags/{quote(version)}")
            if found.status_code == httpx.codes.OK:
                target = found.json()["object"]
                if target["type"] == "tag":  # annotated: one more step to the commit
                    target = _json(client.get(f"{base}/git/tags/{target['sha']}"), "GitHub")["object"]
                return str(target["sha"]), True
            if found.status_code != httpx.codes.NOT_FOUND:
                _json(found, "GitHub")
            return str(_json(client.get(f"{base}/commits/{quote(self._ref, safe='')}"), "GitHub")["sha"]), False

    def digest(self, tag: str) -> str:
        """The digest that ``tag`` of the image points to now. Raises InvalidInput when there is no such tag."""
        return self._images.digest(tag)


class SourceError(VendorError):
    """GitHub or the registry refused, with ``status``, or gave no answer (0)."""

    def __init__(self, message: str, *, hint: str, status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Images:
    """One image in a registry, by the OCI distribution specification. Logs in as the registry asks for it: with a token
    (distribution.github.io/distribution/spec/auth/token), or by name and password.
    """

    def __init__(self, url: str, image: str, login: tuple[str, str], token_host: str = "") -> None:
        """``image`` as the cluster pulls it, without tag; ``login``: name and token, an empty token is anonymous;
        ``token_host``: of another domain than the registry's, and may get the login too.
        """
        self._url, self._image, self._login, self._token_host = url, image, login, token_host
        self._repository = image.split("/", 1)[1] if "/" in image else image

    def digest(self, tag: str) -> str:
        """The digest that ``tag`` of the image points to now. Raises InvalidInput when there is no such tag."""
        with _vendor("The image registry"), _client(self._url, {"Accept": MANIFESTS}) as client:
            answer = self._ask(client, client.build_request("HEAD", f"v2/{self._repository}/manifests/{quote(tag)}"))
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise InvalidInput(
                    f"There is no image {self._image}:{tag} in the registry.",
                    hint="Is the version right, and has the build pushed it?",
                )
            if answer.status_code != httpx.codes.OK or "Docker-Content-Digest" not in answer.headers:
                raise VendorError(
                    f"The image registry answered {answer.status_code} for {tag}.",
                    hint="Check registry.url, registry.username and registry.token.",
                )
            return str(answer.headers["Docker-Content-Digest"])

    def look(self) -> None:
        """See whether its tags may be listed. Raises SourceError."""
        with _vendor("The image registry"), _client(self._url, {}) as client:
            request = client.build_request("GET", f"v2/{self._repository}/tags/list", params={"n": "1"})
            found = _json(self._ask(client, request), "The image registry")
        if not isinstance(found, dict) or "tags" not in found:
            raise SourceError("The image registry did not answer with tags.", hint="Is registry.url right?")

    def _ask(self, client: httpx.Client, request: httpx.Request) -> httpx.Response:
        """The answer, after a login where the registry asks for one."""
        answer = client.send(request)
        asked = challenge_in(answer.headers.get_list("WWW-Authenticate"))
        if answer.status_code != httpx.codes.UNAUTHORIZED or asked is None:
            return answer
        if asked.bearer:
            request.headers["Authorization"] = f"Bearer {self._token(client, asked)}"
            return client.send(request)
        return client.send(request, auth=self._login) if self._login[1] else answer

    def _token(self, client: httpx.Client, asked: Challenge) -> str:
        registry = httpx.URL(self._url)
        realm = registry.join(asked.realm)
        if not is_safe(realm, registry):
            raise SourceError(
                "The image registry sends for tokens to an address that is not https.", hint="Is registry.url right?"
            )
        auth = self._login if self._login[1] else None
        if auth and not may_get_login(realm, registry, self._token_host):
            raise SourceError(
                f"The image registry sends for tokens to {realm.host}, which is not of its domain.",
                hint="The login was not sent there. If that host is the registry's own, set registry.token_host to it.",
            )
        params = {"scope": asked.scopes or (f"repository:{self._repository}:pull",)}
        if asked.service:
            params["service"] = (asked.service,)
        found = _json(client.get(realm.copy_merge_params(params), auth=auth), "The image registry")
        return str(found.get("token") or found["access_token"])


def _client(url: str, headers: Mapping[str, str]) -> httpx.Client:
    return httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT, verify=certificates())


@contextmanager
def _vendor(name: str) -> Iterator[None]:
    """The seam to httpx's errors, and to answers of another shape, such as those of a proxy in between."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise SourceError(
            f"{name} answered something that the bot does not understand.",
            hint="Nothing was started. Does its address in release-bot.yml lead to it, and not to a proxy?",
        ) from error
    except httpx.HTTPError as error:
        raise SourceError(
            f"{name} does not answer ({type(error).__name__}).", hint="Nothing was started. Try again in a minute."
        ) from error


def _json(answer: httpx.Response, name: str) -> Any:
    if answer.status_code != httpx.codes.OK:
        raise SourceError(
            f"{name} answered {answer.status_code} to {answer.request.url.path}.",
            hint="Check its token and repository.",
            status=answer.status_code,
        )
    try:
        return answer.json()
    except ValueError as error:
        raise SourceError(f"{name} did not answer with JSON.", hint="Is its url the address of its API?") from error
