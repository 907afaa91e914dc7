"""The text after `/release`: a Command, or Malformed with what was wrong and what to type. Pure; looks nothing up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING

from bot.domain.ids import Version

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = "/release"
HELP = f"{COMMAND} help"
CANCEL = "cancel"  # `/release check cancel go`: stop what runs or waits
ALL = "all"  # `/release check all`: every check of the checklist

MAX_REASON = 1_000  # characters; a reason is a sentence, not a report
MIN_REASON = 3
MAX_URL = 2_000
MAX_FREEZE = timedelta(days=30)
_MAX_QUOTE = 60

_CHECK_OR_SECTION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")
_DURATION = re.compile(r"([1-9]\d{0,4})(m|h|d)")
_LIKE_DURATION = re.compile(
    r"-?\d[\d.,]*(s|sec|secs|seconds?|m|min|mins|minutes?|h|hr|hrs|hours?|d|days?|w|weeks?)(\d\w*)?", re.IGNORECASE
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_BREAK_GLASS = re.compile("(--|[–—])break-glass", re.IGNORECASE)  # phones make one dash of two
_LINK = re.compile(r"<(https?://[^|>\s]+)(?:\|[^>]*)?>")  # how Slack sends a URL when the command escapes
_URL = re.compile(r"https?://[^\s<>|]+")


@dataclass(frozen=True)
class Start:
    """`start vX.Y.Z [notes URL] [because REASON]`; the reason is for an image that was rolled back once or runs already."""

    version: Version
    notes_url: str = ""
    because: str = ""


@dataclass(frozen=True)
class Status:
    """`status [vX.Y.Z]`; None: the release that is under way."""

    version: Version | None = None


@dataclass(frozen=True)
class ShowPlan:
    """`plan`"""


@dataclass(frozen=True)
class RunChecks:
    """`check [ID|SECTION|all]`; whether the checklist has it is for the flow to say."""

    what: str = ALL


@dataclass(frozen=True)
class CancelChecks:
    """`check cancel [ID|SECTION|all]`"""

    what: str = ALL


@dataclass(frozen=True)
class Deploy:
    """`deploy`"""


@dataclass(frozen=True)
class BreakGlass:
    """`deploy --break-glass REASON`; whether the reason is enough is for the flow to say."""

    reason: str


@dataclass(frozen=True)
class Rollback:
    """`rollback [reason]`"""

    reason: str = ""


@dataclass(frozen=True)
class Abort:
    """`abort [reason]`"""

    reason: str = ""


@dataclass(frozen=True)
class StartFreeze:
    """`freeze [DURATION] REASON`; no duration: until somebody lifts it."""

    duration: timedelta | None
    reason: str


@dataclass(frozen=True)
class LiftFreeze:
    """`unfreeze`"""


@dataclass(frozen=True)
class History:
    """`history`"""


@dataclass(frozen=True)
class Report:
    """`report [vX.Y.Z]`; None: the latest release."""

    version: Version | None = None


@dataclass(frozen=True)
class Doctor:
    """`doctor`"""


@dataclass(frozen=True)
class Help:
    """`help`, or nothing at all."""


Command = (
    Start
    | Status
    | ShowPlan
    | RunChecks
    | CancelChecks
    | Deploy
    | BreakGlass
    | Rollback
    | Abort
    | StartFreeze
    | LiftFreeze
    | History
    | Report
    | Doctor
    | Help
)


@dataclass(frozen=True)
class Malformed:
    """Text that is no command. Holds what the person typed, so it is escaped before it is shown."""

    wrong: str  # a sentence
    instead: str  # what to type


@dataclass(frozen=True)
class Subcommand:
    """One row of the table: how it is written, what it does, and what reads the rest of the line."""

    usage: str  # after /release
    does: str
    read: Callable[[str], Command | Malformed]

    @property
    def name(self) -> str:
        """The word that selects it."""
        return self.usage.split(" ", 1)[0]


def parse(text: str) -> Command | Malformed:
    """Read what a person typed after `/release`. The subcommand may be in capitals, as phones write it."""
    words = _unescape(text).split()
    if not words:
        return Help()
    name, rest = words[0].lower(), " ".join(words[1:])
    for subcommand in SUBCOMMANDS:
        if subcommand.name == name:
            return subcommand.read(rest)
    return _unknown(words[0], rest)


def _unknown(word: str, rest: str) -> Malformed:
    """Name the subcommand that was probably meant, with the rest of the line where that makes a whole command."""
    near = get_close_matches(word.lower(), [subcommand.name for subcommand in SUBCOMMANDS], n=1)
    if not near:
        return Malformed(f"There is no command {_quote(word)}.", HELP)
    meant = next(subcommand for subcommand in SUBCOMMANDS if subcommand.name == near[0])
    read = meant.read(rest)
    instead = read.instead if isinstance(read, Malformed) else f"{COMMAND} {meant.name} {rest}".rstrip()
    return Malformed(f"There is no command {_quote(word)}. Did you mean {meant.name}?", instead)


def _unescape(text: str) -> str:
    """Slack sends & < > of a person as entities."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _quote(text: str) -> str:
    return f'"{text}"' if len(text) <= _MAX_QUOTE else f'"{text[: _MAX_QUOTE - 1]}…"'


def _start(rest: str) -> Command | Malformed:
    usage = f"{COMMAND} start v4.8.0"
    if not rest:
        return Malformed("start needs a version.", usage)
    word, _, notes = rest.partition(" ")
    version = _version(word, "start")
    if isinstance(version, Malformed):
        return version
    notes, reason = _because(notes)
    if too_long := _too_long(reason, "start"):
        return too_long
    if not notes:
        return Start(version, because=reason)
    link = _LINK.fullmatch(notes)
    url = link.group(1) if link else notes
    if len(url) > MAX_URL or not _URL.fullmatch(url):
        wrong = f"{_quote(notes)} is no link to release notes: that is one address that begins with https://."
        return Malformed(wrong, f"{COMMAND} start {version} https://example.com/notes")
    return Start(version, url, reason)


def _because(text: str) -> tuple[str, str]:
    """What stands before the word because, and behind it."""
    words = text.split(" ")
    at = next((place for place, word in enumerate(words) if word.lower() == "because"), len(words))
    return " ".join(words[:at]), " ".join(words[at + 1 :])


def _version(word: str, subcommand: str) -> Version | Malformed:
    version = Version.parse(word)
    if version is not None:
        return version
    meant = _meant(word)
    if meant is not None:
        return Malformed(f"{_quote(word)} is no version. Did you mean {meant}?", f"{COMMAND} {subcommand} {meant}")
    wrong = f"{_quote(word)} is no version: a version is v4.8.0, or v4.8.0-rc1 for a candidate."
    return Malformed(wrong, f"{COMMAND} {subcommand} v4.8.0")


def _meant(word: str) -> Version | None:
    """The version that somebody probably means who leaves out the v or writes it in capitals."""
    return Version.parse(f"v{word.lower().lstrip('v')}")


def _status(rest: str) -> Command | Malformed:
    if not rest:
        return Status()
    version = _version(rest, "status")
    return version if isinstance(version, Malformed) else Status(version)


def _report(rest: str) -> Command | Malformed:
    if not rest:
        return Report()
    version = _version(rest, "report")
    return version if isinstance(version, Malformed) else Report(version)


def _check(rest: str) -> Command | Malformed:
    first, _, after = rest.lower().partition(" ")
    stop = first == CANCEL
    what = after if stop else rest.lower()
    if what and not _CHECK_OR_SECTION.fullmatch(what):
        wrong = f"{_quote(what)} is no check: name one check (go.backup), one section (migrations), or all."
        return Malformed(wrong, f"{COMMAND} check {'cancel ' if stop else ''}all")
    return CancelChecks(what or ALL) if stop else RunChecks(what or ALL)


def _deploy(rest: str) -> Command | Malformed:
    word, _, reason = rest.partition(" ")
    if _BREAK_GLASS.fullmatch(word):
        return _too_long(reason, "deploy --break-glass") or BreakGlass(reason)
    return _alone(rest, "deploy", Deploy())


def _plan(rest: str) -> Command | Malformed:
    return _alone(rest, "plan", ShowPlan())


def _unfreeze(rest: str) -> Command | Malformed:
    return _alone(rest, "unfreeze", LiftFreeze())


def _history(rest: str) -> Command | Malformed:
    return _alone(rest, "history", History())


def _doctor(rest: str) -> Command | Malformed:
    return _alone(rest, "doctor", Doctor())


def _help(_rest: str) -> Command | Malformed:
    """Whatever follows help: somebody who asks for help gets it."""
    return Help()


def _alone(rest: str, name: str, command: Command) -> Command | Malformed:
    """A word too many could be a version that somebody believes to be choosing, so it is not passed over."""
    if not rest:
        return command
    return Malformed(f"{name} takes nothing after it, so {_quote(rest)} would have no effect.", f"{COMMAND} {name}")


def _rollback(rest: str) -> Command | Malformed:
    if _meant(rest.partition(" ")[0]):
        wrong = "rollback takes a reason, not a version: it goes back to what was recorded before the deploy."
        return Malformed(wrong, f"{COMMAND} rollback errors after the deploy")
    return _too_long(rest, "rollback") or Rollback(rest)


def _abort(rest: str) -> Command | Malformed:
    return _too_long(rest, "abort") or Abort(rest)


def _freeze(rest: str) -> Command | Malformed:
    usage = f"{COMMAND} freeze 2h incident under way"
    word, _, after = rest.partition(" ")
    duration: timedelta | None = None
    reason = rest
    if match := _DURATION.fullmatch(word.lower()):
        duration, reason = timedelta(**{_UNITS[match.group(2)]: int(match.group(1))}), after
        if duration > MAX_FREEZE:
            wrong = f"A freeze lasts at most {MAX_FREEZE.days} days. Leave the duration out to freeze until unfreeze."
            return Malformed(wrong, f"{COMMAND} freeze {after or 'incident under way'}")
    elif _LIKE_DURATION.fullmatch(word):
        return Malformed(f"{_quote(word)} is no duration: write 30m, 2h or 1d.", usage)
    if len(reason) < MIN_REASON:
        return Malformed("freeze needs a reason: the others will want to know why.", usage)
    return _too_long(reason, "freeze") or StartFreeze(duration, reason)


def _too_long(reason: str, name: str) -> Malformed | None:
    if len(reason) <= MAX_REASON:
        return None
    wrong = f"The reason has {len(reason)} characters; {MAX_REASON} fit. Give it in a sentence and link the rest."
    return Malformed(wrong, f"{COMMAND} {name} {reason[:40]}…")


SUBCOMMANDS: tuple[Subcommand, ...] = (
    Subcommand("start vX.Y.Z [notes URL] [because REASON]", "Open a release and run every check.", _start),
    Subcommand("status [vX.Y.Z]", "Say where the release stands and what is missing.", _status),
    Subcommand("plan", "Show what a deploy would change, and what takes it back.", _plan),
    Subcommand("check [cancel] [ID|SECTION|all]", "Run checks again, or cancel what runs.", _check),
    Subcommand("deploy [--break-glass REASON]", "Deploy, when the gate says Go; or past it, in need.", _deploy),
    Subcommand("rollback [reason]", "Go back to what ran before the deploy.", _rollback),
    Subcommand("abort [reason]", "Close the release without a deploy.", _abort),
    Subcommand("freeze [DURATION] REASON", "Stop all deploys, for 30m, 2h or 1d, or until unfreeze.", _freeze),
    Subcommand("unfreeze", "Allow deploys again.", _unfreeze),
    Subcommand("history", "List the latest releases.", _history),
    Subcommand("report [vX.Y.Z]", "Send the evidence of a release as a file.", _report),
    Subcommand("doctor", "Say which parts work and what to do about the others.", _doctor),
    Subcommand("help", "Show this list.", _help),
)
