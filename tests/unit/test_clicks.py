"""Buttons: their published ids, and the payloads that they carry."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.ids import CheckId
from bot.domain.policy import Role
from bot.errors import StaleButton
from bot.slack import features
from bot.slack.clicks import read_button
from bot.slack.entries import AnyButton
from bot.slack.features import BUTTONS
from bot.slack.payloads import (
    AlarmPayload,
    CheckPayload,
    MitigationPayload,
    Payload,
    ReleasePayload,
    RolePayload,
    SectionPayload,
    StepPayload,
)

EXAMPLES: dict[type[Payload], Payload] = {
    ReleasePayload: ReleasePayload(release=12),
    RolePayload: RolePayload(release=12, role=Role.QA),
    CheckPayload: CheckPayload(release=12, check=CheckId("go.backup")),
    SectionPayload: SectionPayload(release=12, section="go"),
    StepPayload: StepPayload(release=12, step=77),
    AlarmPayload: AlarmPayload(release=12, alarm=5),
    MitigationPayload: MitigationPayload(release=12, mitigation=3),
}


def test_action_ids_are_the_published_ones() -> None:
    """The ids of all buttons are exactly the published ones."""
    assert set(BUTTONS) == {
        "check.rerun",
        "check.cancel",
        "check.details",
        "check.waive",
        "check.attest",
        "section.rerun",
        "section.cancel",
        "signoff.approve",
        "signoff.decline",
        "signoff.revoke",
        "release.deploy",
        "release.rollback",
        "release.abort",
        "step.retry",
        "step.cancel",
        "step.attest",
        "watch.rollback",
        "watch.acknowledge",
        "mitigation.apply",
        "mitigation.resolve",
        "mitigation.attest",
        "break_glass.review",
    }


@pytest.mark.parametrize("button", BUTTONS.values(), ids=BUTTONS)
def test_every_button_reads_back_what_it_wrote(button: AnyButton) -> None:
    """A payload that is written into a button is read back unchanged."""
    payload = EXAMPLES[button.payload]
    assert read_button(button.id, payload.dump()) == (button, payload)


def test_a_button_that_is_declared_twice_stops_the_start() -> None:
    """Two features that declare the same id of a button raise an error at the start."""
    button = BUTTONS["check.rerun"]
    twin = replace(button, place="another")
    with pytest.raises(ValueError, match=r"two features declare check\.rerun"):
        features.table([button, twin], lambda one: one.id)


def test_the_value_of_a_button_is_json_with_ids_only() -> None:
    """The value of a button is JSON with ids only."""
    assert json.loads(EXAMPLES[RolePayload].dump()) == {"release": 12, "role": "qa"}
    assert json.loads(EXAMPLES[CheckPayload].dump()) == {"release": 12, "check": "go.backup"}


def test_buttons_that_change_the_world_at_once_open_no_modal() -> None:
    """Exactly these buttons act at the click; all others open a modal first."""
    assert {button.id for button in BUTTONS.values() if button.modal is None} == {
        "check.rerun",
        "check.cancel",
        "section.rerun",
        "section.cancel",
        "signoff.approve",
        "signoff.revoke",
        "release.deploy",
        "step.retry",
        "step.cancel",
        "mitigation.resolve",
    }


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "12",
        "null",
        "[]",
        "{}",
        '{"release": 12}',
        '{"release": 12, "role": "cto"}',
        '{"release": "12", "role": "qa"}',
        '{"release": 1.0, "role": "qa"}',
        '{"release": true, "role": "qa"}',
        '{"release": 0, "role": "qa"}',
        '{"release": -1, "role": "qa"}',
        '{"release": 9223372036854775808, "role": "qa"}',
        '{"release": 12, "role": "qa", "user": "U0RITA0001"}',
        "[" * 2000,
    ],
)
def test_a_forged_value_is_refused(value: str | None) -> None:
    """A value that is not the exact payload of the action is refused."""
    with pytest.raises(StaleButton):
        read_button("signoff.approve", value)


@pytest.mark.parametrize("check", ["", "Go.Backup", "go.backup\n", "go.a.b", "go backup", "<!channel>", "x" * 201])
def test_a_malformed_check_id_is_refused(check: str) -> None:
    """The form of an id is validated before anything is looked up."""
    with pytest.raises(StaleButton):
        read_button("check.rerun", json.dumps({"release": 12, "check": check}))


def test_an_unknown_action_is_refused() -> None:
    """An action id that no feature declares is refused."""
    with pytest.raises(StaleButton, match="unknown action id"):
        read_button("release.delete", '{"release": 12}')


@given(st.sampled_from(sorted(BUTTONS)), st.text(max_size=200))
def test_random_text_as_a_value_is_refused(button_id: str, value: str) -> None:
    """Random text as the value of a button is refused without any other error."""
    with pytest.raises(StaleButton):
        read_button(button_id, value)


def test_the_refusal_of_a_button_does_not_repeat_its_value() -> None:
    """A forged value gets into no log and no message."""
    with pytest.raises(StaleButton) as error:
        read_button("check.rerun", '{"release": 12, "check": "<!channel>"}')
    problem = "malformed value of check.rerun: check: string_pattern_mismatch"
    assert error.value.user_message == f"The bot never made that button: {problem}."
