"""Who may do what: people without the right change nothing, are answered, and are on record (promise P3)."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox.play import has_button
from tests.fix_demo import Demo, running_demo

RITA, MAX, QUINN, PAT, DEV, GUS = "Rita", "Max", "Quinn", "Pat", "Dev", "Gus"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A release whose ten checks have passed and that nobody has signed."""
    with running_demo(tmp_path_factory.mktemp("gate") / "data", "--watch-minutes", "0.1") as demo:
        demo.stage.command(RITA, "/release start v4.8.0")
        demo.stage.until_card("10 of 10", seconds=90)
        yield demo


def _unchanged(demo: Demo) -> tuple[list[Any], int]:
    state = [(row["version"], row["state"]) for row in demo.rows("SELECT version, state FROM releases ORDER BY id")]
    return state, len(demo.rows("SELECT id FROM signoffs WHERE ended_at IS NULL"))


def _last_refusal(demo: Demo) -> Json:
    found = demo.rows("SELECT actor, body FROM audit WHERE event LIKE '%%.refused' ORDER BY seq DESC LIMIT 1")
    return {"actor": found[0]["actor"], **found[0]["body"]}


@pytest.mark.parametrize(
    ("who", "user", "words"),
    [(DEV, "U0DEV00001", "role"), (GUS, "U0GUEST001", "another workspace")],
)
def test_somebody_without_the_right_is_refused(opened: Demo, who: str, user: str, words: str) -> None:
    """A click and a command: nothing changes, the answer says why, the record has it."""
    before = _unchanged(opened)

    said = opened.stage.press(who, "signoff.approve", opened.stage.card(), value="release_manager")
    ordered = opened.stage.command(who, "/release deploy")

    assert words in said
    assert words in ordered
    assert _unchanged(opened) == before
    assert _last_refusal(opened)["actor"] == user


@pytest.mark.parametrize(
    "value",
    [
        "",
        "not json",
        '{"release": 1}',
        '{"release": 999, "role": "qa"}',
        '{"release": 1, "role": "ceo"}',
        '{"release": "1; DROP TABLE releases", "role": "qa"}',
    ],
)
def test_a_forged_value_does_nothing(opened: Demo, value: str) -> None:
    """Whatever a button is made to carry, rows decide."""
    before = _unchanged(opened)

    said = opened.stage.press_raw(QUINN, "signoff.approve", value, opened.stage.card()["ts"])

    assert "Nothing was done" in said
    assert _unchanged(opened) == before
    assert json.loads(_last_refusal(opened)["what"])["value"] == value


def test_the_gate_names_every_reason(opened: Demo) -> None:
    """Without sign-offs a deploy is refused, by command, with the missing role by name."""
    assert "Release Manager has not signed off" in opened.stage.command(RITA, "/release deploy")


def test_a_second_release_is_refused(opened: Demo) -> None:
    """One active release per environment."""
    assert "v4.8.0 (OPEN) holds production" in opened.stage.command(MAX, "/release start v4.8.1")


def test_the_deployer_alone_is_not_enough(opened: Demo) -> None:
    """Four eyes: who deploys must not be the only one who approved. Then two people at once have one effect."""
    stage = opened.stage
    stage.press(RITA, "signoff.approve", stage.card(), value="release_manager")
    assert "somebody else must approve or deploy" in stage.command(RITA, "/release deploy")
    assert _unchanged(opened)[0] == [("v4.8.0", "OPEN")]

    stage.press(QUINN, "signoff.approve", stage.card(), value="qa")
    card = stage.wait("the deploy button", lambda: card if has_button(card := stage.card(), "release.deploy") else None)
    with ThreadPoolExecutor(4) as together:
        both = [
            together.submit(opened.click_raw, user, "release.deploy", card) for user in ("U0RITA0001", "U0MAX00001") * 2
        ]
        assert all(done.result()["ok"] for done in both)

    stage.until_card("DONE", seconds=90)
    events = [row["event"] for row in opened.rows("SELECT event FROM audit")]
    assert events.count("deploy.started") == 1
    assert len(opened.rows("SELECT id FROM replies WHERE body->>'text' LIKE '%%eploy%%'")) >= 4
