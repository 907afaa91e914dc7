"""The command line of the sandbox: starts the world, prints one JSON line when it is ready, runs until told to end."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from sandbox.kube.seed import PRODUCTION, STAGING
from sandbox.staging.app import LOGIN_ATTEMPTS
from sandbox.world import World, WorldSettings

BYPASS_RATE_LIMIT = "E2E_BYPASS_RATE_LIMIT"  # the product's own variable for test systems


def main() -> None:
    """Run a world until SIGTERM, SIGINT or, with --exit-with-stdin, the end of standard input."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line per request to S3
    settings = WorldSettings(
        data_dir=options.data_dir,
        postgres_url=options.postgres_url,
        manifest=options.manifest,
        kubernetes_manifests=options.kubernetes_manifests,
        kubeconfig=options.kubeconfig,
        port=options.port,
        staging_namespace=options.staging_namespace,
        production_namespace=options.production_namespace,
        database_prefix=options.database_prefix,
        login_attempts=0 if os.environ.get(BYPASS_RATE_LIMIT) else LOGIN_ATTEMPTS,
    )
    asyncio.run(_serve(settings, exit_with_stdin=options.exit_with_stdin))


async def _serve(settings: WorldSettings, *, exit_with_stdin: bool) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if exit_with_stdin:
        _watch_stdin(lambda: loop.call_soon_threadsafe(stop.set))
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    world = World(settings)
    facts = await world.start()
    try:
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await world.stop()


def _watch_stdin(at_end: Callable[[], object]) -> None:
    """Call `at_end` once nobody can write to standard input any more: the parent has ended."""

    def wait_for_end() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        at_end()

    threading.Thread(target=wait_for_end, name="stdin", daemon=True).start()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, metavar="DIR", help="what the world keeps over a restart")
    add("--postgres-url", required=True, metavar="URL", help="a superuser's DSN of a running PostgreSQL")
    add("--kubeconfig", type=Path, metavar="FILE", help="a real cluster instead of the simulated one")
    add("--manifest", type=Path, default=Path("manifest.yml"), metavar="FILE", help="the Slack app's manifest")
    add(
        "--kubernetes-manifests",
        type=Path,
        default=Path("deploy/kubernetes"),
        metavar="DIR",
        help="the Roles of the bot, which it gets in the cluster",
    )
    add("--port", type=int, default=0, help="of the page; 0: the one of the last time, or a free one")
    add("--staging-namespace", default=STAGING, metavar="NAME")
    add("--production-namespace", default=PRODUCTION, metavar="NAME")
    add(
        "--database-prefix",
        default="solvereign",
        metavar="NAME",
        help="the databases are NAME_staging, NAME_production",
    )
    add("--exit-with-stdin", action="store_true", help="end when standard input ends")
    return parser


if __name__ == "__main__":
    main()
