"""Links between the process and the systems outside of it: they see each commit and each call, and can give bad answers."""

import contextlib
import json
import re
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bot.store
from bot.store.queries import queries
from tests.fix_proxy import Relay, Ways
from tests.killing.points import Fault, Moment, Trace

HOP = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
WRITES = re.compile(r"\b(?:INSERT INTO|DELETE FROM|(?<!FOR )(?<!DO )UPDATE) \w+", re.IGNORECASE)
LATE_AFTER = 60.0  # seconds for which an answer is held back: every client is to give up before
Namer = Callable[[str, str], str]  # (method, path) -> what a call is called
Forward = Callable[[str, str, bytes, dict[str, str]], tuple[int, dict[str, str], bytes]]


class HttpLink:
    """An address at which a vendor's API is reached through the link."""

    def __init__(self, trace: Trace, name: Namer, forward: Forward) -> None:
        link = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # who has called is dead
                    super().handle()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
                pass

            def do_GET(self) -> None:
                link._pass_on(self)

            do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815  the names of the base class

        self._trace, self._name, self._forward = trace, name, forward
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Accept no more calls."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _pass_on(self, call: BaseHTTPRequestHandler) -> None:
        body = call.rfile.read(int(call.headers.get("Content-Length") or 0))
        what = self._name(call.command, call.path)
        nth = self._trace.count(what)
        fault, answer = self._trace.fault(what, nth, Moment.BEFORE), None
        if fault is None:
            headers = {key: value for key, value in call.headers.items() if key.lower() not in HOP}
            answer = self._forward(call.command, call.path, body, headers)
            fault = self._trace.fault(what, nth, Moment.AFTER)
        if fault is None and answer is not None:
            _answer(call, *answer)
        elif fault in {Fault.LOST, Fault.LATE}:
            if fault is Fault.LATE:
                _hold(call.connection, self._trace, what)
            call.close_connection = True
        elif fault is not None:
            content = json.dumps({"message": "an answer of the link"}).encode()
            _answer(call, int(fault), {"Content-Type": "application/json", "Retry-After": "1"}, content)


def _hold(client: socket.socket, trace: Trace, what: str) -> None:
    """Send nothing until the client gives up."""
    if not select.select([client], [], [], LATE_AFTER)[0]:
        trace.endless_waits.append(what)


def _answer(call: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes) -> None:
    call.send_response(status)
    for key, value in headers.items():
        if key.lower() not in HOP:
            call.send_header(key, value)
    call.send_header("Content-Length", str(len(content)))
    call.end_headers()
    call.wfile.write(content)


def forward_to(pool: Any, url: str, **own_headers: str) -> Forward:
    """Relay calls through a urllib3 pool; ``own_headers`` replace those of the caller."""

    def forward(method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        answer = pool.request(
            method, f"{url}{path}", body=body or None, headers={**headers, **own_headers}, retries=False
        )
        return answer.status, dict(answer.headers), answer.data

    return forward


def _normal(statement: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"%\(\w+\)s|\$\d+", "?", statement)).strip().rstrip(";")


def _our_queries() -> dict[str, str]:
    """The name of each query of the bot, such as `steps.journal`, by its text."""
    folder = Path(bot.store.__file__).parent / "sql"
    return {
        _normal(text): f"{file.stem}.{name}"
        for file in sorted(folder.glob("*.sql"))
        for name, text in queries(file.stem).items()
    }


class DatabaseLink(Relay):
    """A port for a PostgreSQL on a Unix socket; its points are the commits of transactions that have written something.

    Whatever the fault, the connection ends: at once, or when the client gives up.
    """

    def __init__(self, trace: Trace, url: str, name: str) -> None:
        """``url`` of the database; ``name`` as the points say it."""
        self._trace, self._name = trace, name
        self._query_names = _our_queries()
        parts = urlsplit(url)
        where = parse_qs(parts.query)
        super().__init__(partial(_at_socket, f"{where['host'][0]}/.s.PGSQL.{where['port'][0]}"))
        # in clear: the link reads what is said
        netloc, query = f"{parts.username}@127.0.0.1:{self.port}", "sslmode=disable&gssencmode=disable"
        self.url = parts._replace(netloc=netloc, query=query).geturl()

    def ways(self, client: socket.socket, server: socket.socket) -> Ways:
        """Both directions share what the connection has sent."""
        session = _Session(self._query_names, self._name)
        return partial(self._requests, session, client, server), partial(self._replies, session, server, client)

    def _requests(self, session: "_Session", client: socket.socket, server: socket.socket) -> None:
        for message in _messages(client):
            what = session.read(message)
            if what is not None:
                nth = self._trace.count(what)
                if self._is_broken(what, nth, Moment.BEFORE, client):
                    return
                session.commit = (what, nth)
            server.sendall(message)

    def _replies(self, session: "_Session", server: socket.socket, client: socket.socket) -> None:
        while data := server.recv(65_536):
            if session.commit is not None:
                (what, nth), session.commit = session.commit, None
                if self._is_broken(what, nth, Moment.AFTER, client):
                    return
            client.sendall(data)

    def _is_broken(self, what: str, nth: int, moment: Moment, client: socket.socket) -> bool:
        fault = self._trace.fault(what, nth, moment)
        if fault is Fault.LATE:
            _hold(client, self._trace, what)
        return fault is not None


def _at_socket(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


class _Session:
    """What one connection sends, message by message, in version 3 of PostgreSQL's protocol."""

    def __init__(self, names: dict[str, str], name: str) -> None:
        self._query_names, self._name = names, name
        self._statements: dict[bytes, str] = {}
        self._writes: list[str] = []
        self.commit: tuple[str, int] | None = None  # the commit whose reply is awaited

    def read(self, message: bytes) -> str | None:
        """Read a message; returns what the transaction has written if the message is its commit."""
        kind, body = message[:1], message[5:]
        if kind == b"P":
            statement, query, _ = body.split(b"\0", 2)
            self._statements[statement] = query.decode()
        elif kind == b"B":
            _, statement, rest = body.split(b"\0", 2)
            self._note(self._statements[statement], rest)
        elif kind == b"Q":
            text = body.rstrip(b"\0").decode()
            if text in {"BEGIN", "ROLLBACK", "COMMIT"}:
                writes, self._writes = list(dict.fromkeys(self._writes)), []
                if text == "COMMIT" and writes and writes != ["work.renew"]:
                    return f"{self._name}: {' + '.join(writes)}"
            else:
                self._note(text, b"")
        return None

    def _note(self, text: str, parameters: bytes) -> None:
        if not WRITES.search(text):
            return
        name = self._query_names.get(_normal(text)) or " ".join(text.split()[:3])
        if name == "steps.journal":
            name += f"({_values(parameters)[2].decode()})"
        self._writes.append(name)


def _values(parameters: bytes) -> list[bytes]:
    """The values of a Bind message, after its two names; a NULL is empty."""
    formats = struct.unpack_from("!H", parameters)[0]
    at = 2 + 2 * formats
    (count,) = struct.unpack_from("!H", parameters, at)
    at, values = at + 2, []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", parameters, at)
        at += 4
        values.append(parameters[at : at + max(length, 0)])
        at += max(length, 0)
    return values


def _messages(client: socket.socket) -> Iterator[bytes]:
    """Whole messages of a client: the first one has no type, all others have one."""
    buffer, skip = b"", 0
    while data := client.recv(65_536):
        buffer += data
        while len(buffer) >= skip + 4:
            length = skip + struct.unpack_from("!I", buffer, skip)[0]
            if len(buffer) < length:
                break
            message, buffer = buffer[:length], buffer[length:]
            skip = 1
            yield message
