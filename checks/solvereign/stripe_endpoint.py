"""Kind ``stripe_endpoint``: Stripe knows the product's webhook by its address and sends it every event that it handles."""

from __future__ import annotations

import fnmatch
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field

from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome, Params
from checks.kit.http_answers import address
from clients.answers import reading
from clients.needs import API, READ_WEBHOOK_ENDPOINTS, Need, stripe_mode
from clients.packages import load
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Iterable

HANDLED = (
    "customer.created",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.updated",
    "customer.updated",
    "invoice.paid",
    "invoice.payment_failed",
    "payment_method.attached",
)  # what the product has a handler for; it ignores all others
_PORTS = {"http": 80, "https": 443}


class StripeEndpointParams(Params):
    """Which endpoint, and which events."""

    url: str = Field(default="", description="The endpoint's address; empty: the API's with `path`.")
    path: str = Field(default="/api/billing/webhook", pattern="^/")
    events: tuple[str, ...] = Field(
        default=HANDLED, min_length=1, description="Events that must be sent; a star matches any, as in `invoice.*`."
    )
    live: bool = Field(default=True, description="Live mode, with real payments; false: test mode.")


@dataclass(frozen=True)
class _Endpoint:
    """One webhook endpoint of the Stripe account."""

    id: str
    url: str
    enabled: bool
    live: bool
    events: tuple[str, ...]

    def faults(self, required_events: Iterable[str]) -> list[str]:
        phrases = [] if self.enabled else ["is disabled"]
        missing_events = [
            event
            for event in required_events
            if not any(fnmatch.fnmatchcase(event, pattern) for pattern in self.events)
        ]
        if missing_events:
            phrases.append(f"is not sent {', '.join(missing_events)}")
        return phrases

    def __str__(self) -> str:
        state = f"{'live' if self.live else 'test'} mode, {'enabled' if self.enabled else 'disabled'}"
        return f"{self.id} {self.url}: {state}, events {', '.join(self.events)}"


class StripeEndpoint(Kind):
    """Reads the endpoints through the stripe package. A key shows those of its own mode only, so live ones need a live key.

    A star in ``events`` is expanded by the list of events that the package knows; an endpoint for ``*`` gets all.
    """

    name = "stripe_endpoint"
    summary = "Stripe has an enabled webhook endpoint for the product with all its events"
    params = StripeEndpointParams
    timeout = 45.0

    def needs(self, params: StripeEndpointParams) -> tuple[Need, ...]:
        """To read the endpoints of its mode."""
        rights = (READ_WEBHOOK_ENDPOINTS, stripe_mode(live=params.live))
        return rights if params.url else (API, *rights)

    def run(self, params: StripeEndpointParams, ctx: CheckContext) -> Answer:
        """FAIL when it is missing, disabled, or lacks an event. Raises CheckError for a key of the other mode."""
        stripe = require(ctx.target.stripe, ctx.target, "stripe")
        require(stripe.api_key, ctx.target, "stripe.api_key")
        url = params.url or address(ctx.target, "api", params.path)
        mode = "live" if params.live else "test"
        if stripe.live is not params.live:
            raise CheckError(
                f"the Stripe key of {ctx.target.name} is of {'test' if params.live else 'live'} mode: "
                f"it can't see {mode} endpoints",
                hint=f"Set targets.{ctx.target.name}.stripe.api_key to a restricted {mode} key that can read webhook endpoints.",
            )
        required_events = expand(params.events)
        endpoints = _endpoints(ctx)
        evidence = Evidence(
            asked=f"the webhook endpoints of the Stripe account, {mode} mode",
            expected=f"{url}: enabled, with {', '.join(required_events)}",
            seen="\n".join(map(str, endpoints)) or "no endpoints",
        )
        ours = [one for one in endpoints if _normal(one.url) == _normal(url) and one.live is params.live]
        if not ours:
            others = ", ".join(one.url for one in endpoints) or "none"
            return Answer(
                Outcome.FAIL,
                f"no {mode} endpoint for {url}; Stripe has: {others}",
                evidence,
                hint="Add it in the Stripe Dashboard under Developers, Webhooks.",
            )
        faults = [one.faults(required_events) for one in ours]
        if all(faults):
            summary = "; ".join(f"{one.id} {' and '.join(fault)}" for one, fault in zip(ours, faults, strict=True))
            return Answer(Outcome.FAIL, summary, evidence, hint="Fix the endpoint in the Stripe Dashboard.")
        good = ours[faults.index([])]
        return Answer(
            Outcome.PASS,
            f"{good.id}: {mode} mode, enabled, {len(required_events)} of {len(required_events)} events",
            evidence,
        )


def expand(patterns: Iterable[str]) -> list[str]:
    """The events that ``patterns`` name. Raises CheckError for one that matches no event of Stripe."""
    load("stripe")
    from stripe.params import WebhookEndpointCreateParams

    all_events = typing.get_args(typing.get_args(WebhookEndpointCreateParams.__annotations__["enabled_events"])[0])
    expanded_events: list[str] = []
    for pattern in patterns:
        events = [event for event in all_events if event != "*" and fnmatch.fnmatchcase(event, pattern)]
        if not events:
            raise CheckError(
                f"Stripe has no event {pattern}",
                hint="Fix events in the checklist; docs.stripe.com/api/events lists them.",
            )
        expanded_events += [event for event in events if event not in expanded_events]
    return expanded_events


def _endpoints(ctx: CheckContext) -> list[_Endpoint]:
    with reading("Stripe", "a list of webhook endpoints"):
        return [
            _Endpoint(one.id, one.url, one.status == "enabled", one.livemode, tuple(one.enabled_events))
            for one in ctx.clients.stripe().webhook_endpoints()
        ]


def _normal(url: str) -> tuple[str, str, int | None, str]:
    """An address as far as it decides where a request goes."""
    parts = urlsplit(url)
    return parts.scheme.lower(), (parts.hostname or ""), parts.port or _PORTS.get(parts.scheme), parts.path.rstrip("/")
