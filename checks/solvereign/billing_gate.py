"""Kind ``billing_gate``: a tenant that has not paid is refused with 402; its status is always put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from checks.contract import Answer, Change, CheckContext, CheckError, Evidence, Kind, Outcome, Params
from checks.kit.http_answers import UNREACHED, address, unreached
from checks.solvereign.product import TENANT, session
from clients.http import http_errors
from clients.needs import API, LOG_IN, LOGIN, Changes, Need, on_table
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx
    import psycopg

_PAYMENT_REQUIRED = 402
_UNAUTHENTICATED = 401
# JSON, since what is none is refused before the gate is asked, but no object, so that no route takes it for a plan.
_INVALID: list[str] = []


class BillingGateParams(Params):
    """The request that must be refused, and the billing status under which it must be."""

    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    path: str = Field(default="/api/v1/roster/plans", pattern="^/")
    status: Literal["past_due", "canceled", "suspended", "none"] = "past_due"
    login_path: str = Field(default="/api/auth/login", pattern="^/")


class BillingGate(Kind):
    """PASS when the test user's request is answered 402 subscription_required while its tenant has the status.

    The request is made with a session of that very tenant: without a tenant the product's gate lets everything through.
    """

    name = "billing_gate"
    summary = "A past_due tenant gets 402 for a write; its status is restored afterwards"
    params = BillingGateParams
    timeout = 60.0

    def needs(self, params: BillingGateParams) -> tuple[Need, ...]:
        """The product, the test user and tenant, and the tenant's row in the database."""
        return (
            Changes("tenant"),
            Changes("log", data=False),
            LOG_IN,
            API,
            LOGIN,
            TENANT,
            *on_table("tenants", "SELECT", "UPDATE"),
        )

    def run(self, params: BillingGateParams, ctx: CheckContext) -> Answer:
        """Log in, set the status, ask, put the status back and look. Raises CheckError when one of these fails."""
        url = address(ctx.target, "api", params.path)
        tenant = require(ctx.target.tenant, ctx.target, "tenant").id
        headers, user = session(ctx, params.login_path)
        if user.get("tenant_id") != tenant:
            raise CheckError(
                f"the test user belongs to tenant {user.get('tenant_id')}, the test tenant is {tenant}",
                hint=f"Set targets.{ctx.target.name}.login to a user of that tenant; the gate checks no other.",
            )
        before = _status(ctx, tenant)
        if before == params.status:
            raise CheckError(
                f"tenant {tenant} is {before} already, so there is nothing to put back",
                hint=f"Set billing_status of tenant {tenant} to what it should be, then run the check again.",
            )
        payload = {"tenant": tenant, "before": before, "set": params.status}
        late = f"Set billing_status of tenant {tenant} to {before} then."
        what = f"billing_status of tenant {tenant} on {ctx.target.name}: {before} to {params.status}"
        with self.undo_after(what, payload, ctx, late=late) as change:
            _flip(ctx, change)
            with http_errors(f"{params.method} {url}"):
                response = ctx.clients.http().request(params.method, url, headers=headers, json=_INVALID)
        return _answer(params, response, f"{params.method} {url} while tenant {tenant} is {params.status}", before)

    def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
        """Put the old status back, unless somebody has set another one since. Raises CheckError when it fails."""
        for _ in ctx.undo_attempts():
            if _put_back(ctx, payload["tenant"], payload["set"], payload["before"]):
                return


def _put_back(ctx: CheckContext, tenant: int, own_status: str, before: str) -> bool:
    """Whether it was to be put back. Raises CheckError when it is still changed."""
    with ctx.clients.postgres(read_only=False) as connection:
        is_changed = _read_status(connection, tenant) == own_status
        if is_changed:
            _write(connection, tenant, own_status, before)
    if _status(ctx, tenant) == own_status:
        raise CheckError(
            f"tenant {tenant} is still {own_status} and not {before}",
            hint=f"Set billing_status of tenant {tenant} to {before} by hand.",
        )
    return is_changed


def _status(ctx: CheckContext, tenant: int) -> str:
    with ctx.clients.postgres() as connection:
        status = _read_status(connection, tenant)
    if status is None:
        raise CheckError(
            f"no tenant {tenant} on {ctx.target.name}, or the database role can't see it",
            hint=f"Set targets.{ctx.target.name}.tenant.id, or make the role a member of solvereign_platform.",
        )
    return status


def _flip(ctx: CheckContext, change: Change) -> None:
    """Set the status. ``change`` says whether the server may still be at it: the connection was lost before it had answered."""
    tenant, before, status = (change.payload[key] for key in ("tenant", "before", "set"))
    with ctx.clients.postgres(read_only=False) as connection:
        try:
            row_count = _write(connection, tenant, before, status)
            connection.commit()
        finally:
            change.outcome_unknown = connection.broken
    if row_count != 1:
        raise CheckError(
            f"could not set tenant {tenant} to {status}: no row was changed",
            hint="The database role needs UPDATE on tenants, and a row security policy that lets it.",
        )


def _read_status(connection: psycopg.Connection, tenant: int) -> str | None:
    row = connection.execute("SELECT billing_status FROM tenants WHERE id = %s", (tenant,)).fetchone()
    return None if row is None else str(row[0])


def _write(connection: psycopg.Connection, tenant: int, old: str, new: str) -> int:
    """Change the status from ``old`` to ``new``; returns how many rows were changed."""
    return connection.execute(
        "UPDATE tenants SET billing_status = %s WHERE id = %s AND billing_status = %s", (new, tenant, old)
    ).rowcount


def _answer(params: BillingGateParams, response: httpx.Response, question: str, before: str) -> Answer:
    evidence = Evidence(
        asked=f"{question}, logged in as a user of that tenant",
        expected=f"402 with error subscription_required and billing_status {params.status}",
        seen=f"{response.status_code} {response.text}\nbilling_status put back to {before}",
    )
    status = response.status_code
    if status in UNREACHED:
        raise unreached(f"{params.method} {params.path}", status)
    if status == _UNAUTHENTICATED:
        raise CheckError(
            f"logged in, but {params.method} {params.path} answers 401: the session was not accepted",
            hint="Run the check again. If it stays, check how the product reads its session cookie.",
            seen=response.text,
        )
    if status != _PAYMENT_REQUIRED:
        return Answer(
            Outcome.FAIL,
            f"no 402, got {status}: gating is not wired",
            evidence,
            hint="The gate must be part of the app and run after authentication."
            + (
                " The request was accepted: the answer in the evidence says what to remove."
                if response.is_success
                else ""
            ),
        )
    refusal = _refusal(response)
    if refusal.get("error") != "subscription_required":
        summary = "402, but not the gate's answer: no error subscription_required in the body"
        return Answer(
            Outcome.FAIL, summary, evidence, hint="Something else answers 402: its answer is in the evidence."
        )
    if refusal.get("billing_status") != params.status:
        summary = f"402, but for billing_status {refusal.get('billing_status')}, not {params.status}"
        hint = "Does the gate check another tenant, or cache an old status?"
        return Answer(Outcome.FAIL, summary, evidence, hint=hint)
    return Answer(
        Outcome.PASS, f"402 subscription_required while {params.status}; status put back to {before}", evidence
    )


def _refusal(response: httpx.Response) -> dict[str, Any]:
    """The gate's answer: the body (middleware), or its "detail" (dependency). Empty when it is neither."""
    try:
        body = response.json()
    except ValueError:
        return {}
    inner = body.get("detail") if isinstance(body, dict) and isinstance(body.get("detail"), dict) else body
    return inner if isinstance(inner, dict) else {}
