"""Kind ``metrics_flow``: metrics flow when a counter in Grafana rises after the bot's own request to the product."""

from __future__ import annotations

import math
import time

from pydantic import Field

from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome, Params
from checks.kit.http_answers import UNREACHED, Base, address, unreached
from clients.grafana import columns
from clients.http import http_errors
from clients.needs import Need, at, grafana

_POLL = 1.0  # seconds between two looks, at most


class MetricsFlowParams(Params):
    """Which counter, and which request must raise it."""

    query: str = Field(
        default='sum(http_requests_total{job="solvereign"})',
        min_length=1,
        description="PromQL of one counter, summed up over its series.",
    )
    base: Base = "api"
    path: str = Field(default="/health", pattern="^/", description="What the bot asks for; it must count.")
    datasource: str = Field(default="", description="Name or uid in Grafana; empty: the default one.")
    within: int = Field(
        default=90, ge=1, description="Seconds until the request must show: a few times the scrape interval."
    )


class MetricsFlow(Kind):
    """A dashboard with data may show what Prometheus kept from before it lost the product: a rising counter cannot.

    A counter that falls was reset by a new pod and is followed from there.
    """

    name = "metrics_flow"
    summary = "A counter in Grafana rises after the bot's own request"
    params = MetricsFlowParams
    timeout = 120.0

    def needs(self, params: MetricsFlowParams) -> tuple[Need, ...]:
        """The address that is asked, and to ask for the counter."""
        return (at(params.base), *grafana("datasources:read", "datasources:query"))

    def run(self, params: MetricsFlowParams, ctx: CheckContext) -> Answer:
        """Read the counter, ask the product once, read until it has risen. Raises CheckError when one cannot be asked."""
        url = address(ctx.target, params.base, params.path)
        counter = _Counter(ctx, params)
        start = before = counter.read()
        with http_errors(f"get {url}"):
            response = ctx.clients.http().get(url)
        if response.status_code in UNREACHED:
            raise unreached(f"get {url}", response.status_code)
        request_time = time.monotonic()
        ctx.progress(f"waiting for {params.query} to rise")
        while True:
            now = counter.read()
            if now is not None and now > (before or 0.0):
                took = time.monotonic() - request_time
                return _answer(
                    Outcome.PASS, f"rose from {_show(before)} to {_show(now)} within {took:.0f} s", params, url
                )
            before = now if now is not None and before is not None and now < before else before
            if time.monotonic() - request_time >= params.within:
                break
            ctx.wait(min(_POLL, params.within / 20))
        if now is None:
            return _answer(Outcome.FAIL, "has no data", params, url)
        summary = (
            f"didn't rise within {params.within} s of the bot's request: it is {_show(now)} (it was {_show(start)})"
        )
        return _answer(Outcome.FAIL, summary, params, url)


class _Counter:
    """The counter as Grafana gives it."""

    def __init__(self, ctx: CheckContext, params: MetricsFlowParams) -> None:
        """Raises CheckError when there is no such data source."""
        self._grafana = ctx.clients.grafana()
        sources = self._grafana.data_sources()
        name = params.datasource.casefold()
        matches = [
            one
            for one in sources
            if (
                one.get("isDefault")
                if not name
                else name in {str(one.get("name")).casefold(), str(one.get("uid")).casefold()}
            )
        ]
        if not matches:
            names = ", ".join(str(one.get("name")) for one in sources) or "none"
            raise CheckError(
                f"Grafana has no data source {params.datasource or 'by default'}",
                hint=f"Set datasource in the checklist to one of: {names}.",
            )
        self._query = {
            "refId": "A",
            "datasource": {"uid": matches[0]["uid"], "type": matches[0]["type"]},
            "expr": params.query,
            "instant": True,
            "intervalMs": 1000,
            "maxDataPoints": 100,
        }

    def read(self) -> float | None:
        """Its value now, the sum of its series; None when it has none. Raises CheckError for a query that fails."""
        result = self._grafana.query([self._query], "now-1m", "the counter").get("A", {})
        if result.get("error"):
            raise CheckError(
                f"cannot query the counter: {result['error']}", hint="Is the query in the checklist right?"
            )
        latest = [
            next((value for value in reversed(column) if value is not None and not math.isnan(value)), None)
            for frame in result.get("frames") or []
            for column in columns(frame)
        ]
        numbers = [float(value) for value in latest if value is not None]
        return sum(numbers) if numbers else None


def _show(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"


def _answer(outcome: Outcome, what: str, params: MetricsFlowParams, url: str) -> Answer:
    evidence = Evidence(
        asked=f"{params.query}, then GET {url}, then again",
        expected=f"a higher value within {params.within} s",
        seen=what,
    )
    hint = "" if outcome is Outcome.PASS else "Does Prometheus scrape the product? See its page Targets."
    return Answer(outcome, f"the counter {what}", evidence, hint=hint)
