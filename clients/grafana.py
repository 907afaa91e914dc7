"""Grafana: its dashboards, its data sources, and queries through them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from clients.answers import listed, reading
from clients.declared import Guarded
from clients.errors import ClientError, StrangeAnswer
from clients.http import http_client, http_errors
from clients.needs import Setting, VendorRight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json = dict[str, Any]
READ_DASHBOARDS, READ_SOURCES, QUERY_SOURCES = (
    VendorRight("grafana.token", action) for action in ("dashboards:read", "datasources:read", "datasources:query")
)


class Grafana(Guarded):
    """One Grafana."""

    def __init__(self, url: str, token: str, *, timeout: float) -> None:
        """``url``: its root; ``timeout``: seconds for one answer."""
        self._client = http_client(url, timeout=timeout, token=token)
        self.url = str(self._client.base_url)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def permissions(self) -> Json:
        """What the token may do, by action (grafana.com/docs, service accounts). Raises ClientError; 404 before 8.5."""
        self._declared.retry_read(Setting("grafana.token"))
        body = self._get("api/access-control/user/permissions", "read Grafana")
        with reading("Grafana", "the token's permissions"):
            return dict(body)

    def dashboard(self, uid: str) -> Json:
        """A dashboard in the classic form. Raises ClientError: 404 where there is none, 406 for one in Grafana's v2 format."""
        self._declared.retry_read(READ_DASHBOARDS)
        try:
            body = self._get(f"api/dashboards/uid/{uid}", "read the dashboard")
        except ClientError as error:
            if error.status != httpx.codes.NOT_ACCEPTABLE:
                raise
            raise ClientError(
                f"dashboard {uid} is stored in Grafana's v2 format, which this check can't read",
                hint="Save the dashboard as a classic one (JSON model v1).",
                seen=error.seen,
                status=error.status,
            ) from error
        if not isinstance(body, dict) or not isinstance(body.get("dashboard"), dict):
            raise StrangeAnswer(
                "Grafana's answer has no dashboard", hint="Does grafana.url point to Grafana?", seen=str(body)
            )
        dashboard: Json = body["dashboard"]
        return dashboard

    def library_panel(self, uid: str, name: str) -> Json:
        """A panel that dashboards share; ``name`` as people know it. Raises ClientError."""
        self._declared.retry_read(READ_DASHBOARDS)
        body = self._get(f"api/library-elements/{uid}", f"read library panel {name}")
        with reading("Grafana", f"library panel {name}", body):
            return dict(body["result"]["model"])

    def data_sources(self) -> list[Json]:
        """All data sources that the token may see. Raises ClientError."""
        self._declared.retry_read(READ_SOURCES)
        body = self._get("api/datasources", "list Grafana's data sources")
        with reading("Grafana", "its data sources", body):
            return [dict(one) | {"uid": str(one["uid"]), "type": str(one["type"])} for one in listed(body)]

    def query(self, queries: Sequence[Mapping[str, Any]], start: str, what: str) -> dict[str, Json]:
        """The results from ``start`` (``now-15m``) until now, by refId; ``what`` completes "cannot query …".

        A call with one failed query is answered 400 with the results of the good ones: the body is read before the status.
        Raises ClientError when Grafana would not ask the data source.
        """
        self._declared.retry_read(QUERY_SOURCES)
        with http_errors(f"query {what}"):
            response = self._client.post("api/ds/query", json={"from": start, "to": "now", "queries": list(queries)})
            if response.status_code not in {httpx.codes.OK, httpx.codes.MULTI_STATUS, httpx.codes.BAD_REQUEST}:
                response.raise_for_status()
            body = response.json()
            results = body.get("results") if isinstance(body, dict) else None
            if not results:
                response.raise_for_status()
                raise StrangeAnswer(f"Grafana's answer for {what} has no results", seen=response.text)
        with reading("Grafana", f"results for {what}", body):
            return {
                str(name): {**result, "frames": [*(result.get("frames") or [])]} for name, result in results.items()
            }

    def _get(self, path: str, what: str) -> Any:
        with http_errors(what):
            response = self._client.get(path)
            response.raise_for_status()
            return response.json()


def columns(frame: Mapping[str, Any]) -> list[list[Any]]:
    """The values of each field of a frame that is not the time.

    NaN and Inf travel as null (github.com/grafana/grafana-plugin-sdk-go, data/frame_json.go).
    """
    with reading("Grafana", "frames of values", frame):
        fields = frame.get("schema", {}).get("fields", [])
        values = frame.get("data", {}).get("values", [])
        return [[*column] for field, column in zip(fields, values, strict=False) if field.get("type") != "time"]
