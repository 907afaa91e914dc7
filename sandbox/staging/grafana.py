"""The simulated Grafana: the product's dashboard and a Prometheus data source whose values move with time."""

import math
import re
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientError, ClientSession, web
from prometheus_client.parser import text_string_to_metric_families

from sandbox.faults import Faults
from sandbox.staging.serving import bearer, json_errors, refuse_while, require_right, require_token, token_of

TOKEN = "glsa_sandbox"
POOR_TOKEN = "glsa_sandbox_poor"  # may see dashboards and ask no data source
PERMISSIONS = {
    TOKEN: {
        "dashboards:read": ["dashboards:*", "folders:*"],
        "datasources:read": ["datasources:*"],
        "datasources:query": ["datasources:*"],
    },
    POOR_TOKEN: {"dashboards:read": ["dashboards:*"]},
}
DASHBOARD_UID = "solvereign-overview"
DATASOURCE_UID = "PBFA97CFB590B2093"
_TITLE = "SOLVEREIGN Overview"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]

_RATE = 'sum(rate(http_requests_total{job="solvereign"}[5m]))'
_BY_ENDPOINT = 'sum by (endpoint) (rate(http_requests_total{{job="solvereign",status=~"{}.."}}[5m]))'
_LATENCY = "histogram_quantile({}, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))"
_SOLVER = "histogram_quantile({}, sum by (le) (rate(solve_duration_seconds_bucket[1h])))"
_BY_CONTAINER = 'sum({}{{container="{}"}})'

_ROWS = {1: "Health", 8: "Requests", 11: "Solver", 15: "Infrastructure"}
_PANELS: dict[int, tuple[str, str, list[tuple[str, str]]]] = {
    2: ("API Status", "stat", [('up{job="solvereign-api"}', "API")]),
    3: ("Database Status", "stat", [('pg_up{job="postgres"}', "Database")]),
    4: (
        "Success Rate (5m)",
        "stat",
        [('sum(rate(http_requests_total{status=~"2.."}[5m])) / sum(rate(http_requests_total[5m])) * 100', "Success")],
    ),
    5: ("P95 Latency (5m)", "stat", [(_LATENCY.format("0.95"), "p95")]),
    6: ("Request Rate", "stat", [(_RATE, "req/s")]),
    7: ("Last Backup Age", "stat", [("time() - solvereign_backup_last_success_timestamp", "Age")]),
    9: (
        "Request Rate by Endpoint",
        "timeseries",
        [(_BY_ENDPOINT.format(digit), f"{digit}xx {{{{endpoint}}}}") for digit in (2, 4, 5)],
    ),
    10: (
        "Response Time Percentiles",
        "timeseries",
        [(_LATENCY.format(q), f"p{q[2:]}") for q in ("0.50", "0.95", "0.99")],
    ),
    12: (
        "Solver Runs (Hourly)",
        "timeseries",
        [(f'sum(increase(solve_total{{status="{status}"}}[1h]))', status) for status in ("success", "failure")],
    ),
    13: ("Solver Duration", "timeseries", [(_SOLVER.format(q), f"p{q[2:]}") for q in ("0.50", "0.95")]),
    14: ("Drivers per Tenant", "timeseries", [("avg by (tenant) (solve_drivers_total)", "{{tenant}}")]),
    16: (
        "Database Connections",
        "timeseries",
        [
            ('sum(pg_stat_activity_count{state="active"})', "active"),
            ('sum(pg_stat_activity_count{state="idle"})', "idle"),
            ("pg_settings_max_connections", "max"),
        ],
    ),
    17: (
        "CPU Usage",
        "timeseries",
        [
            (f"sum(rate({_BY_CONTAINER.format('container_cpu_usage_seconds_total', name)[4:-1]}[5m]))", name)
            for name in ("api", "postgres")
        ],
    ),
    18: (
        "Memory Usage",
        "timeseries",
        [(_BY_CONTAINER.format("container_memory_usage_bytes", name), name) for name in ("api", "postgres")],
    ),
}

# What the data source knows: a piece of the query -> the level around which its value moves. No solve_* metric is
# known, and there are no 4xx or 5xx answers: those panels and queries are empty, as in the product's own set-up.
_LEVELS = (
    ("http_requests_total{status", 99.2),
    ('status=~"2..', 4.1),
    ("http_request_duration_seconds", 0.12),
    ("http_requests_total", 4.3),
    ("solvereign_backup_last_success_timestamp", 30000.0),
    ("pg_stat_activity_count", 6.0),
    ("pg_settings_max_connections", 100.0),
    ("container_cpu_usage_seconds_total", 0.4),
    ("container_memory_usage_bytes", 3.1e8),
    ("pg_up", 1.0),
    ("up{", 1.0),
)
_FROM_EXPORTERS = ("pg_", "up{", "solvereign_backup_", "container_")
_COUNTER = re.compile(r"sum\((http_requests_total)(?:\{(.*)\})?\)")  # answered with what the product really counts
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_SCRAPE_SECONDS = 0.5
_STEADY = ("pg_up", "up{", "pg_settings_max_connections")


class GrafanaSimulator:
    """The server's handlers; `app` is what listens. `metrics_url` is where its Prometheus gets the product's metrics."""

    def __init__(self, faults: Faults, *, metrics_url: str) -> None:
        self._faults = faults
        self._metrics_url = metrics_url
        self._metrics, self._scraped_at = "", -math.inf  # text of the last scrape, and time.monotonic() of it
        self.app = web.Application(
            middlewares=[
                refuse_while(lambda: faults.on("grafana_down")),
                json_errors(lambda _status, reason: {"message": reason}),
                require_token(
                    bearer(*PERMISSIONS),
                    lambda _request: web.json_response({"message": "Unauthorized"}, status=401),
                ),
                require_right(PERMISSIONS, _action_of, _refuse),
            ]
        )
        self.app.add_routes(
            [
                web.get("/api/access-control/user/permissions", self._permissions),
                web.get("/api/dashboards/uid/{uid}", self._dashboard),
                web.get("/api/datasources", self._datasources),
                web.post("/api/ds/query", self._query),
            ]
        )

    async def _permissions(self, request: web.Request) -> web.Response:
        return web.json_response(PERMISSIONS[token_of(request)])

    async def _dashboard(self, request: web.Request) -> web.Response:
        if request.match_info["uid"] != DASHBOARD_UID:
            return web.json_response({"message": "Dashboard not found"}, status=404)
        meta = {"url": f"/d/{DASHBOARD_UID}/{DASHBOARD_UID}", "folderUid": "", "version": 4, "provisioned": True}
        return web.json_response({"dashboard": _dashboard_json(), "meta": meta})

    async def _datasources(self, _request: web.Request) -> web.Response:
        return web.json_response([_DATASOURCE_JSON])

    async def _query(self, request: web.Request) -> web.Response:
        """Each query is answered by itself; one with an error makes the whole answer a 400, the others still in it."""
        body = await request.json()
        queries = body.get("queries") or []
        if not queries:
            return web.json_response({"message": "no queries found"}, status=400)
        names = [query.get("refId") for query in queries]
        if None in names or len(set(names)) < len(names):
            return web.json_response({"message": "Query data error"}, status=400)
        if any((query.get("datasource") or {}).get("uid") != DATASOURCE_UID for query in queries):
            return web.json_response({"message": "Data source not found"}, status=404)
        try:
            start, end = (_moment(str(body[key])) for key in ("from", "to"))
        except (KeyError, ValueError):
            return web.json_response({"message": "Query data error"}, status=400)
        await self._scrape()
        results = {query["refId"]: self._result(query, start, end) for query in queries}
        has_error = any("error" in result for result in results.values())
        return web.json_response({"results": results}, status=400 if has_error else 200)

    def _result(self, query: Json, start: float, end: float) -> Json:
        expression = str(query.get("expr", ""))
        if "$" in expression or not expression:
            message = "bad_data: invalid parameter \"query\": parse error: unexpected character: '$'"
            return {"status": 400, "error": message, "errorSource": "downstream"}
        if self._is_empty(expression):
            return {"status": 200, "frames": []}
        if counter := _COUNTER.fullmatch(expression.replace(" ", "")):
            return {"status": 200, "frames": self._read_counter(query["refId"], counter)}
        step = max(
            float(query.get("intervalMs") or 1000) / 1000, (end - start) / float(query.get("maxDataPoints") or 100)
        )
        frames = _frames(query["refId"], expression, start, end, step)
        if "/sum" in expression.replace(" ", "") and self._faults.on("grafana_no_traffic"):
            frames = [_without_values(frame) for frame in frames]
        return {"status": 200, "frames": frames}

    def _is_empty(self, expression: str) -> bool:
        compact = expression.replace(" ", "")
        if expression == _RATE and self._faults.on("grafana_empty_panel"):
            return True
        return self._faults.on("grafana_no_exporters") and any(name in compact for name in _FROM_EXPORTERS)

    async def _scrape(self) -> None:
        """Read the product's metrics as Prometheus does, but only on demand, and not while the switch metrics_stale is on."""
        if self._faults.on("metrics_stale") or time.monotonic() - self._scraped_at < _SCRAPE_SECONDS:
            return
        try:
            async with ClientSession() as session, session.get(self._metrics_url) as answer:
                self._metrics, self._scraped_at = await answer.text(), time.monotonic()
        except ClientError:
            self._metrics = ""  # the target is down

    def _read_counter(self, name: str, counter: re.Match[str]) -> list[Json]:
        """The sum of the product's own counter over the series with the labels that the query names."""
        labels = {key: value for key, value in _LABEL.findall(counter[2] or "") if key != "job"}
        values = [
            sample.value
            for family in text_string_to_metric_families(self._metrics)
            for sample in family.samples
            if sample.name == counter[1] and labels.items() <= sample.labels.items()
        ]
        return [_frame(name, counter[0], [int(time.time() * 1000)], [sum(values)], {})] if values else []


def _action_of(request: web.Request) -> str:
    """The action that a call takes (grafana.com/docs: RBAC permissions and actions)."""
    if request.path.startswith("/api/dashboards"):
        return "dashboards:read"
    if request.path.startswith("/api/ds/"):
        return "datasources:query"
    return "datasources:read" if request.path.startswith("/api/datasources") else ""


def _refuse(request: web.Request) -> web.Response:
    action = _action_of(request)
    message = f"You'll need additional permissions to perform this action. Permissions needed: {action}"
    return web.json_response({"message": message, "title": "Access denied", "accessErrorId": "ACE0"}, status=403)


_DATASOURCE_JSON: Json = {
    "id": 1,
    "uid": DATASOURCE_UID,
    "orgId": 1,
    "name": "Prometheus",
    "type": "prometheus",
    "url": "http://prometheus:9090",
    "access": "proxy",
    "isDefault": True,
}


def _dashboard_json() -> Json:
    """As the product keeps it: targets carry neither refId nor data source, and rows are open."""
    panels: list[Json] = [
        {"id": number, "type": "row", "title": title, "collapsed": False, "panels": []}
        for number, title in _ROWS.items()
    ]
    panels += [
        {
            "id": number,
            "type": kind,
            "title": title,
            "datasource": _DATASOURCE,
            "targets": [{"expr": expression, "legendFormat": legend} for expression, legend in targets],
        }
        for number, (title, kind, targets) in _PANELS.items()
    ]
    variable = {
        "name": "datasource",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "prometheus"},
    }
    return {
        "uid": DASHBOARD_UID,
        "title": _TITLE,
        "tags": ["solvereign", "overview"],
        "schemaVersion": 38,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": sorted(panels, key=lambda panel: panel["id"]),
    }


def _moment(text: str) -> float:
    """`now`, `now-15m` or Unix milliseconds, as Unix time."""
    if relative := re.fullmatch(r"now(?:-(\d+)([smhd]))?", text):
        return time.time() - (int(relative[1]) * _UNITS[relative[2]] if relative[1] else 0)
    return int(text) / 1000


def _frames(name: str, expression: str, start: float, end: float, step: float) -> list[Json]:
    compact = expression.replace(" ", "")
    level = next((level for part, level in _LEVELS if part in compact), None)
    if level is None or 'status=~"4' in compact or 'status=~"5' in compact:
        return []
    amplitude = 0.0 if compact.startswith(_STEADY) else level * 0.05
    first = math.ceil(start / step)
    times = [int(number * step * 1000) for number in range(first, int(end / step) + 1)]
    values: list[float | None] = [level + amplitude * math.sin(moment / 97000) for moment in times]
    entities: list[Json | None] = [None, None]
    if "/sum" in compact and len(values) > 1:  # a ratio is NaN where there was no traffic
        values[0] = None
        entities[1] = {"NaN": [0], "Inf": [], "NegInf": []}
    labels = {"endpoint": "/api/v1/roster/plans"} if "by(endpoint)" in compact else {}
    frame = _frame(name, expression, times, values, labels)
    frame["data"]["entities"] = entities
    return [frame]


def _frame(name: str, expression: str, times: list[int], values: Sequence[float | None], labels: Json) -> Json:
    fields: list[Json] = [
        {"name": "Time", "type": "time", "typeInfo": {"frame": "time.Time"}, "config": {}},
        {"name": "Value", "type": "number", "typeInfo": {"frame": "float64"}, "labels": labels, "config": {}},
    ]
    schema = {"refId": name, "meta": {"type": "timeseries-multi", "executedQueryString": expression}, "fields": fields}
    return {"schema": schema, "data": {"values": [times, values], "entities": [None, None]}}


def _without_values(frame: Json) -> Json:
    """The frame with NaN for every moment, which travels as null."""
    times = frame["data"]["values"][0]
    everywhere = {"NaN": list(range(len(times))), "Inf": [], "NegInf": []}
    return {**frame, "data": {"values": [times, [None] * len(times)], "entities": [None, everywhere]}}
