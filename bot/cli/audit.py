"""`release-bot audit …`: work with the record."""

from __future__ import annotations

import argparse
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from bot.cli.terminal import EXIT_BAD, Commands, database, load_configuration, put, say
from bot.clock import SystemClock
from bot.domain.audit import Head, examine_record
from bot.domain.ids import Version
from bot.errors import InvalidInput, UnknownThing
from bot.settings import Settings
from bot.slack import anchors, checkup, report
from bot.slack.client import web_client
from bot.store import audit, releases
from bot.texts.audit import break_text


def add_to(commands: Commands) -> None:
    """Add the commands."""
    group = commands.add_parser("audit", help="verify the record, or export the evidence of a release").add_subparsers(
        required=True, metavar="COMMAND"
    )
    verify = group.add_parser("verify", help="check that no row of the record was changed or removed")
    verify.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="HASH",
        help="a head you know, from the channel or a backup",
    )
    verify.add_argument("--offline", action="store_true", help="don't read the announced heads from the channel")
    verify.add_argument(
        "--since", type=_day, metavar="DATE", help="ignore heads announced before this date (for a new database)"
    )
    verify.set_defaults(run=_verify)
    export = group.add_parser("export", help="write the evidence of a release to a ZIP file that verifies offline")
    export.add_argument("version", metavar="vX.Y.Z")
    export.add_argument("-o", "--output", type=Path, metavar="FILE.zip", help="default: evidence-vX.Y.Z.zip")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    settings, redactor = load_configuration(options)
    version = Version.parse(options.version)
    if version is None:
        raise InvalidInput(f"{options.version} isn't a version.", hint="Such as v4.8.0.")
    with database(settings) as store, store.transaction() as tx:
        release = releases.latest(tx, settings.environment, str(version))
        view = releases.view(tx, release.id, SystemClock().now()) if release is not None else None
        if view is None:
            raise UnknownThing(f"{settings.environment} has no release {version}.")
        content = report.make(tx, view, redactor.scrub)
    target = options.output or Path(f"evidence-{version}.zip")
    try:
        target.write_bytes(content)
    except OSError as error:
        raise InvalidInput(
            f"{target} can't be written: {error.strerror}.", hint="Name another file with -o."
        ) from error
    put(f"{target}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
    return 0


def _day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} isn't a date. Write it like 2026-11-24") from error


def _verify(options: argparse.Namespace) -> int:
    settings, _ = load_configuration(options)
    typed_heads = [Head(None, _hash(text)) for text in options.head]
    announced_heads = [] if options.offline else _read_announced_heads(settings, options.since)
    with database(settings) as store, store.transaction() as tx:
        examination = examine_record(audit.stream(tx), [*typed_heads, *announced_heads])
    if examination.first_break is not None:
        put(f"The record is broken at row {examination.first_break.seq}: {break_text(examination.first_break)}.")
        return EXIT_BAD
    put(f"The record is intact: {examination.rows} rows, head {examination.head if examination.rows else 'none'}.")
    if typed_heads:
        put(f"It has the {'head' if len(typed_heads) == 1 else f'{len(typed_heads)} heads'} that you gave.")
    if announced_heads:
        put(f"It matches the channel, which has {len(announced_heads)} of its heads.")
    return 0


def _hash(text: str) -> str:
    head = text.strip().lower()
    if len(head) != 64 or not set(head) <= set("0123456789abcdef"):  # noqa: PLR2004  sha256 in hex
        raise InvalidInput(
            f"{text} isn't a head: a head has 64 digits from 0 to f.", hint="Copy all of it, as the channel shows it."
        )
    return head


def _read_announced_heads(settings: Settings, since: datetime | None) -> list[Head]:
    """Return the heads that were posted to the channel. Raises SlackError: without an answer nothing is verified."""
    if settings.slack.bot_token is None or not settings.slack.channel:
        setting = "SLACK_BOT_TOKEN" if settings.slack.bot_token is None else "slack.channel"
        say(f"The channel wasn't read, because {setting} is not set. Rows cut off at the end show only with --head.")
        return []
    client = web_client(settings.slack.bot_token.get_secret_value(), settings.slack.api_url)
    return anchors.read_heads(client, settings.slack.channel, checkup.workspace(client).bot_user, since)
