"""How every simulated server listens, refuses when it is switched off, and asks for its token."""

import random
import socket
from collections.abc import Callable, Container, Iterable, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """A bound loopback socket on `port`, or on a free one when `port` is 0 or taken by somebody else."""
    for candidate in dict.fromkeys((port, 0)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, candidate))
        except OSError:
            sock.close()
            if candidate == 0:
                raise
        else:
            return sock
    raise AssertionError("port 0 either binds or raises")


def reserved_port(last: int) -> int:
    """`last`, or another port for a process that takes it later.

    It is below those that systems hand out by themselves (32768 and up), so that no connection gets it until then.
    """
    while True:
        candidate, last = last or random.randrange(20_000, 30_000), 0  # noqa: S311  no secret
        with listen(candidate) as sock:
            if sock.getsockname()[1] == candidate:
                return candidate


class Server:
    """One aiohttp application on one loopback port."""

    def __init__(self, app: web.Application, sock: socket.socket) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        self._sock = sock
        self.port: int = sock.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Accept connections."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._sock).start()

    async def stop(self) -> None:
        """Close the port and end what the application has running."""
        await self._runner.cleanup()
        self._sock.close()


def refuse_while(down: Callable[[], bool]) -> Middleware:
    """Answer 503 to everything as long as `down()` is true."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if down():
            return web.json_response({"message": "Service Unavailable"}, status=503)
        return await handler(request)

    return middleware


def require_token(
    is_accepted: Callable[[web.Request], bool],
    refusal: Callable[[web.Request], web.Response],
    *,
    open_paths: Iterable[str] = (),
) -> Middleware:
    """Answer `refusal(request)` unless `accepted(request)`; paths that start with one of `open_paths` are for all."""
    prefixes = tuple(open_paths)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(prefixes) or is_accepted(request):
            return await handler(request)
        return refusal(request)

    return middleware


def bearer(*tokens: str) -> Callable[[web.Request], bool]:
    """Whether a request carries one of the tokens."""

    def is_accepted(request: web.Request) -> bool:
        return token_of(request) in tokens

    return is_accepted


def token_of(request: web.Request) -> str:
    """The token of `Authorization: Bearer <token>` (`token <token>` is the older form of GitHub); empty without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme in {"Bearer", "token"} else ""


def require_right(
    rights: Mapping[str, Container[str]],
    right_of: Callable[[web.Request], str],
    refusal: Callable[[web.Request], web.Response],
) -> Middleware:
    """Answer `refusal(request)` where the rights of the request's token lack `right_of(request)`; "" needs none."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        right = right_of(request)
        if not right or right in rights.get(token_of(request), ()):
            return await handler(request)
        return refusal(request)

    return middleware


def json_errors(body: Callable[[int, str], object]) -> Middleware:
    """Give the framework's own errors (no route, wrong method) the vendor's JSON form `body(status, reason)`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as exc:
            if exc.status < 400:
                raise
            return web.json_response(body(exc.status, exc.reason), status=exc.status)

    return middleware
