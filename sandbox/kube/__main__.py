"""`python -m sandbox.kube --data-dir DIR`: the simulated cluster alone. Prints {"kubeconfig", "url"} when it is up."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from sandbox.kube.server import KubeServer


async def serve(data_dir: Path) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = KubeServer(data_dir)
    url = await server.start()
    sys.stdout.write(json.dumps({"kubeconfig": str(server.kubeconfig), "url": url}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.kube", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="where the cluster keeps its state")
    logging.basicConfig(level=logging.INFO)
    asyncio.run(serve(parser.parse_args().data_dir.absolute()))


if __name__ == "__main__":
    main()
