"""Fixtures: a workspace of the sandbox, reached with no proxy in between."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
