"""Fixtures: GitHub and an image registry on a socket, where a test says what each tag means."""

from collections.abc import Iterator

import pytest

from bot.steps.sources import Sources
from clients.settings import GitHubSettings, RegistrySettings
from tests.checks.replies import Replies, Reply, Request

COMMIT, OTHER_COMMIT = "c0ffee" * 6 + "c0ff", "facade" * 6 + "faca"
DIGEST, OTHER_DIGEST = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
IMAGE = "ghcr.io/solvereign/api"


class Tags(Replies):
    """What every version means: the commit of its tag (None: there is no tag, the branch counts) and the digest of its
    image.
    """

    def __init__(self) -> None:
        super().__init__({})
        self.reset()

    def reset(self) -> None:
        """Reset to one tag and one image, with both servers answering."""
        self.tag: str | None = COMMIT
        self.branch = COMMIT
        self.digest: str | None = DIGEST
        self.away = False
        self.requests.clear()

    def answer(self, request: Request) -> Reply:
        """Answer for the Git refs and commits of GitHub and the manifests of the registry."""
        self.requests.append(request)
        if self.away:
            return Reply(503, {})
        if "/manifests/" in request.path:
            return Reply(404) if self.digest is None else Reply(200, headers={"Docker-Content-Digest": self.digest})
        if "/git/ref/tags/" in request.path:
            return Reply(404, {}) if self.tag is None else Reply(200, {"object": {"type": "commit", "sha": self.tag}})
        return Reply(200, {"sha": self.branch})

    def sources(self) -> Sources:
        """The Sources that resolve versions with these servers."""
        return Sources(
            GitHubSettings.model_validate({"url": self.url + "/", "repository": "solvereign/solvereign"}),
            RegistrySettings.model_validate({"url": self.url + "/", "image": IMAGE}),
        )


@pytest.fixture(scope="session")
def _tags() -> Iterator[Tags]:
    with Tags() as tags:
        yield tags


@pytest.fixture
def tags(_tags: Tags) -> Tags:
    """GitHub and the registry, reset."""
    _tags.reset()
    return _tags
