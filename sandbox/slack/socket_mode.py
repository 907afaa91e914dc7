"""Socket Mode: envelopes to the bot and its acknowledgements (docs.slack.dev/apis/events-api/using-socket-mode)."""

import asyncio
import contextlib
import json
import logging
import secrets
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from sandbox.slack.delivery import ACK_SECONDS, KEPT_DELIVERIES, Delivery
from sandbox.slack.journal import CallLog
from sandbox.slack.people import APP_ID
from sandbox.slack.shapes import Json
from sandbox.slack.workspace import Workspace

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 10
PING_SECONDS = 20.0
CONNECTION_SECONDS = 18_060
DISCONNECT_REASONS = ("warning", "refresh_requested", "link_disabled", "too_many_websockets")
GRACE_SECONDS = 10.0  # from the word that a connection will end to its end


class SocketMode:
    """The open sockets of the app. Each envelope goes to one of them, in turn; nothing is queued or sent again."""

    def __init__(self, workspace: Workspace, journal: CallLog, on_change: Callable[[], None]) -> None:
        self._workspace = workspace
        self._journal = journal
        self._on_change = on_change
        self._sockets: deque[web.WebSocketResponse] = deque()
        self._requests: dict[web.WebSocketResponse, web.Request] = {}
        self._waiting: dict[str, deque[asyncio.Future[Json]]] = {}
        self._sent: OrderedDict[str, Json] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._host = "applink-" + secrets.token_hex(4)

    @property
    def connections(self) -> int:
        """How many sockets are open."""
        return len(self._sockets)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One socket, from its ticket to its end."""
        if not self._workspace.tickets.redeem(request.query.get("ticket", "")):
            return web.Response(status=403, text="invalid or used ticket")
        socket = web.WebSocketResponse(heartbeat=PING_SECONDS)
        await socket.prepare(request)
        if len(self._sockets) >= MAX_CONNECTIONS:
            await socket.send_json(self._disconnect_message("too_many_websockets"))
            await socket.close()
            return socket
        self._sockets.append(socket)
        self._requests[socket] = request
        try:
            await socket.send_json(self._hello())
            self._on_change()
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(message.data)
        except ConnectionResetError:
            log.info("the bot dropped its socket")
        finally:
            self._sockets.remove(socket)
            del self._requests[socket]
            self._on_change()
        return socket

    async def deliver(self, kind: str, payload: Json, *, accepts_response: bool) -> Delivery:
        """Send a payload to one socket and wait for its acknowledgement, at most 3 seconds."""
        envelope: Json = {
            "envelope_id": str(uuid.uuid4()),
            "type": kind,
            "accepts_response_payload": accepts_response,
            "payload": payload,
        }
        self._sent[envelope["envelope_id"]] = envelope
        while len(self._sent) > KEPT_DELIVERIES:
            self._sent.popitem(last=False)
        return await self._send(envelope)

    async def replay(self, envelope_id: str, times: int) -> list[Delivery]:
        """Send an earlier envelope again, unchanged, `times` times at once. Raises KeyError for an unknown one."""
        envelope = self._sent[envelope_id]
        return list(await asyncio.gather(*(self._send(envelope) for _ in range(times))))

    async def announce_end(self, reason: str) -> None:
        """Tell every socket that it will be closed, as Slack does every few hours, and close it a little later."""
        for socket in list(self._sockets):
            with contextlib.suppress(ConnectionResetError):
                await socket.send_json(self._disconnect_message(reason))
            task = asyncio.create_task(self._close_later(socket))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def drop(self) -> None:
        """Cut every connection without a closing frame, as a broken network does."""
        for request in self._requests.values():
            if request.transport is not None:
                request.transport.abort()

    async def close(self) -> None:
        """Close every socket."""
        for task in list(self._closing):
            task.cancel()
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY)

    async def _send(self, envelope: Json) -> Delivery:
        envelope_id = envelope["envelope_id"]
        futures = self._waiting.setdefault(envelope_id, deque())
        acknowledgement: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        futures.append(acknowledgement)
        start_time = time.monotonic()
        try:
            if not await self._send_to_one(envelope):
                return Delivery(envelope_id, delivered=False, error="dispatch_failed")
            ack = await asyncio.wait_for(acknowledgement, ACK_SECONDS)
        except TimeoutError:
            self._journal.violation("ack", envelope["type"], "operation_timeout", envelope_id=envelope_id)
            return Delivery(envelope_id, delivered=True, error="operation_timeout")
        finally:
            if acknowledgement in futures:
                futures.remove(acknowledgement)
            if not futures:
                self._waiting.pop(envelope_id, None)
        return Delivery(envelope_id, delivered=True, ack=ack, seconds=time.monotonic() - start_time)

    async def _send_to_one(self, envelope: Json) -> bool:
        text = json.dumps(envelope, ensure_ascii=False)
        for _ in range(len(self._sockets)):
            self._sockets.rotate(-1)
            socket = self._sockets[-1]
            if socket.closed:
                continue
            try:
                await socket.send_str(text)
            except ConnectionResetError:
                continue
            return True
        return False

    def _receive(self, text: str) -> None:
        message = _object(text)
        if message is None:
            return  # clients also send pings of their own as text
        envelope_id = message.get("envelope_id")
        futures = self._waiting.get(str(envelope_id))
        if futures:
            payload = message.get("payload")
            futures.popleft().set_result(payload if isinstance(payload, dict) else {})

    async def _close_later(self, socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        await socket.close(code=WSCloseCode.GOING_AWAY)

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self._sockets),
            "connection_info": {"app_id": APP_ID},
            "debug_info": {
                "host": self._host,
                "build_number": 1,
                "approximate_connection_time": CONNECTION_SECONDS,
            },
        }

    def _disconnect_message(self, reason: str) -> Json:
        return {"type": "disconnect", "reason": reason, "debug_info": {"host": self._host}}


def _object(text: str) -> Json | None:
    try:
        value: Any = json.loads(text)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
