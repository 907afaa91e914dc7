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

SOUND: dict[type[Payload], Payload] = {
    ReleasePayload: ReleasePayload(release=12),
    RolePayload: RolePayload(release=12, role=Role.QA),
    CheckPayload: CheckPayload(release=12, check=CheckId("go.backup")),
    SectionPayload: SectionPayload(release=12, section="go"),
    StepPayload: StepPayload(release=12, step=77),
    AlarmPayload: AlarmPayload(release=12, alarm=5),
    MitigationPayload: MitigationPayload(release=12, mitigation=3),
}


def test_action_ids_are_the_published_ones() -> None:
    """Outside tests and old messages rely on these words."""
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
    """What a button carries comes back as the same payload."""
    payload = SOUND[button.payload]
    assert read_button(button.id, payload.dump()) == (button, payload)


def test_what_two_features_declare_stops_the_start() -> None:
    """One id, one button."""
    button = BUTTONS["check.rerun"]
    twin = replace(button, place="another")
    with pytest.raises(ValueError, match=r"two features declare check\.rerun"):
        features.table([button, twin], lambda one: one.id)


def test_the_value_of_a_button_is_json_with_ids_only() -> None:
    """The published form of the values."""
    assert json.loads(SOUND[RolePayload].dump()) == {"release": 12, "role": "qa"}
    assert json.loads(SOUND[CheckPayload].dump()) == {"release": 12, "check": "go.backup"}


def test_buttons_that_change_the_world_at_once_open_no_modal() -> None:
    """These act at the click; all others ask first."""
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
    """Nothing but the exact payload of the action gets through."""
    with pytest.raises(StaleButton):
        read_button("signoff.approve", value)


@pytest.mark.parametrize("check", ["", "Go.Backup", "go.backup\n", "go.a.b", "go backup", "<!channel>", "x" * 201])
def test_a_check_id_that_no_checklist_has_is_refused(check: str) -> None:
    """Ids are checked for their form before anything is looked up."""
    with pytest.raises(StaleButton):
        read_button("check.rerun", json.dumps({"release": 12, "check": check}))


def test_an_unknown_action_is_refused() -> None:
    """A forged action id names nothing."""
    with pytest.raises(StaleButton, match="unknown action id"):
        read_button("release.delete", '{"release": 12}')


@given(st.sampled_from(sorted(BUTTONS)), st.text(max_size=200))
def test_no_text_breaks_the_reader(button_id: str, value: str) -> None:
    """Whatever is not a payload is refused."""
    with pytest.raises(StaleButton):
        read_button(button_id, value)


def test_a_refusal_does_not_repeat_the_value() -> None:
    """What was forged goes into no log and no message."""
    with pytest.raises(StaleButton) as refused:
        read_button("check.rerun", '{"release": 12, "check": "<!channel>"}')
    problem = "malformed value of check.rerun: check: string_pattern_mismatch"
    assert refused.value.user_message == f"The bot never made that button: {problem}."
