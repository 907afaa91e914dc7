"""Fixtures: the bot's Slack half beside a workspace of the sandbox, on a database of its own."""

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from bot.store.migrate import migrate
from bot.store.pool import Store
from tests.integration.slack_bot import Bot, Line
from tests.sandbox.slack_world import SlackWorld


@pytest.fixture
def bot(emptied: str, slack: SlackWorld) -> Iterator[Bot]:
    """The bot's Slack half, with its workers off and its socket closed."""
    made = Bot(emptied, slack)
    yield made
    made.close()


@pytest.fixture(scope="session")
def line(direct: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """One workspace with an open socket for all tests that order nothing from it which others would feel."""
    world = SlackWorld(tmp_path_factory.mktemp("line"))
    made = Line(world)
    yield made
    made.socket.close()
    world.stop()


@pytest.fixture(scope="session")
def shared_database(postgres_url: str) -> Iterator[str]:
    """One migrated database for all tests of Slack: emptying it takes a tenth of the time of making one."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        store = Store(url, size=2)
        store.open()
        migrate(store)
        store.close()
        yield url
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def emptied(shared_database: str) -> str:
    """URL of that database with every table empty, also those that are append-only for the bot, and all ids from 1."""
    with psycopg.connect(shared_database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no triggers
        found = connection.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename NOT IN ('schema_migrations', 'instances')"
        ).fetchone()
        assert found is not None
        connection.execute(f"TRUNCATE {found[0]} RESTART IDENTITY".encode())
    return shared_database


@pytest.fixture
def live(emptied: str, line: Line) -> Iterator[Bot]:
    """The bot's Slack half with its deliveries coming in, on a workspace that has forgotten its rate limits."""
    line.slack.clock.advance(120)
    line.bot = made = Bot(emptied, line.slack)
    yield made
    line.bot = None
    made.close()
