"""`release-bot demo`: runs the bot with everything simulated around it."""

from __future__ import annotations

import argparse
from pathlib import Path

from bot.cli.terminal import Commands
from bot.demo import PLAYS, DemoOptions, run


def add_to(commands: Commands) -> None:
    """Add the command."""
    show = commands.add_parser("demo", help="run the bot with a simulated workspace and staging environment")
    show.add_argument(
        "--data-dir", type=Path, default=Path(".demo"), metavar="DIR", help="where to keep the state (default: .demo)"
    )
    show.add_argument(
        "--slack",
        choices=("sandbox", "env"),
        default="sandbox",
        help="env: use the Slack workspace of the environment variables",
    )
    show.add_argument("--play", choices=PLAYS, help="play a release without a browser, print it, and exit")
    show.add_argument(
        "--port", type=int, default=0, help="port of the page (default: the last one used, or a free one)"
    )
    show.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="an administrator's kubeconfig: use that real cluster, where the bot gets its own account",
    )
    show.add_argument(
        "--watch-minutes", type=float, metavar="M", help="how long the watch lasts (default: 15; in a play: 0.1)"
    )
    show.add_argument("--json", action="store_true", help="when ready, print the addresses of all parts on one line")
    show.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    return run(
        DemoOptions(
            data_dir=options.data_dir,
            slack_from_environment=options.slack == "env",
            play=options.play,
            as_json=options.json,
            port=options.port,
            kubeconfig=options.kubeconfig,
            watch_minutes=options.watch_minutes,
        )
    )
