"""Socket Mode and what people do: commands, clicks, acknowledgements, with both synchronous Bolt clients."""

import threading
from typing import Any

import pytest
from slack_bolt import App

from tests.sandbox.slack_world import (
    CLIENT_LEAKS_SOCKETS,
    DEV,
    GUS,
    QUINN,
    RELEASES,
    RITA,
    SlackWorld,
    eventually,
    note_and_ack,
)

pytestmark = CLIENT_LEAKS_SOCKETS
BUTTON = {
    "type": "actions",
    "block_id": "b",
    "elements": [
        {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}, "value": '{"id": 1}'}
    ],
}


def echo(app: App) -> None:
    """A bot that acknowledges /release with what it was given."""

    @app.command("/release")
    def release(ack, command):
        ack(f"you said: {command['text']}")


@pytest.mark.parametrize("handler", ["websocket_client", "builtin"])
def test_command_reply_is_shown_to_its_author_only(slack: SlackWorld, handler: str):
    """An acknowledgement with a text appears as an ephemeral message."""
    with slack.bot(echo, handler):
        answer = slack.command("/release start v4.8.0")

    assert answer["ok"]
    assert answer["ack"] == {"text": "you said: start v4.8.0"}
    assert [m["text"] for m in slack.messages(RITA)] == ["you said: start v4.8.0"]
    assert slack.messages(QUINN) == []


def test_command_with_nobody_listening_fails_at_once(slack: SlackWorld):
    """Without a socket Slack says dispatch_failed, and nothing is queued for later."""
    answer = slack.command("/release status")
    events: list[str] = []

    def listen(app: App) -> None:
        app.command("/release")(lambda ack, command: note_and_ack(events, command["text"], ack))

    with slack.bot(listen):
        slack.command("/release help")

    assert (answer["ok"], answer["delivered"], answer["error"]) == (False, False, "dispatch_failed")
    assert events == ["help"]


def test_command_that_is_not_acknowledged_times_out(slack: SlackWorld):
    """After three seconds the person reads operation_timeout, and it is a violation."""
    release = threading.Event()

    def listen(app: App) -> None:
        @app.command("/release")
        def wait(ack):
            release.wait(20)
            ack()

    with slack.bot(listen):
        answer = slack.command("/release status")
        release.set()

    assert answer["error"] == "operation_timeout"
    assert [v["code"] for v in slack.violations()] == ["operation_timeout"]
    assert "operation_timeout" in slack.messages(RITA)[-1]["text"]


def test_unknown_command_does_not_reach_the_bot(slack: SlackWorld):
    """Only commands of the manifest exist."""
    answer = slack.command("/deploy now")

    assert answer["error"] == "unknown_command"
    assert "/deploy" in slack.messages(RITA)[-1]["text"]


def test_command_text_is_escaped(slack: SlackWorld):
    """People, groups, channels, links and special characters arrive in Slack's notation."""
    with slack.bot(echo):
        answer = slack.command("/release start @quinn @release-managers #releases a<b & https://example.com/x?a=1")

    assert answer["ack"]["text"] == (
        "you said: start <@U0QUINN001> <!subteam^S0RELMGR01|@release-managers> <#C0RELEASES1|releases> "
        "a&lt;b &amp; <https://example.com/x?a=1>"
    )


def click_bot(events: list[Any]):
    """A bot that notes clicks."""

    def listen(app: App) -> None:
        @app.action("go")
        def go(ack, body):
            events.append(body)
            ack()

    return listen


def test_click_carries_message_value_and_person(slack: SlackWorld):
    """The payload of a click has the stored message, the button's value and who clicked."""
    ts = slack.client.chat_postMessage(channel=RELEASES, text="card", blocks=[BUTTON])["ts"]
    events: list[Any] = []
    with slack.bot(click_bot(events)):
        answer = slack.post("click", user=QUINN, channel=RELEASES, ts=ts, action_id="go")

    (body,) = events
    assert answer["ok"]
    assert body["actions"][0]["value"] == '{"id": 1}'
    assert body["user"] == {"id": QUINN, "username": "quinn", "name": "quinn", "team_id": "T0SOLVE001"}
    assert body["container"] == {
        "type": "message",
        "message_ts": ts,
        "channel_id": RELEASES,
        "is_ephemeral": False,
    }
    assert body["message"]["text"] == "card"


def test_click_of_a_guest_names_the_other_team(slack: SlackWorld):
    """Somebody of another company can press buttons; their team differs, and users.info says stranger."""
    ts = slack.client.chat_postMessage(channel=RELEASES, text="card", blocks=[BUTTON])["ts"]
    events: list[Any] = []
    with slack.bot(click_bot(events)):
        slack.post("click", user=GUS, channel=RELEASES, ts=ts, action_id="go")
    user = slack.client.users_info(user=GUS)["user"]

    assert events[0]["user"]["team_id"] == "T0OTHER001"
    assert (user["is_restricted"], user["is_stranger"], user["team_id"]) == (True, True, "T0OTHER001")


def test_forged_value_is_passed_on(slack: SlackWorld):
    """A click may carry another value than the message, as a tampered client would send it."""
    ts = slack.client.chat_postMessage(channel=RELEASES, text="card", blocks=[BUTTON])["ts"]
    events: list[Any] = []
    with slack.bot(click_bot(events)):
        slack.post("click", user=DEV, channel=RELEASES, ts=ts, action_id="go", value="forged")

    assert events[0]["actions"][0]["value"] == "forged"


def test_button_that_is_gone_can_be_pressed_from_a_stale_client(slack: SlackWorld):
    """With `forged` the button need not be in the message any more; without it the click is refused."""
    ts = slack.client.chat_postMessage(channel=RELEASES, text="card", blocks=[BUTTON])["ts"]
    slack.client.chat_update(channel=RELEASES, ts=ts, text="done")
    events: list[Any] = []
    with slack.bot(click_bot(events)):
        refusal = slack.post("click", user=DEV, channel=RELEASES, ts=ts, action_id="go")
        slack.post("click", user=DEV, channel=RELEASES, ts=ts, action_id="go", value="old", forged=True)

    assert refusal["error"] == "no_such_element"
    assert [body["actions"][0]["value"] for body in events] == ["old"]


def test_replay_sends_the_same_envelope_again(slack: SlackWorld):
    """A replayed command has the same trigger id, so that a bot can know it."""
    events: list[str] = []

    def listen(app: App) -> None:
        app.command("/release")(lambda ack, command: note_and_ack(events, command["trigger_id"], ack))

    with slack.bot(listen):
        envelope_id = slack.command("/release status")["envelope_id"]
        answer = slack.post("replay", envelope_id=envelope_id, times=3)

    assert [delivery["envelope_id"] for delivery in answer["deliveries"]] == [envelope_id] * 3
    assert len(events) == 4
    assert len(set(events)) == 1


@pytest.mark.parametrize(
    ("handler", "how"), [("builtin", True), ("websocket_client", "close"), ("websocket_client", "drop")]
)
def test_client_comes_back_after_a_disconnect(slack: SlackWorld, handler: str, how: object):
    """Told to reconnect, closed or cut off: the client opens a new connection and commands work again."""

    def count_connections() -> int:
        counts: dict[str, int] = slack.get("calls")["counts"]
        return counts["apps.connections.open"]

    with slack.bot(echo, handler):
        before = count_connections()
        slack.post("slack-faults", disconnect=how)
        eventually(lambda: count_connections() > before)
        answer = eventually(lambda: (a := slack.command("/release status"))["ok"] and a)

    assert answer["ack"] == {"text": "you said: status"}


def test_each_envelope_goes_to_one_of_several_connections(slack: SlackWorld):
    """Two processes with one app token share the commands between them."""
    first: list[str] = []
    second: list[str] = []

    def note(events: list[Any]):
        def listen(app: App) -> None:
            app.command("/release")(lambda ack, command: note_and_ack(events, command["text"], ack))

        return listen

    with slack.bot(note(first)), slack.bot(note(second)):
        eventually(lambda: slack.server._socket.connections == 2)
        for number in range(6):
            slack.command(f"/release {number}")

    assert sorted(first + second) == ["0", "1", "2", "3", "4", "5"]
    assert first
    assert second


def test_ticket_opens_one_socket_only(slack: SlackWorld):
    """A used or invented ticket is refused with 403."""
    answer = slack.http.post(
        "api/apps.connections.open", headers={"Authorization": f"Bearer {slack.server.app_token}"}
    ).json()
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    url = answer["url"].replace("ws", "http", 1)
    with slack.http.stream("GET", url, headers=upgrade) as first:
        assert first.status_code == 101

        assert slack.http.get(url, headers=upgrade).status_code == 403


def test_page_hears_of_the_bot_and_its_messages(slack: SlackWorld):
    """The event stream tells of a connection and of every message, ephemeral ones only to their reader."""
    with slack.events(RITA) as wait_for, slack.bot(echo):
        assert wait_for("bot_online") == {"type": "bot_online", "online": True}
        ts = slack.client.chat_postMessage(channel=RELEASES, text="hello")["ts"]
        event = wait_for("message")
        slack.command("/release quietly", user=QUINN)
        slack.command("/release for rita")

        assert (event["channel"], event["message"]["ts"]) == (RELEASES, ts)
        assert wait_for("ephemeral")["message"]["text"] == "you said: for rita"


def test_control_api_takes_json_only(slack: SlackWorld):
    """A form of another site, open in the same browser, cannot act in a person's name."""
    answer = slack.http.post("sandbox/command", data={"user": RITA})

    assert (answer.status_code, answer.json()["error"]) == (415, "json_required")
