"""The simulated product's Stripe webhook: signature, each event once, and the rows that an event leaves."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import stripe
from aiohttp import web
from psycopg import AsyncConnection, errors

from sandbox.staging.accounts import POOL, SWITCHES

TOLERANCE_SECONDS = 300
HANDLED_TYPE = "invoice.paid"  # the product handles more, but is not sent more
SECRET = web.AppKey("webhook_secret", str)

_log = logging.getLogger(__name__)

Object = dict[str, Any]


_NOT_CONFIGURED = {"stripe_missing": "Stripe not configured", "webhook_not_started": "Billing service not configured"}
_NO_POOL = "'AsyncConnectionPool' object has no attribute 'acquire'"


class HandlerError(Exception):
    """The handler of an event could not do its work."""


async def receive(request: web.Request) -> web.Response:
    """POST /api/billing/webhook. An event that cannot be handled still gives 200, with status "error", as in the product."""
    if request.app[SWITCHES].on("webhook_unmounted"):
        raise web.HTTPNotFound
    header = request.headers.get("Stripe-Signature")
    if header is None:
        detail = [
            {
                "type": "missing",
                "loc": ["header", "stripe-signature"],
                "msg": "Field required",
                "input": None,
            }
        ]
        return web.json_response({"detail": detail}, status=422)
    switches = request.app[SWITCHES]
    for switch, reason in _NOT_CONFIGURED.items():
        if switches.on(switch):
            return web.json_response({"detail": reason}, status=503)
    payload = await request.read()
    secret = request.app[SECRET] + "-other" * switches.on("webhook_secret_differs")
    try:
        stripe.WebhookSignature.verify_header(
            payload.decode(errors="replace"),
            header,
            secret,
            tolerance=TOLERANCE_SECONDS,
        )
    except stripe.SignatureVerificationError as exc:
        _log.warning("Invalid Stripe signature: %s", exc)
        return web.json_response({"detail": "Invalid signature"}, status=400)
    event = json.loads(payload)  # not JSON: 500, as in the product
    return web.json_response(await _process(request.app, event))


async def _process(app: web.Application, event: Object) -> Object:
    event_id, event_type = str(event["id"]), str(event["type"])
    switches = app[SWITCHES]
    if switches.on("webhook_no_row"):
        return {"status": "error", "message": _NO_POOL}
    async with app[POOL].connection() as connection:
        if not switches.on("webhook_duplicates") and await _is_recorded(connection, event_id):
            return {"status": "skipped", "reason": "already_processed"}
        if event_type != HANDLED_TYPE or switches.on("webhook_ignores"):
            await _record(connection, event_id, event_type, error=None)
            return {"status": "ignored", "reason": "no_handler"}
        try:
            async with connection.transaction():
                if switches.on("webhook_error"):
                    raise HandlerError(_NO_POOL)
                obj = event["data"]["object"]
                if switches.on("webhook_customer_unknown"):
                    obj = {**obj, "customer": "cus_unknown"}
                result = await _invoice_paid(connection, obj)
                await _record(connection, event_id, event_type, error=None)
        except errors.UniqueViolation:
            return {
                "status": "skipped",
                "reason": "already_processed",
            }  # a second delivery of it was faster
        except (HandlerError, KeyError, errors.Error) as exc:
            await _record(connection, event_id, event_type, error=str(exc))
            return {"status": "error", "message": str(exc)}
    return {"status": "processed", "result": result}


async def _is_recorded(connection: AsyncConnection[Any], event_id: str) -> bool:
    cursor = await connection.execute("SELECT 1 FROM billing.webhook_events WHERE stripe_event_id = %s", (event_id,))
    return await cursor.fetchone() is not None


async def _record(
    connection: AsyncConnection[Any],
    event_id: str,
    event_type: str,
    *,
    error: str | None,
) -> None:
    await connection.execute(
        "INSERT INTO billing.webhook_events (stripe_event_id, event_type, error) VALUES (%s, %s, %s)",
        (event_id, event_type, error),
    )


async def _customer(connection: AsyncConnection[Any], obj: Object) -> tuple[int, int] | None:
    """(row id, tenant id) of the Stripe customer that an object belongs to, if the product knows it."""
    cursor = await connection.execute(
        "SELECT id, tenant_id FROM billing.stripe_customers WHERE stripe_customer_id = %s",
        (obj["customer"],),
    )
    row = await cursor.fetchone()
    return None if row is None else (row[0], row[1])


_NOT_FOUND: Object = {"error": "customer_not_found"}


async def _invoice_paid(connection: AsyncConnection[Any], obj: Object) -> Object:
    owner = await _customer(connection, obj)
    if owner is None:
        return _NOT_FOUND
    amounts = ("amount_due", "amount_paid", "tax", "total", "subtotal")
    await connection.execute(
        "INSERT INTO billing.invoices (tenant_id, customer_id, stripe_invoice_id, stripe_subscription_id, number,"
        " status, currency, amount_due, amount_paid, tax, total, subtotal, hosted_invoice_url, invoice_pdf, due_date,"
        " period_start, period_end, paid_at)"
        " VALUES (%(tenant)s, %(owner)s, %(id)s, %(subscription)s, %(number)s, 'paid', %(currency)s, %(amount_due)s,"
        " %(amount_paid)s, %(tax)s, %(total)s, %(subtotal)s, %(hosted_invoice_url)s, %(invoice_pdf)s, %(due_date)s,"
        " %(period_start)s, %(period_end)s, now())"
        " ON CONFLICT (stripe_invoice_id) DO UPDATE SET status = 'paid', amount_paid = EXCLUDED.amount_paid,"
        " paid_at = EXCLUDED.paid_at, updated_at = now()",
        {
            "owner": owner[0],
            "tenant": owner[1],
            "id": obj["id"],
            "currency": obj.get("currency", "eur"),
            **{key: int(obj.get(key) or 0) for key in amounts},
            **{
                key: obj.get(key)
                for key in (
                    "subscription",
                    "number",
                    "hosted_invoice_url",
                    "invoice_pdf",
                )
            },
            **{key: _time(obj.get(key)) for key in ("due_date", "period_start", "period_end")},
        },
    )
    return {"invoice_id": obj["id"], "status": "paid"}


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
