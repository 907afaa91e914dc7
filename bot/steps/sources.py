"""Sources: resolves a version to its commit and image digest. Asks GitHub and the image registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from bot.errors import InvalidInput, VendorError
from clients.errors import ClientError, StrangeAnswer
from clients.github import GitHub
from clients.registry import ImageRegistry
from clients.settings import GitHubSettings, RegistrySettings


@dataclass(frozen=True)
class ResolvedSource:
    """What a version means at this moment."""

    commit: str
    image: str  # without tag
    digest: str
    is_tagged: bool  # whether the commit came from a tag of that name


class Sources:
    """Looks up commits and digests."""

    def __init__(self, github: GitHubSettings, registry: RegistrySettings) -> None:
        self._github, self._registry = github, ImageRegistry(registry)

    def resolve(self, version: str) -> ResolvedSource:
        """Return commit and digest of ``version``: the commit of its tag where there is one, else of the release branch.

        Raises InvalidInput when there is no image of that version, VendorError when GitHub or the registry cannot say.
        """
        commit, is_tagged = self._commit(version)
        return ResolvedSource(commit, self._registry.image, self.digest(version), is_tagged)

    def _commit(self, version: str) -> tuple[str, bool]:
        part = self._github
        token = part.token.get_secret_value() if part.token else ""
        with _source_errors("GitHub"), closing(GitHub(str(part.url), part.repository, token)) as github:
            tag = github.tag(version)
            return (tag[0], True) if tag is not None else (github.commit_of(part.ref), False)

    def digest(self, tag: str) -> str:
        """The digest that ``tag`` of the image points to now. Raises InvalidInput when there is no such tag."""
        with _source_errors("The image registry"):
            digest = self._registry.digest(tag)
        if digest is None:
            raise InvalidInput(
                f"There is no image {self._registry.image}:{tag} in the registry.",
                hint="Is the version right, and did the build push it?",
            )
        return digest


@contextmanager
def _source_errors(name: str) -> Iterator[None]:
    """Turn errors of the client that people know by ``name`` into VendorError."""
    try:
        yield
    except StrangeAnswer as error:
        raise VendorError(
            f"{name} sent an answer the bot doesn't understand.",
            hint="Nothing was started. Does its address in release-bot.yml point to it, not to a proxy?",
        ) from error
    except ClientError as error:
        hint = "Nothing was started. Try again in a minute." if error.is_temporary else error.hint
        raise VendorError(f"{error.summary}.", hint=hint) from error
