"""The HTTP port: /healthz (the process lives), /readyz (it can do its work), /metrics (Prometheus)."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

Ready = Callable[[], dict[str, str]]  # part -> "" when it works, else what is wrong
Backlog = Callable[[], dict[str, tuple[int, float]]]  # queue -> (waiting, seconds of the oldest)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
        logger.debug(format, *args)


class _Queues(Collector):
    """How much waits in each queue, asked at each scrape."""

    def __init__(self, backlog: Backlog, ready: Ready) -> None:
        self._backlog, self._ready = backlog, ready

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauges."""
        parts = GaugeMetricFamily("release_bot_up", "1 where a part of the bot works", labels=["part"])
        for part, problem in self._ready().items():
            parts.add_metric([part], 0.0 if problem else 1.0)
        yield parts
        waiting = GaugeMetricFamily("release_bot_queue_waiting", "Work that is due and not done", labels=["queue"])
        oldest = GaugeMetricFamily("release_bot_queue_oldest_seconds", "Age of the oldest due work", labels=["queue"])
        for queue, (count, seconds) in self._backlog().items():
            waiting.add_metric([queue], count)
            oldest.add_metric([queue], seconds)
        yield waiting
        yield oldest


class HealthServer:
    """Serves the three pages in threads of its own. ``port`` 0 takes a free one."""

    def __init__(self, host: str, port: int, *, ready: Ready, backlog: Backlog) -> None:
        self._ready = ready
        self._registry = CollectorRegistry()
        self._registry.register(_Queues(backlog, ready))
        self._server = make_server(host, port, self._answer, server_class=_Server, handler_class=_Quiet)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self._server.server_address[0]!s}:{self._server.server_port}/"

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            body, kind, status = generate_latest(self._registry), CONTENT_TYPE_LATEST, HTTPStatus.OK
        elif path in {"/healthz", "/readyz"}:
            parts = self._ready() if path == "/readyz" else {}
            status = HTTPStatus.SERVICE_UNAVAILABLE if any(parts.values()) else HTTPStatus.OK
            body, kind = json.dumps({"ok": status is HTTPStatus.OK, **parts}).encode(), "application/json"
        else:
            body, kind, status = b"not found\n", "text/plain", HTTPStatus.NOT_FOUND
        start_response(f"{status.value} {status.phrase}", [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]
