"""The HTTP port: one server for all pages. Each page is made by the module that it is about."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from waitress.server import create_server
from waitress.wasyncore import close_all

from bot.errors import ConfigError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

logger = logging.getLogger(__name__)

THREADS = 8  # an ack takes milliseconds; a page waits two seconds at most, for a database that is away
LARGEST = 2 * 1024 * 1024  # bytes of a request: the largest form of Slack has 250 kB, URL-encoded
IDLE = 30  # seconds after which a connection on which nothing happens is closed


@dataclass(frozen=True)
class WebPage:
    """The answer to a request."""

    status: HTTPStatus
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"


Pages = Mapping[str, "Callable[[WSGIEnvironment], WebPage]"]  # path -> what answers there


class WebServer:
    """Serves ``pages`` in threads of its own. Port 0 takes a free one.

    Waitress reads a request whole before a thread gets it, so slow senders hold none, and it runs inside of this process:
    a server that forks would part the pages from the workers and their database pool.
    """

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        """Bind the address, but do not answer yet. Raises ConfigError if that is not possible."""
        self._pages = pages
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server((host, port), family=family)
        except OSError as error:
            raise ConfigError(
                f"http: cannot listen on {host}:{port}: {error.strerror or error}.",
                hint="Set http.host and http.port to an address of this machine that is free.",
            ) from error
        self._address: tuple[str, int] = listening.getsockname()[:2]
        self._sockets: dict[int, object] = {}
        self._server = create_server(
            self._answer,
            map=self._sockets,
            sockets=[listening],
            threads=THREADS,
            ident=None,  # no header that names the server
            max_request_body_size=LARGEST,
            channel_timeout=IDLE,
            clear_untrusted_proxy_headers=True,
        )
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def url(self) -> str:
        """The address at which it listens."""
        host, port = self._address
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def start(self) -> None:
        """Answer requests from now on, in threads."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering; requests under way are finished first, for at most five seconds."""
        self._server.trigger.pull_trigger(lambda: close_all(self._sockets))
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        self._server.run()
        self._server.task_dispatcher.shutdown()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        handler = self._pages.get(environ.get("PATH_INFO", "/"))
        page = WebPage(HTTPStatus.NOT_FOUND, b"not found\n") if handler is None else handler(environ)
        headers = [("Content-Type", page.kind), ("Content-Length", str(len(page.body)))]
        start_response(f"{page.status.value} {page.status.phrase}", headers)
        return [page.body]
