"""A real HTTP server with canned replies, for answers that no healthy vendor gives: what it serves is a table."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str  # without the query
    query: dict[str, list[str]]
    headers: Mapping[str, str]  # names in Title-Case
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """A response: a str body is sent as text/html, bytes unchanged, and anything else as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> tuple[bytes, str]:
        """The body and its content type."""
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode(), "text/html; charset=utf-8"
        return json.dumps(self.body).encode(), "application/json"


Route = Reply | Callable[[Request], Reply]


class Replies:
    """A server on a free port that answers from a table such as ``{"GET /path": reply}``, and else with 404."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self.routes = dict(routes)
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: Request) -> Reply:
        """The reply for a request, by the table."""
        self.requests.append(request)
        reply = self.routes.get(f"{request.method} {request.path}", Reply(404, {"detail": "Not Found"}))
        return reply if isinstance(reply, Reply) else reply(request)

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        replies = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # one packet a reply: two small ones cost 40 ms of delayed acknowledgement
            timeout = 5  # seconds; a kept-alive connection must not hold up the end of a test

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.title(): value for name, value in self.headers.items()}
                reply = replies.answer(
                    Request(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), headers, body)
                )
                content, kind = reply.encode()
                self.send_response(reply.status)
                for name, value in {"Content-Type": kind, **reply.headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  the names that http.server calls

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name that it has there
                """Nothing: what was asked is in ``requests``."""

        return Handler


def closed_port_url() -> str:
    """An address on which nobody listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    return f"http://127.0.0.1:{server.server_port}"
