"""The workspace alone, with no bot and no product: `python -m sandbox.slack --data-dir DIR`."""

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from sandbox.slack import SlackServer


async def _serve(data_dir: Path, manifest: Path, port: int) -> None:
    server = SlackServer(data_dir=data_dir, manifest=manifest)
    base_url = await server.start(port=port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ready = {
        "page": base_url,
        "slack_api_url": base_url + "api/",
        "control_url": base_url + "sandbox/",
        "bot_token": server.bot_token,
        "app_token": server.app_token,
        "signing_secret": server.signing_secret,
        "channel_id": server.channel_id,
        "people": server.people,
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop()


def main() -> None:
    """Start the workspace, print one JSON line with its addresses and tokens, run until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.slack", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="where messages are kept")
    parser.add_argument("--manifest", type=Path, default=Path("manifest.yml"), help="the manifest of the app")
    parser.add_argument("--port", type=int, default=0, help="0: the port of the last time, or a free one")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    asyncio.run(_serve(options.data_dir, options.manifest, options.port))


if __name__ == "__main__":
    main()
