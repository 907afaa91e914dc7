"""Kind ``grafana_panels``: every data panel of a Grafana dashboard has data in the window."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
from pydantic import Field

from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome, Params
from clients.answers import reading
from clients.errors import ClientError
from clients.grafana import columns
from clients.needs import Need, grafana

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clients.grafana import Grafana

_POINTS = 100  # points a query: enough to see that there are any
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SCRAPE = 15  # seconds between two scrapes, Prometheus' usual setting; rates need four of them
_NO_QUERY = frozenset({"row", "text", "dashlist", "news", "annolist", "alertlist", "welcome", "gettingstarted"})
_BUILT_IN = {"uid": "grafana", "type": "datasource"}  # Grafana's own pseudo data source
_VARIABLE = re.compile(r"\$\{(\w+)(?:[.:][^}]*)?\}|\$([A-Za-z_]\w*)|\[\[(\w+)(?::[^\]]*)?\]\]")


class GrafanaPanelsParams(Params):
    """Which dashboard, which window, and which panels may be empty."""

    dashboard: str = Field(min_length=1)  # uid, as in the address /d/<uid>/
    window: str = Field(default="now-15m", pattern=r"^now-[1-9]\d*[smhd]$")  # from then until now
    may_be_empty: tuple[str, ...] = ()  # titles
    variables: dict[str, str] = Field(default_factory=dict)  # dashboard variable: value, instead of the saved one


@dataclass(frozen=True)
class _Panel:
    """A panel with its queries, each with the data source that it goes to."""

    title: str
    queries: list[dict[str, Any]]


class GrafanaPanels(Kind):
    """PASS when each panel has one query with at least one value in the window.

    Transformations run in the browser: a panel that is blank for their sake is not seen here.
    """

    name = "grafana_panels"
    summary = "Every data panel of a Grafana dashboard has data in the window"
    params = GrafanaPanelsParams
    example: ClassVar[Mapping[str, Any]] = {"dashboard": "overview"}
    timeout = 120.0

    def needs(self, params: GrafanaPanelsParams) -> tuple[Need, ...]:
        """To open the dashboard and ask what its panels ask."""
        return grafana("datasources:read", "datasources:query", dashboard=params.dashboard)

    def run(self, params: GrafanaPanelsParams, ctx: CheckContext) -> Answer:
        """Read the dashboard and ask each panel's queries. Raises CheckError when one cannot be asked."""
        grafana = ctx.clients.grafana()
        evidence = Evidence(
            asked=f"the queries of dashboard {params.dashboard} at {grafana.url}, {params.window} to now",
            expected="at least one value in each panel",
            seen="404: no such dashboard",
        )
        try:
            dashboard = grafana.dashboard(params.dashboard)
        except ClientError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            return Answer(
                Outcome.FAIL,
                f"no dashboard {params.dashboard} in Grafana",
                evidence,
                hint="Is it provisioned, and is the uid right?",
            )
        with reading("Grafana", f"a dashboard {params.dashboard} in the classic form", dashboard):
            panels = list(_DashboardReader(grafana, dashboard, params).panels())
        states: dict[str, str] = {}
        for number, panel in enumerate(panels, 1):
            if ctx.cancelled.is_set() or ctx.remaining() <= 0:
                raise CheckError(f"stopped after {number - 1} of {len(panels)} panels: cancelled or out of time")
            states[f"{number}. {panel.title}"] = _state(grafana, panel, params.window)
        return _answer(panels, states, params, evidence)


class _DashboardReader:
    """Reads a dashboard as the browser would: opens rows, fetches library panels, fills in variables."""

    def __init__(self, grafana: Grafana, dashboard: Mapping[str, Any], params: GrafanaPanelsParams) -> None:
        self._grafana = grafana
        self._dashboard = dashboard
        self._variables = {str(entry.get("name")): entry for entry in dashboard.get("templating", {}).get("list", [])}
        self._chosen = params.variables
        self._window = params.window.removeprefix("now-")
        self._sources = grafana.data_sources()

    def panels(self) -> Iterator[_Panel]:
        """Every panel that has queries of its own."""
        rows = [panel for row in self._dashboard.get("rows", []) for panel in row.get("panels", [])]  # before Grafana 5
        for raw in self._flat([*self._dashboard.get("panels", []), *rows]):
            targets = [target for target in raw.get("targets") or [] if not target.get("hide")]
            if raw.get("type") in _NO_QUERY or not targets or self._borrows(raw):
                continue
            names = self._ref_ids(targets)
            yield _Panel(
                title=str(raw.get("title") or f"panel {raw.get('id')}"),
                queries=[self._query(target, raw, name) for target, name in zip(targets, names, strict=True)],
            )

    def _flat(self, panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for panel in panels:
            if panel.get("type") == "row":
                yield from self._flat(panel.get("panels") or [])  # a collapsed row holds its panels
            elif panel.get("libraryPanel"):
                yield self._library(panel) | {"id": panel.get("id")}
            else:
                yield panel

    def _library(self, panel: Mapping[str, Any]) -> dict[str, Any]:
        return self._grafana.library_panel(panel["libraryPanel"].get("uid"), panel["libraryPanel"].get("name"))

    @staticmethod
    def _borrows(panel: Mapping[str, Any]) -> bool:
        """Does it show another panel's result? Then that panel is the one to judge."""
        source = panel.get("datasource")
        return (source.get("uid") if isinstance(source, dict) else source) == "-- Dashboard --"

    @staticmethod
    def _ref_ids(targets: list[dict[str, Any]]) -> list[str]:
        """A name for each query, unique in the panel: the saved one, else the next free letter, as in Grafana."""
        saved_names = {target["refId"] for target in targets if target.get("refId")}
        free = (
            name
            for name in itertools.chain("ABCDEFGHIJKLMNOPQRSTUVWXYZ", map("Q{}".format, itertools.count()))
            if name not in saved_names
        )
        return [target.get("refId") or next(free) for target in targets]

    def _query(self, target: Mapping[str, Any], panel: Mapping[str, Any], ref_id: str) -> dict[str, Any]:
        values = {key: self._fill(value) for key, value in target.items() if key != "datasource"}
        source = self._source(target.get("datasource") or panel.get("datasource"), f"panel {panel.get('title')}")
        step = max(_SCRAPE, self._seconds() // _POINTS)
        return values | {"refId": ref_id, "datasource": source, "intervalMs": step * 1000, "maxDataPoints": _POINTS}

    def _source(self, reference: Any, where: str) -> dict[str, str]:
        """The data source as uid and type. Raises CheckError when there is none: then nothing was found out."""
        name = str((reference.get("uid") or "") if isinstance(reference, dict) else reference or "")
        kind = str(reference.get("type") or "") if isinstance(reference, dict) else ""
        variable = _VARIABLE.fullmatch(name)
        if variable:
            name, kind = self._source_variable(next(filter(None, variable.groups())), kind)
        if name == "__expr__":
            return {"uid": name, "type": name}
        if name in {"grafana", "-- Grafana --"}:
            return dict(_BUILT_IN)
        source = self._find(name, kind)
        if source is None:
            raise CheckError(
                f"{where}: no data source {name or 'by default'}{f' of type {kind}' if kind else ''} in Grafana",
                hint="Set the dashboard's variable under variables in the checklist, or repair it in Grafana.",
            )
        return {"uid": str(source["uid"]), "type": str(source["type"])}

    def _source_variable(self, name: str, kind: str) -> tuple[str, str]:
        entry = self._variables.get(name, {})
        return self._chosen.get(name) or _current(entry), kind or str(entry.get("query") or "")

    def _find(self, name: str, kind: str) -> dict[str, Any] | None:
        """By uid, else by name, else, for a saved name that means nothing here, the default or only one of its type."""
        alike = [source for source in self._sources if not kind or source.get("type") == kind]
        if name not in {"", "default"}:
            by_uid = [source for source in self._sources if source.get("uid") == name]
            by_name = [source for source in self._sources if str(source.get("name")).casefold() == name.casefold()]
            if by_uid or by_name:
                return (by_uid or by_name)[0]
            if name != kind:
                return None
        default = next((source for source in alike if source.get("isDefault")), None)
        return default or (alike[0] if len(alike) == 1 else None)

    def _fill(self, value: Any) -> Any:
        """The value with every dashboard variable replaced, as the browser does; Grafana's server leaves them alone."""
        if isinstance(value, str):
            return _VARIABLE.sub(self._value, value)
        if isinstance(value, list):
            return [self._fill(item) for item in value]
        if isinstance(value, dict):
            return {key: self._fill(item) for key, item in value.items()}
        return value

    def _value(self, match: re.Match[str]) -> str:
        name = next(filter(None, match.groups()))
        seconds = self._seconds()
        own = {
            "__interval": f"{max(_SCRAPE, seconds // _POINTS)}s",
            "__interval_ms": str(max(_SCRAPE, seconds // _POINTS) * 1000),
            "__rate_interval": f"{_SCRAPE * 4}s",
            "__range": self._window,
            "__range_s": str(seconds),
            "__range_ms": str(seconds * 1000),
        }
        if name in own:
            return own[name]
        if name in self._chosen:
            return self._chosen[name]
        if name not in self._variables:
            return match.group()  # no variable of this dashboard: the query language's own, such as $__timeFilter or $1
        value = _current(self._variables[name])
        if not value:
            raise CheckError(f"dashboard variable {name} has no value", hint=f"Set variables.{name} in the checklist.")
        return value

    def _seconds(self) -> int:
        return int(self._window[:-1]) * _UNITS[self._window[-1]]


def _current(variable: Mapping[str, Any]) -> str:
    """The saved value of a dashboard variable; several are joined as Prometheus wants them, a|b. Empty: none."""
    value = variable.get("current", {}).get("value")
    values = [str(item) for item in value] if isinstance(value, list) else [str(value)] if value is not None else []
    if "$__all" not in values:
        return "|".join(values)
    options = [str(option["value"]) for option in variable.get("options", []) if option.get("value") != "$__all"]
    return str(variable.get("allValue") or "|".join(options) or ".*")


def _state(grafana: Grafana, panel: _Panel, window: str) -> str:
    """Empty when the panel has data; else why not. Raises CheckError when Grafana would not ask the data source."""
    results = grafana.query(panel.queries, window, f"panel {panel.title}")
    if any(_has_value(frame) for result in results.values() for frame in result.get("frames") or []):
        return ""
    errors = [str(result["error"]) for result in results.values() if result.get("error")]
    return f"error: {errors[0]}" if errors else "no data"


def _has_value(frame: Mapping[str, Any]) -> bool:
    """Is there a value in a field that is not the time?"""
    return any(
        value is not None and not (isinstance(value, float) and math.isnan(value))
        for column in columns(frame)
        for value in column
    )


def _answer(panels: list[_Panel], states: Mapping[str, str], params: GrafanaPanelsParams, evidence: Evidence) -> Answer:
    evidence = Evidence(
        evidence.asked,
        evidence.expected,
        "\n".join(f"{title}: {state or 'data'}" for title, state in states.items()) or "no panels",
    )
    if not panels:
        return Answer(
            Outcome.FAIL,
            f"dashboard {params.dashboard} has no data panels",
            evidence,
            hint="Is it the right dashboard?",
        )
    without = [(panel.title, state) for panel, state in zip(panels, states.values(), strict=True) if state]
    empty = [
        title if state == "no data" else f"{title} ({state})"
        for title, state in without
        if title not in params.may_be_empty
    ]
    if empty:
        full = len(panels) - len(without)
        return Answer(
            Outcome.FAIL,
            f"{full} of {len(panels)} panels have data; no data: {', '.join(empty)}",
            evidence,
            {"empty": [title for title, _ in without if title not in params.may_be_empty]},
            hint="Is the exporter scraped? If a panel may be empty, add it to may_be_empty in the checklist.",
        )
    if len(without) == len(panels):
        return Answer(
            Outcome.FAIL, f"none of the {len(panels)} panels has data", evidence, hint="Is anything scraped at all?"
        )
    exceptions = f"; {len(without)} {'is' if len(without) == 1 else 'are'} allowed to be empty" if without else ""
    return Answer(Outcome.PASS, f"{len(panels) - len(without)} of {len(panels)} panels have data{exceptions}", evidence)
