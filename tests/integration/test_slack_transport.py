"""The Socket Mode connection: opened once, back after every kind of loss, replaced when it is deaf, closed at once."""

import time
from urllib.parse import urlsplit

import pytest

from bot.slack.client import SlackError
from bot.slack.transport import Socket, build_app
from tests.fix_proxy import Proxy
from tests.integration.slack_bot import Bot
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, SlackWorld, eventually

pytestmark = CLIENT_LEAKS_SOCKETS


def connections_opened(slack: SlackWorld) -> int:
    """The number of connections that the bot has requested."""
    counts: dict[str, int] = slack.get("calls")["counts"]
    return counts.get("apps.connections.open", 0)


def test_one_connection_is_opened_at_the_start(bot: Bot, slack: SlackWorld):
    """Connecting returns once deliveries can arrive, and opens no second connection."""
    with bot.online() as socket:
        answer = slack.command("/release help")
        is_connected = socket.connected

    assert (answer["ok"], is_connected, connections_opened(slack)) == (True, True, 1)


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
def test_a_connection_is_renewed_without_a_gap(bot: Bot, slack: SlackWorld, reason: str):
    """The new connection is open before Slack closes the old one, so that no command is lost."""
    with bot.online():
        slack.post("slack-faults", disconnect=reason)
        answers: list[str | None] = []
        while connections_opened(slack) < 2 or len(answers) < 50:
            answers.append(slack.command("/release help")["error"])

    assert set(answers) == {None}
    assert connections_opened(slack) == 2


def test_a_refused_renewal_keeps_the_old_connection(bot: Bot, slack: SlackWorld):
    """While Slack gives no new connection the old one works."""
    with bot.online() as socket:
        slack.post("slack-faults", error={"apps.connections.open": {"n": 1, "error": "internal_error"}})
        slack.post("slack-faults", disconnect="warning")
        eventually(lambda: connections_opened(slack) == 2)
        answer = slack.command("/release help")

        assert socket.connected
    assert answer["ok"]


@pytest.mark.parametrize("how", ["close", "drop"])
def test_the_socket_reconnects_after_a_disconnect(bot: Bot, slack: SlackWorld, how: object):
    """However Slack ends a connection, later commands arrive again."""
    with bot.online(ping=0.5):
        slack.post("slack-faults", disconnect=how)
        eventually(lambda: connections_opened(slack) > 1)
        answer = eventually(lambda: (a := slack.command("/release help"))["ok"] and a)

    assert answer["ack"] == {}


def test_a_good_connection_is_left_alone(bot: Bot, slack: SlackWorld):
    """Looking after a connection that works makes no call."""
    with bot.online() as socket:
        for _ in range(10):
            socket.ensure()

        assert socket.connected
    assert connections_opened(slack) == 1


def test_a_dead_connection_is_replaced(bot: Bot, slack: SlackWorld):
    """If the SDK cannot reconnect because Slack refuses it, a new connection is built."""
    with bot.online(ping=60) as socket:  # the SDK's own monitor looks as seldom as it pings
        slack.post("slack-faults", error={"apps.connections.open": {"n": 1, "error": "internal_error"}})
        slack.post("slack-faults", disconnect="drop")
        eventually(lambda: not socket.connected)
        for _ in range(3):
            socket.ensure()

        assert socket.connected
        assert slack.command("/release help")["ok"]


def test_replacing_is_tried_again_while_slack_refuses(bot: Bot, slack: SlackWorld, caplog: pytest.LogCaptureFixture):
    """A refused replacement is tried again at a later look, with a warning each time."""
    with bot.online(ping=60) as socket:
        slack.post("slack-faults", error={"apps.connections.open": {"n": 2, "error": "internal_error"}})
        slack.post("slack-faults", disconnect="drop")
        eventually(lambda: not socket.connected)
        for _ in range(6):
            socket.ensure()

        assert socket.connected
    assert "cannot connect: Slack answered internal_error to apps.connections.open." in caplog.messages


def test_a_silent_connection_is_replaced(bot: Bot, slack: SlackWorld):
    """A link that was cut still looks open, but nobody answers its pings."""
    with Proxy(urlsplit(slack.url).port or 0) as link:
        slack.server._workspace.base_url = f"http://127.0.0.1:{link.port}/"  # what apps.connections.open answers
        with bot.online(ping=0.1) as socket:
            link.freeze()
            eventually(lambda: not socket.connected, 3)
            socket.ensure()

            assert socket.connected
            assert slack.command("/release help")["ok"]


def test_closing_does_not_wait_for_the_other_side(bot: Bot):
    """The bot stops within a second, and not after the SDK's ten seconds."""
    with bot.online():
        start = time.monotonic()
    took = time.monotonic() - start

    assert took < 1


def test_a_refused_app_token_ends_the_start(bot: Bot):
    """The error repeats Slack's own word and has a hint."""
    socket = Socket(build_app(bot.client), "xapp-wrong")
    with pytest.raises(SlackError, match=r"Slack answered invalid_auth to apps\.connections\.open\.") as error:
        socket.connect()
    socket.close()

    assert error.value.code == "invalid_auth"
    assert error.value.hint.startswith("Set SLACK_APP_TOKEN to the app-level token (xapp-…) with connections:write")
