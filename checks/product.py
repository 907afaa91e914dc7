"""The product's HTTP side as kinds use it: addresses, the test user's session, what a JSON answer must hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import httpx

from checks.contract import CheckError
from clients.http import cookie_header
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from checks.contract import CheckContext
    from clients.target import Target

Base = Literal["api", "frontend"]

UNREACHED = frozenset(
    {502, 503, 504}
)  # answers of what stands before the product; they say nothing about the product itself


NOT_CONFIGURED = {  # the product's own 503 answers at the Stripe webhook, by "detail"
    "Stripe not configured": "the stripe package is not installed in the image",
    "Billing service not configured": "the billing service did not start",
    "Webhook handler not configured": "the webhook handler did not start",
}


def address(target: Target, base: Base, path: str) -> str:
    """The absolute URL of ``path`` on the API or the frontend of a target. Raises CheckError when it has none."""
    url = require(target.api_url if base == "api" else target.frontend_url, target, f"{base}_url")
    return str(url).rstrip("/") + path


def unreached(what: str, status: int) -> CheckError:
    """The error for a status in UNREACHED: nobody answered for the product. ``what`` completes "cannot …"."""
    return CheckError(
        f"cannot {what}: {status}, the product does not answer",
        hint="Look whether the pods are ready and the ingress reaches them.",
    )


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
            401: f"Set targets.{ctx.target.name}.login to a user that exists, with its password.",
            403: "The test user is locked or inactive: unlock it.",
            429: "Five log-ins in fifteen minutes are used up: wait a quarter of an hour.",
        }
        raise CheckError(
            f"cannot log in on {ctx.target.name}: {response.status_code}",
            hint=hints.get(response.status_code, f"Look at POST {login_path}."),
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


def json_object(response: httpx.Response, what: str) -> dict[str, Any]:
    """The body of a response as a JSON object. Raises CheckError, which shows the body, when it is something else."""
    try:
        body = response.json()
    except ValueError as exc:
        raise CheckError(f"{what}: the answer {response.status_code} is not JSON", seen=response.text) from exc
    if not isinstance(body, dict):
        raise CheckError(f"{what}: the answer {response.status_code} is not a JSON object", seen=response.text)
    return body


def detail_of(response: httpx.Response) -> str:
    """The text in the product's form of an error, ``{"detail": …}``; empty when the answer has none."""
    try:
        body = response.json()
    except ValueError:
        return ""
    detail = body.get("detail", "") if isinstance(body, dict) else ""
    return detail if isinstance(detail, str) else ""


def differences(body: JsonValue, expect: Mapping[str, JsonValue]) -> list[str]:
    """What is not as expected, one phrase each. ``expect``: dotted path to value; a number is an index into a list."""
    found = []
    for path, wanted in expect.items():
        present, value = _at(body, path)
        if not present:
            found.append(f"no {path}")
        elif value != wanted or isinstance(value, bool) != isinstance(wanted, bool):
            found.append(f"{path} is {value!r}, not {wanted!r}")
    return found


def _at(body: JsonValue, path: str) -> tuple[bool, JsonValue]:
    value = body
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return False, None
    return True, value
