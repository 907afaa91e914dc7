"""Grammar: the words, versions, reasons and durations after `/release`. Pure; looks nothing up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from bot.domain.ids import Version

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = "/release"
HELP = f"{COMMAND} help"
ALL = "all"  # `/release check all`: every check of the checklist

MAX_REASON = 1_000  # characters; a reason is a sentence, not a report
MIN_REASON = 3
_MAX_URL = 2_000
_MAX_FREEZE = timedelta(days=30)
_MAX_QUOTE = 60
_MAX_EXAMPLE = 300

_CHECK_OR_SECTION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")
_DURATION = re.compile(r"([1-9]\d{0,4})(m|h|d)")
_LIKE_DURATION = re.compile(
    r"-?\d[\d.,]*(s|sec|secs|seconds?|m|min|mins|minutes?|h|hr|hrs|hours?|d|days?|w|weeks?)(\d\w*)?", re.IGNORECASE
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LINK = re.compile(r"<(https?://[^|>\s]+)(?:\|[^>]*)?>")  # how Slack sends a URL when the command escapes
_URL = re.compile(r"https?://[^\s<>|]+")


@dataclass(frozen=True)
class Malformed:
    """Text that is no command. It holds what the person typed, so it is escaped before it is shown."""

    problem: str  # a sentence
    example: str  # what to type instead

    @property
    def hint(self) -> str:
        """What to type, as a sentence."""
        example = self.example.replace("`", "'")[:_MAX_EXAMPLE]
        return f"Type `{example}`." if self.example == HELP else f"Type `{example}`. `{HELP}` lists all commands."


@dataclass(frozen=True)
class StartRequest:
    """What follows `start`; the reason is for an image that was rolled back once or runs already."""

    version: Version
    notes_url: str = ""
    because: str = ""


@dataclass(frozen=True)
class FreezeRequest:
    """What follows `freeze`; no duration: until somebody lifts it."""

    duration: timedelta | None
    reason: str


def words_of(text: str) -> list[str]:
    """The words of a command. Slack sends & < > of a person as entities."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").split()


def quote(text: str) -> str:
    """What was typed, in quotation marks; only the beginning of something long."""
    return f'"{text}"' if len(text) <= _MAX_QUOTE else f'"{text[: _MAX_QUOTE - 1]}…"'


def nothing(word: str) -> Callable[[str], Malformed | None]:
    """For a command that takes nothing: a word too many could be a version that somebody believes to be choosing."""

    def parse(rest: str) -> Malformed | None:
        if not rest:
            return None
        return Malformed(f"{word} takes nothing after it, so {quote(rest)} would have no effect.", f"{COMMAND} {word}")

    return parse


def whatever(_rest: str) -> None:
    """For a command that takes no notice of what follows: somebody who asks for help gets it."""


def version_or_nothing(word: str) -> Callable[[str], Version | Malformed | None]:
    """For a command about one release: its version, or None for the one that is under way."""
    return lambda rest: _version(rest, word) if rest else None


def start_request(rest: str) -> StartRequest | Malformed:
    """`vX.Y.Z [notes URL] [because REASON]`."""
    if not rest:
        return Malformed("start needs a version.", f"{COMMAND} start v4.8.0")
    word, _, notes = rest.partition(" ")
    version = _version(word, "start")
    if isinstance(version, Malformed):
        return version
    notes, because = _split_at_because(notes)
    if too_long := _too_long(because, "start"):
        return too_long
    if not notes:
        return StartRequest(version, because=because)
    link = _LINK.fullmatch(notes)
    url = link.group(1) if link else notes
    if len(url) > _MAX_URL or not _URL.fullmatch(url):
        problem = f"{quote(notes)} isn't a link to release notes: write one address that begins with https://."
        return Malformed(problem, f"{COMMAND} start {version} https://example.com/notes")
    return StartRequest(version, url, because)


def _split_at_because(text: str) -> tuple[str, str]:
    """What comes before the word because, and what comes after it."""
    words = text.split(" ")
    at = next((place for place, word in enumerate(words) if word.lower() == "because"), len(words))
    return " ".join(words[:at]), " ".join(words[at + 1 :])


def _version(word: str, command: str) -> Version | Malformed:
    version = Version.parse(word)
    if version is not None:
        return version
    likely = _likely_version(word)
    if likely is not None:
        return Malformed(f"{quote(word)} isn't a version. Did you mean {likely}?", f"{COMMAND} {command} {likely}")
    problem = f"{quote(word)} isn't a version. Write v4.8.0, or v4.8.0-rc1 for a candidate."
    return Malformed(problem, f"{COMMAND} {command} v4.8.0")


def _likely_version(word: str) -> Version | None:
    """The version that somebody probably means who leaves out the v or writes it in capitals."""
    return Version.parse(f"v{word.lower().lstrip('v')}")


def check_or_section(word: str) -> Callable[[str], str | Malformed]:
    """For a command about checks: an id, a section, or all. Whether the checklist has it is for the flow to say."""

    def parse(rest: str) -> str | Malformed:
        name = rest.lower()
        if name and not _CHECK_OR_SECTION.fullmatch(name):
            problem = f"{quote(name)} isn't a check. Name one check (go.backup), one section (migrations), or all."
            return Malformed(problem, f"{COMMAND} {word} all")
        return name or ALL

    return parse


def reason(word: str) -> Callable[[str], str | Malformed]:
    """For a command that takes a reason; whether it may be empty is for the flow to say."""
    return lambda rest: _too_long(rest, word) or rest


def rollback_reason(rest: str) -> str | Malformed:
    """A reason, but no version."""
    if _likely_version(rest.partition(" ")[0]):
        problem = "rollback takes a reason, not a version: it always goes back to what ran before the deploy."
        return Malformed(problem, f"{COMMAND} rollback errors after the deploy")
    return reason("rollback")(rest)


def freeze_request(rest: str) -> FreezeRequest | Malformed:
    """`[DURATION] REASON`."""
    usage = f"{COMMAND} freeze 2h incident under way"
    word, _, after = rest.partition(" ")
    duration: timedelta | None = None
    why = rest
    if match := _DURATION.fullmatch(word.lower()):
        duration, why = timedelta(**{_UNITS[match.group(2)]: int(match.group(1))}), after
        if duration > _MAX_FREEZE:
            problem = (
                f"A freeze lasts at most {_MAX_FREEZE.days} days. To freeze until unfreeze, leave the duration out."
            )
            return Malformed(problem, f"{COMMAND} freeze {after or 'incident under way'}")
    elif _LIKE_DURATION.fullmatch(word):
        return Malformed(f"{quote(word)} isn't a duration. Write 30m, 2h or 1d.", usage)
    if len(why) < MIN_REASON:
        return Malformed("freeze needs a reason: others will want to know why.", usage)
    return _too_long(why, "freeze") or FreezeRequest(duration, why)


def _too_long(text: str, command: str) -> Malformed | None:
    if len(text) <= MAX_REASON:
        return None
    problem = f"The reason has {len(text)} characters; at most {MAX_REASON} fit. Write a sentence and link the rest."
    return Malformed(problem, f"{COMMAND} {command} {text[:40]}…")
