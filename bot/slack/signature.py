"""Signatures of Slack's HTTP requests: whose they are and how old (docs.slack.dev/authentication/verifying-requests-from-slack)."""

from __future__ import annotations

import hashlib
import hmac
import re

MAX_AGE = 300  # seconds: Slack's own advice; within them a replay is told by the inbox, which knows each delivery
_SECONDS = re.compile(r"[0-9]{1,12}")


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature that belongs to ``body`` as it was sent, at ``timestamp`` (seconds since 1970)."""
    text = b"v0:" + timestamp.encode("latin-1") + b":" + body
    return "v0=" + hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def refusal(secret: str, timestamp: str, signature: str, body: bytes, now: float) -> str:
    """Why a request is not taken for Slack's; empty when it is.

    ``timestamp`` and ``signature`` are the headers as they came, empty where missing; ``now`` is in seconds since 1970.
    Whatever they hold is answered, never raised. (Bolt's own check raises for a timestamp that is no number.)
    """
    if not timestamp or not signature:
        return "no signature"
    if not _SECONDS.fullmatch(timestamp):
        return "its timestamp is no number"
    if abs(now - int(timestamp)) > MAX_AGE:
        return "its timestamp is more than five minutes away from the clock of this machine"
    expected = sign(secret, timestamp, body).encode()
    if not hmac.compare_digest(expected, signature.encode("utf-8", errors="replace")):
        return "its signature is wrong"
    return ""
