"""The simulated Stripe API: webhook endpoints, events and customers, read only."""

import base64
import time
from typing import Any

from aiohttp import web

from sandbox.faults import Faults
from sandbox.staging.serving import json_errors, refuse_while, require_token
from sandbox.staging.webhook import HANDLED_TYPES

API_KEY = "sk_test_sandbox"
LIVE_KEY = "rk_live_sandbox"  # restricted: reads webhook endpoints of live mode
POOR_KEY = "rk_test_sandbox"  # restricted, and may not read webhook endpoints
POOR_LIVE_KEY = "rk_live_sandbox_poor"
WEBHOOK_SECRET = "whsec_sandbox"
API_VERSION = "2024-12-18.acacia"

Json = dict[str, Any]


class StripeApi:
    """The server's handlers; `app` is what listens. `webhooks` and `customers` say what the account holds.

    `webhooks` maps the address of each endpoint to its mode: true is live. A key sees the objects of its own mode only.
    """

    def __init__(self, faults: Faults, *, webhooks: dict[str, bool], customers: list[str]) -> None:
        created = int(time.time()) - 30 * 86400
        self._faults = faults
        self._endpoints = [
            _endpoint(number, url, created, live=live) for number, (url, live) in enumerate(webhooks.items(), start=1)
        ]
        self._customers = {identifier: _customer(identifier, created) for identifier in customers}
        self._events: list[Json] = [
            {
                "id": f"evt_sandbox_{number:04}",
                "object": "event",
                "api_version": API_VERSION,
                "created": created + number * 3600,
                "livemode": False,
                "type": "invoice.paid",
                "data": {"object": {"id": f"in_sandbox_{number:04}", "object": "invoice", "customer": identifier}},
                "pending_webhooks": 0,
                "request": {"id": None, "idempotency_key": None},
            }
            for number, identifier in enumerate(customers, start=1)
        ]
        self.app = web.Application(
            middlewares=[
                refuse_while(lambda: faults.on("stripe_down")),
                json_errors(_not_found),
                require_token(_has_key, lambda _request: _error(401, "Invalid API Key provided")),
            ]
        )
        self.app.add_routes(
            [
                web.get("/v1/account", self._account),
                web.get("/v1/balance", self._balance),
                web.get("/v1/webhook_endpoints", self._list_endpoints),
                web.get("/v1/webhook_endpoints/{id}", self._get_endpoint),
                web.get("/v1/events", self._list_events),
                web.get("/v1/customers/{id}", self._get_customer),
            ]
        )

    async def _account(self, _request: web.Request) -> web.Response:
        return web.json_response({"id": "acct_sandbox", "object": "account", "email": "billing@solvereign.example"})

    async def _balance(self, request: web.Request) -> web.Response:
        live = _key(request) == LIVE_KEY
        return web.json_response({"object": "balance", "livemode": live, "available": [], "pending": []})

    async def _list_endpoints(self, request: web.Request) -> web.Response:
        if _key(request) in {POOR_KEY, POOR_LIVE_KEY}:
            shown = f"{_key(request)[:8]}{'*' * 12}"
            return _error(
                403,
                f"The provided key '{shown}' does not have the required permissions for this endpoint on account"
                " 'acct_sandbox'. Having the 'rak_webhook_read' permission would allow this request to continue.",
            )
        return _page(request, self._endpoints_for(request))

    async def _get_endpoint(self, request: web.Request) -> web.Response:
        shown = {item["id"]: item for item in self._endpoints_for(request)}
        return _one("webhook endpoint", request.match_info["id"], shown)

    def _endpoints_for(self, request: web.Request) -> list[Json]:
        """Those of the key's mode, as the switches have them."""
        live = _key(request) == LIVE_KEY
        status = "disabled" if self._faults.on("stripe_endpoint_disabled") else "enabled"
        left_out = {"invoice.payment_failed"} if self._faults.on("stripe_endpoint_lacks_event") else set()
        return [
            {**item, "status": status, "enabled_events": [one for one in item["enabled_events"] if one not in left_out]}
            for item in self._endpoints
            if item["livemode"] is live
        ]

    async def _list_events(self, request: web.Request) -> web.Response:
        wanted = [*request.query.getall("type", []), *request.query.getall("types[]", [])]
        since = int(request.query.get("created[gte]", "0"))
        events = [
            event
            for event in reversed(self._events)
            if event["created"] >= since and (not wanted or any(_matches(str(event["type"]), item) for item in wanted))
        ]
        return _page(request, events)

    async def _get_customer(self, request: web.Request) -> web.Response:
        return _one("customer", request.match_info["id"], self._customers)


def _endpoint(number: int, url: str, created: int, *, live: bool) -> Json:
    return {
        "id": f"we_sandbox_{number:04}",
        "object": "webhook_endpoint",
        "api_version": API_VERSION,
        "application": None,
        "created": created,
        "description": None,
        "enabled_events": list(HANDLED_TYPES),
        "livemode": live,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }


def _customer(identifier: str, created: int) -> Json:
    return {
        "id": identifier,
        "object": "customer",
        "created": created,
        "livemode": False,
        "email": "release-test@solvereign.example",
        "name": "Release Test Tenant",
        "metadata": {},
    }


def _matches(kind: str, wanted: str) -> bool:
    """An event type, or a group of them such as `invoice.*`."""
    return kind == wanted or (wanted.endswith("*") and kind.startswith(wanted[:-1]))


def _page(request: web.Request, items: list[Json]) -> web.Response:
    limit = min(int(request.query.get("limit", "10")), 100)
    after = request.query.get("starting_after")
    start = next((number + 1 for number, item in enumerate(items) if item["id"] == after), 0)
    page = items[start : start + limit]
    more = start + limit < len(items)
    return web.json_response({"object": "list", "url": request.path, "has_more": more, "data": page})


def _one(kind: str, identifier: str, items: dict[str, Json]) -> web.Response:
    if identifier in items:
        return web.json_response(items[identifier])
    return _error(404, f"No such {kind}: '{identifier}'", code="resource_missing")


def _has_key(request: web.Request) -> bool:
    return _key(request) in {API_KEY, LIVE_KEY, POOR_KEY, POOR_LIVE_KEY}


def _key(request: web.Request) -> str:
    """The key that a request carries, in either of the two ways; empty without one."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Basic":
        try:
            return base64.b64decode(value).decode().removesuffix(":")
        except ValueError:
            return ""
    return value if scheme == "Bearer" else ""


def _not_found(_status: int, reason: str) -> Json:
    return {"error": {"type": "invalid_request_error", "message": f"Unrecognized request URL ({reason})"}}


def _error(status: int, message: str, *, code: str | None = None) -> web.Response:
    error = {"type": "invalid_request_error", "message": message} | ({"code": code} if code else {})
    return web.json_response({"error": error}, status=status, headers={"Request-Id": "req_sandbox"})
