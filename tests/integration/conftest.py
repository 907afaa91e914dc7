"""Fixtures: a workspace of the sandbox, and the bot's Slack half beside it on a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.slack_bot import Bot
from tests.sandbox.slack_world import SlackWorld, no_proxies


@pytest.fixture(scope="session")
def direct() -> Iterator[None]:
    """No proxy between the clients and the loopback address."""
    yield from no_proxies()


@pytest.fixture
def slack(direct: None, tmp_path: Path) -> Iterator[SlackWorld]:
    """A new workspace."""
    world = SlackWorld(tmp_path / "slack")
    yield world
    world.stop()


@pytest.fixture
def bot(database_url: str, slack: SlackWorld) -> Iterator[Bot]:
    """The bot's Slack half, with its workers off and its socket closed."""
    made = Bot(database_url, slack)
    yield made
    made.close()
