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
LOCK_AFTER_FAILURES = 10
MIN_PASSWORD_LENGTH = 8
_PERMISSIONS = ["roster.plans.read", "roster.plans.write"]

SWITCHES = web.AppKey("switches", Scope)
POOL = web.AppKey("pool", AsyncConnectionPool[Any])
USER = web.RequestKey("user", dict[str, Any])  # present with a session that is good


@dataclass
class RateLimit:
    """At most `attempts` log-ins per address in fifteen minutes, good ones too; 0 means no limit. Kept in memory."""

    attempts: int

    def __post_init__(self) -> None:
        self._seen: dict[str, deque[float]] = {}

    def allows(self, address: str) -> bool:
        """Count one attempt, and say whether it is still within the limit."""
        if self.attempts == 0:
            return True
        now = time.monotonic()
        seen = self._seen.setdefault(address, deque())
        while seen and seen[0] < now - RATE_LIMIT_SECONDS:
            seen.popleft()
        if len(seen) >= self.attempts:
            return False
        seen.append(now)
        return True


RATE_LIMIT = web.AppKey("rate_limit", RateLimit)


async def session_user(request: web.Request) -> DictRow | None:
    """The user behind the request's cookie, or None without a session that is still good."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    async with (
        request.app[POOL].connection() as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        await cursor.execute(
            "SELECT u.id, u.email, u.display_name, u.tenant_id, u.role_name, t.name AS tenant_name"
            " FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id JOIN tenants t ON t.id = u.tenant_id"
            " WHERE s.token_hash = %s AND s.revoked_at IS NULL AND s.expires_at > now() AND u.is_active",
            (_hash(token),),
        )
        row: DictRow | None = await cursor.fetchone()
        return row


async def login(request: web.Request) -> web.Response:
    """POST /api/auth/login {"email", "password"}: 200 with the cookie, else 401, 403, 422 or 429."""
    body = await _json_object(request)
    problems = [
        _problem("missing", ["body", field], "Field required") for field in ("email", "password") if field not in body
    ]
    if not problems and len(str(body["password"])) < MIN_PASSWORD_LENGTH:
        problems = [
            _problem(
                "string_too_short",
                ["body", "password"],
                f"String should have at least {MIN_PASSWORD_LENGTH} characters",
            )
        ]
    if problems:
        return web.json_response({"detail": problems}, status=422)
    if refusal := _switched_off(request.app[SWITCHES]):
        return refusal
    if not request.app[RATE_LIMIT].allows(request.remote or ""):
        return _refused(429, "RATE_LIMITED", "Too many login attempts. Please try again later.")

    async with (
        request.app[POOL].connection() as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        await cursor.execute("SELECT * FROM auth.users WHERE email = %s", (str(body["email"]).lower(),))
        user = await cursor.fetchone()
        if user is None:
            return _refused(401, "INVALID_CREDENTIALS", "Invalid email or password")
        if not user["is_active"]:
            return _refused(403, "ACCOUNT_INACTIVE", "Account is inactive")
        if user["failed_login_count"] >= LOCK_AFTER_FAILURES:
            return _refused(403, "ACCOUNT_LOCKED", "Account is locked")
        if not password_matches(str(body["password"]), user["password_hash"]):
            await cursor.execute(
                "UPDATE auth.users SET failed_login_count = failed_login_count + 1 WHERE id = %s",
                (user["id"],),
            )
            return _refused(401, "INVALID_CREDENTIALS", "Invalid email or password")
        token = secrets.token_urlsafe(32)
        expires_at = datetime.now(UTC) + timedelta(seconds=SESSION_SECONDS)
        await cursor.execute("UPDATE auth.users SET failed_login_count = 0 WHERE id = %s", (user["id"],))
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
        return _refused(403, "ACCOUNT_LOCKED", "Account is locked")
    if switches.on("login_limited"):
        return _refused(429, "RATE_LIMITED", "Too many login attempts. Please try again later.")
    return None


async def me(request: web.Request) -> web.Response:
    """GET /api/auth/me: the user behind the cookie, or 401."""
    user = request.get(USER)
    if user is None:
        return unauthenticated()
    return web.json_response(
        {
            **_public(user),
            "tenant_name": user["tenant_name"],
            "enabled_packs": ["roster"],
        }
    )


async def logout(request: web.Request) -> web.Response:
    """POST /api/auth/logout: ends the session, if there is one."""
    async with request.app[POOL].connection() as connection:
        await connection.execute(
            "UPDATE auth.sessions SET revoked_at = now() WHERE token_hash = %s",
            (_hash(request.cookies.get(COOKIE, "")),),
        )
    response = web.json_response({"success": True, "message": "Logged out"})
    response.del_cookie(COOKIE, path="/")
    return response


async def auth_health(_request: web.Request) -> web.Response:
    """GET /api/auth/health: the name of the session cookie, without a log-in."""
    return web.json_response({"status": "healthy", "session_cookie_name": COOKIE})


def unauthenticated() -> web.Response:
    """The product's answer to a request without a session."""
    return web.json_response({"detail": "Authentication required"}, status=401)


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _problem(kind: str, location: list[str], message: str) -> dict[str, Any]:
    return {"type": kind, "loc": location, "msg": message, "input": None}


def _refused(status: int, code: str, message: str) -> web.Response:
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
