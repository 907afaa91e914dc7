"""Kind ``stripe_probe``: does the running product have the stripe package? Told by how it refuses a wrong signature."""

from __future__ import annotations

import json
import secrets
import time
from urllib.parse import urlsplit

from pydantic import Field

from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from checks.kit.http_answers import UNREACHED, address, unreached
from checks.solvereign.product import NOT_CONFIGURED, detail_of
from clients.http import http_errors
from clients.needs import API, Changes, Need

_HINTS = {
    404: "Set SOLVEREIGN_STRIPE_API_KEY and SOLVEREIGN_STRIPE_WEBHOOK_SECRET on the deployment, then restart it.",
    422: "Something in front of the product removes the header Stripe-Signature: check the ingress.",
    503: "Build the image with the package, or see the start of the pod's log.",
}


class StripeProbeParams(Params):
    """Where the webhook is."""

    path: str = Field(default="/api/billing/webhook", pattern="^/")


class StripeProbe(Kind):
    """Sends an event with a signature that cannot be right, so nothing is processed: safe on production.

    400 "Invalid signature" means that the package is installed and looked at it; 503 that it is missing; 404 that the
    webhook is not mounted because a setting is missing. A product that takes the event in fails: so would a forged one.
    """

    name = "stripe_probe"
    summary = "The product refuses a wrong Stripe signature, which needs the stripe package"
    params = StripeProbeParams
    timeout = 30.0

    def needs(self, params: StripeProbeParams) -> tuple[Need, ...]:
        """The address of the product."""
        return (Changes("log", data=False), API)

    def run(self, params: StripeProbeParams, ctx: CheckContext) -> Answer:
        """Send one event of no known type. Raises CheckError when nobody answers for the product."""
        url = address(ctx.target, "api", params.path)
        event = f"evt_releasebot_probe_{secrets.token_hex(8)}"
        body = json.dumps({"id": event, "object": "event", "type": "release_bot.probe", "data": {"object": {}}})
        headers = {
            "Content-Type": "application/json",
            "Stripe-Signature": f"t={int(time.time())},v1={'0' * 64}",
        }
        with http_errors(f"send a probe to {urlsplit(url).netloc}"):
            response = ctx.clients.http().post(url, content=body.encode(), headers=headers)
        status, detail = response.status_code, detail_of(response)
        evidence = Evidence(
            asked=f"POST {url} with event {event} and a signature of zeros",
            expected="400 Invalid signature",
            seen=f"{status} {response.text}",
        )
        if status in UNREACHED and detail not in NOT_CONFIGURED:
            raise unreached("send a probe", status)
        if status == 400 and "signature" in detail.casefold():  # noqa: PLR2004  the plain HTTP status
            return Answer(
                Outcome.PASS, f"400 {detail}: the package is installed and refuses a wrong signature", evidence
            )
        if response.is_success:
            return Answer(
                Outcome.FAIL,
                f"{status}: a wrong signature was accepted, so anybody can send events",
                evidence,
                hint=f"Check the webhook's signature check, and look for a row of {event} in billing.webhook_events.",
            )
        summaries = {404: "404: the billing router is not mounted", 422: "422: the signature header did not arrive"}
        summary = summaries.get(status) or (
            f"503: {NOT_CONFIGURED[detail]}"
            if detail in NOT_CONFIGURED
            else f"{status} instead of 400: {detail or response.text}"
        )
        return Answer(Outcome.FAIL, summary, evidence, hint=_HINTS.get(status, "See the pod's log."))
