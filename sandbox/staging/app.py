"""The simulated product API: health, log-in, roster plans behind billing gating, the Stripe webhook, metrics."""

import json
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from sandbox.faults import Faults, Scope
from sandbox.staging import accounts, webhook
from sandbox.staging.accounts import POOL, RATE_LIMIT, SWITCHES, USER
from sandbox.staging.readiness import HEALTHY, readiness
from sandbox.staging.serving import refuse_while

APP_VERSION = "3.3.0"  # what the product reports when SOLVEREIGN_APP_VERSION is not set: not the version that runs
GATED_PREFIXES = (
    "/api/v1/solver/",
    "/api/v1/roster/",
    "/api/v1/dispatch/",
    "/api/v1/forecast/",
)
POOL_TIMEOUT_SECONDS = 2.0
LOGIN_ATTEMPTS = 5

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_REASONS = {
    "past_due": "Payment overdue. Please update your payment method.",
    "canceled": "Subscription canceled. Reactivate to make changes.",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProductSettings:
    """What one instance is configured with. Without the two Stripe settings there is no webhook route."""

    environment: str
    database_url: str
    stripe_api_key: str | None
    webhook_secret: str | None
    login_attempts: int = LOGIN_ATTEMPTS


SETTINGS = web.AppKey("settings", ProductSettings)


class _Metrics:
    """The product's own two HTTP metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "http_requests",
            "HTTP requests",
            ("method", "endpoint", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "http_request_duration_seconds",
            "Duration of requests",
            ("method", "endpoint"),
            registry=self.registry,
        )


_METRICS = web.AppKey("metrics", _Metrics)


def make_app(settings: ProductSettings, faults: Faults) -> web.Application:
    """One instance of the product; the switches of the group `settings.environment` act on it."""
    switches = Scope(faults, settings.environment)
    app = web.Application(
        middlewares=[
            refuse_while(lambda: switches.on("product_down")),
            _observe,
            _errors,
            _session,
            _gate,
        ]
    )
    app[SETTINGS] = settings
    app[SWITCHES] = switches
    app[RATE_LIMIT] = accounts.RateLimit(settings.login_attempts)
    app[_METRICS] = _Metrics()
    app.cleanup_ctx.append(_pool)
    app.add_routes(
        [
            web.get("/health", _health),
            web.get("/health/ready", _ready),
            web.get("/metrics", _metrics),
            web.post("/api/auth/login", accounts.login),
            web.get("/api/v1/roster/plans", _list_plans),
        ]
    )
    if settings.stripe_api_key and settings.webhook_secret:
        app[webhook.SECRET] = settings.webhook_secret
        app.router.add_post("/api/billing/webhook", webhook.receive)
    return app


async def _pool(app: web.Application) -> AsyncIterator[None]:
    """The connections of the app; it starts without its database too, and says so in /health/ready."""
    pool = AsyncConnectionPool(
        app[SETTINGS].database_url,
        min_size=1,
        max_size=6,
        timeout=POOL_TIMEOUT_SECONDS,
        open=False,
    )
    await pool.open()
    app[POOL] = pool
    yield
    await pool.close()


@web.middleware
async def _observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request."""
    start_time = time.monotonic()
    response = await handler(request)
    seconds = time.monotonic() - start_time
    if request.path != "/metrics":
        metrics = request.app[_METRICS]
        metrics.requests.labels(request.method, request.path, str(response.status)).inc()
        metrics.seconds.labels(request.method, request.path).observe(seconds)
    return response


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give errors the product's form: {"detail"} for an HTTP error, plain text for an unexpected one."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        return web.json_response({"detail": exc.reason}, status=exc.status)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, psycopg.Error) as exc:
        _log.error(
            "Exception in the %s application: %r",
            request.app[SETTINGS].environment,
            exc,
        )
        return web.Response(status=500, text="Internal Server Error")


@web.middleware
async def _session(request: web.Request, handler: Handler) -> web.StreamResponse:
    user = await accounts.session_user(request)
    if user is not None and not request.app[SWITCHES].on("session_lost"):
        request[USER] = user
    return await handler(request)


@web.middleware
async def _gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Billing gating, before routing: 402 for what the billing status of the session's tenant does not allow."""
    user = request.get(USER)
    if user is None or not request.path.startswith(GATED_PREFIXES):
        return await handler(request)
    status = await _billing_status(request, user["tenant_id"])
    if status in {"active", "trialing"} or (status in _REASONS and request.method in _READING):
        return await handler(request)
    if request.app[SWITCHES].on("gating_open"):
        return web.json_response({"detail": "Not Found"}, status=404)
    message = _REASONS.get(status, "Active subscription required.")
    refusal = {"error": "subscription_required", "message": message, "billing_status": status}
    in_detail = request.app[SWITCHES].on("gating_detail")
    return web.json_response({"detail": refusal} if in_detail else refusal, status=402)


async def _billing_status(request: web.Request, tenant: int) -> str:
    async with request.app[POOL].connection() as connection:
        cursor = await connection.execute("SELECT billing.get_tenant_billing_status(%s)", (tenant,))
        row = await cursor.fetchone()
    return str(row[0]) if row is not None else "none"


async def _health(request: web.Request) -> web.Response:
    settings = request.app[SETTINGS]
    status = "error" if request.app[SWITCHES].on("health_error") else "healthy"
    return web.json_response(
        {
            "status": status,
            "version": APP_VERSION,
            "timestamp": datetime.now(UTC).isoformat(),
            "environment": settings.environment,
        }
    )


async def _ready(request: web.Request) -> web.Response:
    """Whether it reaches its database now."""
    try:
        async with request.app[POOL].connection() as connection:
            await connection.execute("SELECT 1")
        database = HEALTHY
    except (PoolTimeout, psycopg.OperationalError) as exc:
        database = f"unhealthy: {exc}"
    if request.app[SWITCHES].on("not_ready"):
        database = "unhealthy: connection refused"
    return web.json_response(readiness(database))


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(request.app[_METRICS].registry), content_type="text/plain")


async def _list_plans(request: web.Request) -> web.Response:
    user = request.get(USER)
    if user is None:
        return accounts.unauthenticated()
    if request.app[SWITCHES].on("smoke_error"):
        return web.Response(status=500, text="Internal Server Error")
    async with (
        request.app[POOL].connection() as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        await cursor.execute(
            "SELECT id, name, status, created_at FROM core.roster_plans WHERE tenant_id = %s ORDER BY id",
            (user["tenant_id"],),
        )
        plans = [{**row, "created_at": row["created_at"].isoformat()} for row in await cursor.fetchall()]
    return web.json_response({"success": True, "plans": plans, "total": len(plans)})
