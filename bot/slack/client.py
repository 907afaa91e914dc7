"""The Web API clients of the bot, and the one seam where Slack's errors become ours."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackRequestError
from slack_sdk.webhook import WebhookClient

from bot.errors import VendorError

_CODE = re.compile(r"[a-z0-9_]+")
TIMEOUT = 8  # seconds; the SDK's own 30 would hold a worker for too long
SPACING = timedelta(seconds=1)  # between two updates of one message: Slack allows about one a second
UNREACHABLE = timedelta(seconds=15)  # channel gone, bot removed: try again slowly, somebody has to act
OPEN_ENDED = frozenset({"no_answer", "internal_error", "fatal_error", "service_unavailable", "request_timeout"})
NO_CHANNEL = frozenset({"channel_not_found", "not_in_channel", "is_archived"})
_BAD_TOKEN = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type"}
)


class SlackError(VendorError):
    """Slack refused a call or did not answer it."""

    def __init__(self, method: str, code: str, *, retry_after: float | None = None) -> None:
        """``code``: Slack's error, or ``no_answer``; ``retry_after``: seconds, when Slack asks for a pause."""
        message = f"Slack didn't answer {method}." if code == "no_answer" else f"Slack answered {code} to {method}."
        super().__init__(message, hint=_what_to_do(method, code))
        self.method, self.code, self.retry_after = method, code, retry_after


def _what_to_do(method: str, code: str) -> str:
    """What helps against an error that somebody has to act on; empty where there is nothing to say."""
    app = method == "apps.connections.open"
    if code in _BAD_TOKEN or (app and code in {"missing_scope", "no_permission"}):
        if app:
            return "Set SLACK_APP_TOKEN to the app-level token (xapp-…) with connections:write: Basic Information on the app's page."
        return "Set SLACK_BOT_TOKEN to the bot token (xoxb-…): OAuth & Permissions on the app's page, once the app is installed."
    if code == "socket_mode_not_enabled":
        return "Turn on Socket Mode on the app's page, or create the app again from manifest.yml."
    if code == "missing_scope":
        return "Install the app again from manifest.yml."
    if code == "no_answer":
        return "Check slack.api_url, and that Slack can be reached from here."
    return ""


def again_at(error: SlackError, now: datetime) -> datetime | None:
    """When a call that Slack refused may be made again; None where waiting alone will not help."""
    if error.retry_after is not None:
        return now + timedelta(seconds=error.retry_after)
    if error.code in OPEN_ENDED or error.code.startswith("HTTP 5"):
        return now + SPACING
    if error.code in NO_CHANNEL:
        return now + UNREACHABLE
    return None


def web_client(token: str, api_url: str) -> WebClient:
    """A client that never sends a call twice by itself: what is repeated is decided by the caller, who knows if it may be.

    The SDK takes proxies from the environment even for loopback addresses, so for those they are switched off.
    """
    client = WebClient(token=token, base_url=api_url, timeout=TIMEOUT, retry_handlers=[])
    if is_loopback(api_url):
        client.proxy = None
    return client


def webhook_client(url: str) -> WebhookClient:
    """A client for one response_url; the same rules as for `web_client`."""
    client = WebhookClient(url, timeout=TIMEOUT, retry_handlers=[])
    if is_loopback(url):
        client.proxy = None
    return client


def is_loopback(url: str) -> bool:
    """Whether ``url`` stays on this machine, where no proxy has anything to do."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
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
        status = int(getattr(response, "status_code", 0))
        headers = getattr(response, "headers", {})
        code = _code_of(response, status)
        retry_after = _retry_after(headers) if code == "ratelimited" else None
        raise SlackError(method, code, retry_after=retry_after) from error
    except (SlackRequestError, HTTPException, OSError) as error:
        raise SlackError(method, "no_answer") from error


def _code_of(response: Any, status: int) -> str:
    """Slack's error; ``HTTP 503`` and the like where the answer was none of Slack's JSON, for which the SDK makes up a text."""
    code = "" if isinstance(response, str) else str(response.get("error", ""))
    if status == HTTPStatus.TOO_MANY_REQUESTS or code in {"ratelimited", "rate_limited"}:
        return "ratelimited"
    return code if _CODE.fullmatch(code) else f"HTTP {status}"


def _retry_after(headers: Mapping[str, str]) -> float:
    """The seconds of Retry-After; a second where there is none, or a date of a proxy."""
    value = {key.lower(): value for key, value in headers.items()}.get("retry-after", "")
    return float(value) if value.isdecimal() else 1.0
