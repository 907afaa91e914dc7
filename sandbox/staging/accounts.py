"""Log-in of the simulated product: sessions in its database, a cookie, and a rate limit per address."""

import hashlib
import secrets
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from sandbox.faults import Scope
from sandbox.staging.database import password_matches

COOKIE = "sv_platform_session"  # over https the product calls it __Host-sv_platform_session
SESSION_SECONDS = 28800
RATE_LIMIT_SECONDS = 15 * 60
_PERMISSIONS = ["roster.plans.read", "roster.plans.write"]

SWITCHES = web.AppKey("switches", Scope)
POOL = web.AppKey("pool", AsyncConnectionPool[Any])
USER = web.RequestKey("user", dict[str, Any])  # present with a session that is good


@dataclass
class RateLimit:
    """At most `attempts` log-ins per address in fifteen minutes, successful ones included; 0 means no limit. In memory only."""

    attempts: int

    def __post_init__(self) -> None:
        self._attempts: dict[str, deque[float]] = {}

    def allows(self, address: str) -> bool:
        """Count one attempt, and say whether it is still within the limit."""
        if self.attempts == 0:
            return True
        now = time.monotonic()
        attempts = self._attempts.setdefault(address, deque())
        while attempts and attempts[0] < now - RATE_LIMIT_SECONDS:
            attempts.popleft()
        if len(attempts) >= self.attempts:
            return False
        attempts.append(now)
        return True


RATE_LIMIT = web.AppKey("rate_limit", RateLimit)


async def session_user(request: web.Request) -> DictRow | None:
    """The user of the session in the request's cookie, or None without a valid session."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    async with (
        request.app[POOL].connection() as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        await cursor.execute(
            "SELECT u.id, u.email, u.display_name, u.tenant_id, u.role_name"
            " FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id"
            " WHERE s.token_hash = %s AND s.expires_at > now()",
            (_hash(token),),
        )
        row: DictRow | None = await cursor.fetchone()
        return row


async def login(request: web.Request) -> web.Response:
    """POST /api/auth/login {"email", "password"}: 200 with the cookie, 401 for a wrong one, 429 for one too many."""
    if refusal := _switched_off(request.app[SWITCHES]):
        return refusal
    if not request.app[RATE_LIMIT].allows(request.remote or ""):
        return _refuse(429, "RATE_LIMITED", "Too many login attempts. Please try again later.")
    body = await request.json()
    async with (
        request.app[POOL].connection() as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        await cursor.execute("SELECT * FROM auth.users WHERE email = %s", (str(body["email"]).lower(),))
        user = await cursor.fetchone()
        if user is None or not password_matches(str(body["password"]), user["password_hash"]):
            return _refuse(401, "INVALID_CREDENTIALS", "Invalid email or password")
        token = secrets.token_urlsafe(32)
        expires_at = datetime.now(UTC) + timedelta(seconds=SESSION_SECONDS)
        await cursor.execute(
            "INSERT INTO auth.sessions (token_hash, user_id, expires_at) VALUES (%s, %s, %s)",
            (_hash(token), user["id"], expires_at),
        )
    response = web.json_response(
        {
            "success": True,
            **_public(user),
            "site_id": None,
            "permissions": _PERMISSIONS,
            "expires_at": expires_at.isoformat(),
            "available_tenants": [user["tenant_id"]],
            "is_platform_admin": user["role_name"] == "platform_admin",
        }
    )
    if not request.app[SWITCHES].on("login_no_cookie"):
        response.set_cookie(COOKIE, token, max_age=SESSION_SECONDS, httponly=True, samesite="Strict", path="/")
    return response


def _switched_off(switches: Scope) -> web.Response | None:
    """The answer to a log-in that a switch has broken."""
    if switches.on("login_error"):
        return web.Response(status=500, text="Internal Server Error")
    if switches.on("login_locked"):
        return _refuse(403, "ACCOUNT_LOCKED", "Account is locked")
    if switches.on("login_limited"):
        return _refuse(429, "RATE_LIMITED", "Too many login attempts. Please try again later.")
    return None


def unauthenticated() -> web.Response:
    """The product's answer to a request without a session."""
    return web.json_response({"detail": "Authentication required"}, status=401)


def _refuse(status: int, code: str, message: str) -> web.Response:
    return web.json_response(
        {"detail": {"success": False, "error_code": code, "message": message}},
        status=status,
    )


def _public(user: DictRow) -> dict[str, Any]:
    return {
        "user_id": str(user["id"]),
        "email": user["email"],
        "display_name": user["display_name"],
        "tenant_id": user["tenant_id"],
        "role_name": user["role_name"],
    }


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
