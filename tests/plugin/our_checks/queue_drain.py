"""Kind ``queue_drain``: the product's work queue becomes empty. Its author forgot that there is a deadline."""

from __future__ import annotations

import time

from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from clients.answers import reading
from clients.http import http_errors
from clients.needs import API, Need
from clients.target import require


class QueueDrainParams(Params):
    """The kind has no parameters."""


class QueueDrain(Kind):
    """Waits until no job waits any more, past its own deadline, so that the bot has to abandon it."""

    name = "queue_drain"
    summary = "The product's work queue becomes empty"
    params = QueueDrainParams
    timeout = 30.0
    grace = 0.2

    def needs(self, params: QueueDrainParams) -> tuple[Need, ...]:
        """The address of the product."""
        return (API,)

    def run(self, params: QueueDrainParams, ctx: CheckContext) -> Answer:
        """Ask until the queue is empty. Raises CheckError if an answer does not have the number."""
        url = f"{str(require(ctx.target.api_url, ctx.target, 'api_url')).rstrip('/')}/api/queue"
        while self._count_jobs(url, ctx):
            time.sleep(0.1)  # ctx.wait would end at the deadline
        return Answer(Outcome.PASS, "it is empty", Evidence(asked=f"GET {url}", expected="0 wait", seen="0 wait"))

    def _count_jobs(self, url: str, ctx: CheckContext) -> int:
        with http_errors(f"get {url}"):
            body = ctx.clients.http().get(url).raise_for_status().json()
        with reading("the product", "how many jobs wait", body):
            return int(body["waiting"])
