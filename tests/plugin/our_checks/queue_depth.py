"""Kind ``queue_depth``: the product's work queue is short enough to deploy."""

from __future__ import annotations

from pydantic import Field

from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from clients.answers import reading
from clients.http import http_errors
from clients.needs import API, Need
from clients.target import require


class QueueDepthParams(Params):
    """The limit of the queue."""

    at_most: int = Field(default=100, ge=0, description="Jobs that may wait.")


class QueueDepth(Kind):
    """PASS if no more jobs wait than allowed."""

    name = "queue_depth"
    summary = "The product's work queue is short enough to deploy"
    params = QueueDepthParams
    timeout = 15.0

    def needs(self, params: QueueDepthParams) -> tuple[Need, ...]:
        """The address of the product."""
        return (API,)

    def run(self, params: QueueDepthParams, ctx: CheckContext) -> Answer:
        """Ask once. Raises CheckError if the answer does not have the number."""
        url = f"{str(require(ctx.target.api_url, ctx.target, 'api_url')).rstrip('/')}/api/queue"
        with http_errors(f"get {url}"):
            response = ctx.clients.http().get(url)
            response.raise_for_status()
            body = response.json()
        with reading("the product", "how many jobs wait", body):
            jobs = int(body["waiting"])
        evidence = Evidence(asked=f"GET {url}", expected=f"at most {params.at_most}", seen=f"{jobs} wait")
        if jobs > params.at_most:
            return Answer(Outcome.FAIL, f"{jobs} jobs wait", evidence, hint="Let them drain, then run this again.")
        return Answer(Outcome.PASS, f"{jobs} jobs wait", evidence)
