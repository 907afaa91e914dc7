"""What a signature is bound to."""

from dataclasses import replace
from typing import Any

import pytest

from bot.domain.ids import UserId
from bot.domain.release import ReleaseState
from bot.domain.signoff import fingerprint
from tests.unit.factories import NOW, QUINN, make_release, make_waiver

WAIVERS = [make_waiver("go.backup"), make_waiver("go.restore")]


def test_the_same_thing_has_the_same_mark() -> None:
    """In whatever order the waivers come, and whoever deploys it when."""
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
def test_any_change_of_what_is_released_changes_it(change: dict[str, Any]) -> None:
    """Each of the values that the promise names (P4)."""
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
def test_any_change_of_the_waivers_changes_it(waivers: list[Any]) -> None:
    """One more, one less, another reason, another person."""
    assert fingerprint(make_release(), waivers) != fingerprint(make_release(), WAIVERS)


def test_values_cannot_slip_into_each_other() -> None:
    """Where one ends and the next begins is part of the mark."""
    one = replace(make_release(), version="v4", commit="8")
    other = replace(make_release(), version="v48", commit="")
    assert fingerprint(one, []) != fingerprint(other, [])
