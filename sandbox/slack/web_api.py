"""How a Web API call arrives: token, scope, rate limit, ordered faults; then the method; then the answer."""

import json
import secrets
from typing import Any

from aiohttp import web

from sandbox.slack.faults import SlackFaults
from sandbox.slack.journal import CallLog
from sandbox.slack.limits import RateLimiter
from sandbox.slack.methods import METHODS
from sandbox.slack.methods.call import Method, MethodCall
from sandbox.slack.shapes import Json, MethodError, invalid_arguments
from sandbox.slack.workspace import Workspace


class WebApi:
    """The routes under /api/, and the two addresses of files."""

    def __init__(self, workspace: Workspace, journal: CallLog, faults: SlackFaults) -> None:
        self._workspace = workspace
        self._journal = journal
        self._faults = faults
        self._limiter = RateLimiter(workspace.clock)

    def add_routes(self, app: web.Application) -> None:
        """Serve the methods and the files."""
        app.router.add_post("/api/{method}", self._answer)
        app.router.add_get("/api/{method}", self._answer)
        app.router.add_post("/upload/v1/{token}", self._receive_file)
        app.router.add_get("/files-pri/{file}/{name}", self._send_file)

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["method"]
        try:
            args = await read_args(request)
        except MethodError as exc:
            return self._respond(exc.answer(), METHODS.get(name))
        token = _bearer(request) or str(args.get("token", ""))
        for common in ("token", "team_id"):  # Bolt's client names the workspace with each call, and there is one
            args.pop(common, None)
        method = METHODS.get(name)
        refusal = self._refuse_early(name, method, args)
        if refusal is not None:
            return refusal
        body: Json = {"ok": True}
        try:
            if method is None:
                raise MethodError("unknown_method", req_method=name)
            self._authorize(method, token)
            if unknown := args.keys() - method.arguments:
                raise invalid_arguments(f"the sandbox does not know the argument {min(unknown)} of {name}")
            body |= method.run(MethodCall(name, args, self._workspace))
        except MethodError as exc:
            self._journal.refusal(name, exc)
            body = exc.answer()
        self._journal.call(name, args, None if body["ok"] else body["error"])
        self._note_missing_text(name, args, body)
        if self._faults.loses_reply(name) and request.transport is not None:
            request.transport.abort()
        return self._respond(body, method)

    def _refuse_early(self, name: str, method: Method | None, args: Json) -> web.Response | None:
        """The refusal by a rate limit or an ordered error, before the arguments are read; None without one."""
        retry_after = self._faults.rate_limit(name)
        if retry_after is None and method is not None:
            retry_after = self._limiter.retry_after(name, str(args.get("channel", "")), method.rate)
            if retry_after is not None:
                self._journal.violation("rate", name, "ratelimited", channel=args.get("channel"))
        if retry_after is not None:
            self._journal.call(name, args, "ratelimited")
            body = {"ok": False, "error": "ratelimited"}
            return web.json_response(body, status=429, headers={"Retry-After": str(retry_after)})
        ordered_error = self._faults.error(name)
        if ordered_error is not None:
            error, status = ordered_error
            self._journal.call(name, args, error)
            return web.json_response({"ok": False, "error": error}, status=status)
        return None

    def _authorize(self, method: Method, token: str) -> None:
        kinds = {self._workspace.secret("bot_token"): "bot", self._workspace.secret("app_token"): "app"}
        if not token:
            raise MethodError("not_authed")
        if token not in kinds:
            raise MethodError("invalid_auth")
        if kinds[token] != method.token:
            raise MethodError("not_allowed_token_type")
        scopes = self._workspace.manifest.scopes
        if method.scope is not None and method.scope not in scopes:
            raise MethodError("missing_scope", needed=method.scope, provided=",".join(scopes))

    def _note_missing_text(self, name: str, args: Json, body: Json) -> None:
        """Slack only warns of blocks without text, but then notifications and screen readers have nothing to say."""
        if name in ("chat.postMessage", "chat.postEphemeral") and body["ok"] and not args.get("text"):
            self._journal.violation("block", name, "missing_text")

    def _respond(self, body: Json, method: Method | None) -> web.Response:
        headers = {
            "x-oauth-scopes": ",".join(self._workspace.manifest.scopes),
            "x-accepted-oauth-scopes": (method.scope if method else None) or "",
            "x-slack-req-id": secrets.token_hex(16),
        }
        return web.json_response(body, headers=headers)

    async def _receive_file(self, request: web.Request) -> web.Response:
        try:
            size = self._workspace.files.receive(request.match_info["token"], await request.read())
        except MethodError as exc:
            return web.Response(status=404 if exc.code == "not_found" else 400, text=exc.code)
        self._workspace.save()
        return web.Response(text=f"OK - {size}")

    async def _send_file(self, request: web.Request) -> web.Response:
        """Slack asks for a token here; the page of the sandbox shows files without one."""
        file_id = request.match_info["file"].rpartition("-")[2]
        try:
            file = self._workspace.files.get(file_id)
        except MethodError as exc:
            return web.Response(status=404, text=exc.code)
        headers = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=self._workspace.files.content(file_id), content_type=file["mimetype"], headers=headers)


async def read_args(request: web.Request) -> Json:
    """The arguments of a call, from its query, a JSON body or a form. Raises MethodError invalid_json and the like."""
    args: Json = dict(request.query)
    if request.content_type == "application/json":
        try:
            body: Any = json.loads(await request.text() or "{}")
        except json.JSONDecodeError as exc:
            raise MethodError("invalid_json") from exc
        if not isinstance(body, dict):
            raise MethodError("json_not_object")
        args |= body
    else:
        args |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    return args


def _bearer(request: web.Request) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if kind == "Bearer" else ""
