"""Keeps secrets out of everything that leaves the process: messages, evidence, audit rows and logs.

Two nets: values that were registered (exact, in each form in which they travel), and patterns of well-known credentials
(for values that nobody has registered, such as one in a vendor's error message).
"""

import base64
import json
import re
import threading
from urllib.parse import quote, quote_plus

MARK = "[redacted]"

MIN_LENGTH = 6
"""Shorter values are not registered: they would blot out ordinary words."""

PATTERNS = (
    # docs.slack.dev/authentication/tokens: xoxb-, xoxp-, xoxe.xoxp-, ...; xapp- for app-level tokens
    r"\bxox[a-z](?:\.xox[a-z])?-[\w-]{8,}",
    r"\bxapp-[\w-]{8,}",
    # docs.stripe.com/keys: secret and restricted keys; docs.stripe.com/webhooks: signing secrets
    r"\b[sr]k_(?:live|test)_\w{8,}",
    r"\bwhsec_[\w+/=]{8,}",
    # RFC 7519: header, payload and signature; header and payload are JSON objects, in base64 `eyJ...`
    r"\beyJ[\w-]{6,}\.eyJ[\w-]{6,}\.[\w-]*",
    # docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: the path is the secret
    r"(?<=hooks\.slack\.com/services/)[\w/]+",
    # RFC 3986 userinfo: the password of a database URL
    r"(?<=://)(?P<user>[^\s/?#@:]*):(?P<password>[^\s/?#]+)(?=@)",
    # develop.sentry.dev/sdk: https://<public key>[:<secret>]@host/<project>
    r"(?<=://)[0-9a-f]{32}(?=@)",
    # connection strings (`password=...`), query strings, and JSON or Python texts (`"token": "..."`)
    (
        r"(?i:(?P<key>\b\w*(?:password|passwd|secret|token|api_?key|access_?key)(?:\s*=\s*|[\"']\s*:\s*(?=[\"']))[\"']?))"
        r"(?:(?<=[\"'])[^\"']+|[^\s&;,\"']{6,})"
    ),
    # RFC 9110 section 11: credentials in a header; a digit tells them from "basic authentication"
    r"(?i:(?P<scheme>\b(?:bearer|basic)\s+))(?=\S*\d)[\w.~+/=-]{8,}",
)
_PATTERN = re.compile("|".join(PATTERNS))
_KEPT = ("key", "scheme")


class Redactor:
    """Replaces secrets in text by `[redacted]`. One per process; threads may share it."""

    def __init__(self) -> None:
        """Know no value yet, only the patterns."""
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._registered: re.Pattern[str] | None = None

    def register(self, secret: str) -> None:
        """Remember a secret value, so that it and its usual encodings never leave again.

        A value of fewer than six characters is ignored.
        """
        if len(secret) < MIN_LENGTH:
            return
        with self._lock:
            self._forms |= _forms(secret)
            # The longest first, so that a secret that contains another one goes as a whole.
            self._registered = re.compile("|".join(map(re.escape, sorted(self._forms, key=len, reverse=True))))

    def scrub(self, text: str) -> str:
        """Return the text without registered secrets and without what looks like a credential."""
        if self._registered is not None:
            text = self._registered.sub(MARK, text)
        return _PATTERN.sub(_replacement, text)


def _replacement(found: re.Match[str]) -> str:
    if found["password"] is not None:
        return f"{found['user']}:{MARK}"
    return "".join(found[name] or "" for name in _KEPT) + MARK


def _forms(secret: str) -> set[str]:
    """Return the ways in which a value is written: plain, URL-encoded, JSON-escaped, base64 at any offset."""
    forms = {secret}
    for encoded in (quote(secret, safe=""), quote_plus(secret), quote(secret)):
        forms |= {encoded, re.sub("%..", lambda found: found[0].lower(), encoded)}
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    raw = secret.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        forms |= {whole, whole.rstrip("=")}
        # Inside a longer text (Basic auth's user:password) the value starts at any of three offsets; the characters
        # at both ends that also hold bits of the neighbours are left out.
        for offset in range(3):
            shifted = encode(b"\0" * offset + raw).decode().rstrip("=")
            inner = shifted[(offset * 8 + 5) // 6 : (offset + len(raw)) * 8 // 6]
            if len(inner) >= MIN_LENGTH:
                forms.add(inner)
    return forms
