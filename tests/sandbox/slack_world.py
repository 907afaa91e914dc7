"""A running workspace and a running Bolt app, for tests: real sockets, real slack_sdk, real slack_bolt."""

import asyncio
import contextlib
import gc
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest
from slack_bolt import App
from slack_bolt.adapter.socket_mode.base_handler import BaseSocketModeHandler
from slack_bolt.adapter.socket_mode.builtin import SocketModeHandler as BuiltinHandler
from slack_bolt.adapter.socket_mode.websocket_client import SocketModeHandler as WebsocketClientHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.interval_runner import IntervalRunner

from clients.http import certificates
from sandbox.slack import SlackServer

MANIFEST = Path(__file__).with_name("slack_manifest.yml")
RITA, QUINN, DEV, GUS = "U0RITA0001", "U0QUINN001", "U0DEV00001", "U0GUEST001"
RELEASES, GENERAL = "C0RELEASES1", "C0GENERAL01"
HANDLERS = {"websocket_client": WebsocketClientHandler, "builtin": BuiltinHandler}
CLIENT_LEAKS_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
Json = dict[str, Any]


class TestClock:
    """The time of the workspace: real time, and what a test adds to it."""

    __test__ = False

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += seconds


class SlackWorld:
    """One workspace in a thread of its own, and the control API as methods."""

    def __init__(self, data_dir: Path, manifest: Path = MANIFEST) -> None:
        self.clock = TestClock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slack-workspace")
        self._thread.start()
        self.server = SlackServer(data_dir=data_dir, manifest=manifest, clock=self.clock)
        self.url = self._run(self.server.start())
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=10, verify=certificates())
        self.client = WebClient(token=self.server.bot_token, base_url=self.url + "api/", retry_handlers=[])

    def stop(self) -> None:
        self.http.close()
        self._run(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(timeout=10)

    def post(self, action: str, **body: Any) -> Json:
        answer: Json = self.http.post(f"sandbox/{action}", json=body).json()
        return answer

    def get(self, what: str) -> Any:
        return self.http.get(f"sandbox/{what}").json()

    def command(self, text: str, *, user: str = RITA, channel: str = RELEASES) -> Json:
        return self.post("command", user=user, channel=channel, text=text)

    def state(self, user: str = RITA) -> Json:
        state: Json = self.get(f"state?user={user}")
        return state

    def messages(self, user: str = RITA, channel: str = RELEASES) -> list[Json]:
        messages: list[Json] = self.state(user)["messages"][channel]
        return messages

    def violations(self) -> list[Json]:
        violations: list[Json] = self.get("violations")
        return violations

    @contextlib.contextmanager
    def events(self, user: str) -> Iterator[Callable[[str], Json]]:
        """The live events for a user's page: call the result with a type to wait for the next event of it."""
        with self.http.stream("GET", f"sandbox/events?user={user}") as response:
            lines = response.iter_lines()
            assert next(lines) == ": connected"

            def wait_for(kind: str) -> Json:
                for line in lines:
                    if line.startswith("data: "):
                        event: Json = json.loads(line.removeprefix("data: "))
                        if event["type"] == kind:
                            return event
                raise AssertionError(f"the stream ended before an event {kind}")

            yield wait_for

    def _hung_up(self, client: Any) -> bool:
        """End all connections; again, where the client was just then about to open one in place of its last."""
        self.post("slack-faults", disconnect="close")
        return not client.is_connected()

    @contextlib.contextmanager
    def bot(self, listen: Callable[[App], None], handler: str = "websocket_client") -> Iterator[App]:
        """A Bolt app that is connected; `listen` registers what it answers to."""
        app = App(client=self.client, process_before_response=True)
        listen(app)
        socket: BaseSocketModeHandler = HANDLERS[handler](app, self.server.app_token)
        client: Any = socket.client
        greetings: list[str] = []

        def note_hello(*arguments: Any) -> None:
            if '"hello"' in arguments[-1]:
                greetings.append(arguments[-1])

        client.on_message_listeners.append(note_hello)
        # The monitor of the websocket-client handler would find its first session not open yet and replace it.
        has_monitor = handler == "websocket_client"
        if has_monitor:
            client.current_app_monitor_started = True
            client.current_session_runner.shutdown()  # it looks for a session to run twice a second only
            client.current_session_runner = IntervalRunner(client._run_current_session, 0.02).start()
        socket.connect()
        eventually(lambda: greetings)
        if has_monitor:
            client.current_app_monitor.start()
        try:
            yield app
        finally:
            # The server ends the connection first: the client, closing by itself, may wait ten seconds in a select.
            client.default_auto_reconnect_enabled = False
            client.auto_reconnect_enabled = False
            client.closed = True
            if has_monitor:
                client.current_session_runner.event.set()  # else it opens the same session again
            client.message_queue.put(None)  # else its reader looks up once a second only
            eventually(lambda: self._hung_up(client))
            socket.close()
            gc.collect()  # the client leaves sockets unclosed; let them go while CLIENT_LEAKS_SOCKETS is in force


def eventually(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """The first true value of `condition`, which is asked again and again until the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def note_and_ack(events: list[Any], what: Any, ack: Callable[[], Any]) -> None:
    """Listener in one line: remember `what`, then acknowledge."""
    events.append(what)
    ack()


def refusal(call: Callable[..., Any], **args: Any) -> Any:
    """The answer of a Web API call that Slack refuses."""
    with pytest.raises(SlackApiError) as error:
        call(**args)
    return error.value.response


def no_proxies() -> Iterator[None]:
    """Take proxy settings out of the environment: slack_sdk would use them even for a loopback address."""
    names = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    values = {name: os.environ.pop(name) for name in names}
    yield
    os.environ.update(values)
