"""Kind ``stripe_webhook``: a signed Stripe event is processed and stored once; its rows are removed again."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import Field

from checks.contract import Answer, Change, CheckContext, CheckError, Evidence, Kind, Outcome, Params
from checks.kit.http_answers import UNREACHED, address, unreached
from checks.solvereign.product import NOT_CONFIGURED, STRIPE_CUSTOMER, WEBHOOK_SECRET
from clients.errors import ClientError
from clients.http import http_errors
from clients.needs import API, Changes, Need, on_table
from clients.packages import load
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

_TABLES = ("billing.webhook_events", "billing.invoices")


class StripeWebhookParams(Params):
    """Which event is sent, how often, and where to."""

    event: Literal["invoice.paid"] = "invoice.paid"
    deliveries: int = Field(
        default=1, ge=1, le=5
    )  # more than one: Stripe repeats deliveries, and only the first may count
    path: str = Field(default="/api/billing/webhook", pattern="^/")


@dataclass(frozen=True)
class _StoredRows:
    """What the database holds of our event."""

    events: list[tuple[int, str | None]]  # id, error
    invoices: list[tuple[int, int, str]]  # id, tenant, status

    def faults(self, tenant: int) -> list[str]:
        phrases = []
        if len(self.events) != 1:
            phrases.append(f"{len(self.events)} rows in billing.webhook_events, not 1")
        phrases.extend(f"row {row} has the error: {error}" for row, error in self.events if error is not None)
        if len(self.invoices) != 1:
            phrases.append(f"{len(self.invoices)} rows in billing.invoices, not 1")
        phrases.extend(
            f"invoice {row} belongs to tenant {owner}, not {tenant}"
            for row, owner, _ in self.invoices
            if owner != tenant
        )
        phrases.extend(f"invoice {row} is {status}, not paid" for row, _, status in self.invoices if status != "paid")
        return phrases

    def text(self) -> str:
        return (
            f"billing.webhook_events (id, error): {self.events}\nbilling.invoices (id, tenant, status): {self.invoices}"
        )


class StripeWebhook(Kind):
    """PASS when the first delivery is processed, each repeat is skipped, and the database holds one row with no error.

    The event is our own, signed as Stripe signs (docs.stripe.com/webhooks/signature): ``stripe trigger`` makes a new
    customer that belongs to no tenant, so it can never lead to an invoice.
    """

    name = "stripe_webhook"
    summary = "A signed Stripe event is processed and stored once, however often it is delivered"
    params = StripeWebhookParams
    timeout = 60.0

    def needs(self, params: StripeWebhookParams) -> tuple[Need, ...]:
        """To sign an event of the tenant's customer, to look at its rows and to remove them."""
        rows = (use for table in _TABLES for use in on_table(table, "SELECT", "DELETE"))
        return (Changes("tenant"), Changes("log", data=False), API, WEBHOOK_SECRET, STRIPE_CUSTOMER, *rows)

    def run(self, params: StripeWebhookParams, ctx: CheckContext) -> Answer:
        """Send, look at the database, remove the own rows. Raises CheckError when it could not find out or clean up."""
        target = ctx.target
        url = address(target, "api", params.path)
        stripe = require(target.stripe, target, "stripe")
        secret = require(stripe.webhook_secret, target, "stripe.webhook_secret").get_secret_value()
        tenant = require(target.tenant, target, "tenant")
        customer = require(tenant.stripe_customer_id, target, "tenant.stripe_customer_id")
        missing_tables = _prepare(ctx)
        mark = f"releasebot_{secrets.token_hex(8)}"
        ids: dict[str, Any] = {"event": f"evt_{mark}", "invoice": f"in_{mark}"}
        evidence = Evidence(
            asked=f"{params.deliveries} x POST {url}, {params.event} {ids['event']} for {customer}; then its rows",
            expected="processed"
            + ", then skipped" * (params.deliveries > 1)
            + "; one row with no error; one paid invoice",
            seen=f"no table {', '.join(missing_tables)}",
        )
        if missing_tables:
            hint = f"Apply the migrations of billing to {target.name}."
            return Answer(
                Outcome.FAIL, f"no table {', '.join(missing_tables)}: migration not applied", evidence, hint=hint
            )
        payload = _event(params.event, ids, customer)
        late = f"Rows that arrive later stay: {ids['event']} in {_TABLES[0]} and {ids['invoice']} in {_TABLES[1]}."
        with self.undo_after(
            f"test event {ids['event']} in the database of {target.name}", ids, ctx, late=late
        ) as change:
            responses = _deliver(params.deliveries, url, payload, secret, change, ctx)
            return _answer(responses, _read_rows(ids, ctx), tenant.id, evidence)

    def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
        """Delete the rows of the test event, and no others."""
        for _ in ctx.undo_attempts():
            with ctx.clients.postgres(read_only=False) as connection:
                connection.execute("DELETE FROM billing.invoices WHERE stripe_invoice_id = %s", (payload["invoice"],))
                connection.execute("DELETE FROM billing.webhook_events WHERE stripe_event_id = %s", (payload["event"],))


def _prepare(ctx: CheckContext) -> list[str]:
    """The tables that are missing. Raises CheckError when the own rows could not be removed: then nothing is sent."""
    with ctx.clients.postgres() as connection:
        missing_tables = [table for table in _TABLES if _scalar(connection, "SELECT to_regclass(%s) IS NULL", table)]
        if missing_tables:
            return missing_tables
        for table in _TABLES:
            for right in ("SELECT", "DELETE"):
                if not _scalar(connection, "SELECT has_table_privilege(%s, %s)", table, right):
                    raise CheckError(
                        f"the database role isn't allowed to {right} on {table}, so nothing was sent",
                        hint=f"GRANT SELECT, DELETE ON {table} to the role of targets.{ctx.target.name}.database_url.",
                    )
    return []


def _scalar(connection: psycopg.Connection, query: str, *values: str) -> bool:
    row = connection.execute(query, values).fetchone()
    return row is not None and bool(row[0])


def _event(kind: str, ids: Mapping[str, str], customer: str) -> str:
    """The body of the event, with every field that the product reads of an invoice."""
    now = int(time.time())
    invoice = {
        "id": ids["invoice"],
        "object": "invoice",
        "customer": customer,
        "number": ids["invoice"],
        "status": "paid",
        "currency": "eur",
        "amount_due": 100,
        "amount_paid": 100,
        "amount_remaining": 0,
        "subtotal": 100,
        "tax": 0,
        "total": 100,
        "period_start": now,
        "period_end": now,
    }
    return json.dumps(
        {
            "id": ids["event"],
            "object": "event",
            "type": kind,
            "livemode": False,
            "created": now,
            "data": {"object": invoice},
        }
    )


def _deliver(
    times: int, url: str, payload: str, secret: str, change: Change, ctx: CheckContext
) -> list[httpx.Response]:
    """The answers, one a delivery. ``change`` says whether the product may still be at one of them."""
    load("stripe")
    from stripe import WebhookSignature  # the package takes most of a second to load, so only this check pays for it

    responses: list[httpx.Response] = []
    change.outcome_unknown = True
    try:
        with http_errors(f"deliver the event to {urlsplit(url).netloc}"):
            for _ in range(times):
                signature = WebhookSignature.generate_signature_header(payload, secret)  # fresh, as Stripe's are
                headers = {"Content-Type": "application/json", "Stripe-Signature": signature}
                responses.append(ctx.clients.http().post(url, content=payload.encode(), headers=headers))
    except ClientError as error:
        was_sent = not isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout))
        change.outcome_unknown = was_sent or not all(map(_of_the_product, responses))
        raise
    change.outcome_unknown = not all(map(_of_the_product, responses))
    return responses


def _of_the_product(answer: httpx.Response) -> bool:
    """Whether the product itself has answered, so that it is done with the event; what stands before it may give it up."""
    return answer.status_code not in UNREACHED or str(_body(answer).get("detail", "")) in NOT_CONFIGURED


def _read_rows(ids: Mapping[str, str], ctx: CheckContext) -> _StoredRows:
    with ctx.clients.postgres() as connection:
        events = connection.execute(
            "SELECT id, error FROM billing.webhook_events WHERE stripe_event_id = %s ORDER BY id", (ids["event"],)
        ).fetchall()
        invoices = connection.execute(
            "SELECT id, tenant_id, status FROM billing.invoices WHERE stripe_invoice_id = %s ORDER BY id",
            (ids["invoice"],),
        ).fetchall()
    return _StoredRows(events, invoices)


def _answer(responses: list[httpx.Response], rows: _StoredRows, tenant: int, evidence: Evidence) -> Answer:
    lines = [f"delivery {number}: {answer.status_code} {answer.text}" for number, answer in enumerate(responses, 1)]
    evidence = Evidence(evidence.asked, evidence.expected, "\n".join([*lines, rows.text()]))
    if unreachable := [answer for answer in responses if not _of_the_product(answer)]:
        raise unreached("deliver the event", unreachable[0].status_code)
    refusal, hint = _refusal(responses[0])
    if refusal:
        return Answer(Outcome.FAIL, refusal, evidence, hint=hint)
    words = [_status(answer) for answer in responses]
    faults = []
    for number, answer in enumerate(words[1:], 2):
        if answer == "processed":
            faults.append(f"delivery {number} was processed again")
        elif answer != "skipped":
            faults.append(f"delivery {number}: {answer}, not skipped")
    faults.extend(rows.faults(tenant))
    if faults:
        hint = "See the pod's log at the time of the deliveries."
        if not rows.events:
            hint += " Does this API use that database?"
        return Answer(Outcome.FAIL, f"200 {words[0]}, but " + "; ".join(faults), evidence, hint=hint)
    row = f"row {rows.events[0][0]}"
    if len(words) == 1:
        return Answer(Outcome.PASS, f"200 processed, {row} written", evidence)
    return Answer(Outcome.PASS, f"{len(words)} deliveries: {', '.join(words)}; one row, {row}", evidence)


def _refusal(answer: httpx.Response) -> tuple[str, str]:
    """Why the first delivery was not processed and what to do about it; empty when it was."""
    status, body = answer.status_code, _body(answer)
    detail = str(body.get("detail", ""))
    if status == 200:  # noqa: PLR2004  the plain HTTP status
        return _not_processed(body)
    refusals = {
        404: (
            "404: the billing router is not mounted",
            "Set SOLVEREIGN_STRIPE_API_KEY and SOLVEREIGN_STRIPE_WEBHOOK_SECRET on the deployment, then restart it.",
        ),
        400: (
            f"400 {detail}: the signature was refused",
            "SOLVEREIGN_STRIPE_WEBHOOK_SECRET of the deployment and the bot's stripe.webhook_secret must match.",
        ),
        503: (
            f"503 {detail}: {NOT_CONFIGURED.get(detail, '')}",
            "Build the image with it, or see the start of the pod's log.",
        ),
    }
    return refusals.get(status, (f"{status} instead of 200: {detail or answer.text}", "See the pod's log."))


def _not_processed(body: Mapping[str, Any]) -> tuple[str, str]:
    """Why a 200 means that nothing was done, since the product answers 200 to its own errors too; empty: it was."""
    status, result = body.get("status"), body.get("result")
    error = result.get("error") if isinstance(result, dict) else None
    if status == "processed" and not error:
        return "", ""
    if status == "processed":
        return (
            f"200 processed, but the result is the error {error}",
            "The test tenant needs a row in billing.stripe_customers with this customer."
            if error == "customer_not_found"
            else "See the pod's log at the time of the delivery.",
        )
    reason = body.get("message") or body.get("reason") or "no reason given"
    return f"200, but status {status}: {reason}", "See the pod's log at the time of the delivery."


def _status(answer: httpx.Response) -> str:
    """One word for a delivery: the status in the body of a 200, else the HTTP status."""
    return str(_body(answer).get("status")) if answer.status_code == 200 else str(answer.status_code)  # noqa: PLR2004


def _body(answer: httpx.Response) -> dict[str, Any]:
    """The body as an object; empty when it is none, as in the plain text of a 500."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
