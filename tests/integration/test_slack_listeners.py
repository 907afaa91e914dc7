"""P1: what is acknowledged is stored, once; what cannot be stored is not acknowledged, and a command is told so."""

import contextlib
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from bot.slack.listeners import NOT_TAKEN
from bot.store.pool import Store
from tests.fix_bot import database, url_of
from tests.integration.slack_bot import Bot
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, QUINN, RELEASES, RITA, Json, eventually

pytestmark = CLIENT_LEAKS_SOCKETS


@pytest.fixture
def store(postgres_url: str, migrated_template: str) -> Iterator[Store]:
    """A Store on a database of its own, since that of other tests must not go down."""
    with database(postgres_url, migrated_template) as name:
        own_store = Store(url_of(postgres_url, name), size=12)
        own_store.open()
        own_store.join()
        yield own_store
        own_store.close()


@contextlib.contextmanager
def database_down(postgres_url: str, database_url: str) -> Iterator[None]:
    """Refuse every connection to the bot's database, and end the existing ones."""
    name = urlsplit(database_url).path.removeprefix("/")
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


def approve(live: Bot, ts: str) -> Json:
    """Press QA's Approve button without waiting for the effect."""
    return live.slack.post(
        "click", user=QUINN, channel=RELEASES, ts=ts, action_id="signoff.approve", block_id="signoff:qa:buttons"
    )


def test_a_command_is_stored_before_it_is_acknowledged(live: Bot):
    """Without any worker the row is there when the ack arrives."""
    answer = live.slack.command("/release start v4.8.0")
    rows = live.rows("SELECT kind, body->>'text' AS text, handled_at FROM inbox")

    assert (answer["ok"], answer["ack"]) == (True, {})
    assert rows == [{"kind": "command", "text": "start v4.8.0", "handled_at": None}]


def test_a_click_is_stored_before_it_is_acknowledged(live: Bot):
    """Without any worker the row of the click is there when the ack arrives."""
    release_id = live.open_release()
    live.publish_all(release_id)
    answer = approve(live, live.ts(release_id))
    rows = live.rows("SELECT kind, body->'actions'->0->>'action_id' AS action FROM inbox")

    assert answer["ok"]
    assert rows == [{"kind": "action", "action": "signoff.approve"}]


def test_work_is_requested_in_the_same_transaction(live: Bot):
    """The row and the work for it are stored together."""
    live.slack.command("/release help")

    (inbox_row,) = live.rows("SELECT id FROM inbox")
    assert live.rows("SELECT queue, key FROM work") == [{"queue": "inbox", "key": str(inbox_row["id"])}]


def test_ten_deliveries_of_one_command_have_one_effect(live: Bot):
    """Slack may send an envelope again: each copy is acknowledged, and the freeze begins once."""
    envelope_id = live.slack.command("/release freeze 2h maintenance")["envelope_id"]
    live.handle()
    replay = live.slack.post("replay", envelope_id=envelope_id, times=10)
    live.handle()
    live.answer()

    assert replay["ok"]
    assert len(live.rows("SELECT id FROM inbox")) == 1
    assert live.recorded_events() == [(RITA, "freeze.begun")]
    assert len(live.ephemeral_texts(RITA)) == 1


def test_ten_deliveries_of_one_click_have_one_effect(live: Bot):
    """The approval is stored once, and the person gets one answer."""
    release_id = live.open_release()
    live.publish_all(release_id)
    envelope_id = approve(live, live.ts(release_id))["envelope_id"]
    replay = live.slack.post("replay", envelope_id=envelope_id, times=10)
    live.handle()
    live.answer()

    assert replay["ok"]
    assert len(live.rows("SELECT id FROM inbox")) == 1
    assert len(live.rows("SELECT id FROM signoffs")) == 1
    assert live.ephemeral_texts(QUINN) == ["Recorded: QA approved v4.8.0."]


def test_a_second_press_is_answered(live: Bot):
    """A second press is a delivery of its own, with an answer but without an effect."""
    release_id = live.open_release()
    live.publish_all(release_id)
    for _ in range(2):
        approve(live, live.ts(release_id))
        live.handle()

    assert live.reply_texts(QUINN) == ["Recorded: QA approved v4.8.0.", "You already recorded that for QA."]
    assert len(live.rows("SELECT id FROM signoffs")) == 1


def test_a_command_is_declined_while_the_database_is_down(live: Bot, postgres_url: str):
    """The person reads in time that nothing was stored, and nothing happens later."""
    with database_down(postgres_url, live.store.url):
        start = time.monotonic()
        answer = live.slack.command("/release start v4.8.0")
        took = time.monotonic() - start
    eventually(lambda: live.slack.command("/release help")["ack"] == {})

    assert answer["ack"] == {"text": NOT_TAKEN}
    assert took < 3
    assert live.rows("SELECT body->>'text' AS text FROM inbox") == [{"text": "help"}]


def test_a_click_gets_no_ack_while_the_database_is_down(live: Bot, postgres_url: str):
    """Slack then shows the person a warning."""
    release_id = live.open_release()
    live.publish_all(release_id)
    ts = live.ts(release_id)
    with database_down(postgres_url, live.store.url):
        answer = approve(live, ts)

    assert (answer["ok"], answer["error"]) == (False, "operation_timeout")
    assert live.rows("SELECT id FROM inbox") == []


@pytest.mark.parametrize("action_id", ["no.such.action", "check.rerun"])
def test_an_unknown_click_is_stored_too(live: Bot, action_id: str):
    """A button that we never made is stored, answered and recorded."""
    release_id = live.open_release()
    live.publish_all(release_id)
    answer = live.slack.post(
        "click", user=QUINN, channel=RELEASES, ts=live.ts(release_id), action_id=action_id, value="x", forged=True
    )

    assert answer["ok"]
    assert len(live.rows("SELECT id FROM inbox")) == 1


def test_a_text_that_the_database_cannot_store_is_cleaned(live: Bot):
    """JSON has a NUL character and PostgreSQL has not; such a click still gets its answer."""
    answer = live.slack.command("/release freeze 2h a\x00b")

    assert answer["ok"]
    assert live.rows("SELECT body->>'text' AS text FROM inbox") == [{"text": "freeze 2h a\ufffdb"}]
