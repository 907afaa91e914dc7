"""No secret leaves: registered values in every form, and well-known credentials that nobody registered."""

import base64
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.redact import MARK, Redactor

SECRET = 'p@ss/w+rd "é" 42&'


@pytest.fixture
def redactor() -> Redactor:
    """A redactor that knows one awkward secret."""
    redactor = Redactor()
    redactor.register(SECRET)
    return redactor


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(SECRET, id="plain"),
        pytest.param(quote(SECRET), id="path"),
        pytest.param(quote(SECRET, safe=""), id="url"),
        pytest.param(quote(SECRET, safe="").replace("%2F", "%2f").replace("%2B", "%2b"), id="mixed case url"),
        pytest.param(quote_plus(SECRET), id="form"),
        pytest.param(json.dumps(SECRET)[1:-1], id="json"),
        pytest.param(json.dumps(SECRET, ensure_ascii=False)[1:-1], id="json in utf-8"),
        pytest.param(base64.b64encode(SECRET.encode()).decode(), id="base64"),
        pytest.param(base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="), id="base64url"),
    ],
)
def test_registered_secret_is_replaced_in_each_form(redactor, written):
    """Whichever way the value is encoded, the mark stands in its place and the rest stays."""
    if "%2b" in written:  # hexadecimal digits of one text are all of one case
        written = written.replace("%C3%A9", "%c3%a9")

    assert redactor.scrub(f"before <{written}> after") == f"before <{MARK}> after"


@pytest.mark.parametrize("user", ["a", "ab", "abc", "admin"])
def test_secret_inside_basic_credentials(user):
    """A password is found in the base64 of `user:password`, at whatever offset."""
    redactor = Redactor()
    redactor.register("correct-horse")
    encoded = base64.b64encode(f"{user}:correct-horse".encode()).decode()

    assert MARK in redactor.scrub(f"sent <{encoded}>")


@given(st.text(min_size=6, alphabet=st.characters(exclude_categories=["Cs"])), st.text(), st.text())
def test_any_secret_anywhere(secret, before, after):
    """No text that holds the secret still holds it after scrubbing, unless the mark itself does."""
    redactor = Redactor()
    redactor.register(secret)

    assert secret not in redactor.scrub(before + secret + after).replace(MARK, "\0") or secret in MARK


def test_longer_secret_goes_as_a_whole():
    """A secret that begins with another one leaves no tail."""
    redactor = Redactor()
    redactor.register("abcdef")
    redactor.register("abcdefghi")

    assert redactor.scrub("abcdefghi") == MARK


def test_short_value_is_not_registered():
    """Five characters are too few: ordinary words would go."""
    redactor = Redactor()
    redactor.register("admin")
    redactor.register("")

    assert redactor.scrub("the admin page") == "the admin page"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token xoxb-123-456-abcDEF is", f"token {MARK} is"),
        ("xoxe.xoxp-1-Mi0yLTk4NzY1", MARK),
        ("xapp-1-A0-123-abcdef", MARK),
        ("key sk_live_51Habcdefgh.", f"key {MARK}."),
        ("rk_test_51Habcdefgh", MARK),
        ("whsec_abcd+/efgh12==", MARK),
        ("postgresql://bot:hunter2@db/app", f"postgresql://bot:{MARK}@db/app"),
        ("redis://:p@ss@cache:6379/0", f"redis://:{MARK}@cache:6379/0"),
        ("host=db password=hunter22 user=bot", f"host=db password={MARK} user=bot"),
        ("password='a b' x", f"password='{MARK}' x"),
        (urlencode({"access_token": "abc123def", "page": 2}), f"access_token={MARK}&page=2"),
        ('{"client_secret": "abc", "id": 1}', f'{{"client_secret": "{MARK}", "id": 1}}'),
        ("Authorization: Bearer abc123.def-456", f"Authorization: Bearer {MARK}"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeK", MARK),
        (f"https://{'0a' * 16}@o1.ingest.sentry.io/2", f"https://{MARK}@o1.ingest.sentry.io/2"),
        ("https://hooks.slack.com/services/T0/B0/abc", f"https://hooks.slack.com/services/{MARK}"),
    ],
)
def test_credentials_nobody_registered(text, expected):
    """Well-known credentials go by their looks; what helps to find the fault stays."""
    assert Redactor().scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "basic authentication is off",
        "Slack token: missing",
        "secret sol-api-secrets exists",
        "http://127.0.0.1:8080/health",
        "pk_live is public, sk_ is not",
        "claim token=7",
        "postgresql://bot@db/app?password_encryption",
    ],
)
def test_ordinary_text_stays(text):
    """What only speaks of secrets is not touched."""
    assert Redactor().scrub(text) == text


def test_scrubbing_twice_changes_nothing(redactor):
    """Text may pass through several doors."""
    once = redactor.scrub(f"password={SECRET} postgresql://u:pw@h/d Bearer abc12345678")

    assert redactor.scrub(once) == once
