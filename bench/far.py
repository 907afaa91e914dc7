"""Puts the sandbox as far away as real vendors are: a proxy before each server that lets every answer travel for a while."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import yaml

_ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")
_CHUNK = 65_536


class Far:
    """Proxies on free ports of the loopback, in a thread of their own. ``latency``: seconds that an answer travels."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._loop = asyncio.new_event_loop()
        self._ports: dict[int, int] = {}
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="far", daemon=True)
        self._thread.start()

    def port(self, near: int) -> int:
        """The port of the proxy before ``near``."""
        if near not in self._ports:
            self._ports[near] = asyncio.run_coroutine_threadsafe(self._serve(near), self._loop).result(10)
        return self._ports[near]

    def text(self, text: str) -> str:
        """``text`` with every address of the loopback replaced."""
        return _ADDRESS.sub(lambda match: f"127.0.0.1:{self.port(int(match.group(1)))}", text)

    def close(self) -> None:
        """End everything."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        ours = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)

    async def _serve(self, near: int) -> int:
        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.CancelledError):  # by `close`; the streams log it as a fault otherwise
                there, back = await asyncio.open_connection("127.0.0.1", near)
                await asyncio.gather(self._pass(reader, back, 0.0), self._pass(there, writer, self._latency))

        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float) -> None:
        """Hand on what comes, ``latency`` later; what comes meanwhile is under way at the same time."""
        travelling: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def depart() -> None:
            data = b"-"
            while data:
                try:
                    data = await reader.read(_CHUNK)
                except ConnectionError:
                    data = b""  # the end, too
                travelling.put_nowait((self._loop.time() + latency, data))

        async def arrive() -> None:
            with contextlib.suppress(ConnectionError):
                while (arriving := await travelling.get())[1]:
                    await asyncio.sleep(max(0.0, arriving[0] - self._loop.time()))
                    writer.write(arriving[1])
                    await writer.drain()
            writer.close()

        await asyncio.gather(depart(), arrive())


@contextlib.contextmanager
def far_away(config: Path, latency: float) -> Iterator[None]:
    """Let a configuration of the demo reach everything but Slack over proxies; the bot must be started anew for it."""
    far = Far(latency)
    near = config.read_text(encoding="utf-8")
    body = yaml.safe_load(near)
    kubeconfig = Path(body["targets"]["staging"]["kubernetes"]["kubeconfig"])
    copy = config.with_name("kubeconfig-far")
    copy.touch(mode=0o600)
    copy.write_text(far.text(kubeconfig.read_text(encoding="utf-8")), encoding="utf-8")
    config.write_text(far.text(near).replace(str(kubeconfig), str(copy)), encoding="utf-8")
    try:
        yield
    finally:
        far.close()
