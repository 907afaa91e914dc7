"""A vendor's JSON API as the steps use it: one seam to its errors, told apart by whether it may have been carried out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from bot.errors import NoAnswer, StepError
from checks.clients import LOOPBACK, certificates, retry_after

TIMEOUT = httpx.Timeout(10.0, connect=3.0)
HINTS = {
    401: "Renew its token: {}.",
    403: "Give its token the right: {}.",
    409: "Something else is at it: press Retry in a moment.",
}


_LIMITS = frozenset({403, 429, 503})  # may ask for a pause; GitHub's secondary limits answer 403 too


class Api:
    """One vendor's API. Thread-safe; a connection is made for each call, as a step makes few."""

    def __init__(
        self, name: str, url: str, *, headers: Mapping[str, str], params: Mapping[str, str], section: str
    ) -> None:
        """``name`` as people know it, ``section`` of the configuration, ``params`` that every call carries."""
        self.name, self._section = name, section
        self._url, self._headers, self._params = url, dict(headers), dict(params)

    def get(self, path: str, **params: str) -> Any:
        """What stands at ``path``; None for 404. Raises NoAnswer or StepError."""
        answer = self._call("GET", path, params, None)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise StepError(
                f"{self.name} did not answer GET {answer.request.url.path} with JSON",
                hint=f"Is the address right: {self._section}.url in release-bot.yml?",
            ) from error

    def post(self, path: str, body: object, *, known: frozenset[int] = frozenset(), **params: str) -> httpx.Response:
        """Ask for a change. An answer with a status in ``known`` is for the caller to read.

        Raises NoAnswer when it may or may not have been carried out, StepError when it was refused.
        """
        return self._call("POST", path, params, body, known)

    def _call(
        self, method: str, path: str, params: Mapping[str, str], body: object, known: frozenset[int] = frozenset()
    ) -> httpx.Response:
        mounts = {f"all://{host}": None for host in LOOPBACK if ":" not in host}
        settings: dict[str, Any] = {"timeout": TIMEOUT, "mounts": mounts, "verify": certificates()}
        try:
            with httpx.Client(base_url=self._url, headers=self._headers, **settings) as client:
                answer = client.request(method, path, params={**self._params, **params}, json=body)
        except httpx.HTTPError as error:
            raise NoAnswer(f"{self.name} does not answer ({type(error).__name__})") from error
        status = answer.status_code
        if answer.is_success or status in known or (method == "GET" and status == httpx.codes.NOT_FOUND):
            return answer
        pause = retry_after(answer.headers) if status in _LIMITS else None
        too_many = status == httpx.codes.TOO_MANY_REQUESTS or pause is not None
        if too_many or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            said = f"{self.name} answered {status} to {method} {answer.request.url.path}"
            raise NoAnswer(said, retry_after=pause)
        hint = HINTS.get(status, "Check its settings: {}.").format(f"{self._section} in release-bot.yml")
        raise StepError(
            f"{self.name} refused {method} {answer.request.url.path}: {status} {_said(answer)}".rstrip(),
            hint=hint,
        )


def _said(answer: httpx.Response) -> str:
    """What a vendor says in words, from the places where GitHub and Vercel put them."""
    try:
        body = answer.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    return str(body.get("message") or (error.get("message") if isinstance(error, dict) else "") or "")
