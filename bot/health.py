"""Pages for machines: /healthz (the process lives), /readyz (it can do its work), /metrics (Prometheus)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from bot.web import Pages, WebPage

Ready = Callable[[], dict[str, str]]  # part -> "" when it works, else what is wrong
Backlog = Callable[[], dict[str, tuple[int, float]]]  # queue -> (waiting, seconds of the oldest)


class _Queues(Collector):
    """The state of the bot's parts and the backlog of each queue, read at each scrape."""

    def __init__(self, backlog: Backlog, ready: Ready) -> None:
        self._backlog, self._ready = backlog, ready

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauges."""
        parts = GaugeMetricFamily("release_bot_up", "1 where a part of the bot works", labels=["part"])
        for part, problem in self._ready().items():
            parts.add_metric([part], 0.0 if problem else 1.0)
        yield parts
        backlog_size = GaugeMetricFamily("release_bot_queue_waiting", "Work that is due and not done", labels=["queue"])
        oldest = GaugeMetricFamily("release_bot_queue_oldest_seconds", "Age of the oldest due work", labels=["queue"])
        for queue, (count, seconds) in self._backlog().items():
            backlog_size.add_metric([queue], count)
            oldest.add_metric([queue], seconds)
        yield backlog_size
        yield oldest


def pages(*, ready: Ready, backlog: Backlog) -> Pages:
    """The three pages by their paths."""
    registry = CollectorRegistry()
    registry.register(_Queues(backlog, ready))
    return {
        "/healthz": lambda _: _state({}),
        "/readyz": lambda _: _state(ready()),
        "/metrics": lambda _: WebPage(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST),
    }


def _state(parts: dict[str, str]) -> WebPage:
    status = HTTPStatus.SERVICE_UNAVAILABLE if any(parts.values()) else HTTPStatus.OK
    body = json.dumps({"ok": status is HTTPStatus.OK, **parts}).encode()
    return WebPage(status, body, "application/json")
