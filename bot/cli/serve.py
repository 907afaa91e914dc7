"""`release-bot serve`: runs the bot until it is told to end."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable

from bot.app import Application
from bot.cli.terminal import Commands, load_configuration, put


def add_to(commands: Commands) -> None:
    """Add the command."""
    serve = commands.add_parser("serve", help="run the bot")
    serve.add_argument("--json", action="store_true", help="when ready, print one line of JSON")
    serve.add_argument(
        "--exit-with-stdin", action="store_true", help="stop when standard input ends, as when the parent dies"
    )
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    settings, redactor = load_configuration(options, serving=True)
    stopping = threading.Event()
    # Threads that work must not hold up the one that acknowledges: Python's own 5 ms a turn add up to a tenth of a second.
    sys.setswitchinterval(0.0005)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if options.exit_with_stdin:
        _at_end_of_stdin(stopping.set)
    application = Application(settings, redactor)
    application.start()
    gc.freeze()  # what is loaded by now stays: each full collection would stop all threads to look through it again
    try:
        if options.json:
            put(json.dumps({"health": application.health_url}))
        stopping.wait()
    finally:
        application.stop()
    return 0


def _at_end_of_stdin(call: Callable[[], None]) -> None:
    """Call once nobody can write to standard input any more: the parent has ended."""

    def wait_for_end() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        call()

    threading.Thread(target=wait_for_end, name="stdin", daemon=True).start()
