"""Commands: finds the command in what was typed after `/release`, or says what to type instead."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from bot.slack.entries import AnyCommand
from bot.slack.features import COMMANDS
from bot.slack.features import HELP as HELP_COMMAND
from bot.slack.grammar import COMMAND, HELP, Malformed, quote, words_of

_LONG_DASH = re.compile("^[–—]")  # phones make one of two short ones


def read_command(text: str) -> tuple[AnyCommand, Any] | Malformed:
    """The command and what it is about. Words may be in capitals, as phones write them."""
    words = words_of(text)
    return _find_command(words) if words else (HELP_COMMAND, None)


def _find_command(words: list[str]) -> tuple[AnyCommand, Any] | Malformed:
    lower_words = [_LONG_DASH.sub("--", word.lower()) for word in words[:2]]
    for length in (2, 1):
        command = COMMANDS.get(" ".join(lower_words[:length]))
        if command is not None and len(words) >= length:
            content = command.parse(" ".join(words[length:]))
            return content if isinstance(content, Malformed) else (command, content)
    return _unknown(words)


def _unknown(words: list[str]) -> Malformed:
    """Name the command that was probably meant, with the rest of the line where that makes a whole command."""
    near = get_close_matches(words[0].lower(), [word for word in COMMANDS if " " not in word], n=1)
    if not near:
        return Malformed(f"There is no command {quote(words[0])}.", HELP)
    correction = [near[0], *words[1:]]
    reading = _find_command(correction)
    example = reading.example if isinstance(reading, Malformed) else f"{COMMAND} {' '.join(correction)}"
    return Malformed(f"There is no command {quote(words[0])}. Did you mean {near[0]}?", example)
