"""HTTP mode: only what Slack has signed, and only once, gets into the inbox; the rest is refused and never an error."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from bot.slack import checkup
from bot.slack.client import web_client
from bot.slack.http_mode import PATH, Endpoint
from bot.slack.listeners import register
from bot.slack.signature import sign
from bot.slack.transport import build_app
from bot.store.pool import Store
from bot.web import LARGEST, WebServer
from tests.integration.slack_bot import Bot, BotClock, Line
from tests.integration.test_slack_listeners import database_down
from tests.sandbox.slack_world import QUINN, RELEASES, RITA, Json, SlackWorld, eventually

COMMAND = urlencode({"command": "/release", "text": "help", "user_id": RITA, "trigger_id": "1.2.forged"}).encode()


class HttpLine(Line):
    """A workspace that delivers requests to one server, which stores them for the bot of the current test."""

    def __init__(self, slack: SlackWorld) -> None:
        self.slack = slack
        self.bot = None
        client = web_client(slack.server.bot_token, slack.url + "api/")
        bolt = build_app(client)
        register(bolt, self._put, checkup.workspace(client))
        endpoint = Endpoint(bolt, slack.server.signing_secret, BotClock())
        self.web = WebServer("127.0.0.1", 0, {PATH: endpoint})
        self.web.start()
        self.url = self.web.url.rstrip("/") + PATH
        slack.post("request-url", url=self.url)


@pytest.fixture(scope="module")
def http_line(direct: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpLine]:
    """One workspace and one server for all tests of this module."""
    world = SlackWorld(tmp_path_factory.mktemp("http"))
    line = HttpLine(world)
    yield line
    line.web.stop()
    world.stop()


@pytest.fixture
def live(store: Store, http_line: HttpLine) -> Iterator[Bot]:
    """The bot's Slack half with deliveries over HTTP."""
    http_line.slack.clock.advance(0)
    http_line.bot = new_bot = Bot(store, http_line.slack)
    yield new_bot
    http_line.bot = None


def send(line: HttpLine, body: bytes = COMMAND, **changes: Any) -> httpx.Response:
    """Send a request like Slack's, with other secret, age, timestamp, signature, body or headers as ``changes`` say."""
    secret = changes.get("secret", line.slack.server.signing_secret)
    timestamp = changes.get("timestamp", str(int(time.time() - changes.get("age", 0))))
    signature = changes.get("signature", sign(secret, timestamp if isinstance(timestamp, str) else "0", body))
    headers: list[tuple[bytes, bytes]] = [(b"Content-Type", b"application/x-www-form-urlencoded")]
    for name, value in ((b"X-Slack-Request-Timestamp", timestamp), (b"X-Slack-Signature", signature)):
        if value is not None:
            headers.append((name, value if isinstance(value, bytes) else value.encode()))
    headers += changes.get("more", [])
    return httpx.post(line.url, content=changes.get("sent", body), headers=headers, trust_env=False)


def count_deliveries(bot: Bot) -> int:
    """The number of deliveries in the inbox."""
    return len(bot.rows("SELECT id FROM inbox"))


def test_commands_clicks_and_forms_work_over_http(live: Bot, http_line: HttpLine):
    """Each is stored before the answer, handled and answered, as over the socket."""
    command = http_line.slack.command("/release freeze 2h maintenance")
    live.handle()
    live.answer()
    release_id = live.open_release()
    live.publish_all(release_id)
    click = live.click(QUINN, live.ts(release_id), "signoff.approve", block_id="signoff:qa:buttons")

    assert (command["ok"], command["ack"]) == (True, {})
    assert click["outcome"] == "done"
    assert [event for _, event in live.recorded_events()] == ["freeze.begun", "release.started", "signoff.approved"]
    assert live.ephemeral_texts(RITA)[0].startswith("Deploys to production are frozen")


def test_a_refused_form_is_answered_in_the_response(live: Bot, http_line: HttpLine):
    """The errors of a form are in the body of the response."""
    release_id = live.open_release()
    live.publish_all(release_id)
    live.click(QUINN, live.ts(release_id), "signoff.decline", block_id="signoff:qa:buttons")
    (view,) = http_line.slack.state(QUINN)["views"]
    answer = http_line.slack.post("submit", user=QUINN, view_id=view["id"], values={"reason": {"reason": " " * 20}})

    assert answer["response_action"] == "errors"
    assert "Write a few words" in answer["errors"]["reason"]


def test_an_unchanged_request_is_accepted(live: Bot, http_line: HttpLine):
    """The requests of the other tests fail because of their change and for nothing else."""
    assert send(http_line).status_code == 200
    assert count_deliveries(live) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"secret": "0" * 32}, id="wrong secret"),
        pytest.param({"secret": ""}, id="empty secret"),
        pytest.param({"sent": COMMAND.replace(b"help", b"heln")}, id="one byte of the body changed"),
        pytest.param({"sent": b""}, id="body left out"),
        pytest.param({"age": 360}, id="six minutes old"),
        pytest.param({"age": -360}, id="six minutes ahead"),
        pytest.param({"timestamp": None}, id="no timestamp"),
        pytest.param({"signature": None}, id="no signature"),
        pytest.param({"timestamp": None, "signature": None}, id="neither"),
        pytest.param({"timestamp": ""}, id="empty timestamp"),
        pytest.param({"signature": ""}, id="empty signature"),
        pytest.param({"timestamp": "yesterday"}, id="timestamp is a word"),
        pytest.param({"timestamp": "1e9"}, id="timestamp is a float"),
        pytest.param({"timestamp": "-1"}, id="timestamp is negative"),
        pytest.param({"timestamp": "9" * 400}, id="timestamp is huge"),
        pytest.param({"timestamp": "\u0661".encode(), "signature": "v0=0"}, id="timestamp of other digits"),
        pytest.param({"signature": b"v0=\xff\xfe\xc3"}, id="signature is no text"),
        pytest.param({"signature": "v0="}, id="signature without a hash"),
        pytest.param({"signature": "v1=" + "0" * 64}, id="signature of another version"),
    ],
)
def test_a_request_without_a_valid_signature_is_refused(live: Bot, http_line: HttpLine, changes: dict[str, Any]):
    """The answer is 401, and nothing is stored."""
    answer = send(http_line, **changes)

    assert (answer.status_code, answer.text) == (401, "not signed by Slack\n")
    assert count_deliveries(live) == 0


def test_a_changed_timestamp_is_refused(live: Bot, http_line: HttpLine):
    """The signature is over body and timestamp, so that an old request cannot get a new time."""
    old = str(int(time.time()) - 4_000)
    signature = sign(http_line.slack.server.signing_secret, old, COMMAND)

    assert send(http_line, signature=signature).status_code == 401
    assert count_deliveries(live) == 0


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        pytest.param("GET", b"", 405, id="a browser"),
        pytest.param("PUT", COMMAND, 405, id="another method"),
        pytest.param("POST", b"\xff\xfe", 400, id="signed, but not UTF-8"),
        pytest.param("POST", b"payload=%7Bnot+json", 400, id="signed, but not JSON"),
        pytest.param("POST", b"", 404, id="signed and empty"),
        pytest.param("POST", b"x" * (LARGEST + 1), 413, id="larger than any form"),
    ],
)
def test_a_malformed_request_is_refused_without_an_error(
    live: Bot, http_line: HttpLine, method: str, body: bytes, expected: int
):
    """Each malformed request has its own status, and none is a 500."""
    at = str(int(time.time()))
    headers = {
        "X-Slack-Request-Timestamp": at,
        "X-Slack-Signature": sign(http_line.slack.server.signing_secret, at, body),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    answer = httpx.request(method, http_line.url, content=body, headers=headers, trust_env=False)

    assert answer.status_code == expected
    assert count_deliveries(live) == 0


def test_a_replayed_request_is_ignored(live: Bot, http_line: HttpLine):
    """A valid request that is sent again has one effect and one answer."""
    delivery = http_line.slack.command("/release freeze 2h maintenance")
    live.handle()
    replay = http_line.slack.post("replay", envelope_id=delivery["envelope_id"], times=10)
    live.handle()
    live.answer()

    assert replay["ok"]
    assert count_deliveries(live) == 1
    assert live.recorded_events() == [(RITA, "freeze.begun")]
    assert len(live.ephemeral_texts(RITA)) == 1


def test_a_retry_of_slack_is_stored_once(live: Bot, http_line: HttpLine):
    """Slack signs a retry anew and counts it in a header."""
    for number in (0, 1, 2):
        more = [(b"X-Slack-Retry-Num", str(number).encode()), (b"X-Slack-Retry-Reason", b"http_timeout")]
        assert send(http_line, more=more if number else []).status_code == 200

    assert count_deliveries(live) == 1


def test_a_request_that_cannot_be_stored_is_not_acknowledged(live: Bot, http_line: HttpLine, postgres_url: str):
    """Slack then shows the person a failure, and nothing happens later."""
    release_id = live.open_release()
    live.publish_all(release_id)
    ts = live.ts(release_id)
    with database_down(postgres_url, live.store.url):
        click: Json = http_line.slack.post(
            "click", user=QUINN, channel=RELEASES, ts=ts, action_id="signoff.approve", block_id="signoff:qa:buttons"
        )
    eventually(lambda: http_line.slack.command("/release help")["ack"] == {})

    assert (click["ok"], click["error"]) == (False, "dispatch_failed")
    assert live.rows("SELECT kind FROM inbox") == [{"kind": "command"}]


def test_serve_uses_http_if_a_signing_secret_is_set(live: Bot, http_line: HttpLine, tmp_path: Path):
    """The process answers probes and Slack on one port and needs no app token."""
    slack, config = http_line.slack, tmp_path / "release-bot.yml"
    body = {
        "slack": {
            "channel": RELEASES,
            "roles": {"release_manager": [RITA], "qa": [QUINN]},
            "api_url": slack.url + "api/",
        },
        "targets": {"production": {}},
        "github": {"repository": "a/b"},
        "registry": {"image": "ghcr.io/a/b"},
        "http": {"port": 0},
    }
    config.write_text(json.dumps(body), encoding="utf-8")
    env = {
        **os.environ,
        "RELEASE_BOT_CONFIG": str(config),
        "DATABASE_URL": live.store.url,
        "SLACK_BOT_TOKEN": slack.server.bot_token,
        "SLACK_SIGNING_SECRET": slack.server.signing_secret,
        "SLACK_APP_TOKEN": "",  # empty counts as not set
    }
    release_id = live.open_release()
    with subprocess.Popen(
        [sys.executable, "-m", "bot", "serve", "--json", "--exit-with-stdin"],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        url = json.loads(line)["health"]
        slack.post("request-url", url=url + PATH.removeprefix("/"))
        try:
            ready = httpx.get(url + "readyz", trust_env=False)
            card = eventually(lambda: live.post(release_id, "card").ts)
            click = slack.post(
                "click",
                user=QUINN,
                channel=RELEASES,
                ts=card,
                action_id="signoff.approve",
                block_id="signoff:qa:buttons",
            )
            signoffs = eventually(lambda: live.rows("SELECT by_whom FROM signoffs"))
            forgery = httpx.post(url + PATH.removeprefix("/"), content=COMMAND, trust_env=False)
        finally:
            slack.post("request-url", url=http_line.url)
            process.communicate("", timeout=20)

    assert (ready.status_code, ready.json()) == (200, {"ok": True, "database": "", "work": ""})
    assert click["ok"]
    assert signoffs == [{"by_whom": QUINN}]
    assert forgery.status_code == 401
    assert process.returncode == 0
