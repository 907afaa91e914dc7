"""Transport: the Bolt app, and Socket Mode, watched, because a socket can be open and deaf. HTTP: see `http_mode`."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time

from slack_bolt import App
from slack_bolt.adapter.socket_mode.websocket_client import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.socket_mode.client import BaseSocketModeClient

from bot.slack.client import SlackError, slack_call

logger = logging.getLogger(__name__)

PING = 5.0  # seconds between pings
DEAF = 3  # pings without an answer after which a connection counts as gone
OPEN = 15.0  # seconds for the first connection
OVERLAP = 1.0  # seconds in which an old connection still brings its acks home when a new one has taken over
LOOKS = 3  # how often the connection may be found gone before it is replaced: the SDK reconnects by itself first


def build_app(client: WebClient) -> App:
    """The Bolt app. Its listeners only store and ack, so ``process_before_response`` spares Bolt's polling for the ack."""
    log = logging.getLogger("slack_bolt")
    log.addFilter(_not_about_two_tokens)
    # Requests come from our socket, or from `http_mode`, which has verified them: Bolt's own check raises for some headers.
    return App(client=client, process_before_response=True, logger=log, request_verification_enabled=False)


def _not_about_two_tokens(record: logging.LogRecord) -> bool:
    """Bolt looks into SLACK_BOT_TOKEN by itself and then warns that the client which it was given has a token already."""
    return "`token` will be unused" not in record.getMessage()


class Socket:
    """One Socket Mode connection with the websocket-client handler, which notices a dropped connection at once."""

    def __init__(self, app: App, app_token: str, *, ping: float = PING) -> None:
        """``ping``: seconds between two pings."""
        self._app, self._token, self._ping = app, app_token, ping
        self._handler: SocketModeHandler | None = None
        self._guard = threading.Lock()
        self._opened = threading.Event()
        self._closing = threading.Event()
        self._opened_at = 0.0
        self._gone = 0

    def connect(self) -> None:
        """Connect and wait until deliveries can come. Raises SlackError when Slack refuses the app token."""
        with self._guard:
            self._handler = self._build()
            self._open(self._handler)

    def _build(self) -> SocketModeHandler:
        # No trace of the socket: its frames hold response_urls and trigger ids.
        handler = SocketModeHandler(self._app, app_token=self._token, ping_interval=self._ping, trace_enabled=False)
        handler.client.on_open_listeners.append(lambda _: self._note_open())
        handler.client.enqueue_message = lambda message: self._on_message(handler, message)  # type: ignore[method-assign]
        return handler

    def _on_message(self, handler: SocketModeHandler, message: str) -> None:
        """Take over from a connection that Slack is about to close, which it says every few hours."""
        if '"disconnect"' in message and json.loads(message).get("type") == "disconnect":
            threading.Thread(target=self._renew, args=(handler,), name="renew-socket", daemon=True).start()
        else:
            BaseSocketModeClient.enqueue_message(handler.client, message)

    def _renew(self, handler: SocketModeHandler) -> None:
        """Open the new connection before the old one ends. The SDK ends the old one first, and may be deaf for ten seconds."""
        with self._guard:
            if self._handler is not handler:
                return  # renewed or closed already
            fresh = self._build()
            try:
                self._open(fresh)
            except SlackError as error:
                logger.warning("cannot renew the Socket Mode connection: %s", error)
                _end(fresh)
                return  # the old one goes on, and when it is closed the SDK connects anew
            self._handler = fresh
        self._closing.wait(OVERLAP)
        _end(handler)

    def _note_open(self) -> None:
        self._opened_at = time.time()
        self._opened.set()

    def _open(self, handler: SocketModeHandler) -> None:
        """Connect a new handler. Its monitor starts when it is open: at once it would take the opening for a loss."""
        self._opened.clear()
        handler.client.current_app_monitor_started = True
        with slack_call("apps.connections.open"):
            handler.connect()  # type: ignore[no-untyped-call]
        if not self._opened.wait(OPEN):
            logger.warning("the Socket Mode connection is not open after %.0f s: trying on", OPEN)
        handler.client.current_app_monitor.start()

    @property
    def connected(self) -> bool:
        """Whether the socket is open and Slack answers on it."""
        handler = self._handler
        return handler is not None and bool(handler.client.is_connected()) and not self._deaf(handler)

    def _deaf(self, handler: SocketModeHandler) -> bool:
        """Whether pings stay without an answer, as on a link that was cut without a word; the SDK does not look."""
        session = handler.client.current_session
        last_sign = max(self._opened_at, session.last_pong_tm if session is not None else 0.0)
        return time.time() - last_sign > DEAF * self._ping

    def ensure(self) -> None:
        """Replace the connection when it is gone and its own reconnecting has not helped; called again and again."""
        handler = self._handler
        if handler is None:
            return
        self._gone = 0 if self.connected else self._gone + 1
        deaf = bool(handler.client.is_connected()) and self._deaf(handler)
        if self._gone < (1 if deaf else LOOKS):
            return
        with self._guard:
            if self._handler is not handler:
                return  # closed meanwhile
            self._gone = 0
            logger.warning("the Socket Mode connection is %s: connecting anew", "deaf" if deaf else "gone")
            _end(handler)
            self._handler = self._build()
            try:
                self._open(self._handler)
            except SlackError as error:
                logger.warning("cannot connect: %s", error)

    def close(self) -> None:
        """Close it."""
        self._closing.set()
        with self._guard:
            if self._handler is not None:
                _end(self._handler)
                self._handler = None


def _end(handler: SocketModeHandler) -> None:
    """Close a connection for good. It is cut first and its reader let go: closed under it, the reader waits ten seconds."""
    client = handler.client
    end = threading.Event()
    client.on_close_listeners.append(lambda _: end.set())
    client.default_auto_reconnect_enabled = client.auto_reconnect_enabled = False
    client.closed = True
    client.message_queue.put(None)  # its reader looks up only once a second
    session = client.current_session
    link = session.sock.sock if session is not None and session.sock is not None else None
    if session is not None and link is not None:
        session.keep_running = False  # so that the end of the link is no error to it
        with contextlib.suppress(OSError):  # the other side was faster
            link.shutdown(socket.SHUT_RDWR)
        end.wait(1.0)
        link.close()  # which the SDK leaves to the garbage collector
    handler.close()  # type: ignore[no-untyped-call]
