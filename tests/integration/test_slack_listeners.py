"""P1: what is acknowledged is stored, once; what cannot be stored is not acknowledged, and a command is told so."""

import contextlib
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from bot.slack.listeners import NOT_TAKEN
from tests.integration.slack_bot import Bot
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, QUINN, RELEASES, RITA, SlackWorld, eventually

pytestmark = CLIENT_LEAKS_SOCKETS


@contextlib.contextmanager
def database_down(postgres_url: str, database_url: str) -> Iterator[None]:
    """Refuse every connection to the database of the bot, and end those that there are."""
    name = urlsplit(database_url).path.removeprefix("/")
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


def test_command_is_stored_before_it_is_acknowledged(bot: Bot, slack: SlackWorld):
    """With no worker to carry anything out, the row is there when the ack arrives."""
    with bot.online():
        answer = slack.command("/release start v4.8.0")
        stored = bot.rows("SELECT kind, body->>'text' AS text, handled_at FROM inbox")

    assert (answer["ok"], answer["ack"]) == (True, {})
    assert stored == [{"kind": "command", "text": "start v4.8.0", "handled_at": None}]


def test_click_is_stored_before_it_is_acknowledged(bot: Bot, slack: SlackWorld):
    """The same for a button."""
    release_id = bot.open_release()
    bot.published(release_id)
    with bot.online():
        answer = slack.post(
            "click", user=QUINN, channel=RELEASES, ts=bot.ts(release_id), action_id="signoff.approve",
            block_id="signoff:qa:buttons",
        )  # fmt: skip
        stored = bot.rows("SELECT kind, body->'actions'->0->>'action_id' AS action FROM inbox")

    assert answer["ok"]
    assert stored == [{"kind": "action", "action": "signoff.approve"}]


def test_work_is_asked_for_with_the_row(bot: Bot, slack: SlackWorld):
    """What is stored is what the workers will find: both are in one transaction."""
    with bot.online():
        slack.command("/release help")

    (stored,) = bot.rows("SELECT id FROM inbox")
    assert bot.rows("SELECT queue, key FROM work") == [{"queue": "inbox", "key": str(stored["id"])}]


def test_ten_deliveries_of_one_command_are_one_row_and_one_effect(bot: Bot, slack: SlackWorld):
    """Slack may send an envelope again: each copy is acknowledged, and the freeze is begun and answered once."""
    with bot.online(), bot.working():
        envelope_id = slack.command("/release freeze 2h maintenance")["envelope_id"]
        replayed = slack.post("replay", envelope_id=envelope_id, times=10)
        eventually(lambda: slack.messages(RITA) and not bot.rows("SELECT id FROM work"))

    assert replayed["ok"]
    assert len(bot.rows("SELECT id FROM inbox")) == 1
    assert bot.audited() == [(RITA, "freeze.begun")]
    assert len(slack.messages(RITA)) == 1


def test_ten_deliveries_of_one_click_are_one_row_and_one_effect(bot: Bot, slack: SlackWorld):
    """The same for an approval; and the person reads one answer."""
    release_id = bot.open_release()
    bot.published(release_id)
    with bot.online(), bot.working():
        envelope_id = slack.post(
            "click", user=QUINN, channel=RELEASES, ts=bot.ts(release_id), action_id="signoff.approve",
            block_id="signoff:qa:buttons",
        )["envelope_id"]  # fmt: skip
        replayed = slack.post("replay", envelope_id=envelope_id, times=10)
        eventually(lambda: not bot.rows("SELECT id FROM work WHERE queue IN ('inbox', 'reply')"))

    assert replayed["ok"]
    assert len(bot.rows("SELECT id FROM inbox")) == 1
    assert len(bot.rows("SELECT id FROM signoffs")) == 1
    assert [m["text"] for m in slack.messages(QUINN) if m.get("ephemeral")] == ["Recorded: QA approved v4.8.0."]


def test_same_click_twice_by_hand_is_answered_twice(bot: Bot, slack: SlackWorld):
    """A second press is a delivery of its own: no second effect, but an answer."""
    release_id = bot.open_release()
    bot.published(release_id)
    with bot.online(), bot.working("inbox"):
        for _ in range(2):
            slack.post(
                "click", user=QUINN, channel=RELEASES, ts=bot.ts(release_id), action_id="signoff.approve",
                block_id="signoff:qa:buttons",
            )  # fmt: skip
            eventually(lambda: not bot.rows("SELECT id FROM work WHERE queue = 'inbox'"))

    assert bot.told(QUINN) == ["Recorded: QA approved v4.8.0.", "You have recorded that for QA already."]
    assert len(bot.rows("SELECT id FROM signoffs")) == 1


def test_command_is_answered_not_taken_while_the_database_is_down(
    bot: Bot, slack: SlackWorld, postgres_url: str, database_url: str
):
    """The person reads in time that nothing was stored; nothing of it comes up later."""
    with bot.online():
        with database_down(postgres_url, database_url):
            begun = time.monotonic()
            answer = slack.command("/release start v4.8.0")
            took = time.monotonic() - begun
        eventually(lambda: slack.command("/release help")["ack"] == {})

    assert answer["ack"] == {"text": NOT_TAKEN}
    assert took < 3
    assert bot.rows("SELECT body->>'text' AS text FROM inbox") == [{"text": "help"}]


def test_click_gets_no_ack_while_the_database_is_down(
    bot: Bot, slack: SlackWorld, postgres_url: str, database_url: str
):
    """Slack then shows the person a warning mark, which is the truth."""
    release_id = bot.open_release()
    bot.published(release_id)
    with bot.online(), database_down(postgres_url, database_url):
        answer = slack.post(
            "click", user=QUINN, channel=RELEASES, ts=slack.messages(RITA)[0]["ts"], action_id="signoff.approve",
            block_id="signoff:qa:buttons",
        )  # fmt: skip

    assert (answer["ok"], answer["error"]) == (False, "operation_timeout")
    assert bot.rows("SELECT id FROM inbox") == []


@pytest.mark.parametrize("action_id", ["no.such.action", "check.rerun"])
def test_every_click_is_stored_known_or_not(bot: Bot, slack: SlackWorld, action_id: str):
    """A button that we never made is no reason for silence: it is stored, to be answered and recorded."""
    release_id = bot.open_release()
    bot.published(release_id)
    with bot.online():
        answer = slack.post(
            "click", user=QUINN, channel=RELEASES, ts=bot.ts(release_id), action_id=action_id, value="x", forged=True
        )

    assert answer["ok"]
    assert len(bot.rows("SELECT id FROM inbox")) == 1


def test_text_that_the_database_cannot_hold_is_stored_without_it(bot: Bot, slack: SlackWorld):
    """JSON knows a NUL character, PostgreSQL does not; a click with one still gets its answer."""
    with bot.online():
        answer = slack.command("/release freeze 2h a\x00b")

    assert answer["ok"]
    assert bot.rows("SELECT body->>'text' AS text FROM inbox") == [{"text": "freeze 2h a\ufffdb"}]
