"""stripe_webhook: an event is processed once, its rows are right, and nothing of it stays behind."""

import threading
from typing import Any

import httpx
import psycopg
import pytest
import stripe
from pydantic import SecretStr

from checks.contract import Outcome
from checks.registry import Registry
from clients.connections import Clients
from clients.target import Target, require
from tests.checks.replies import Replies, Reply, Request
from tests.fix_checks import Pauses, RecordingUndo, context, production_target, run, staging_target, with_changes

WEBHOOK = "POST /api/billing/webhook"


def own_rows(target: Target) -> int:
    """The number of rows of test events in the product's database."""
    url = require(target.database_url, target, "database_url").get_secret_value()
    with psycopg.connect(url) as connection:
        query = (
            "SELECT (SELECT count(*) FROM billing.webhook_events WHERE stripe_event_id LIKE 'evt_releasebot%')"
            " + (SELECT count(*) FROM billing.invoices WHERE stripe_invoice_id LIKE 'in_releasebot%')"
        )
        ((rows,),) = connection.execute(query).fetchall()
    return int(rows)


@pytest.fixture
def target(sandbox) -> Target:
    """The staging environment, which has no rows of test events before the test."""
    target = staging_target(sandbox)
    assert own_rows(target) == 0
    return target


@pytest.fixture(autouse=True)
def no_row_stays(target):
    """Assert after each test that no test row is left."""
    yield
    assert own_rows(target) == 0


def run_against(target: Target, reply: Reply, **context: Any):
    """Run against an API that answers each delivery with the same reply, on the real database."""
    with Replies({WEBHOOK: reply}) as server:
        return run("stripe_webhook", {}, target=with_changes(target, api_url=server.url), **context)


def test_a_processed_event_passes(target):
    """One delivery that is processed and writes one row is a PASS that names the row."""
    result = run("stripe_webhook", {}, target=target)

    assert result.outcome is Outcome.PASS
    assert result.answer.summary.startswith("200 processed, row ")
    assert result.answer.summary.endswith(" written")


def test_repeated_deliveries_are_skipped(target):
    """Three deliveries of one event make one row: PASS."""
    result = run("stripe_webhook", {"deliveries": 3}, target=target)

    assert result.outcome is Outcome.PASS
    assert result.answer.summary.startswith("3 deliveries: processed, skipped, skipped; one row, row ")


def test_the_undo_record_is_written_first_and_closed(target):
    """The test rows are in an undo record before the first delivery, and it is closed at the end."""
    undo = RecordingUndo()
    open_at_delivery = []

    def deliver(request: Request) -> Reply:
        open_at_delivery.extend(undo.open)
        return Reply(200, {"status": "processed", "result": {}})

    with Replies({WEBHOOK: deliver}) as server:
        run("stripe_webhook", {}, target=with_changes(target, api_url=server.url), undo=undo)

    assert [payload["event"] for payload in open_at_delivery] == [
        payload["event"] for _, payload in undo.records.values()
    ]
    assert undo.open == []


def test_undo_removes_the_rows_of_a_killed_run(target):
    """Undo removes the rows of an event that a killed run delivered, also if the product had not finished with it."""
    kind = Registry.load().get("stripe_webhook")
    payload = {"event": "evt_releasebot_killed", "invoice": "in_releasebot_killed"}
    body = (
        '{"id": "evt_releasebot_killed", "object": "event", "type": "invoice.paid", "data": {"object":'
        f' {{"id": "in_releasebot_killed", "customer": "{target.tenant.stripe_customer_id}"}}}}}}'
    )
    secret = target.stripe.webhook_secret.get_secret_value()
    signature = stripe.WebhookSignature.generate_signature_header(body, secret)
    rows = []
    with Clients(target) as clients:

        def deliver() -> None:
            url = f"{str(target.api_url).rstrip('/')}/api/billing/webhook"
            clients.http().post(url, content=body, headers={"Stripe-Signature": signature}).raise_for_status()
            rows.append(own_rows(target))

        deliver()
        kind.undo(payload, context(target, clients, cancelled=Pauses(lambda: rows.append(own_rows(target)))))
        kind.undo(payload, context(target, clients, cancelled=Pauses(deliver)))

    assert rows == [2, 0, 0, 2, 2]


@pytest.mark.parametrize("late", ["answer", "gateway"])
def test_rows_that_the_product_writes_late_are_removed(target, late):
    """If the product or a gateway gives up and rows come later, they are removed, and the hint names them."""
    undo, queue, over = RecordingUndo(), [], threading.Event()
    there = f"{str(target.api_url).rstrip('/')}/api/billing/webhook"

    def take(request: Request) -> Reply:
        queue.append(request)
        if late == "answer":
            over.wait(20)
        return Reply(504, "<h1>Gateway Timeout</h1>")

    def finish() -> None:
        while queue:
            request = queue.pop()
            httpx.post(there, content=request.body, headers=request.headers, trust_env=False).raise_for_status()
            assert own_rows(target) == 2

    with Replies({WEBHOOK: take}) as server:
        here = with_changes(target, api_url=server.url)
        answer = run("stripe_webhook", {}, here, undo=undo, patience=0.3, cancelled=Pauses(finish)).answer
        over.set()

    ((_, payload),) = undo.records.values()
    assert (answer.outcome, queue, undo.open) == (Outcome.ERROR, [], [])
    assert "checked for 2 s. Rows that arrive later stay: " in answer.hint
    assert f"{payload['event']} in billing.webhook_events" in answer.hint


def test_a_handler_error_fails_although_it_is_200(sandbox, target):
    """The product answers 200 to its own failures: FAIL with its message."""
    with sandbox.fault("webhook_error"):
        result = run("stripe_webhook", {}, target=target)

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary.startswith("200, but status error: ")


def test_a_second_processing_fails(sandbox, target):
    """A webhook that processes an event again is a FAIL."""
    with sandbox.fault("webhook_duplicates"):
        result = run("stripe_webhook", {"deliveries": 3}, target=target)

    assert result.outcome is Outcome.FAIL
    assert "delivery 2 was processed again" in result.answer.summary
    assert "3 rows in billing.webhook_events, not 1" in result.answer.summary


def test_a_wrong_secret_fails(target):
    """If bot and deployment have different secrets, the FAIL names both settings."""
    other = with_changes(target, stripe={"webhook_secret": SecretStr("whsec_other")})
    result = run("stripe_webhook", {}, target=other)

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "400 Invalid signature: the signature was refused"
    assert "stripe.webhook_secret" in result.answer.hint


def test_an_unknown_customer_fails(target):
    """An event for a customer without a tenant has no effect: FAIL."""
    stranger = with_changes(target, tenant={"stripe_customer_id": "cus_nobody"})
    result = run("stripe_webhook", {}, target=stranger)

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "200 processed, but the result is the error customer_not_found"


def test_an_invoice_of_another_tenant_fails(target):
    """A customer of another tenant than the test tenant is a FAIL."""
    result = run("stripe_webhook", {}, target=with_changes(target, tenant={"id": 1}))

    assert result.outcome is Outcome.FAIL
    assert f"belongs to tenant {target.tenant.id}, not 1" in result.answer.summary


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(404, {"detail": "Not Found"}), "404: the billing router is not mounted"),
        (
            Reply(503, {"detail": "Stripe not configured"}),
            "503 Stripe not configured: the stripe package is not installed",
        ),
        (Reply(503, {"detail": "Billing service not configured"}), "the billing service did not start"),
        (Reply(500, "Internal Server Error"), "500 instead of 200: Internal Server Error"),
        (Reply(422, {"detail": "Field required"}), "422 instead of 200: Field required"),
        (Reply(200, {"status": "ignored", "reason": "no_handler"}), "200, but status ignored: no_handler"),
        (
            Reply(200, {"status": "skipped", "reason": "already_processed"}),
            "200, but status skipped: already_processed",
        ),
        (Reply(200, "ok"), "200, but status None: no reason given"),
        (
            Reply(200, {"status": "processed", "result": {}}),
            "200 processed, but 0 rows in billing.webhook_events, not 1",
        ),
    ],
)
def test_each_wrong_setup_is_recognised(target, reply, message):
    """Each answer of a product that is set up wrongly, and a 200 without a row, is a FAIL that names the cause."""
    result = run_against(target, reply)

    assert result.outcome is Outcome.FAIL
    assert message in result.answer.summary


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_error_is_an_error(target, status):
    """A 503 of a gateway is an ERROR at any delivery."""
    bad, good = Reply(status, "<h1>Bad gateway</h1>"), Reply(200, {"status": "processed", "result": {}})
    for replies in ([bad, good], [good, bad]):
        reply_queue = iter(replies)
        with Replies({WEBHOOK: lambda _, reply_queue=reply_queue: next(reply_queue)}) as server:  # type: ignore[misc]
            here = with_changes(target, api_url=server.url)
            result = run("stripe_webhook", {"deliveries": 2}, here, cancelled=Pauses())
        assert result.outcome is Outcome.ERROR, result.answer.summary


def test_a_product_that_is_down_is_an_error(sandbox, target):
    """If the API answers 503 the answer is ERROR."""
    with sandbox.fault("product_down"):
        result = run("stripe_webhook", {}, target=target, cancelled=Pauses())

    assert result.outcome is Outcome.ERROR
    assert "503, the product doesn't answer" in result.answer.summary


def test_each_delivery_is_signed(target):
    """Each delivery is signed over its raw body, and Stripe's own package accepts the signature."""
    with Replies({WEBHOOK: Reply(200, {"status": "processed"})}) as server:
        run("stripe_webhook", {"deliveries": 2}, target=with_changes(target, api_url=server.url))

    secret = target.stripe.webhook_secret.get_secret_value()
    for request in server.requests:
        event = stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], secret)
        assert event.type == "invoice.paid"
    assert len({request.body for request in server.requests}) == 1


def test_nothing_is_sent_if_it_cannot_be_removed(sandbox, target):
    """If the role may not delete the test rows, the ERROR names the right before any delivery."""
    undo = RecordingUndo()
    reader = production_target(sandbox).database_url
    with Replies({}) as server:
        poor = with_changes(target, api_url=server.url, database_url=reader)
        result = run("stripe_webhook", {}, target=poor, undo=undo)

    assert result.outcome is Outcome.ERROR
    assert "isn't allowed to DELETE on billing.webhook_events" in result.answer.summary
    assert "GRANT SELECT, DELETE" in result.answer.hint
    assert server.requests == []
    assert undo.records == {}


def test_missing_tables_fail(target, database_url):
    """Without the billing tables the FAIL names the migration, and nothing is sent."""
    with Replies({}) as server:
        result = run(
            "stripe_webhook", {}, target=with_changes(target, api_url=server.url, database_url=SecretStr(database_url))
        )

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary.endswith("billing.invoices: migration not applied")
    assert server.requests == []


@pytest.mark.parametrize("setting", ["api_url", "database_url", "stripe", "tenant"])
def test_a_missing_setting_is_named(target, setting):
    """The error names each required setting that is missing."""
    result = run("stripe_webhook", {}, target=with_changes(target, **{setting: None}))

    assert result.outcome is Outcome.ERROR
    assert setting in result.answer.summary
