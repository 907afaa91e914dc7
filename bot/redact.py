"""Keeps secrets out of everything that leaves the process: messages, evidence, audit rows, logs and packs.

Two nets: values that were registered (exact, in each form in which they travel, and halves of them where a text was cut),
and patterns of well-known credentials (for values that nobody has registered, such as one in a vendor's error message).
Redact first, then cut: half of a credential that a pattern would have known is not known any more.
"""

import base64
import json
import re
import threading
from urllib.parse import quote, quote_plus, unquote, urlsplit

MARK = "[redacted]"

MIN_LENGTH = 6
"""Shorter values are not registered: they would blot out ordinary words."""

HALF = 8
"""At least so many characters, and half of a registered value, are redacted where a text begins or ends in the middle of it."""

_NAMES = r"(?:pass(?:word|wd|phrase)|secret|token|ticket|credential|signature|private_?key|api_?key|access_?key)"

# Each with what every match of it holds: a text without that is not searched, which makes long texts ten times faster.
PATTERNS: tuple[tuple[tuple[str, ...], str], ...] = (
    # docs.slack.dev/authentication/tokens: xoxb-, xoxp-, xoxe.xoxp-, ...; xapp- for app-level tokens
    (("xox",), r"\bxox[a-z](?:\.xox[a-z])?-[\w-]{8,}"),
    (("xapp-",), r"\bxapp-[\w-]{8,}"),
    # docs.stripe.com/keys: secret and restricted keys; docs.stripe.com/webhooks: signing secrets
    (("k_live_", "k_test_"), r"\b[sr]k_(?:live|test)_\w{8,}"),
    (("whsec_",), r"\bwhsec_[\w+/=]{8,}"),
    # docs.aws.amazon.com/IAM: unique identifiers of access keys, permanent and temporary
    (("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    # github.blog/engineering/behind-githubs-new-authentication-token-formats; gitlab, npm and PyPI follow the same idea
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_\w{20,}"),
    (("github_pat_",), r"\bgithub_pat_\w{20,}"),
    (("glpat-", "npm_", "pypi-"), r"\b(?:glpat-|npm_|pypi-)[\w-]{16,}"),
    # grafana.com/docs: service account tokens, cloud access policies, and API keys of old (base64 of `{"k":"`)
    (("glsa_", "glc_", "eyJrIjoi"), r"\b(?:glsa_|glc_|eyJrIjoi)[\w+/=-]{16,}"),
    # docs.sentry.io/api/auth: organization and user tokens
    (("sntrys_", "sntryu_"), r"\bsntry[su]_[\w+/=-]{16,}"),
    # cloud.google.com/docs/authentication/api-keys
    (("AIza",), r"\bAIza[\w-]{30,}"),
    # RFC 7519: header, payload and signature; header and payload are JSON objects, in base64 `eyJ...`
    (("eyJ",), r"(?<![\w-])eyJ[\w-]{6,}\.eyJ[\w-]{6,}\.[\w-]*"),
    # RFC 7468: private keys as text, also when the end was cut off
    (("PRIVATE KEY-----",), r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"),
    # docs.slack.dev: incoming webhooks and response_urls; the path is the secret
    (
        ("hooks.slack.com/",),
        r"(?<=hooks\.slack\.com/)(?P<kept>(?:services|commands|actions|workflows|triggers)/)[\w/-]+",
    ),
    # RFC 3986 userinfo: the password of a database URL
    (("://",), r"(?<=://)(?P<kept>[^\s/?#@:]*:)[^\s/?#]+(?=@)"),
    # develop.sentry.dev/sdk: https://<public key>[:<secret>]@host/<project>
    (("://",), r"(?<=://)[0-9a-f]{32}(?=@)"),
    # docs.slack.dev/messaging/formatting: a link <https://host?token=...|words>, which without its end would be none; in an
    # address neither | nor > stands for itself (RFC 3986). Of several credentials the last, which alone stands at the end.
    (
        ("<http",),
        (
            rf"(?P<kept><https?://[^\s<>|]{{0,3000}}[?&][\w.~%-]{{0,60}}(?i:{_NAMES})=)"
            r"(?:[^\s&;,\"'\\<>|]{6,}|[^\s&;,\"'\\<>|]{1,5}(?=[|>]))"
        ),
    ),
    # connection strings (`password=...`), query strings, and JSON or Python texts (`"token": "..."`), also JSON inside of JSON
    (
        ("=", ":"),
        (
            rf"(?P<kept>(?i:{_NAMES}(?:\s{{0,9}}=\s{{0,9}}|\\{{0,9}}[\"']\s{{0,9}}:\s{{0,9}}(?=\\{{0,9}}[\"']))\\{{0,9}}[\"']?))"
            rf"(?:(?<=[\"'])[^\"'\\]+|(?!{re.escape(MARK)}[|>])[^\s&;,\"'\\]{{6,}})"
        ),
    ),
    # the same in YAML and in prose (`token: ...`); a digit tells it from "token: missing"
    ((": ",), rf"(?P<kept>(?i:{_NAMES}\s{{0,9}}:\s{{1,9}}))(?=[^\s,;\d]{{0,999}}\d)[^\s,;\"']{{8,}}"),
    # RFC 9110 section 11: credentials in a header; a digit tells them from "basic authentication"
    (("earer ", "asic ", "EARER ", "ASIC "), r"(?P<kept>\b(?i:bearer|basic)\s{1,9})(?=[^\s\d]{0,999}\d)[\w.~+/=-]{8,}"),
)
_SEARCHES = tuple((needles, re.compile(pattern)) for needles, pattern in PATTERNS)
_CUT = re.compile(r"(?:…|\.\.\.)?\s{0,9}\Z")  # what is put where a text was cut


class Redactor:
    """Replaces secrets in text by `[redacted]`. One per process; threads may share it."""

    def __init__(self) -> None:
        """Begin without registered values, with the patterns only."""
        self._lock = threading.Lock()
        # The longest first, so that a secret which contains another one is replaced as a whole.
        self._forms: tuple[str, ...] = ()
        self._beginnings: frozenset[str] = frozenset()
        self._ends: frozenset[str] = frozenset()
        self._longest = 0

    def register(self, secret: str) -> None:
        """Remember a secret value, so that it and its usual encodings never leave again; of a URL its password, too.

        A value of fewer than six characters is ignored.
        """
        with self._lock:
            existing_forms = set(self._forms)
            for value in {secret, secret.strip(), _password_of(secret)}:
                if len(value) >= MIN_LENGTH:
                    existing_forms |= _forms(value)
            self._forms = tuple(sorted(existing_forms, key=len, reverse=True))
            self._longest = max(map(len, existing_forms), default=0)
            sizes = [(form, range(max(HALF, len(form) // 2), len(form))) for form in existing_forms]
            self._beginnings = frozenset(form[:size] for form, each in sizes for size in each)
            self._ends = frozenset(form[-size:] for form, each in sizes for size in each)

    def scrub(self, text: str) -> str:
        """Return the text without registered secrets, without halves of them at its ends, and without what looks like one."""
        for form in self._forms:  # a search for each is faster than one expression of all, by far in a long text
            if form in text:
                text = text.replace(form, MARK)
        text = self._without_halves(text)
        for needles, search in _SEARCHES:
            if any(needle in text for needle in needles):
                text = search.sub(_replacement, text)
        return text

    def _without_halves(self, text: str) -> str:
        cut = _CUT.search(text, max(0, len(text) - 12))
        end = cut.start() if cut is not None else len(text)
        for size in range(min(self._longest - 1, end), HALF - 1, -1):
            if text[end - size : end] in self._beginnings:
                text = text[: end - size] + MARK + text[end:]
                break
        begin = len(text) - len(text.lstrip("….\n\t "))
        for size in range(min(self._longest - 1, len(text) - begin), HALF - 1, -1):
            if text[begin : begin + size] in self._ends:
                return text[:begin] + MARK + text[begin + size :]
        return text


def _replacement(match: re.Match[str]) -> str:
    prefix: str = match.groupdict().get("kept") or ""
    return prefix + MARK


def _password_of(secret: str) -> str:
    """Return the password in a URL such as a DSN; empty if there is none."""
    try:
        return unquote(urlsplit(secret).password or "") if "://" in secret else ""
    except ValueError:  # no URL after all
        return ""


def _forms(secret: str) -> set[str]:
    """Return the ways in which a value is written: plain, URL-encoded, JSON-escaped, base64 at any offset."""
    forms = {secret}
    for quoted_form in (quote(secret, safe=""), quote_plus(secret), quote(secret)):
        forms |= {quoted_form, re.sub("%..", lambda match: match[0].lower(), quoted_form)}
    json_forms = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= json_forms | {json.dumps(once)[1:-1] for once in json_forms} | {repr(secret)[1:-1]}
    raw = secret.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        forms |= {whole, whole.rstrip("=")}
        # Inside a longer text (Basic auth's user:password) the value starts at any of three offsets; the characters
        # at both ends that also hold bits of the neighbours are left out.
        for offset in range(3):
            base64_text = encode(b"\0" * offset + raw).decode().rstrip("=")
            inner = base64_text[(offset * 8 + 5) // 6 : (offset + len(raw)) * 8 // 6]
            if len(inner) >= MIN_LENGTH:
                forms.add(inner)
    return forms
