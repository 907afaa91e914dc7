"""The record in the real table: whatever an administrator does to it is found and named, and the bot's role can do nothing to it."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import dict_row

from bot.domain.audit import GENESIS, Head, RecordExamination, RecordFault, chain_hash, examine_record
from bot.domain.events import EVENTS, Event
from bot.errors import DatabaseError
from bot.slack import anchors
from bot.store import audit
from bot.store.migrate import migrate
from bot.store.pool import Store, Tx
from bot.texts.audit import break_text
from tests.fix_bot import Outside, World, url_of
from tests.integration.slack_bot import Bot
from tests.sandbox.slack_world import RELEASES

ROWS = 9
GRANTS = Path(__file__).parents[2] / "deploy" / "postgres-grants.sql"


class OddEvent(Event, name="test.event"):
    """An event whose body has every kind of JSON value."""

    n: int

    @property
    def body(self) -> dict[str, Any]:
        """The body of the row."""
        odd = {"reason": "sp\u00e4t \U0001f680", "share": 0.1, "whole": 2.0, "large": 1e20, "list": [{"a": None}]}
        return {**super().body, **odd, "7": {1: True}}


del EVENTS[OddEvent.event_name]  # it is none of the bot's


@contextlib.contextmanager
def copy_database(postgres_url: str, template: str) -> Iterator[str]:
    """The URL of a copy of a migrated database, for a superuser."""
    name = "record_" + os.urandom(8).hex()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        connection.execute(statement)
        yield url_of(postgres_url, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def record_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of a database with a record of nine rows."""
    with copy_database(postgres_url, migrated_template) as url:
        with psycopg.connect(url, row_factory=dict_row) as tx:
            for number in range(ROWS):
                audit.append(tx, None, OddEvent(n=number), datetime.now(UTC), "U0RITA0001")
        yield url


@contextlib.contextmanager
def tampering(url: str) -> Iterator[Tx]:
    """A superuser for whom no trigger fires, and whose changes are rolled back."""
    with psycopg.connect(url, row_factory=dict_row) as tx:
        tx.execute("SET session_replication_role = replica")
        yield tx
        tx.rollback()


def examine_table(tx: Tx, *heads: Head) -> RecordExamination:
    """The verdict of `audit verify` on the table in this transaction."""
    return examine_record(audit.stream(tx), heads)


def head_of(url: str) -> Head:
    """The newest row, as it was announced in the channel."""
    with psycopg.connect(url, row_factory=dict_row) as tx:
        return Head(ROWS, examine_table(tx).head)


def test_an_untouched_record_is_valid(record_url: str):
    """Every kind of JSON value has the same hash when it is read back from the database."""
    head = head_of(record_url)
    with tampering(record_url) as tx:
        assert examine_table(tx, head, replace(head, seq=None)) == RecordExamination(ROWS, head.hash, None)


@pytest.mark.parametrize(
    ("statement", "row", "fault"),
    [
        pytest.param("UPDATE audit SET body = jsonb_set(body, '{n}', '7') WHERE seq = 4", 4, RecordFault.CHANGED, id="the body"),
        pytest.param("UPDATE audit SET actor = 'U0RITA0002' WHERE seq = 4", 4, RecordFault.CHANGED, id="the actor"),
        pytest.param("UPDATE audit SET at = at + '1 microsecond' WHERE seq = 9", 9, RecordFault.CHANGED, id="the time of the last"),
        pytest.param("UPDATE audit SET event = 'test.evenT' WHERE seq = 1", 1, RecordFault.CHANGED, id="the first row"),
        pytest.param("UPDATE audit SET hash = repeat('0', 64) WHERE seq = 5", 5, RecordFault.CHANGED, id="the hash"),
        pytest.param("DELETE FROM audit WHERE seq = 5", 5, RecordFault.MISSING, id="a row taken out"),
        pytest.param("DELETE FROM audit WHERE seq = 1", 1, RecordFault.MISSING, id="the first row taken out"),
        pytest.param(
            "DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = 1 - seq WHERE seq > 5; UPDATE audit SET seq = -seq WHERE seq < 0",
            5, RecordFault.MISSING, id="a row taken out and the rest renumbered",
        ),
        pytest.param(
            "UPDATE audit SET seq = -3 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 6; UPDATE audit SET seq = 6 WHERE seq = -3",
            3, RecordFault.REORDERED, id="two rows exchanged",
        ),
        pytest.param(
            "UPDATE audit SET seq = -3 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = -3",
            3, RecordFault.REORDERED, id="two neighbours exchanged",
        ),
        pytest.param("DELETE FROM audit WHERE seq = 9", 9, RecordFault.TRUNCATED, id="the last row cut off"),
        pytest.param("DELETE FROM audit WHERE seq > 3", 4, RecordFault.TRUNCATED, id="the last rows cut off"),
        pytest.param("DELETE FROM audit", 1, RecordFault.TRUNCATED, id="everything cut off"),
    ],
)  # fmt: skip
def test_tampering_is_found_and_named(record_url: str, statement: str, row: int, fault: RecordFault):
    """The verdict names the row and what was done to it."""
    head = head_of(record_url)
    with tampering(record_url) as tx:
        tx.execute(statement.encode())
        fault_of_record = examine_table(tx, head).first_break

    assert fault_of_record is not None
    assert (fault_of_record.seq, fault_of_record.fault) == (row, fault)


def test_missing_rows_are_found_with_the_hash_alone(record_url: str):
    """A person may copy the announced hash without the number of its row."""
    head = head_of(record_url)
    with tampering(record_url) as tx:
        tx.execute("DELETE FROM audit WHERE seq > 7")
        fault = examine_table(tx, Head(None, head.hash)).first_break

    assert fault is not None
    assert fault.fault is RecordFault.TRUNCATED
    assert head.hash in break_text(fault)


def test_a_rewritten_record_contradicts_the_channel(record_url: str):
    """A rewritten chain is valid by itself, but its head differs from the announced one."""
    head = head_of(record_url)
    with tampering(record_url) as tx:
        previous = GENESIS
        for event in audit.events(tx):
            body = {**event.body, "reason": "nothing happened"}
            mark = chain_hash(previous, event.seq, event.at, event.actor, event.event, event.release, body)
            tx.execute(
                'UPDATE audit SET body = body || \'{"reason": "nothing happened"}\', previous = %s, hash = %s WHERE seq = %s',
                [previous, mark, event.seq],
            )
            previous = mark
        by_itself, fault = examine_table(tx).first_break, examine_table(tx, head).first_break

    assert by_itself is None
    assert fault is not None
    assert (fault.seq, fault.fault) == (ROWS, RecordFault.CHANGED)


def test_a_closed_release_announces_the_head_of_the_record(bot: Bot):
    """The head is that of the row that closed the release, in the text and in the metadata of the message."""
    release_id = bot.open_release()
    bot.abort_release(release_id)
    bot.publish_all(release_id)
    (closing,) = bot.rows("SELECT seq, hash FROM audit WHERE event = 'release.aborted'")
    text = next(message["text"] for message in bot.slack.messages() if message["text"].startswith("The record of"))
    heads = anchors.read_heads(bot.client, RELEASES, bot.workspace.bot_user)
    block = next(b for m in bot.slack.messages() for b in m.get("blocks", []) if b["block_id"] == "record")

    assert heads == [Head(closing["seq"], closing["hash"])]
    assert f"closed at row {closing['seq']}" in text
    assert f"`{closing['hash']}`" in block["elements"][0]["text"]
    with bot.store.transaction() as tx:
        assert examine_record(audit.stream(tx), heads).first_break is None


def test_only_the_bot_s_own_announcements_count(bot: Bot):
    """Metadata that another app writes into the channel is no announcement."""
    metadata = {"event_type": "release_bot_post", "event_payload": {"record": f"1:{GENESIS}"}}
    bot.client.chat_postMessage(channel=RELEASES, text="forged", metadata=metadata)

    assert anchors.read_heads(bot.client, RELEASES, "U0SOMEBODY") == []
    assert anchors.read_heads(bot.client, RELEASES, bot.workspace.bot_user) == [Head(1, GENESIS)]
    assert (
        anchors.read_heads(bot.client, RELEASES, bot.workspace.bot_user, datetime.now(UTC) + timedelta(minutes=1)) == []
    )


def verify(bot: Bot, tmp_path: Path, *options: str, **env: str) -> tuple[int, str]:
    """Run `release-bot audit verify`; returns its exit code and its output."""
    config = tmp_path / "release-bot.yml"
    config.write_text(f"slack: {{channel: {RELEASES}, api_url: '{bot.slack.url}api/'}}", encoding="utf-8")
    environ = {**os.environ, "DATABASE_URL": bot.store.url, "SLACK_BOT_TOKEN": bot.slack.server.bot_token, **env}
    process = subprocess.run(
        [sys.executable, "-m", "bot", "--config", str(config), "audit", "verify", *options],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return process.returncode, process.stdout + process.stderr


def test_the_command_compares_the_record_with_the_channel(bot: Bot, tmp_path: Path):
    """The command says that both agree, and which row is missing after the database's owner deleted it."""
    release_id = bot.open_release()
    bot.abort_release(release_id)
    bot.publish_all(release_id)
    (closing,) = bot.rows("SELECT seq, hash FROM audit WHERE event = 'release.aborted'")
    good = verify(bot, tmp_path)
    with psycopg.connect(bot.store.url) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("DELETE FROM audit WHERE seq = %s", [closing["seq"]])
    cut = verify(bot, tmp_path)
    by_head = verify(bot, tmp_path, "--head", closing["hash"], SLACK_BOT_TOKEN="")

    success_text = f"The record is intact: {closing['seq']} rows, head {closing['hash']}.\n"
    success_text += "It matches the channel, which has 1 of its heads.\n"
    assert good == (0, success_text)
    assert (cut[0], by_head[0]) == (1, 1)
    assert f"broken at row {closing['seq']}: truncated" in cut[1]
    assert "The channel wasn't read, because SLACK_BOT_TOKEN is not set" in by_head[1]
    assert "truncated" in by_head[1]


@pytest.fixture(scope="module")
def owner_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of a database for the owner of its tables."""
    with copy_database(postgres_url, migrated_template) as url:
        yield url


@pytest.fixture(scope="module")
def granted_world(owner_url: str) -> Iterator[World]:
    """The flows with a role that has only the grants of deploy/postgres-grants.sql."""
    name = "bot_" + os.urandom(4).hex()
    text = re.sub(r"\brelease_bot\b", name, GRANTS.read_text(encoding="utf-8"))
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'lesser'".encode())
        owner.execute(text.encode())
        store = Store(make_conninfo(owner_url, user=name, password="lesser"))
        store.open()
        store.join()
        yield World(store, Outside())
        store.close()
        owner.execute(f"DROP OWNED BY {name}".encode())
        owner.execute(f"DROP ROLE {name}".encode())


def test_the_granted_role_can_do_all_of_the_bot_s_work(granted_world: World):
    """The role can run a release to its end and start with nothing to migrate."""
    assert migrate(granted_world.store) == []
    granted_world.run_to_done()
    assert granted_world.last_event().event == "release.done"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "ALTER TABLE audit DISABLE TRIGGER append_only",
        "DROP TABLE audit",
        "SET session_replication_role = replica",
        "UPDATE check_results SET outcome = 'PASS'",
        "DELETE FROM journal",
        "DELETE FROM break_glass",
        "DELETE FROM schema_migrations",
        "CREATE TABLE mine ()",
    ],
)
def test_the_granted_role_cannot_change_the_record(granted_world: World, statement: str):
    """The role can neither change the record nor disable its triggers."""
    with pytest.raises(InsufficientPrivilege), granted_world.store.transaction() as tx:
        tx.execute(statement.encode())


def test_the_trigger_stops_the_owner_of_the_tables(world: World):
    """A mistake in a console changes nothing, even if the bot owns its tables."""
    world.start()
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit", "TRUNCATE audit CASCADE"):
        with pytest.raises(InsufficientPrivilege, match="append-only"), world.store.transaction() as tx:
            tx.execute(statement.encode())


def test_a_role_that_may_not_migrate_is_told_to_run_the_migrations(owner_url: str, granted_world: World):
    """After an update the bot does not start before the owner ran the migrations."""
    with psycopg.connect(owner_url) as owner:
        owner.execute("DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)")
    with pytest.raises(DatabaseError, match="isn't allowed to apply") as error:
        migrate(granted_world.store)
    assert "release-bot migrate" in error.value.hint
