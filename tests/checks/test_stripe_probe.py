"""stripe_probe: what the product says to a wrong signature, and what that tells."""

import pytest

from checks.contract import Outcome
from clients.target import Target
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.fix_checks import production_target, run

WEBHOOK = "POST /api/billing/webhook"


def ask(reply: Reply):
    """Run the check on an API that answers like this; asserts that the signature is invalid and the event of no known
    type.
    """
    with Replies({WEBHOOK: reply}) as server:
        result = run("stripe_probe", {}, Target.model_validate({"name": "production", "api_url": server.url}))
        (request,) = server.requests
    assert request.headers["Stripe-Signature"].endswith(",v1=" + "0" * 64)
    assert request.json()["type"] == "release_bot.probe"
    return result.answer


@pytest.mark.parametrize(
    ("reply", "outcome", "summary"),
    [
        (Reply(400, {"detail": "Invalid signature"}), Outcome.PASS, "400 Invalid signature: the package is installed"),
        (Reply(400, {"detail": "Bad request"}), Outcome.FAIL, "400 instead of 400"),
        (Reply(503, {"detail": "Stripe not configured"}), Outcome.FAIL, "503: the stripe package is not installed"),
        (Reply(503, {"detail": "Billing service not configured"}), Outcome.FAIL, "503: the billing service did not"),
        (Reply(503, "<html>no pods</html>"), Outcome.ERROR, "cannot send a probe: 503, the product doesn't answer"),
        (Reply(404, {"detail": "Not Found"}), Outcome.FAIL, "404: the billing router is not mounted"),
        (Reply(422, {"detail": [{"msg": "Field required"}]}), Outcome.FAIL, "422: the signature header did not arrive"),
        (Reply(200, {"status": "ignored"}), Outcome.FAIL, "200: a wrong signature was accepted"),
        (Reply(500, "Internal Server Error"), Outcome.FAIL, "500 instead of 400: Internal Server Error"),
    ],
    ids=str,
)
def test_only_a_refused_signature_passes(reply, outcome, summary):
    """A 400 for the signature is the only PASS, and an answer of a gateway is no answer of the product."""
    answer = ask(reply)

    assert answer.outcome is outcome
    assert answer.summary.startswith(summary)


def test_a_product_that_is_down_is_an_error():
    """A product that cannot be reached is an ERROR."""
    target = Target.model_validate({"name": "production", "api_url": closed_port_url()})
    assert run("stripe_probe", {}, target).outcome is Outcome.ERROR


def test_the_probe_leaves_nothing_behind(sandbox):
    """On production the check passes and leaves no row."""
    result = run("stripe_probe", {}, production_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert "evt_releasebot_probe_" in result.answer.evidence.asked
