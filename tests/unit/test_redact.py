"""No secret leaves: registered values in every form, and well-known credentials that nobody registered."""

import base64
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import SystemClock
from bot.flows.deps import TargetDeps
from bot.redact import MARK, Redactor
from checks.kinds.restore_drill.ready_probe import SHOWN, shown
from checks.registry import Registry
from clients.pods import begin_of_words, end_of_words

SECRET = 'p@ss/w+rd "é" 42&'


@pytest.fixture
def redactor() -> Redactor:
    """A redactor with one awkward secret."""
    redactor = Redactor()
    redactor.register(SECRET)
    return redactor


@pytest.mark.parametrize(
    "form",
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
def test_a_registered_secret_is_replaced_in_each_encoding(redactor, form):
    """A secret is replaced in whatever way it is encoded, and the text around it stays."""
    if "%2b" in form:  # hexadecimal digits of one text are all of one case
        form = form.replace("%C3%A9", "%c3%a9")

    assert redactor.scrub(f"before <{form}> after") == f"before <{MARK}> after"


@pytest.mark.parametrize("user", ["a", "ab", "abc", "admin"])
def test_a_secret_inside_basic_credentials_is_replaced(user):
    """A password is found in the base64 of `user:password` at any offset."""
    redactor = Redactor()
    redactor.register("correct-horse")
    credentials = base64.b64encode(f"{user}:correct-horse".encode()).decode()

    assert MARK in redactor.scrub(f"sent <{credentials}>")


@given(st.text(min_size=6, alphabet=st.characters(exclude_categories=["Cs"])), st.text(), st.text())
def test_any_secret_is_removed_from_any_text(secret, before, after):
    """No text still contains a registered secret after scrubbing, unless the mark itself does."""
    redactor = Redactor()
    redactor.register(secret)

    assert secret not in redactor.scrub(before + secret + after).replace(MARK, "\0") or secret in MARK


def test_a_slack_link_with_a_secret_stays_a_link(redactor):
    """Only the secret in a Slack link is replaced."""
    assert redactor.scrub(f"<https://x.io/?token={quote_plus(SECRET)}|page>") == f"<https://x.io/?token={MARK}|page>"


def test_a_secret_that_begins_with_another_is_replaced_whole():
    """The longer of two overlapping secrets is replaced as a whole."""
    redactor = Redactor()
    redactor.register("abcdef")
    redactor.register("abcdefghi")

    assert redactor.scrub("abcdefghi") == MARK


def test_a_short_value_is_not_registered():
    """A value of up to five characters is ignored, as ordinary words would be replaced."""
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
        ("https://hooks.slack.com/commands/T0/1/abc next", f"https://hooks.slack.com/commands/{MARK} next"),
        ("AKIAIOSFODNN7EXAMPLE, ASIAIOSFODNN7EXAMPLE", f"{MARK}, {MARK}"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", f"aws_secret_access_key = {MARK}"),
        (f"ghp_{'a1B2' * 9} github_pat_{'a1B2' * 9}", f"{MARK} {MARK}"),
        (f"glpat-{'a1B2' * 5} npm_{'a1B2' * 9} pypi-{'a1B2' * 9}", f"{MARK} {MARK} {MARK}"),
        (f"glsa_{'a1B2' * 8}_0c1d2e3f eyJrIjoi{'a1B2' * 8}==", f"{MARK} {MARK}"),
        (f"sntrys_{'eyJp' * 8}_{'a1B2' * 8}", MARK),
        (f"AIza{'a1B2-' * 7}", MARK),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\n.", f"{MARK}\n."),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\nabc and cut", MARK),
        ("token: abc123def456, next", f"token: {MARK}, next"),
        ('{"body": "{\\"token\\": \\"abc\\"}"}', f'{{"body": "{{\\"token\\": \\"{MARK}\\"}}"}}'),
        (
            "wss://wss-primary.slack.com/link/?ticket=8ad8a0d1-c1&app_id=1",
            f"wss://wss-primary.slack.com/link/?ticket={MARK}&app_id=1",
        ),
        (
            "https://b.s3.amazonaws.com/k?X-Amz-Signature=0a1b2c3d&x=1",
            f"https://b.s3.amazonaws.com/k?X-Amz-Signature={MARK}&x=1",
        ),
        ("see <https://x.io/?token=abc|the page>.", f"see <https://x.io/?token={MARK}|the page>."),
        ("<https://x.io/?token=abc123def&api_key=abc123def>", f"<https://x.io/?token={MARK}&api_key={MARK}>"),
        ("postgresql://db/app?user=bot&password=abc>def", f"postgresql://db/app?user=bot&password={MARK}"),
        ("open 'https://x.io/?token=abc123def' now", f"open 'https://x.io/?token={MARK}' now"),
        (
            json.dumps({"url": "<https://x.io/?token=abc123def|the page>", "id": 1}),
            json.dumps({"url": f"<https://x.io/?token={MARK}|the page>", "id": 1}),
        ),
        ("password=abc|def>ghi", f"password={MARK}"),
        ("https://hooks.slack.com/services/T0/B0/abc", f"https://hooks.slack.com/services/{MARK}"),
    ],
)
def test_well_known_credentials_are_replaced_unregistered(text, expected):
    """Well-known credentials are replaced by their form, and what helps to find the fault stays."""
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
        "row 57: " + "0a" * 32,
        "commit c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
        "sha256:" + "ab" * 32,
        "token: none, secret: missing since v4.8.0",
        "https://example.com/a:b@c",
        "the keys AKIA and ASIA, -----BEGIN CERTIFICATE-----",
    ],
)
def test_ordinary_text_is_unchanged(text):
    """A text that only speaks of secrets is unchanged."""
    assert Redactor().scrub(text) == text


def test_scrubbing_twice_changes_nothing(redactor):
    """A text that was scrubbed is unchanged when it is scrubbed again."""
    once = redactor.scrub(f"password={SECRET} postgresql://u:pw@h/d Bearer abc12345678")

    assert redactor.scrub(once) == once


@pytest.mark.parametrize("end", ["", "…", "...", "\n", "… \n"])
@pytest.mark.parametrize("size", [8, 12, 15])
def test_the_beginning_of_a_secret_at_the_end_of_a_text_is_replaced(size, end):
    """A vendor may cut its message within a secret, and the part of the secret is replaced too."""
    redactor = Redactor()
    redactor.register("correct-horse-99")

    assert redactor.scrub("login failed for correct-horse-99"[: 17 + size] + end) == f"login failed for {MARK}{end}"


@pytest.mark.parametrize("begin", ["", "…", "... "])
def test_the_end_of_a_secret_at_the_beginning_of_a_text_is_replaced(begin):
    """The last lines of a log may begin within a secret, and the part of the secret is replaced too."""
    redactor = Redactor()
    redactor.register("correct-horse-99")

    assert redactor.scrub(f"{begin}rect-horse-99 was wrong") == f"{begin}{MARK} was wrong"


def test_the_scheme_of_a_registered_url_is_not_replaced():
    """A word such as `postgresql` at the end of a text is not taken for the beginning of a URL."""
    redactor = Redactor()
    redactor.register("postgresql://bot:correct-horse-99@db.example.com/app")

    assert redactor.scrub("the server is postgresql") == "the server is postgresql"
    assert redactor.scrub("connecting to postgresql://bot:correct-horse") == f"connecting to {MARK}"


def test_the_password_of_a_registered_url_is_replaced_alone_too():
    """The password of a URL is replaced also without its URL and without its encoding."""
    redactor = Redactor()
    redactor.register("postgresql://bot:corr%40ct-horse@db/app")

    assert redactor.scrub("no entry for bot with corr@ct-horse") == f"no entry for bot with {MARK}"


@pytest.mark.parametrize("size", [40, 100, 4_000])
def test_a_secret_is_replaced_before_a_text_is_cut(size):
    """No part of a secret is left, wherever our own limit cuts the text."""
    redactor = Redactor()
    redactor.register("correct-horse-99")
    for at in range(size - 20, size + 4):
        text = "x" * at + "correct-horse-99" + "y" * 50

        assert "corr" not in redactor.scrub(text)[:size]


TOKEN = "ghp_" + "k7" * 18


@pytest.mark.parametrize("most", range(10, 52, 3))
def test_a_text_is_redacted_before_it_is_stored_in_part(most):
    """The pattern of a credential needs all of it, so that a text is redacted before it is cut."""
    deps = TargetDeps(clock=SystemClock(), targets={}, registry=Registry({}), redact=Redactor().scrub)

    assert deps.clean(f"refused: {TOKEN}", most) == f"refused: {MARK}"[:most]


def test_a_text_is_cut_between_words_where_it_cannot_be_redacted():
    """In the product's pod and in the log of a Job, a text is cut so that no part of a credential is left."""
    beginnings = {at: ("x " * SHOWN)[: SHOWN - at - 10] + '"token": "' for at in range(1, 40)}
    log = b"tried " + TOKEN.encode() + b" and " + TOKEN.encode() + b" again"

    assert {at: shown(f'{begin}{TOKEN}"}}') for at, begin in beginnings.items()} == {
        at: f"{begin}…" for at, begin in beginnings.items()
    }
    assert {log[: end_of_words(log[:at])] for at in range(7, 46)} == {b"tried "}
    assert {log[at + begin_of_words(log[at:]) :] for at in range(52, 91)} == {b" again"}
