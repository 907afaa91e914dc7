"""The features of the bot in Slack. A button or command is one entry in one of these modules, and nowhere else.

FEATURES is the list of them; what they declare twice stops the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from bot.slack import grammar
from bot.slack.blocks import status
from bot.slack.entries import AnyButton, AnyCommand, Audience, Command
from bot.slack.features import (
    abort,
    checks,
    deploy,
    freezes,
    mitigations,
    reports,
    rollback,
    signoffs,
    start,
    steps,
    watch,
)

E = TypeVar("E", AnyButton, AnyCommand)

# In the order in which `/release help` and the reference list them.
FEATURES = (start, checks, signoffs, deploy, steps, watch, rollback, abort, mitigations, freezes, reports)


def table(entries: Iterable[E], key: Callable[[E], str]) -> dict[str, E]:
    """The entries by their key. Raises ValueError for a key that exists twice."""
    by_key: dict[str, E] = {}
    for entry in entries:
        if by_key.setdefault(key(entry), entry) is not entry:
            raise ValueError(f"two features declare {key(entry)}")
    return by_key


HELP = Command(
    word="help",
    summary="Show this list.",
    parse=grammar.whatever,
    permission=Audience.ANYBODY,
    run=lambda _tx, _it: status.usage((command.usage, command.summary) for command in COMMANDS.values()),
)
BUTTONS: dict[str, AnyButton] = table((one for feature in FEATURES for one in feature.BUTTONS), lambda one: one.id)
COMMANDS: dict[str, AnyCommand] = table(
    (*(one for feature in FEATURES for one in feature.COMMANDS), HELP), lambda one: one.word
)
