"""metrics_flow: a counter that rises, stands still, falls, or is not there."""

import pytest

from checks.contract import Outcome
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, Route, closed_port_url
from tests.fix_checks import production_target, run

SOURCES = [
    {"uid": "loki", "name": "Loki", "type": "loki"},
    {"uid": "p", "name": "Prometheus", "type": "prometheus", "isDefault": True},
]


def frame(*values: float | None) -> dict[str, object]:
    """A data frame with one series."""
    fields = [{"name": "Time", "type": "time"}, {"name": "Value", "type": "number"}]
    return {"schema": {"fields": fields}, "data": {"values": [[0] * len(values), list(values)]}}


class Prometheus:
    """A Grafana that returns one reading after the other, and the last one for ever; a reading is a list of series."""

    def __init__(self, *readings: list[dict[str, object]], **product: object) -> None:
        self.readings = list(readings)
        self.queries: list[dict[str, object]] = []
        self.product = Reply(**({"status": 200, "body": {"status": "healthy"}} | product))  # type: ignore[arg-type]

    def query(self, request: Request) -> Reply:
        """Answer `POST /api/ds/query`."""
        self.queries += request.json()["queries"]
        reading = self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]
        return Reply(200, {"results": {"A": {"status": 200, "frames": reading}}})

    def ask(self, **params: object):
        """Run the check on this Grafana."""
        routes: dict[str, Route] = {
            "GET /api/datasources": Reply(200, SOURCES),
            "POST /api/ds/query": self.query,
            "GET /health": self.product,
        }
        with Replies(routes) as server:
            part = {"url": server.url, "token": "t"}
            target = Target.model_validate({"name": "production", "api_url": server.url, "grafana": part})
            return run("metrics_flow", {"within": 1, **params}, target).answer


@pytest.mark.parametrize(
    ("readings", "outcome", "summary"),
    [
        ([[frame(41)], [frame(41)], [frame(41, 42)]], Outcome.PASS, "the counter rose from 41 to 42 within "),
        ([[frame(20), frame(21)], [frame(20), frame(22)]], Outcome.PASS, "the counter rose from 41 to 42 within "),
        ([[], [frame(1)]], Outcome.PASS, "the counter rose from nothing to 1 within "),
        ([[frame(41)], [frame(3)], [frame(4)]], Outcome.PASS, "the counter rose from 3 to 4 within "),
        ([[frame(41)]], Outcome.FAIL, "the counter didn't rise within 1 s of the bot's request: it is 41"),
        ([[frame(41)], [frame(3)]], Outcome.FAIL, "the counter didn't rise within 1 s of the bot's request: it is 3"),
        ([[]], Outcome.FAIL, "the counter has no data"),
        ([[frame(None)]], Outcome.FAIL, "the counter has no data"),
    ],
    ids=["rises", "two pods", "appears", "was reset", "stands", "stands after a reset", "no series", "only NaN"],
)
def test_only_a_rising_counter_passes(readings, outcome, summary):
    """Only a rise after the bot's own request is a PASS, also from zero in a new pod."""
    answer = Prometheus(*readings).ask()

    assert answer.outcome is outcome
    assert answer.summary.startswith(summary)


def test_the_query_goes_to_the_default_source_unless_another_is_named():
    """The query of the checklist is sent as it is, as an instant query."""
    prometheus = Prometheus([frame(1)], [frame(2)])
    prometheus.ask(query="sum(requests_total)")
    loki = Prometheus([frame(1)], [frame(2)])
    loki.ask(datasource="loki")

    first = {key: prometheus.queries[0][key] for key in ("expr", "instant", "datasource")}
    assert first == {"expr": "sum(requests_total)", "instant": True, "datasource": {"uid": "p", "type": "prometheus"}}
    assert loki.queries[0]["datasource"] == {"uid": "loki", "type": "loki"}
    assert (
        Prometheus([frame(1)]).ask(datasource="Mimir").hint
        == "Set datasource in the checklist to one of: Loki, Prometheus."
    )


def test_a_failing_product_query_or_grafana_is_an_error():
    """A product that does not answer, a query that fails, and a Grafana that is down are ERRORs."""
    product_down = Prometheus([frame(1)], status=502).ask()
    with Replies(
        {
            "GET /api/datasources": Reply(200, SOURCES),
            "POST /api/ds/query": Reply(400, {"results": {"A": {"error": "parse error", "status": 400}}}),
        }
    ) as server:
        part = {"url": server.url, "token": "t"}
        target = Target.model_validate({"name": "production", "api_url": server.url, "grafana": part})
        wrong = run("metrics_flow", {}, target).answer
    down = target.model_copy(update={"grafana": target.grafana.model_copy(update={"url": closed_port_url()})})  # type: ignore[union-attr]

    assert (product_down.outcome, product_down.summary) == (
        Outcome.ERROR,
        f"cannot get {product_down.summary.split()[2]} 502, the product doesn't answer",
    )
    assert (wrong.outcome, wrong.summary) == (Outcome.ERROR, "cannot query the counter: parse error")
    assert run("metrics_flow", {}, down).outcome is Outcome.ERROR


def test_the_counter_of_the_sandbox_rises(sandbox):
    """The product in the sandbox counts the request of the check."""
    result = run("metrics_flow", {"within": 10}, production_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary.startswith("the counter rose from ")
