"""api_flow: the test user logs in once and reads what needs a session."""

import pytest

from checks.contract import Outcome
from clients.target import Login, Target
from tests.checks.replies import Replies, Reply, Request, Route, closed_port_url
from tests.fix_checks import production_target, run, staging_target

COOKIE = "__Host-sv_platform_session=abc; HttpOnly; Secure; SameSite=strict; Path=/"
LOGIN_REPLY = Reply(200, {"success": True, "tenant_id": 90}, {"Set-Cookie": COOKIE})


def api(url: str) -> Target:
    """A target with an API and a test user."""
    return Target(name="production", api_url=url, login=Login(email="qa@solvereign.example", password="long enough"))


def plans(request: Request) -> Reply:
    """The product's answer to a request with its session cookie, and to one without."""
    if "__Host-sv_platform_session=abc" not in (request.headers.get("Cookie") or ""):
        return Reply(401, {"detail": "Authentication required"})
    return Reply(200, {"success": True, "plans": [], "total": 0})


@pytest.mark.parametrize("target", [staging_target, production_target], ids=["staging", "production"])
def test_a_read_with_a_session_passes(sandbox, target):
    """The check logs in and reads the plans, and passes even on production because it changes nothing."""
    result = run("api_flow", {}, target=target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary == "logged in, GET /api/v1/roster/plans answers 200, success = True"


def test_a_failed_read_after_the_login_fails(sandbox):
    """If the product answers 500 to the read, the check fails and says that the login worked."""
    with sandbox.fault("smoke_error"):
        result = run("api_flow", {}, target=production_target(sandbox))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "logged in, but GET /api/v1/roster/plans answers 500, not 200"


def test_the_secure_cookie_is_sent_back():
    """The product's __Host- cookie is sent with the read, and neither Origin nor Referer is."""
    with Replies({"POST /api/auth/login": LOGIN_REPLY, "GET /api/v1/roster/plans": plans}) as server:
        result = run("api_flow", {}, target=api(server.url))

    assert result.outcome is Outcome.PASS
    assert not {"origin", "referer"} & {name.lower() for name in server.requests[-1].headers}


def test_an_answer_without_success_fails():
    """An answer with status 200 whose body does not say success is a FAIL."""
    routes = {"POST /api/auth/login": LOGIN_REPLY, "GET /api/v1/roster/plans": Reply(200, {"success": False})}
    with Replies(routes) as server:
        result = run("api_flow", {}, target=api(server.url))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary.endswith("answers 200, but success is False, not True")


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "login"), (403, "unlock it"), (429, "wait 15 minutes"), (422, "/api/auth/login")],
)
def test_a_refused_login_is_an_error(status, hint):
    """If the test user cannot log in, nothing is known about the product: ERROR with a hint."""
    with Replies({"POST /api/auth/login": Reply(status, {"detail": {"success": False}})}) as server:
        result = run("api_flow", {}, target=api(server.url))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == f"cannot log in on production: {status}"
    assert hint in result.answer.hint
    assert [request.path for request in server.requests] == ["/api/auth/login"]


def test_a_session_that_is_not_accepted_is_an_error():
    """A 401 after a good login is a problem of the session and not of the page: ERROR."""
    routes = {
        "POST /api/auth/login": LOGIN_REPLY,
        "GET /api/v1/roster/plans": Reply(401, {"detail": "Authentication required"}),
    }
    with Replies(routes) as server:
        result = run("api_flow", {}, target=api(server.url))

    assert result.outcome is Outcome.ERROR
    assert "the session was not accepted" in result.answer.summary


@pytest.mark.parametrize(
    ("reply", "summary"),
    [
        (Reply(200, {"success": True}), "the login sets no cookie"),
        (Reply(500, "Internal Server Error"), "the login answers 500"),
    ],
)
def test_a_login_that_does_not_work_fails(reply, summary):
    """A product that cannot log anybody in is known to be bad: FAIL."""
    with Replies({"POST /api/auth/login": reply}) as server:
        result = run("api_flow", {}, target=api(server.url))

    assert (result.outcome, result.answer.summary) == (Outcome.FAIL, summary)


def test_the_attributes_of_the_cookie_are_evidence():
    """The evidence shows the attributes of the cookie and not its value."""
    with Replies({"POST /api/auth/login": LOGIN_REPLY, "GET /api/v1/roster/plans": plans}) as server:
        evidence = run("api_flow", {}, target=api(server.url)).answer.evidence.seen

    assert evidence.startswith("login: 200, cookie (HttpOnly; Secure; SameSite=strict; Path=/)\nthen: 200 ")


@pytest.mark.parametrize("down", ["POST /api/auth/login", "GET /api/v1/roster/plans"])
def test_a_gateway_error_is_an_error(down):
    """A 503 at either request is an ERROR."""
    routes: dict[str, Route] = {"POST /api/auth/login": LOGIN_REPLY, "GET /api/v1/roster/plans": plans}
    with Replies(routes | {down: Reply(503, "")}) as server:
        result = run("api_flow", {}, target=api(server.url))

    assert result.outcome is Outcome.ERROR
    assert "503, the product doesn't answer" in result.answer.summary


def test_an_unreachable_api_is_an_error():
    """An API that cannot be reached is an ERROR."""
    assert run("api_flow", {}, target=api(closed_port_url())).outcome is Outcome.ERROR


def test_the_password_is_not_in_the_evidence():
    """No part of the answer contains the password or the cookie."""
    with Replies({"POST /api/auth/login": LOGIN_REPLY, "GET /api/v1/roster/plans": plans}) as server:
        result = run("api_flow", {}, target=api(server.url))

    assert "long enough" not in repr(result)
    assert "__Host-sv_platform_session" not in repr(result)


def test_a_target_without_a_login_is_an_error():
    """The error names the missing section."""
    result = run("api_flow", {}, target=Target(name="production", api_url="http://127.0.0.1:1/"))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == "production has no login section"
