"""stripe_endpoint: endpoints as a Stripe account may hold them."""

import pytest

from checks.contract import CheckError, Outcome
from checks.solvereign.stripe_endpoint import HANDLED, expand
from clients.target import Target
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.fix_checks import production_target, run, staging_target, with_changes

URL = "https://api.example.com/api/billing/webhook"


def endpoint(number: int = 1, **changes: object) -> dict[str, object]:
    """A valid endpoint."""
    values = {"url": URL, "status": "enabled", "livemode": True, "enabled_events": ["*"]}
    return {"id": f"we_{number}", "object": "webhook_endpoint", **values, **changes}


def ask(*endpoints: dict[str, object], key: str = "rk_live_x", url: str = "", **params: object):
    """Run the check on an account with these endpoints, two on each page."""

    def listing(request):
        after = request.query.get("starting_after", [""])[0]
        start = next((at + 1 for at, one in enumerate(endpoints) if one["id"] == after), 0)
        page = list(endpoints[start : start + 2])
        more = start + 2 < len(endpoints)
        return Reply(200, {"object": "list", "url": "/v1/webhook_endpoints", "has_more": more, "data": page})

    with Replies({"GET /v1/webhook_endpoints": listing}) as server:
        stripe = {"url": url or server.url, "api_key": key}
        target = {"name": "production", "api_url": "https://api.example.com/", "stripe": stripe}
        return run("stripe_endpoint", params, Target.model_validate(target)).answer


@pytest.mark.parametrize(
    ("endpoints", "outcome", "summary"),
    [
        ([endpoint()], Outcome.PASS, "we_1: live mode, enabled, 8 of 8 events"),
        ([endpoint(enabled_events=list(HANDLED))], Outcome.PASS, "we_1: live mode"),
        ([endpoint(url="https://API.example.com:443/api/billing/webhook/")], Outcome.PASS, "we_1: live mode"),
        (
            [endpoint(1, url="https://x.example.com/"), endpoint(2, url="https://y/"), endpoint(3)],
            Outcome.PASS,
            "we_3: ",
        ),
        ([endpoint(1, status="disabled"), endpoint(2)], Outcome.PASS, "we_2: live mode"),
        ([], Outcome.FAIL, f"no live endpoint for {URL}; Stripe has: none"),
        (
            [endpoint(url=URL.replace("https", "http"))],
            Outcome.FAIL,
            f"no live endpoint for {URL}; Stripe has: http://",
        ),
        ([endpoint(livemode=False)], Outcome.FAIL, f"no live endpoint for {URL}"),
        ([endpoint(status="disabled")], Outcome.FAIL, "we_1 is disabled"),
        (
            [endpoint(enabled_events=[event for event in HANDLED if event != "invoice.paid"])],
            Outcome.FAIL,
            "we_1 is not sent invoice.paid",
        ),
    ],
)
def test_each_state_of_the_endpoints_is_judged(endpoints, outcome, summary):
    """An endpoint needs the URL, the mode, all events and to be enabled; one good endpoint of several is enough."""
    answer = ask(*endpoints)

    assert answer.outcome is outcome
    assert answer.summary.startswith(summary)


def test_groups_of_events_are_expanded():
    """A group with a star stands for each of its events, and all of them must be sent."""
    subscription = expand(["customer.subscription.*"])
    answer = ask(endpoint(enabled_events=subscription[:-1]), events=["customer.subscription.*"])

    assert {f"customer.subscription.{word}" for word in ("created", "updated", "deleted", "paused")} <= set(
        subscription
    )
    assert answer.outcome is Outcome.FAIL
    assert answer.summary == f"we_1 is not sent {subscription[-1]}"


def test_an_event_that_stripe_does_not_have_is_an_error():
    """A misspelled event in the checklist is an ERROR."""
    with pytest.raises(CheckError, match=r"Stripe has no event invoice\.payed"):
        expand(["invoice.payed"])


@pytest.mark.parametrize(("key", "live"), [("sk_test_x", True), ("sk_live_x", False), ("rk_live_x", False)])
def test_a_key_of_the_other_mode_is_an_error(key, live):
    """Such a key cannot see the endpoints, so that a missing one proves nothing."""
    answer = ask(endpoint(), key=key, live=live)

    assert answer.outcome is Outcome.ERROR
    assert "it can't see" in answer.summary


@pytest.mark.parametrize(("status", "message"), [(401, "401"), (403, "403"), (429, "429"), (500, "500")])
def test_a_refusal_by_stripe_is_an_error(status, message):
    """The ERROR has the status."""
    error = {"error": {"type": "invalid_request_error", "message": "no"}}
    with Replies({"GET /v1/webhook_endpoints": Reply(status, error)}) as server:
        answer = ask(url=server.url)

    assert answer.outcome is Outcome.ERROR
    assert message in answer.summary


def test_an_unreachable_stripe_is_an_error():
    """A Stripe that cannot be reached is an ERROR."""
    assert ask(url=closed_port_url()).outcome is Outcome.ERROR


def test_the_endpoints_of_the_sandbox_pass(sandbox):
    """Production passes with its live key and staging with its test key, and another address fails."""
    assert run("stripe_endpoint", {}, production_target(sandbox)).outcome is Outcome.PASS
    assert run("stripe_endpoint", {"live": False}, staging_target(sandbox)).outcome is Outcome.PASS
    other = with_changes(production_target(sandbox), api_url="https://elsewhere.example.com/")
    assert run("stripe_endpoint", {}, other).outcome is Outcome.FAIL
