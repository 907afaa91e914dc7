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
def open_release_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo with a release whose ten checks have passed and that nobody has approved."""
    with running_demo(tmp_path_factory.mktemp("gate") / "data", "--watch-minutes", "0.1") as demo:
        demo.stage.command(RITA, "/release start v4.8.0")
        demo.stage.until_card("10 of 10", seconds=90)
        yield demo


def _releases_and_signoffs(demo: Demo) -> tuple[list[Any], int]:
    state = [(row["version"], row["state"]) for row in demo.rows("SELECT version, state FROM releases ORDER BY id")]
    return state, len(demo.rows("SELECT id FROM signoffs WHERE ended_at IS NULL"))


def _last_refusal(demo: Demo) -> Json:
    rows = demo.rows("SELECT actor, body FROM audit WHERE event LIKE '%%.refused' ORDER BY seq DESC LIMIT 1")
    return {"actor": rows[0]["actor"], **rows[0]["body"]}


@pytest.mark.parametrize(
    ("who", "user", "words"),
    [(DEV, "U0DEV00001", "role"), (GUS, "U0GUEST001", "another workspace")],
)
def test_a_person_without_the_right_is_rejected(open_release_demo: Demo, who: str, user: str, words: str) -> None:
    """A click and a command of a person without the right change nothing, the answer gives the reason, and the attempt
    is in the audit record.
    """
    before = _releases_and_signoffs(open_release_demo)

    click_answer = open_release_demo.stage.press(
        who, "signoff.approve", open_release_demo.stage.card(), value="release_manager"
    )
    command_answer = open_release_demo.stage.command(who, "/release deploy")

    assert words in click_answer
    assert words in command_answer
    assert _releases_and_signoffs(open_release_demo) == before
    assert _last_refusal(open_release_demo)["actor"] == user


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
def test_a_button_with_a_forged_value_does_nothing(open_release_demo: Demo, value: str) -> None:
    """A click whose value was forged changes nothing and is recorded with its value."""
    before = _releases_and_signoffs(open_release_demo)

    answer = open_release_demo.stage.press_raw(QUINN, "signoff.approve", value, open_release_demo.stage.card()["ts"])

    assert "Nothing was done" in answer
    assert _releases_and_signoffs(open_release_demo) == before
    assert json.loads(_last_refusal(open_release_demo)["what"])["value"] == value


def test_a_deploy_without_signoffs_is_rejected_with_the_missing_role(open_release_demo: Demo) -> None:
    """The command to deploy is rejected with the name of the role that has not signed off."""
    assert "Release Manager has not signed off" in open_release_demo.stage.command(RITA, "/release deploy")


def test_a_second_release_on_the_same_environment_is_rejected(open_release_demo: Demo) -> None:
    """A release cannot be started while another one is active on the same environment."""
    assert "v4.8.0 (OPEN) holds production" in open_release_demo.stage.command(MAX, "/release start v4.8.1")


def test_whoever_deploys_must_not_be_the_only_approver(open_release_demo: Demo) -> None:
    """A release that only the deployer has approved cannot be deployed; with a second approval four clicks at the same
    time start one deploy.
    """
    stage = open_release_demo.stage
    stage.press(RITA, "signoff.approve", stage.card(), value="release_manager")
    assert "someone else must approve or deploy" in stage.command(RITA, "/release deploy")
    assert _releases_and_signoffs(open_release_demo)[0] == [("v4.8.0", "OPEN")]

    stage.press(QUINN, "signoff.approve", stage.card(), value="qa")
    card = stage.wait("the deploy button", lambda: card if has_button(card := stage.card(), "release.deploy") else None)
    with ThreadPoolExecutor(4) as threads:
        clicks = [
            threads.submit(open_release_demo.click_raw, user, "release.deploy", card)
            for user in ("U0RITA0001", "U0MAX00001") * 2
        ]
        assert all(click.result()["ok"] for click in clicks)

    stage.until_card("DONE", seconds=90)
    events = [row["event"] for row in open_release_demo.rows("SELECT event FROM audit")]
    assert events.count("deploy.started") == 1
    assert len(open_release_demo.rows("SELECT id FROM replies WHERE body->>'text' LIKE '%%eploy%%'")) >= 4
