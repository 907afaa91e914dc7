"""http_pages: pages answer at their own address, without a log-in, with the text that belongs on them."""

import pytest

from checks.contract import Outcome
from clients.target import Target
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.fix_checks import run, staging_target

HEADING = "Impressum"
PAGE = f"<html><head><title>x</title></head><body><h1>{HEADING}</h1></body></html>"
IMPRINT = {"pages": [{"path": "/legal/imprint", "text": HEADING}]}
LEGAL = {
    "pages": [
        {"path": "/legal/terms", "text": "Allgemeine Geschäftsbedingungen"},
        {"path": "/legal/privacy", "text": "Datenschutzerklärung"},
        {"path": "/legal/imprint", "text": HEADING},
    ]
}


def site(url: str) -> Target:
    """A target with a frontend only."""
    return Target(name="staging", frontend_url=url)


def test_all_pages_pass(sandbox):
    """All legal pages of the frontend answer with their headings, and the PASS names them."""
    result = run("http_pages", LEGAL, target=staging_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary == "3 pages answer as expected: /legal/terms, /legal/privacy, /legal/imprint"


def test_a_missing_page_is_named(sandbox):
    """A missing page is a FAIL that names exactly this page and its status."""
    with sandbox.fault("legal_page_missing"):
        result = run("http_pages", LEGAL, target=staging_target(sandbox))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "/legal/imprint answers 404, not 200"


def test_a_redirect_to_the_login_fails():
    """A page that redirects to the login is not public, even though the login page answers 200."""
    routes = {
        "GET /legal/imprint": Reply(307, "", {"Location": "/platform/login?next=/legal/imprint"}),
        "GET /platform/login": Reply(200, PAGE),
    }
    with Replies(routes) as server:
        result = run("http_pages", IMPRINT, target=site(server.url))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "/legal/imprint redirects to /platform/login"


def test_a_redirect_to_the_same_page_is_followed():
    """A redirect that only adds a slash is followed."""
    routes = {
        "GET /legal/imprint": Reply(308, "", {"Location": "/legal/imprint/"}),
        "GET /legal/imprint/": Reply(200, PAGE),
    }
    with Replies(routes) as server:
        result = run("http_pages", IMPRINT, target=site(server.url))

    assert result.outcome is Outcome.PASS


def test_an_endless_redirect_fails():
    """A page that redirects to itself for ever does not answer."""
    with Replies({"GET /legal/imprint": Reply(302, "", {"Location": "/legal/imprint"})}) as server:
        result = run("http_pages", IMPRINT, target=site(server.url))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "/legal/imprint answers 302, not 200"


@pytest.mark.parametrize(
    "body",
    [f"<script>const title = '{HEADING}'</script><h1>Oops</h1>", f"<!-- {HEADING} -->", f'<meta content="{HEADING}">'],
    ids=["script", "comment", "attribute"],
)
def test_the_text_has_to_be_visible(body):
    """Text in a script, comment or attribute does not count."""
    with Replies({"GET /legal/imprint": Reply(200, body)}) as server:
        result = run("http_pages", IMPRINT, target=site(server.url))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == f'/legal/imprint doesn\'t contain "{HEADING}"'


def test_text_is_read_as_a_person_reads_it():
    """Entities, inline markup and line breaks do not hide a text."""
    page = {"pages": [{"path": "/", "text": "Terms & conditions of use"}]}
    with Replies({"GET /": Reply(200, "<h1>Terms &amp;\n conditions <b>of use</b></h1>")}) as server:
        result = run("http_pages", page, target=site(server.url))

    assert result.outcome is Outcome.PASS


def test_a_page_that_is_no_html_fails():
    """A JSON answer that contains the text is no page."""
    with Replies({"GET /legal/imprint": Reply(200, {"title": HEADING})}) as server:
        result = run("http_pages", IMPRINT, target=site(server.url))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "/legal/imprint is application/json, not text/html"


def test_every_bad_page_is_named():
    """The summary names each page that failed."""
    pages = {"pages": [{"path": "/a"}, {"path": "/b"}]}
    with Replies({"GET /b": Reply(500, "")}) as server:
        result = run("http_pages", pages, target=site(server.url))

    assert result.answer.summary == "/a answers 404, not 200; /b answers 500, not 200"


def test_expected_status_may_be_another():
    """A page that must be closed can be expected to answer 404."""
    with Replies({}) as server:
        result = run("http_pages", {"pages": [{"path": "/docs", "status": 404}]}, target=site(server.url))

    assert result.outcome is Outcome.PASS


def test_a_gateway_error_is_an_error():
    """A 503 of a gateway says nothing about the page: ERROR."""
    with Replies({"GET /legal/imprint": Reply(503, "")}) as server:
        result = run("http_pages", IMPRINT, target=site(server.url))

    assert result.outcome is Outcome.ERROR
    assert "503, the product doesn't answer" in result.answer.summary


def test_an_unreachable_frontend_is_an_error():
    """A frontend that cannot be reached is an ERROR and no FAIL."""
    result = run("http_pages", IMPRINT, target=site(closed_port_url()))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("cannot get http://127.0.0.1:")


def test_a_target_without_a_frontend_is_an_error():
    """The error names the missing setting."""
    result = run("http_pages", IMPRINT, target=Target(name="staging"))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == "staging has no frontend_url"
    assert result.answer.hint == "Set targets.staging.frontend_url in release-bot.yml."
