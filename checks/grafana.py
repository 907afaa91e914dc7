"""How kinds ask Grafana: its data sources, and queries through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from checks.answers import listed, reading
from checks.clients import http_errors
from checks.contract import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json = dict[str, Any]


def data_sources(grafana: httpx.Client) -> list[Json]:
    """All data sources that the token may see. Raises CheckError."""
    with http_errors("list Grafana's data sources"):
        response = grafana.get("api/datasources")
        response.raise_for_status()
        body = response.json()
    with reading("Grafana", "its data sources", body):
        return [dict(one) | {"uid": str(one["uid"]), "type": str(one["type"])} for one in listed(body)]


def query(grafana: httpx.Client, queries: Sequence[Mapping[str, Any]], start: str, what: str) -> dict[str, Json]:
    """The results from ``start`` (``now-15m``) until now, by refId; ``what`` completes "cannot query …".

    A call with one failed query is answered 400 with the results of the good ones: the body is read before the status.
    Raises CheckError when Grafana would not ask the data source.
    """
    with http_errors(f"query {what}"):
        response = grafana.post("api/ds/query", json={"from": start, "to": "now", "queries": list(queries)})
        if response.status_code not in {httpx.codes.OK, httpx.codes.MULTI_STATUS, httpx.codes.BAD_REQUEST}:
            response.raise_for_status()
        body = response.json()
        results = body.get("results") if isinstance(body, dict) else None
        if not results:
            response.raise_for_status()
            raise CheckError(f"Grafana's answer for {what} holds no results", seen=response.text)
    with reading("Grafana", f"results for {what}", body):
        return {str(name): {**result, "frames": [*(result.get("frames") or [])]} for name, result in results.items()}


def columns(frame: Mapping[str, Any]) -> list[list[Any]]:
    """The values of each field of a frame that is not the time.

    NaN and Inf travel as null (github.com/grafana/grafana-plugin-sdk-go, data/frame_json.go).
    """
    with reading("Grafana", "frames of values", frame):
        fields = frame.get("schema", {}).get("fields", [])
        values = frame.get("data", {}).get("values", [])
        return [[*column] for field, column in zip(fields, values, strict=False) if field.get("type") != "time"]
