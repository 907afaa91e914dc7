"""grafana_panels: which panels are asked, how their queries are filled in, and what counts as data."""

from typing import Any

import pytest

from checks.contract import Outcome
from checks.registry import Registry, RegistryError
from clients.settings import GrafanaSettings
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.fix_checks import run, staging_target

PROMETHEUS = {"uid": "prom-1", "name": "Prometheus", "type": "prometheus", "isDefault": True}
LOKI = {"uid": "loki-1", "name": "Loki", "type": "loki", "isDefault": False}
DATASOURCE = {"name": "datasource", "type": "datasource", "query": "prometheus", "current": {"value": "prometheus"}}
SOLVER = ["Solver Runs (Hourly)", "Solver Duration", "Drivers per Tenant"]


def frame(*values: object) -> dict[str, Any]:
    """A data frame with a column of times and one of values."""
    fields = [{"name": "Time", "type": "time"}, {"name": "Value", "type": "number"}]
    return {
        "schema": {"fields": fields},
        "data": {"values": [[1700000000000 + n for n in range(len(values))], list(values)]},
    }


FULL, NAN = frame(1.5), frame(None, None)
EMPTY: dict[str, Any] = {"schema": {"fields": []}, "data": {"values": []}}


def panel(title: str, expr: str = "up", **more: object) -> dict[str, Any]:
    """A panel with one query, which inherits the panel's data source."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {"id": 1, "title": title, "type": "timeseries", "datasource": source, "targets": [{"expr": expr}]} | more


class Dashboards:
    """A Grafana with one dashboard; a query is answered with the frame of that name, or else with data."""

    def __init__(
        self,
        *panels: dict[str, Any],
        variables: tuple[dict[str, Any], ...] = (DATASOURCE,),
        more: dict[str, Any] | None = None,
    ) -> None:
        dashboard = {"panels": list(panels), "templating": {"list": list(variables)}} | (more or {})
        self.frames = {"empty": EMPTY, "nan": NAN}
        self.server = Replies(
            {
                "GET /api/dashboards/uid/overview": Reply(200, {"dashboard": dashboard, "meta": {}}),
                "GET /api/datasources": Reply(200, [PROMETHEUS, LOKI]),
                "POST /api/ds/query": self._query,
            }
        )

    def ask(self, **params: object):
        """Run the check on this Grafana."""
        with self.server:
            grafana = GrafanaSettings(url=self.server.url, token="glsa_x")
            return run(
                "grafana_panels", {"dashboard": "overview"} | params, target=Target(name="staging", grafana=grafana)
            )

    @property
    def queries(self) -> list[dict[str, Any]]:
        """All queries that were asked, in order."""
        return [
            query for request in self.server.requests if request.method == "POST" for query in request.json()["queries"]
        ]

    def _query(self, request: Request) -> Reply:
        results, status = {}, 200
        for query in request.json()["queries"]:
            if query["expr"] == "broken":
                results[query["refId"]] = {"status": 400, "error": "parse error"}
                status = 400
            else:
                results[query["refId"]] = {"status": 200, "frames": [self.frames.get(query["expr"], FULL)]}
        return Reply(status, {"results": results})


def overview(sandbox, **more: object) -> dict[str, Any]:
    """Parameters for the product's dashboard, whose three solver panels are usually empty."""
    return {"dashboard": sandbox.facts["grafana"]["dashboard_uid"], "may_be_empty": SOLVER} | more


def test_panels_with_data_pass(sandbox):
    """The product's overview dashboard passes, and the summary counts the panels that may be empty."""
    result = run("grafana_panels", overview(sandbox), target=staging_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary == "11 of 14 panels have data; 3 are allowed to be empty"


def test_an_empty_panel_is_named(sandbox):
    """One more panel without data is a FAIL that names exactly this panel."""
    with sandbox.fault("grafana_empty_panel"):
        result = run("grafana_panels", overview(sandbox), target=staging_target(sandbox))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "10 of 14 panels have data; no data: Request Rate"


def test_every_empty_panel_fails_unless_it_may_be_empty(sandbox):
    """Without the list of exceptions all empty panels fail by name."""
    result = run("grafana_panels", overview(sandbox, may_be_empty=[]), target=staging_target(sandbox))

    assert result.outcome is Outcome.FAIL
    assert result.answer.data == {"empty": SOLVER}


def test_a_grafana_that_answers_with_errors_is_an_error(sandbox):
    """If Grafana answers with 503, the check is an ERROR that says so."""
    with sandbox.fault("grafana_down"):
        result = run("grafana_panels", {"dashboard": "x"}, target=staging_target(sandbox))

    assert result.outcome is Outcome.ERROR
    assert "503" in result.answer.summary


@pytest.mark.parametrize("expr", ["empty", "nan"])
def test_a_panel_without_values_has_no_data(expr):
    """A frame without rows and a frame of NaN do not count as data."""
    result = Dashboards(panel("Good"), panel("Bad", expr)).ask()

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "1 of 2 panels have data; no data: Bad"
    assert result.answer.data == {"empty": ["Bad"]}


def test_zero_is_data():
    """The value 0 counts as data."""
    dashboards = Dashboards(panel("Errors", "zero"))
    dashboards.frames["zero"] = frame(0)

    assert dashboards.ask().outcome is Outcome.PASS


def test_one_query_with_data_is_enough():
    """A panel has data if one of its queries has, even if the others are empty or broken."""
    dashboards = Dashboards(panel("Mixed", targets=[{"expr": "empty"}, {"expr": "broken"}, {"expr": "up"}]))

    assert dashboards.ask().outcome is Outcome.PASS


def test_a_broken_query_fails_with_its_error():
    """A panel whose only query fails is empty, and the error is named."""
    result = Dashboards(panel("Broken", "broken"), panel("Good")).ask()

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "1 of 2 panels have data; no data: Broken (error: parse error)"


def test_panels_in_a_collapsed_row_are_checked():
    """Panels in a row are checked; rows, texts and panels without a query of their own are not."""
    dashboards = Dashboards(
        {"type": "row", "title": "Row", "collapsed": True, "panels": [panel("Inside", "empty")]},
        {"type": "row", "title": "Open row", "panels": []},
        {"type": "text", "title": "Read me"},
        panel("Hidden", "empty", targets=[{"expr": "empty", "hide": True}]),
        panel("Again", "empty", datasource={"uid": "-- Dashboard --"}),
        panel("Good"),
    )
    result = dashboards.ask()

    assert result.answer.summary == "1 of 2 panels have data; no data: Inside"


def test_a_library_panel_is_checked():
    """A library panel is judged by the queries in the library."""
    dashboards = Dashboards(
        {"id": 3, "title": "Linked", "libraryPanel": {"uid": "lib-1", "name": "Shared"}}, panel("Good")
    )
    dashboards.server.routes["GET /api/library-elements/lib-1"] = Reply(
        200, {"result": {"model": panel("Shared", "empty")}}
    )

    assert dashboards.ask().answer.summary == "1 of 2 panels have data; no data: Shared"


@pytest.mark.parametrize(
    ("source", "uid"),
    [
        ({"type": "prometheus", "uid": "${datasource}"}, "prom-1"),
        ("$datasource", "prom-1"),
        ("Loki", "loki-1"),
        ({"type": "loki", "uid": "loki-1"}, "loki-1"),
        (None, "prom-1"),
        ("default", "prom-1"),
        ({"type": "loki"}, "loki-1"),
        ("-- Grafana --", "grafana"),
    ],
)
def test_the_data_source_is_resolved(source, uid):
    """A data source is found by variable, name, uid, type or default."""
    dashboards = Dashboards(panel("A", datasource=source))
    result = dashboards.ask()

    assert result.outcome is Outcome.PASS
    assert [query["datasource"]["uid"] for query in dashboards.queries] == [uid]


def test_a_query_may_have_its_own_data_source():
    """Each query of a mixed panel is sent to its own data source."""
    targets = [{"expr": "up", "datasource": {"type": "loki", "uid": "loki-1"}}]
    dashboards = Dashboards(panel("Mixed", datasource={"uid": "-- Mixed --"}, targets=targets))
    dashboards.ask()

    assert [query["datasource"] for query in dashboards.queries] == [{"uid": "loki-1", "type": "loki"}]


@pytest.mark.parametrize("source", ["Thanos", {"type": "prometheus", "uid": "gone"}, "${DS_PROM}"])
def test_an_unknown_data_source_is_an_error(source):
    """A data source that Grafana does not have is an ERROR and not an empty panel."""
    variables = (DATASOURCE, {"name": "DS_PROM", "type": "datasource", "current": {"value": "gone"}})
    result = Dashboards(panel("A", datasource=source), variables=variables).ask()

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("panel A: no data source ")


def test_variables_are_replaced():
    """Saved values, all values, chosen values and Grafana's own variables are replaced before a query is sent."""
    variables = (
        DATASOURCE,
        {"name": "job", "current": {"value": ["api", "worker"]}},
        {
            "name": "pod",
            "current": {"value": "$__all"},
            "options": [{"value": "$__all"}, {"value": "a"}, {"value": "b"}],
        },
        {"name": "zone", "current": {"value": "eu"}},
    )
    expr = 'rate(x{job=~"$job",pod=~"${pod:regex}",zone="[[zone]]"}[$__rate_interval]) # $__range $1 $__timeFilter'
    dashboards = Dashboards(panel("A", expr), variables=variables)
    dashboards.ask(variables={"zone": "us"}, window="now-1h")

    assert [query["expr"] for query in dashboards.queries] == [
        'rate(x{job=~"api|worker",pod=~"a|b",zone="us"}[60s]) # 1h $1 $__timeFilter'
    ]


def test_a_variable_without_a_value_is_an_error():
    """A query with an unknown variable would be another query: ERROR."""
    result = Dashboards(panel("A", "x{job='$job'}"), variables=(DATASOURCE, {"name": "job"})).ask()

    assert result.outcome is Outcome.ERROR
    assert result.answer.hint == "Set variables.job in the checklist."


def test_queries_without_a_name_get_one():
    """A query without a name gets one, and names that expressions refer to are kept."""
    dashboards = Dashboards(panel("A", targets=[{"expr": "up"}, {"expr": "up", "refId": "A"}, {"expr": "up"}]))
    dashboards.ask(window="now-30m")

    assert [query["refId"] for query in dashboards.queries] == ["B", "A", "C"]
    body = dashboards.server.requests[-1].json()
    assert (body["from"], body["to"]) == ("now-30m", "now")


def test_a_dashboard_without_data_panels_fails():
    """A dashboard without any panel with data is a FAIL."""
    result = Dashboards({"type": "text", "title": "Read me"}).ask()

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "dashboard overview has no data panels"


def test_a_dashboard_with_empty_panels_only_fails():
    """If no panel at all has data, the list of exceptions does not help."""
    result = Dashboards(panel("A", "empty")).ask(may_be_empty=["A"])

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "none of the 1 panels has data"


def test_a_missing_dashboard_fails():
    """A dashboard that Grafana does not have is a FAIL."""
    result = Dashboards().ask(dashboard="gone")

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "no dashboard gone in Grafana"


@pytest.mark.parametrize(
    ("route", "status"),
    [
        ("GET /api/dashboards/uid/overview", 401),
        ("GET /api/dashboards/uid/overview", 406),
        ("GET /api/datasources", 403),
        ("POST /api/ds/query", 400),
        ("POST /api/ds/query", 403),
        ("POST /api/ds/query", 404),
        ("POST /api/ds/query", 500),
    ],
)
def test_a_refused_or_unreadable_answer_is_an_error(route, status):
    """A missing right, an unreadable format or a rejected query is an ERROR and never an empty panel."""
    dashboards = Dashboards(panel("A"))
    dashboards.server.routes[route] = Reply(status, {"message": "no"})

    assert dashboards.ask().outcome is Outcome.ERROR


def test_an_unreachable_grafana_is_an_error():
    """A Grafana that cannot be reached is an ERROR."""
    target = Target(name="staging", grafana=GrafanaSettings(url=closed_port_url(), token="glsa_x"))

    assert run("grafana_panels", {"dashboard": "overview"}, target=target).outcome is Outcome.ERROR


@pytest.mark.parametrize("window", ["15m", "now-0m", "now-15", "now"])
def test_an_invalid_window_is_rejected(window):
    """A window that Grafana would read differently is rejected with the checklist."""
    with pytest.raises(RegistryError, match="window"):
        Registry.load().validate("grafana_panels", {"dashboard": "x", "window": window})
