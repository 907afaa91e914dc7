"""What a signature is bound to."""

from dataclasses import replace
from typing import Any

import pytest

from bot.domain.ids import UserId
from bot.domain.release import ReleaseState
from bot.domain.signoff import fingerprint
from tests.unit.factories import NOW, QUINN, make_release, make_waiver

WAIVERS = [make_waiver("go.backup"), make_waiver("go.restore")]


def test_the_same_release_has_the_same_fingerprint() -> None:
    """The order of the waivers and the later fate of the release do not change the fingerprint."""
    release = make_release()
    mark = fingerprint(release, WAIVERS)
    later = replace(release, state=ReleaseState.WATCHING, deployer=QUINN, deployed_at=NOW, reason="x", notes_url="y")
    assert fingerprint(later, WAIVERS[::-1]) == mark
    assert len(mark) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"version": "v4.8.1"},
        {"commit": "b" * 40},
        {"image": "ghcr.io/solvereign/other"},
        {"digest": "sha256:" + "cd" * 32},
        {"checklist_digest": "3" * 64},
        {"policy_digest": "3" * 64},
    ],
)
def test_any_change_of_the_release_changes_the_fingerprint(change: dict[str, Any]) -> None:
    """Each value that promise P4 names is part of the fingerprint."""
    release = make_release()
    assert fingerprint(replace(release, **change), WAIVERS) != fingerprint(release, WAIVERS)


@pytest.mark.parametrize(
    "waivers",
    [
        [],
        WAIVERS[:1],
        [*WAIVERS, make_waiver("go.sentry")],
        [WAIVERS[0], make_waiver("go.restore", reason="another")],
        [WAIVERS[0], make_waiver("go.restore", by=UserId("U0OTHER001"))],
    ],
)
def test_any_change_of_the_waivers_changes_the_fingerprint(waivers: list[Any]) -> None:
    """One waiver more, one less, another reason or another person changes the fingerprint."""
    assert fingerprint(make_release(), waivers) != fingerprint(make_release(), WAIVERS)


def test_values_are_separated_in_the_fingerprint() -> None:
    """The fingerprint depends on where one value ends and the next begins."""
    one = replace(make_release(), version="v4", commit="8")
    other = replace(make_release(), version="v48", commit="")
    assert fingerprint(one, []) != fingerprint(other, [])
