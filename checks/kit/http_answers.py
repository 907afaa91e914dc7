"""The product's HTTP side as kinds use it: addresses, answers of what stands before it, what a JSON answer must hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import httpx

from checks.contract import CheckError
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from clients.target import Target

Base = Literal["api", "frontend"]

UNREACHED = frozenset(
    {502, 503, 504}
)  # answers of what stands before the product; they say nothing about the product itself


def address(target: Target, base: Base, path: str) -> str:
    """The absolute URL of ``path`` on the API or the frontend of a target. Raises CheckError when it has none."""
    url = require(target.api_url if base == "api" else target.frontend_url, target, f"{base}_url")
    return str(url).rstrip("/") + path


def unreached(what: str, status: int) -> CheckError:
    """The error for a status in UNREACHED: nobody answered for the product. ``what`` completes "cannot …"."""
    return CheckError(
        f"cannot {what}: {status}, the product doesn't answer",
        hint="Are the pods ready, and does the ingress reach them?",
    )


def json_object(response: httpx.Response, what: str) -> dict[str, Any]:
    """The body of a response as a JSON object. Raises CheckError, which shows the body, when it is something else."""
    try:
        body = response.json()
    except ValueError as exc:
        raise CheckError(f"{what}: the answer {response.status_code} is not JSON", seen=response.text) from exc
    if not isinstance(body, dict):
        raise CheckError(f"{what}: the answer {response.status_code} is not a JSON object", seen=response.text)
    return body


def differences(body: JsonValue, expect: Mapping[str, JsonValue]) -> list[str]:
    """What is not as expected, one phrase each. ``expect``: dotted path to value; a number is an index into a list."""
    phrases = []
    for path, expected_value in expect.items():
        present, value = _at(body, path)
        if not present:
            phrases.append(f"no {path}")
        elif value != expected_value or isinstance(value, bool) != isinstance(expected_value, bool):
            phrases.append(f"{path} is {value!r}, not {expected_value!r}")
    return phrases


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
