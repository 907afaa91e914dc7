"""Transport: how Slack's deliveries reach us. Socket Mode, watched, because a socket can be open and deaf."""

from __future__ import annotations

import logging
import threading

from slack_bolt import App
from slack_bolt.adapter.socket_mode.websocket_client import SocketModeHandler
from slack_sdk import WebClient

logger = logging.getLogger(__name__)

PING = 5  # seconds between pings; a connection that answers none is replaced
OPEN = 15.0  # seconds for the first connection
LOOKS = 3  # how often the connection may be found gone before it is replaced: the SDK reconnects by itself first


def build_app(client: WebClient) -> App:
    """The Bolt app. Its listeners only store and ack, so ``process_before_response`` spares Bolt's polling for the ack."""
    log = logging.getLogger("slack_bolt")
    # Bolt looks into SLACK_BOT_TOKEN by itself and then warns that the client which it was given has a token already.
    log.addFilter(lambda record: "`token` will be unused" not in record.getMessage())
    return App(client=client, process_before_response=True, logger=log)


class Socket:
    """One Socket Mode connection with the websocket-client handler, which notices a dropped connection at once."""

    def __init__(self, app: App, app_token: str) -> None:
        self._app, self._token = app, app_token
        self._handler: SocketModeHandler | None = None
        self._guard = threading.Lock()
        self._opened = threading.Event()
        self._gone = 0

    def connect(self) -> None:
        """Connect and wait until deliveries can come. Raises the SDK's errors when Slack refuses the app token."""
        with self._guard:
            self._handler = self._build()
            self._handler.connect()  # type: ignore[no-untyped-call]
        if not self._opened.wait(OPEN):
            logger.warning("the Socket Mode connection is not open after %.0f s: trying on", OPEN)

    def _build(self) -> SocketModeHandler:
        # No trace of the socket: its frames hold response_urls and trigger ids.
        handler = SocketModeHandler(self._app, app_token=self._token, ping_interval=PING, trace_enabled=False)
        handler.client.on_open_listeners.append(lambda _: self._opened.set())
        return handler

    @property
    def connected(self) -> bool:
        """Whether the socket is open."""
        handler = self._handler
        return handler is not None and bool(handler.client.is_connected())

    def ensure(self) -> None:
        """Replace the connection when it is gone and its own reconnecting has not helped; called again and again."""
        self._gone = 0 if self.connected else self._gone + 1
        if self._handler is None or self._gone < LOOKS:
            return
        with self._guard:
            self._gone = 0
            logger.warning("the Socket Mode connection is gone: connecting anew")
            old, self._handler = self._handler, None
            try:
                old.close()  # type: ignore[no-untyped-call]
            finally:
                self._handler = self._build()
                self._handler.connect()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close it."""
        with self._guard:
            if self._handler is not None:
                self._handler.close()  # type: ignore[no-untyped-call]
                self._handler = None
