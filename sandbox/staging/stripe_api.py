"""The simulated Stripe API: the webhook endpoints of an account, read only."""

import base64
import time
from typing import Any

from aiohttp import web

from sandbox.faults import Faults
from sandbox.staging.serving import json_errors, refuse_while, require_token

API_KEY = "sk_test_sandbox"
LIVE_KEY = "rk_live_sandbox"  # restricted: reads webhook endpoints of live mode
POOR_KEY = "rk_test_sandbox"  # restricted, and may not read webhook endpoints
POOR_LIVE_KEY = "rk_live_sandbox_poor"
WEBHOOK_SECRET = "whsec_sandbox"
API_VERSION = "2024-12-18.acacia"
EVENTS = (  # which the product wants to be told of
    "invoice.paid",
    "invoice.payment_failed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "payment_method.attached",
    "customer.created",
    "customer.updated",
)

Json = dict[str, Any]


class StripeApi:
    """The server's handlers; `app` is what listens.

    `webhooks` maps the address of each endpoint to its mode: true is live. A key sees the objects of its own mode only.
    """

    def __init__(self, faults: Faults, *, webhooks: dict[str, bool]) -> None:
        created_at = int(time.time()) - 30 * 86400
        self._faults = faults
        self._endpoints = [
            _endpoint(number, url, created_at, live=live)
            for number, (url, live) in enumerate(webhooks.items(), start=1)
        ]
        self.app = web.Application(
            middlewares=[
                refuse_while(lambda: faults.on("stripe_down")),
                json_errors(_not_found),
                require_token(_has_key, lambda _request: _error(401, "Invalid API Key provided")),
            ]
        )
        self.app.add_routes([web.get("/v1/webhook_endpoints", self._list_endpoints)])

    async def _list_endpoints(self, request: web.Request) -> web.Response:
        key = _key(request)
        if key in {POOR_KEY, POOR_LIVE_KEY}:
            return _error(
                403,
                f"The provided key '{key[:8]}{'*' * 12}' does not have the required permissions for this endpoint on account"
                " 'acct_sandbox'. Having the 'rak_webhook_read' permission would allow this request to continue.",
            )
        status = "disabled" if self._faults.on("stripe_endpoint_disabled") else "enabled"
        left_out = {"invoice.payment_failed"} if self._faults.on("stripe_endpoint_lacks_event") else set()
        endpoints = [
            {**endpoint, "status": status, "enabled_events": [event for event in EVENTS if event not in left_out]}
            for endpoint in self._endpoints
            if endpoint["livemode"] is (key == LIVE_KEY)
        ]
        return web.json_response({"object": "list", "url": request.path, "has_more": False, "data": endpoints})


def _endpoint(number: int, url: str, created_at: int, *, live: bool) -> Json:
    return {
        "id": f"we_sandbox_{number:04}",
        "object": "webhook_endpoint",
        "api_version": API_VERSION,
        "application": None,
        "created": created_at,
        "description": None,
        "livemode": live,
        "metadata": {},
        "url": url,
    }


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


def _error(status: int, message: str) -> web.Response:
    error = {"type": "invalid_request_error", "message": message}
    return web.json_response({"error": error}, status=status, headers={"Request-Id": "req_sandbox"})
