"""`release-bot doctor`: says what works, what does not and what to do."""

from __future__ import annotations

import argparse

from bot.app import load_checklist, load_registry, read_policy
from bot.cli.terminal import EXIT_BAD, Commands, configured, database, put
from bot.slack import checkup
from bot.slack.client import web_client


def add_to(commands: Commands) -> None:
    """Add the command."""
    commands.add_parser("doctor", help="say what works, what does not and what to do").set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    settings, _ = configured(options)
    read_policy(settings, load_checklist(settings.checklist, load_registry()))
    put("good   configuration, policy and checklist")
    with database(settings):
        put("good   the bot's database")
    if settings.slack.bot_token is None:
        put("bad    SLACK_BOT_TOKEN is not set. Take it from the app's page (xoxb-…).")
        return EXIT_BAD
    client = web_client(settings.slack.bot_token.get_secret_value(), settings.slack.api_url)
    findings = checkup.examine(client, settings.slack.channel)
    for finding in findings:
        put(f"{'good' if finding.good else 'bad':6} {finding.what}. {finding.hint}".rstrip())
    return 0 if all(finding.good for finding in findings) else EXIT_BAD
