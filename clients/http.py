"""Plain HTTP: how a client of it is built, and its errors."""

from __future__ import annotations

import json
import ssl
from contextlib import contextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from clients.declared import Guarded
from clients.errors import SERVER_ERRORS, ClientError, StrangeAnswer, first_line, retry_after, status_hint
from clients.needs import LOG_IN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from clients.needs import Setting

CONNECT_TIMEOUT = 5.0  # seconds until a server must have accepted the connection
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that change nothing (RFC 9110, 9.2.1)
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def http_client(
    base_url: str = "", *, timeout: float, token: str = "", headers: Mapping[str, str] | None = None
) -> httpx.Client:
    """A client that verifies TLS, follows no redirect and keeps no cookie. ``timeout``: seconds for one answer of a server.

    Proxies are taken from the environment, except for loopback addresses. ``token``: sent as a bearer token.
    """
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(
        base_url=base_url,
        headers={**(headers or {}), **authorization},
        timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
        verify=certificates(),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one check's login must not serve another
        mounts={f"all://{host}": None for host in LOOPBACK if ":" not in host},
    )


@cache
def certificates() -> ssl.SSLContext:
    """Whom to trust with TLS, for every client. Read once: that takes far longer than a connection."""
    return httpx.create_ssl_context()


def is_loopback(url: str) -> bool:
    """Does the address name this machine? Then no proxy is asked."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def cookie_header(response: httpx.Response) -> dict[str, str]:
    """The cookies that an answer set, as a request header. Empty when it set none.

    A header and not a cookie jar: a jar holds back a Secure cookie on plain HTTP, which test systems speak.
    """
    pairs = "; ".join(f"{cookie.name}={cookie.value}" for cookie in response.cookies.jar)
    return {"Cookie": pairs} if pairs else {}


@contextmanager
def http_errors(what: str) -> Iterator[None]:
    """Translate httpx errors, also of raise_for_status(); ``what`` completes "cannot …", as "read the dashboard"."""
    try:
        yield
    except httpx.HTTPStatusError as exc:
        status = exc.response.status_code
        raise ClientError(
            f"cannot {what}: {status} {exc.response.reason_phrase}".rstrip(),
            hint=status_hint(status),
            seen=exc.response.text,
            retry_after=retry_after(status, exc.response.headers),
            status=status,
            outcome_unknown=status >= SERVER_ERRORS,
        ) from exc
    except httpx.TimeoutException as exc:
        hint = f"Is {_host(exc)} up and reachable?"
        raise ClientError(f"cannot {what}: no answer in time", hint=hint, outcome_unknown=True) from exc
    except (httpx.TransportError, httpx.InvalidURL, httpx.TooManyRedirects, httpx.DecodingError) as exc:
        hint = f"Is {_host(exc)} up and reachable?"
        raise ClientError(f"cannot {what}: {first_line(exc)}", hint=hint, outcome_unknown=True) from exc
    except ValueError as exc:  # json() of an answer that is no JSON
        hint = "Does the address belong to this API?"
        raise StrangeAnswer(f"cannot {what}: the answer isn't JSON", hint=hint) from exc


def _host(exc: Exception) -> str:
    request = getattr(exc, "_request", None)  # the property raises when the error came before there was a request
    return str(request.url.netloc.decode()) if request is not None else "the server"


class Http(Guarded):
    """Plain HTTP for the product and its pages: verifies TLS, follows no redirect, keeps no cookie.

    It insists on a declared change for each request that is none of ``SAFE``, on the setting of an address of the target, and on
    a login for what holds the test user's password.
    """

    def __init__(self, addresses: Iterable[tuple[str, Setting]], password: str, *, timeout: float) -> None:
        """``addresses``: those of the target, which may be one and the same; ``password``: of its test user, or empty.

        ``timeout``: seconds for an answer.
        """
        self._client = http_client(timeout=timeout)
        self._addresses = [(url.rstrip("/"), setting) for url, setting in addresses]
        self._password = json.dumps(password, ensure_ascii=False)[1:-1].encode()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, url: str, **options: Any) -> httpx.Response:
        """As `request`."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        """As `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> httpx.Response:
        """As `request`."""
        return self.request("PUT", url, **options)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """The answer to a request, with ``options`` of httpx, such as ``headers``, ``json`` and ``content``.

        Raises NotDeclared before anything is sent, and httpx's errors: see `http_errors`.
        """
        request = self._client.build_request(method, url, **options)
        settings = [setting for address, setting in self._addresses if f"{request.url}/".startswith(f"{address}/")]
        if settings and not any(self._declared.covers(setting) for setting in settings):
            self._declared.retry_read(settings[0])
        if request.method not in SAFE:
            if self._password and self._password in request.content:
                self._declared.retry_read(LOG_IN)
            else:
                self._declared.insist_on_change(f"{request.method} {url}")
        return self._client.send(request)
