"""The few HTTP calls by which the sandbox prepares a cluster, the simulated one or a real one."""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

Json = dict[str, Any]

TIMEOUT = aiohttp.ClientTimeout(total=20)
SETTLE_SECONDS = 20.0  # how long a change may take to show
POLL_SECONDS = 0.1


class KubeError(Exception):
    """The API server refused a call: its HTTP status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class KubeClient:
    """An API server as its kubeconfig names it (current context; bearer token or client certificate)."""

    def __init__(self, kubeconfig: Path) -> None:
        cluster, user = current(kubeconfig)
        self._base: str = cluster["server"]
        self._tls = _tls(cluster, user)
        token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if "tokenFile" in user else "")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=TIMEOUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str) -> Json:
        """An object or a list; KubeError, with status 404 where there is none."""
        return await self._call("GET", path)

    async def create(self, path: str, body: Json) -> bool:
        """Create an object in the collection `path`. False if one of that name exists, which is then left alone."""
        try:
            await self._call("POST", path, body)
        except KubeError as error:
            if error.status != 409:
                raise
            return False
        return True

    async def post(self, path: str, body: Json) -> Json:
        """The answer to a POST that creates no object, such as a request for a token."""
        return await self._call("POST", path, body)

    async def merge(self, path: str, patch: Json) -> None:
        """JSON merge patch (RFC 7386): null removes a key."""
        await self._call("PATCH", path, patch, "application/merge-patch+json")

    async def delete(self, path: str, *, grace_seconds: int | None = None) -> None:
        """Delete an object; one that is not there is as good as deleted."""
        options: Json = {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        try:
            await self._call("DELETE", path, options)
        except KubeError as error:
            if error.status != 404:
                raise

    async def _call(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> Json:
        headers = {} if body is None else {"Content-Type": kind}
        data = None if body is None else aiohttp.payload.JsonPayload(body, content_type=kind)
        async with self._session.request(method, f"{self._base}{path}", data=data, headers=headers) as response:
            answer: Json = await response.json(content_type=None)
            if response.status >= 400:
                raise KubeError(response.status, str(answer.get("message", answer)))
            return answer


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until a condition is true. Raises TimeoutError, naming `what`, when it is not within 20 s."""
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                if await condition():
                    return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise TimeoutError(f"not within {SETTLE_SECONDS:.0f} s: {what}") from error


def current(kubeconfig: Path) -> tuple[Json, Json]:
    """The cluster and the user of a kubeconfig's current context."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    context = _find_by_name(config["contexts"], config["current-context"])["context"]
    cluster = _find_by_name(config["clusters"], context["cluster"])["cluster"]
    return cluster, _find_by_name(config["users"], context["user"])["user"]


def _find_by_name(items: list[Json], name: str) -> Json:
    return next(item for item in items if item["name"] == name)


def _tls(cluster: Json, user: Json) -> ssl.SSLContext | bool:
    if not cluster["server"].startswith("https"):
        return True
    if cluster.get("insecure-skip-tls-verify"):
        return False
    authority = base64.b64decode(cluster.get("certificate-authority-data", "")).decode() or None
    context = ssl.create_default_context(cafile=cluster.get("certificate-authority"), cadata=authority)
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    elif "client-certificate-data" in user:
        pair = (user["client-certificate-data"], user["client-key-data"])
        with tempfile.NamedTemporaryFile() as chain:  # the ssl module reads files only; this one is ours alone (0600)
            chain.write(b"\n".join(base64.b64decode(part) for part in pair))
            chain.flush()
            context.load_cert_chain(chain.name)
    return context
