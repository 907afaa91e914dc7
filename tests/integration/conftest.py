"""Fixtures: the bot's Slack half beside a workspace of the sandbox, on a database of its own."""

from collections.abc import Iterator

import pytest

from bot.store.pool import Store
from tests.integration.slack_bot import Bot, Line
from tests.sandbox.slack_world import SlackWorld


@pytest.fixture
def bot(store: Store, slack: SlackWorld) -> Bot:
    """The bot's Slack half, with its workers off and its socket closed."""
    return Bot(store, slack)


@pytest.fixture(scope="session")
def line(direct: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """One workspace with an open socket, shared by the tests that change nothing others would notice."""
    world = SlackWorld(tmp_path_factory.mktemp("line"))
    shared_line = Line(world)
    yield shared_line
    shared_line.socket.close()
    world.stop()


@pytest.fixture
def live(store: Store, line: Line) -> Iterator[Bot]:
    """The bot's Slack half with an open socket, on a workspace whose rate limits are reset."""
    line.slack.clock.advance(120)
    line.bot = new_bot = Bot(store, line.slack)
    yield new_bot
    line.bot = None
