"""The Web API clients of the bot, and the one seam where Slack's errors become ours."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackRequestError

from bot.errors import VendorError

TIMEOUT = 8  # seconds; the SDK's own 30 would hold a worker for too long


class SlackError(VendorError):
    """Slack refused a call or did not answer it."""

    def __init__(self, method: str, code: str, *, retry_after: float | None = None) -> None:
        """``code``: Slack's error, or ``no_answer``; ``retry_after``: seconds, when Slack asks for a pause."""
        super().__init__(f"Slack answered {code} to {method}.")
        self.method, self.code, self.retry_after = method, code, retry_after


def web_client(token: str, api_url: str) -> WebClient:
    """A client that never sends a call twice by itself: what is repeated is decided by the caller, who knows if it may be.

    The SDK takes proxies from the environment even for loopback addresses, so for those they are switched off.
    """
    client = WebClient(token=token, base_url=api_url, timeout=TIMEOUT, retry_handlers=[])
    host = urlsplit(api_url).hostname or ""
    if host == "localhost" or _is_loopback(host):
        client.proxy = None
    return client


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def slack_call(method: str) -> Iterator[None]:
    """Translate what the SDK raises for a call of ``method`` into SlackError."""
    try:
        yield
    except SlackApiError as error:
        response = error.response
        status = getattr(response, "status_code", 0)
        code = str(response.get("error", "")) if not isinstance(response, str) else ""
        retry_after = None
        if status == 429 or code in {"ratelimited", "rate_limited"}:  # noqa: PLR2004  HTTP Too Many Requests
            headers = {key.lower(): value for key, value in getattr(response, "headers", {}).items()}
            retry_after = float(headers.get("retry-after", 1))
            code = "ratelimited"
        raise SlackError(method, code or f"HTTP {status}", retry_after=retry_after) from error
    except (SlackRequestError, OSError) as error:
        raise SlackError(method, "no_answer") from error
