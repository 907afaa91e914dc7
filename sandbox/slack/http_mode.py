"""HTTP mode: signed requests to the bot's request URL (docs.slack.dev/apis/events-api/comparing-http-socket-mode)."""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp

from sandbox.slack.delivery import ACK_SECONDS, KEPT_DELIVERIES, Delivery
from sandbox.slack.journal import CallLog
from sandbox.slack.shapes import Json
from sandbox.slack.workspace import Workspace

USER_AGENT = "Slackbot 1.0 (+https://api.slack.com/robots)"


@dataclass(frozen=True)
class _Request:
    body: bytes
    headers: dict[str, str]


class HttpMode:
    """Sends each delivery to `url`, signed with the app's signing secret. Nothing is queued or sent again by itself."""

    def __init__(self, workspace: Workspace, journal: CallLog) -> None:
        self._workspace = workspace
        self._journal = journal
        self._sent: OrderedDict[str, _Request] = OrderedDict()
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, kind: str, payload: Json, *, accepts_response: bool) -> Delivery:
        """Send a payload and wait for the answer, at most 3 seconds."""
        del accepts_response  # over HTTP the body of any answer can be read; what it may hold is the caller's rule
        fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload, ensure_ascii=False)}
        body = urlencode(fields).encode()
        delivery_id = str(uuid.uuid4())
        self._sent[delivery_id] = _Request(body, self._sign(body))
        while len(self._sent) > KEPT_DELIVERIES:
            self._sent.popitem(last=False)
        return await self._send(delivery_id)

    async def replay(self, delivery_id: str, times: int) -> list[Delivery]:
        """Send an earlier request again, byte for byte, `times` times at once. Raises KeyError for an unknown one."""
        _ = self._sent[delivery_id]
        return list(await asyncio.gather(*(self._send(delivery_id) for _ in range(times))))

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    def _sign(self, body: bytes) -> dict[str, str]:
        at = str(int(self._workspace.clock()))
        secret = self._workspace.secret("signing_secret").encode()
        mark = hmac.new(secret, b"v0:" + at.encode() + b":" + body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": USER_AGENT,
            "X-Slack-Request-Timestamp": at,
            "X-Slack-Signature": f"v0={mark}",
        }

    async def _send(self, delivery_id: str) -> Delivery:
        request = self._sent[delivery_id]
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ACK_SECONDS))
        start_time = time.monotonic()
        try:
            async with self._session.post(
                self._workspace.request_url, data=request.body, headers=request.headers, allow_redirects=False
            ) as answer:
                text = await answer.text()
        except TimeoutError:
            self._journal.violation("ack", "http", "operation_timeout", envelope_id=delivery_id)
            return Delivery(delivery_id, delivered=True, error="operation_timeout")
        except aiohttp.ClientError:
            return Delivery(delivery_id, delivered=False, error="dispatch_failed")
        if answer.status != 200:
            return Delivery(delivery_id, delivered=True, error="dispatch_failed")
        return Delivery(delivery_id, delivered=True, ack=_ack(text), seconds=time.monotonic() - start_time)


def _ack(text: str) -> Json:
    """What the answer says: JSON, or plain text, which Slack shows to the person as it is."""
    if not text.strip():
        return {}
    try:
        reply = json.loads(text)
    except json.JSONDecodeError:
        return {"text": text}
    return reply if isinstance(reply, dict) else {"text": text}
