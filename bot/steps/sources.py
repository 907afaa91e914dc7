"""Sources: from a version to the commit and the image digest that it means. Reads GitHub and the image registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from bot.errors import InvalidInput, VendorError
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
    ) -> None:
        self._github_url, self._repository, self._ref, self._token = github_url, repository, ref, token
        self._image, self._images = image, Images(registry_url, image, login)

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
    """One image in a registry (the OCI distribution specification, and the token of Docker's)."""

    def __init__(self, url: str, image: str, login: tuple[str, str]) -> None:
        """``image`` as the cluster pulls it, without tag; ``login``: name and token, an empty token is anonymous."""
        self._url, self._image, self._login = url, image, login
        self._repository = image.split("/", 1)[1] if "/" in image else image

    def digest(self, tag: str) -> str:
        """The digest that ``tag`` of the image points to now. Raises InvalidInput when there is no such tag."""
        with _vendor("the image registry"), _client(self._url, {}) as client:
            headers = {"Accept": MANIFESTS}
            path = f"v2/{self._repository}/manifests/{quote(tag)}"
            answer = client.head(path, headers=headers)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                headers["Authorization"] = f"Bearer {self._token(client)}"
                answer = client.head(path, headers=headers)
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise InvalidInput(
                    f"There is no image {self._image}:{tag} in the registry.",
                    hint="Is the version right, and has the build pushed it?",
                )
            if answer.status_code != httpx.codes.OK or "Docker-Content-Digest" not in answer.headers:
                raise VendorError(
                    f"The image registry answered {answer.status_code} for {tag}.",
                    hint="Check registry.url and registry.token.",
                )
            return str(answer.headers["Docker-Content-Digest"])

    def look(self) -> None:
        """See whether its tags may be listed. Raises SourceError."""
        with _vendor("The image registry"), _client(self._url, {}) as client:
            path, query = f"v2/{self._repository}/tags/list", {"n": "1"}
            answer = client.get(path, params=query)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                answer = client.get(path, params=query, headers={"Authorization": f"Bearer {self._token(client)}"})
            found = _json(answer, "The image registry")
        if not isinstance(found, dict) or "tags" not in found:
            raise SourceError("The image registry did not answer with tags.", hint="Is registry.url right?")

    def _token(self, client: httpx.Client) -> str:
        service = httpx.URL(self._url).host
        params = {"service": service, "scope": f"repository:{self._repository}:pull"}
        auth = self._login if self._login[1] else None
        return str(_json(client.get("token", params=params, auth=auth), "The image registry")["token"])


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
