"""http_json: status and values of one JSON answer."""

import pytest

from checks.contract import Outcome
from clients.target import Target
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.fix_checks import production_target, run, staging_target

HEALTH = {"path": "/health", "expect": {"status": "healthy"}}


def api(url: str) -> Target:
    """A target that has nothing but an API."""
    return Target(name="staging", api_url=url)


def test_a_healthy_answer_passes(sandbox):
    """The product's health answer is a PASS."""
    result = run("http_json", HEALTH, target=staging_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary == "/health answers 200, status = 'healthy'"


def test_a_200_with_an_error_in_its_body_fails(sandbox):
    """A 200 whose body says error is a FAIL, also on production."""
    with sandbox.fault("health_error"):
        result = run("http_json", HEALTH, target=production_target(sandbox))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "/health answers 200, but status is 'error', not 'healthy'"


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ({"checks.database": "healthy"}, "checks.database is 'down', not 'healthy'"),
        ({"packs.1": "routing"}, "packs.1 is 'roster', not 'routing'"),
        ({"packs.7": "routing"}, "no packs.7"),
        ({"checks.cache": "healthy"}, "no checks.cache"),
        ({"ready": True}, "ready is 1, not True"),
        ({"none": "x"}, "none is None, not 'x'"),
    ],
)
def test_values_are_found_by_their_path(expect, problem):
    """A dotted path goes through objects and lists, 1 is not true, and a missing value is named."""
    body = {"checks": {"database": "down"}, "packs": ["solver", "roster"], "ready": 1, "none": None}
    with Replies({"GET /health/ready": Reply(200, body)}) as server:
        result = run("http_json", {"path": "/health/ready", "expect": expect}, target=api(server.url))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == f"/health/ready answers 200, but {problem}"


def test_another_status_fails():
    """An error status of the product itself is a FAIL."""
    with Replies({"GET /health": Reply(500, "Internal Server Error")}) as server:
        result = run("http_json", HEALTH, target=api(server.url))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "/health answers 500, not 200"
    assert "Internal Server Error" in result.answer.evidence.seen


def test_an_answer_that_is_no_json_is_an_error():
    """An answer that is no JSON is an ERROR and is shown in the evidence."""
    with Replies({"GET /health": Reply(200, "<h1>Welcome to nginx</h1>")}) as server:
        result = run("http_json", HEALTH, target=api(server.url))

    assert result.outcome is Outcome.ERROR
    assert "Welcome to nginx" in result.answer.evidence.seen


def test_a_product_that_is_down_is_an_error(sandbox):
    """A 503 of the gateway is an ERROR."""
    with sandbox.fault("product_down"):
        result = run("http_json", HEALTH, target=staging_target(sandbox))

    assert result.outcome is Outcome.ERROR
    assert "503, the product doesn't answer" in result.answer.summary


def test_an_unreachable_api_is_an_error():
    """An API that cannot be reached is an ERROR."""
    result = run("http_json", HEALTH, target=api(closed_port_url()))

    assert result.outcome is Outcome.ERROR


@pytest.mark.parametrize("reply", [Reply(503, "later"), None], ids=["gateway", "nobody"])
def test_an_unreachable_api_may_be_a_failure(reply):
    """With `unreachable: fail`, as in the watch, an unreachable product fails; a missing setting does not."""
    with Replies({"GET /health": reply or Reply(200)}) as server:
        target = api(server.url if reply else closed_port_url())
        result = run("http_json", HEALTH | {"unreachable": "fail"}, target=target)
    unset_result = run("http_json", HEALTH | {"unreachable": "fail"}, target=Target(name="production"))

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary.startswith("cannot get http://127.0.0.1:")
    assert unset_result.outcome is Outcome.ERROR
