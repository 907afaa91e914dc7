"""The simulated product over HTTP: webhook, gating, log-in, health, metrics, legal pages, and what breaks them."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
import stripe

from sandbox.faults import Faults
from sandbox.staging import app
from sandbox.staging.serving import Server, listen
from tests.fix_sandbox import Sandbox

PROBE = "evt_webhooktest_"


@pytest.fixture
def webhook(sandbox: Sandbox) -> Iterator["Webhook"]:
    """Sends signed events to staging; the rows that they leave are deleted again."""
    webhook = Webhook(sandbox)
    yield webhook
    webhook.client.close()
    with psycopg.connect(sandbox["staging"]["database_url"]) as connection:
        connection.execute("DELETE FROM billing.webhook_events WHERE stripe_event_id LIKE %s", (PROBE + "%",))
        connection.execute("DELETE FROM billing.invoices WHERE stripe_invoice_id LIKE %s", ("in_webhooktest_%",))


class Webhook:
    """The webhook of staging, and the rows behind it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.database_url = sandbox["staging"]["database_url"]
        self.customer = sandbox["staging"]["stripe_customer_id"]
        self.secret = sandbox["stripe"]["webhook_secret"]
        self.client = httpx.Client(base_url=sandbox["staging"]["api_url"])
        self.event_id = PROBE + uuid.uuid4().hex[:8]

    def body(self, kind: str = "invoice.paid", **changes: Any) -> bytes:
        invoice = {
            "id": f"in_webhooktest_{self.event_id[-8:]}",
            "customer": self.customer,
            "amount_paid": 4200,
            **changes,
        }
        event = {"id": self.event_id, "object": "event", "type": kind, "data": {"object": invoice}}
        return json.dumps(event).encode()

    def send(self, body: bytes, *, secret: str | None = None, age: int = 0) -> httpx.Response:
        signature = stripe.WebhookSignature.generate_signature_header(
            body.decode(), secret or self.secret, timestamp=int(time.time()) - age
        )
        return self.client.post("/api/billing/webhook", content=body, headers={"Stripe-Signature": signature})

    def rows(self, columns: str = "error") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            query = f"SELECT {columns} FROM billing.webhook_events WHERE stripe_event_id = %s"
            return connection.execute(query, (self.event_id,)).fetchall()


def test_a_paid_invoice_is_processed_once(webhook: Webhook) -> None:
    """The second and third delivery are skipped, and there is one row without an error."""
    answers = [webhook.send(webhook.body()).json()["status"] for _ in range(3)]
    assert (answers, webhook.rows()) == (["processed", "skipped", "skipped"], [(None,)])


def test_deliveries_at_the_same_time_leave_one_row(webhook: Webhook) -> None:
    """The unique key holds where look-then-insert would not."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: webhook.send(webhook.body()).json()["status"], range(8)))
    assert (sorted(answers), webhook.rows()) == (["processed", *["skipped"] * 7], [(None,)])


def test_a_type_without_a_handler_is_ignored(webhook: Webhook) -> None:
    """It is noted, with 200."""
    assert webhook.send(webhook.body("invoice.created")).json() == {"status": "ignored", "reason": "no_handler"}
    assert webhook.rows() == [(None,)]


def test_an_unknown_customer_is_processed_with_an_error_inside(webhook: Webhook) -> None:
    """200 and "processed" do not prove that an invoice was stored."""
    answer = webhook.send(webhook.body(customer="cus_nobody")).json()
    assert answer == {"status": "processed", "result": {"error": "customer_not_found"}}


@pytest.mark.parametrize(
    ("options", "body", "status", "answer"),
    [
        ({"secret": "whsec_wrong"}, None, 400, '{"detail": "Invalid signature"}'),
        ({"age": 301}, None, 400, '{"detail": "Invalid signature"}'),
        ({}, b"no json", 500, "Internal Server Error"),
    ],
)
def test_refusals_leave_no_row(
    webhook: Webhook, options: dict[str, Any], body: bytes | None, status: int, answer: str
) -> None:
    """Wrong secret, too old, not JSON."""
    response = webhook.send(body or webhook.body(), **options)
    assert (response.status_code, response.text, webhook.rows()) == (status, answer, [])


def test_without_a_signature_the_request_is_invalid(webhook: Webhook) -> None:
    """The framework's 422 comes before any look at the signature."""
    response = webhook.client.post("/api/billing/webhook", content=webhook.body())
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["header", "stripe-signature"])


def test_get_is_not_allowed(webhook: Webhook) -> None:
    """A probe with GET tells only that the route is there."""
    response = webhook.client.get("/api/billing/webhook")
    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})


def test_webhook_error_answers_200_and_keeps_the_error(sandbox: Sandbox, webhook: Webhook) -> None:
    """The row counts as processed: sent again, it is skipped and never repaired."""
    with sandbox.fault("webhook_error"):
        first = webhook.send(webhook.body())
    again = webhook.send(webhook.body()).json()["status"]
    assert (first.status_code, first.json()["status"], again) == (200, "error", "skipped")
    assert webhook.rows("error IS NOT NULL") == [(True,)]


def test_webhook_duplicates_leaves_a_second_row(sandbox: Sandbox, webhook: Webhook) -> None:
    """With the switch on, the same event is processed again; switched off, the doubles are gone."""
    with sandbox.fault("webhook_duplicates"):
        answers = [webhook.send(webhook.body()).json()["status"] for _ in range(2)]
        row_count = len(webhook.rows())
    assert (answers, row_count, len(webhook.rows())) == (["processed", "processed"], 2, 1)


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """A client that is logged in on staging."""
    with httpx.Client(base_url=sandbox["staging"]["api_url"]) as client:
        login(client, sandbox["staging"])
        yield client


def login(client: httpx.Client, environment: dict[str, Any]) -> httpx.Response:
    """Log in with the test login of an environment."""
    body = {"email": environment["login_email"], "password": environment["login_password"]}
    return client.post("/api/auth/login", json=body)


def test_a_log_in_gives_a_cookie(sandbox: Sandbox) -> None:
    """HttpOnly and strict; the answer names the user and their tenant."""
    with httpx.Client(base_url=sandbox["production"]["api_url"]) as client:
        answer = login(client, sandbox["production"])
    header, user = answer.headers["Set-Cookie"], answer.json()
    assert header.startswith("sv_platform_session=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(header.split("; "))
    assert (user["email"], user["role_name"]) == (sandbox["production"]["login_email"], "dispatcher")
    assert user["tenant_id"] == sandbox["production"]["tenant_id"]


def test_a_bad_log_in_is_refused(sandbox: Sandbox) -> None:
    """401 for wrong credentials, whichever of the two is wrong."""
    url, email = sandbox["staging"]["api_url"] + "/api/auth/login", sandbox["staging"]["login_email"]
    bodies = ({"email": "nobody@example.org", "password": "long enough"}, {"email": email, "password": "wrong"})
    assert [httpx.post(url, json=body).status_code for body in bodies] == [401, 401]


def test_five_log_ins_per_address(sandbox: Sandbox, postgres_url: str) -> None:
    """The sixth within fifteen minutes is refused, before anything else is looked at."""
    name = psycopg.conninfo.conninfo_to_dict(sandbox["staging"]["database_url"])["dbname"]
    database_url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)

    async def attempts() -> list[int]:
        settings = app.ProductSettings("staging", database_url, None, None)
        server = Server(app.make_app(settings, Faults()), listen(0))
        await server.start()
        async with httpx.AsyncClient(base_url=server.url) as client:
            body = {"email": "nobody@example.org", "password": "long enough"}
            answers = [await client.post("/api/auth/login", json=body) for _ in range(6)]
        await server.stop()
        return [answer.status_code for answer in answers]

    assert asyncio.run(attempts()) == [*[401] * 5, 429]


def test_no_webhook_route_without_its_settings(postgres_url: str) -> None:
    """With a setting missing the path is unknown: 404, not 503."""

    async def status() -> int:
        server = Server(app.make_app(app.ProductSettings("staging", postgres_url, "sk", None), Faults()), listen(0))
        await server.start()
        async with httpx.AsyncClient(base_url=server.url) as client:
            answer = await client.post("/api/billing/webhook")
        await server.stop()
        return answer.status_code

    assert asyncio.run(status()) == 404


@pytest.fixture
def past_due(sandbox: Sandbox) -> Iterator[None]:
    """The test tenant owes money."""
    change = "UPDATE tenants SET billing_status = %s WHERE id = %s"
    tenant = sandbox["staging"]["tenant_id"]
    with psycopg.connect(sandbox["staging"]["database_url"], autocommit=True) as connection:
        connection.execute(change, ("past_due", tenant))
        yield
        connection.execute(change, ("active", tenant))


def test_past_due_may_read_and_not_write(session: httpx.Client, past_due: None) -> None:
    """The middleware's form of 402; it comes before routing, so a path without a route is gated too."""
    write = session.post("/api/v1/roster/plans", json={"name": "x"})
    assert write.json() == {
        "error": "subscription_required",
        "message": "Payment overdue. Please update your payment method.",
        "billing_status": "past_due",
    }
    statuses = (write, session.post("/api/v1/solver/solve"), session.get("/api/v1/roster/plans"))
    assert [answer.status_code for answer in statuses] == [402, 402, 200]


def test_gating_open_answers_404(sandbox: Sandbox, session: httpx.Client, past_due: None) -> None:
    """As if gating were not wired and the path had no route."""
    with sandbox.fault("gating_open"):
        assert session.post("/api/v1/roster/plans", json={"name": "x"}).status_code == 404


def test_nobody_is_gated_without_a_session(sandbox: Sandbox, past_due: None) -> None:
    """Gating needs a tenant: without one the answer is 401."""
    assert httpx.get(sandbox["staging"]["api_url"] + "/api/v1/roster/plans").status_code == 401


def test_the_smoke_request(sandbox: Sandbox) -> None:
    """The tenant's plans on production; smoke_error makes it 500."""
    with httpx.Client(base_url=sandbox["production"]["api_url"]) as client:
        login(client, sandbox["production"])
        good = client.get("/api/v1/roster/plans").json()
        with sandbox.fault("smoke_error"):
            bad = client.get("/api/v1/roster/plans").status_code
    assert (good["success"], good["total"], bad) == (True, 1, 500)


def test_health_error_concerns_production_only(sandbox: Sandbox) -> None:
    """200 with status "error" there, healthy on staging."""
    with sandbox.fault("health_error"):
        answers = [httpx.get(sandbox[name]["api_url"] + "/health") for name in ("staging", "production")]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "healthy"), (200, "error")]


def test_ready_without_its_database_is_200_and_not_ready() -> None:
    """Only the body tells, and the version is not the one that runs."""

    async def bodies() -> list[dict[str, Any]]:
        settings = app.ProductSettings("staging", "host=127.0.0.1 port=1 user=nobody", None, None)
        server = Server(app.make_app(settings, Faults()), listen(0))
        await server.start()
        async with httpx.AsyncClient(base_url=server.url) as client:
            answers = [await client.get(path) for path in ("/health/ready", "/health")]
        await server.stop()
        return [answer.json() for answer in answers]

    ready, health = asyncio.run(bodies())
    assert (ready["status"], health["version"]) == ("not_ready", "3.3.0")


def test_the_request_counter_rises(sandbox: Sandbox) -> None:
    """One more after one more request; /metrics itself does not count."""
    with httpx.Client(base_url=sandbox["production"]["api_url"]) as client:
        before = _health_requests(client)
        client.get("/health")
        assert _health_requests(client) == before + 1


def _health_requests(client: httpx.Client) -> float:
    prefix = 'http_requests_total{endpoint="/health"'
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(prefix)]
    return float(lines[0].rpartition(" ")[2]) if lines else 0


@pytest.mark.parametrize(
    ("page", "heading"),
    [("terms", "Allgemeine Geschäftsbedingungen"), ("privacy", "Datenschutzerklärung"), ("imprint", "Impressum")],
)
def test_legal_pages(sandbox: Sandbox, page: str, heading: str) -> None:
    """HTML with the heading, without a log-in."""
    answer = httpx.get(f"{sandbox['staging']['frontend_url']}/legal/{page}")
    assert (answer.status_code, answer.headers["Content-Type"], f"<h1>{heading}</h1>" in answer.text) == (
        200,
        "text/html; charset=utf-8",
        True,
    )


def test_legal_page_missing(sandbox: Sandbox) -> None:
    """The imprint of staging is gone, and nothing else."""
    with sandbox.fault("legal_page_missing"):
        statuses = [
            httpx.get(f"{sandbox[name]['frontend_url']}/legal/{page}").status_code
            for name, page in (("staging", "imprint"), ("staging", "terms"), ("production", "imprint"))
        ]
    assert statuses == [404, 200, 200]
