"""SOLVEREIGN's own answers: the session of a test user, the form of its errors, and what its webhook says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from checks.contract import CheckError
from checks.kit.http_answers import UNREACHED, json_object, unreached
from clients.http import cookie_header
from clients.needs import Setting

if TYPE_CHECKING:
    from checks.contract import CheckContext

TENANT = Setting("tenant")
STRIPE_CUSTOMER = Setting("tenant.stripe_customer_id")
WEBHOOK_SECRET = Setting("stripe.webhook_secret")
VERIFY_FUNCTIONS = (
    "auth.verify_legal_acceptance_integrity",
    "billing.verify_billing_schema",
    "consent.verify_consent_schema",
)  # those that judge no rights, so that they also hold in a restored database
NOT_CONFIGURED = {  # the product's own 503 answers at the Stripe webhook, by "detail"
    "Stripe not configured": "the stripe package is not installed in the image",
    "Billing service not configured": "the billing service did not start",
    "Webhook handler not configured": "the webhook handler did not start",
}


def log_in(ctx: CheckContext, login_path: str) -> httpx.Response:
    """The product's answer to the one log-in of the test user; a good one is used again.

    Raises CheckError when the target has no login, nobody answers, or the product refuses this user: that says nothing
    about the product.
    """
    response = ctx.clients.login(login_path)
    if response.status_code in UNREACHED:
        raise unreached(f"log in on {ctx.target.name}", response.status_code)
    if response.is_client_error:
        hints = {
            401: f"Set targets.{ctx.target.name}.login to an existing user and its password.",
            403: "The test user is locked or inactive: unlock it.",
            429: "Five logins in 15 minutes are the limit: wait 15 minutes.",
        }
        raise CheckError(
            f"cannot log in on {ctx.target.name}: {response.status_code}",
            hint=hints.get(response.status_code, f"Check POST {login_path}."),
            seen=response.text,
        )
    return response


def session(ctx: CheckContext, login_path: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The request headers of the test user's session, and what the product said about the user when it logged in.

    Raises CheckError when there is no session to be had.
    """
    response = log_in(ctx, login_path)
    headers = cookie_header(response)
    if response.status_code != httpx.codes.OK or not headers:
        trouble = "no session cookie" if response.status_code == httpx.codes.OK else str(response.status_code)
        raise CheckError(
            f"cannot log in on {ctx.target.name}: {trouble}",
            hint=f"Is {login_path} the right path?",
            seen=response.text,
        )
    return headers, json_object(response, f"POST {login_path}")


def detail_of(response: httpx.Response) -> str:
    """The text in the product's form of an error, ``{"detail": …}``; empty when the answer has none."""
    try:
        body = response.json()
    except ValueError:
        return ""
    detail = body.get("detail", "") if isinstance(body, dict) else ""
    return detail if isinstance(detail, str) else ""
