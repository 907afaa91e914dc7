"""A vendor's JSON API: one seam to its errors, which tells apart whether a request may have been carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from clients.errors import SERVER_ERRORS, TOO_MANY_REQUESTS, ClientError, StrangeAnswer, first_line, retry_after
from clients.http import http_client

if TYPE_CHECKING:
    from collections.abc import Mapping

HINTS = {
    401: "Renew its token: {}.",
    403: "Give its token the right: {}.",
    409: "Something else is changing it: press Retry in a moment.",
}


class JsonApi:
    """One vendor's API; for any thread."""

    def __init__(
        self,
        name: str,
        section: str,
        url: str,
        *,
        timeout: float,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """``name`` as people know it, ``section`` of the configuration, ``params`` that every call carries."""
        self.name, self._section, self._params = name, section, dict(params or {})
        self._client = http_client(url, timeout=timeout, token=token, headers=headers)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, path: str, **params: str) -> Any:
        """What stands at ``path``, as JSON; None for 404. Raises ClientError."""
        return self.read(path, **params)[0]

    def read(self, path: str, **params: str) -> tuple[Any, Mapping[str, str]]:
        """What stands at ``path``, as JSON, and the headers of the answer; None for 404. Raises ClientError."""
        answer = self._call("GET", path, params, None)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None, answer.headers
        try:
            body = answer.json()
        except ValueError:
            body = None
        if body is None:
            raise StrangeAnswer(
                f"{self.name} didn't answer GET {answer.request.url.path} with JSON",
                hint=f"Is the address right: {self._section}.url in release-bot.yml?",
                seen=answer.text,
            )
        return body, answer.headers

    def post(self, path: str, body: object, *, known: frozenset[int] = frozenset(), **params: str) -> httpx.Response:
        """Ask for a change. An answer with a status in ``known`` is for the caller to read. Raises ClientError."""
        return self._call("POST", path, params, body, known)

    def _call(
        self, method: str, path: str, params: Mapping[str, str], body: object, known: frozenset[int] = frozenset()
    ) -> httpx.Response:
        try:
            answer = self._client.request(method, path, params={**self._params, **params}, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = f"{self.name} doesn't answer ({type(error).__name__})"
            hint = f"Is it up, and is {self._section}.url right?"
            raise ClientError(what, hint=hint, seen=first_line(error), outcome_unknown=True) from error
        status = answer.status_code
        if answer.is_success or status in known or (method == "GET" and status == httpx.codes.NOT_FOUND):
            return answer
        raise self._refusal(method, answer)

    def _refusal(self, method: str, answer: httpx.Response) -> ClientError:
        status, pause = answer.status_code, retry_after(answer.status_code, answer.headers)
        request_line = f"{method} {answer.request.url.path}"
        if status == TOO_MANY_REQUESTS or pause is not None or status >= SERVER_ERRORS:
            summary = f"{self.name} answered {status} to {request_line}"
            hint = f"Is it up, and is {self._section}.url right?" if status >= SERVER_ERRORS else ""
        else:
            summary = f"{self.name} refused {request_line}: {status} {_message_in(answer)}".rstrip()
            hint = HINTS.get(status, "Check its settings: {}.").format(f"{self._section} in release-bot.yml")
        return ClientError(
            summary,
            hint=hint,
            seen=answer.text,
            status=status,
            retry_after=pause,
            outcome_unknown=status >= SERVER_ERRORS,
        )


def _message_in(answer: httpx.Response) -> str:
    """What a vendor says in words, from the places where GitHub and Vercel put them."""
    try:
        body = answer.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    return str(body.get("message") or (error.get("message") if isinstance(error, dict) else "") or "")
