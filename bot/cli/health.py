"""`release-bot health`: asks a running bot whether it is ready."""

from __future__ import annotations

import argparse
import urllib.error
import urllib.request

from bot.cli.terminal import EXIT_BAD, Commands, put, say
from bot.errors import ConfigError
from bot.settings import load_settings


def add_to(commands: Commands) -> None:
    """Add the command."""
    health = commands.add_parser("health", help="ask a running bot whether it is ready; exits 0 if so")
    health.add_argument("--url", help="default: /readyz at the configured port")
    health.set_defaults(run=_health)


def _health(options: argparse.Namespace) -> int:
    url = options.url or f"http://127.0.0.1:{load_settings(options.config).http.port}/readyz"
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url} isn't an http address.")
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  the scheme is checked above
            put(answer.read().decode())
            return 0
    except urllib.error.HTTPError as error:
        put(error.read().decode())
    except OSError as error:
        say(f"release-bot: {url} doesn't answer: {error}")
    return EXIT_BAD
