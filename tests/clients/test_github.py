"""GitHub: which release came before the given one; the checks and the steps use the same answer."""

from contextlib import closing

import pytest

from clients.errors import ClientError
from clients.github import GitHub, previous_release
from tests.checks.replies import Replies, Reply

TAGS = ["v1.0.0", "v1.9.0", "v1.10.0-rc1", "v1.10.0-rc2", "v1.10.0", "v2.0.0-rc1", "v1.x", "vendor"]


@pytest.mark.parametrize(
    ("version", "deployed_before", "expected"),
    [
        ("v2.0.0", "", "v1.10.0"),
        ("v2.0.0", "v1.9.0", "v1.9.0"),
        ("v2.0.0", "v2.0.0-rc1", "v1.10.0"),
        ("v1.10.0", "v1.10.0-rc2", "v1.9.0"),
        ("v1.10.0-rc2", "", "v1.9.0"),
        ("v1.9.0", "v1.10.0", "v1.10.0"),
        ("v1.0.0", "", ""),
    ],
    ids=[
        "the highest plain tag below", "what was deployed", "not a candidate of the same version", "not that of a candidate",
        "of a candidate", "a newer one that was deployed", "the first",
    ],
)  # fmt: skip
def test_previous_release(version: str, deployed_before: str, expected: str) -> None:
    """It is the release that the bot deployed before, else the highest plain tag below the version; candidates of the
    same version do not count.
    """
    refs = [{"ref": f"refs/tags/{name}"} for name in TAGS]
    with (
        Replies({"GET /repos/o/r/git/matching-refs/tags/v": Reply(200, refs)}) as server,
        closing(GitHub(server.url, "o/r", "")) as github,
    ):
        assert previous_release(github, version, deployed_before) == expected


def test_a_reference_that_is_no_version_has_no_previous_release() -> None:
    """previous_release() raises for a reference that is no version and sends no request."""
    with (
        closing(GitHub("http://127.0.0.1:9", "o/r", "")) as github,
        pytest.raises(ClientError, match="latest isn't a version"),
    ):
        previous_release(github, "latest", "")
