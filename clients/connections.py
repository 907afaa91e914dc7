"""Clients: those of one Target, built when first asked for and closed together."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

from clients.cluster import KubeClients, kube_clients
from clients.github import GitHub
from clients.grafana import Grafana
from clients.http import http_client, http_errors
from clients.postgres import connect, postgres_errors
from clients.s3 import s3_client
from clients.sentry import Sentry
from clients.stripe_account import stripe_client
from clients.target import require
from clients.vercel import Vercel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from mypy_boto3_s3 import S3Client
    from pydantic import SecretStr
    from stripe import StripeClient

    from clients.target import Target

T = TypeVar("T")
C = TypeVar("C", GitHub, Grafana, Sentry, Vercel)

LOGIN_REUSE = (
    30 * 60.0
)  # seconds for which one login of the test user is used again; the product's session lives 8 hours


class Clients:
    """The clients of one Target: built when first asked for, closed together. May be shared by checks side by side.

    ``http_timeout``: seconds for one answer of a server. A part that the Target lacks is a ClientError which names the
    setting.
    """

    def __init__(self, target: Target, *, http_timeout: float = 10.0) -> None:
        self._target = target
        self._timeout = http_timeout
        self._lock = threading.RLock()
        self._built: dict[str, Any] = {}
        self._close: list[Callable[[], None]] = []
        self._login_lock = threading.Lock()
        self._login: tuple[str, float, httpx.Response] | None = (
            None  # path, time.monotonic() and answer of the last good one
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close whatever was built. The Clients can be used again afterwards."""
        with self._lock:
            while self._close:
                self._close.pop()()
            self._built.clear()

    def _once(self, name: str, build: Callable[[], tuple[T, Callable[[], None]]]) -> T:
        with self._lock:
            if name not in self._built:
                client, close = build()
                self._built[name] = client
                self._close.append(close)
            built: T = self._built[name]
            return built

    # --- the product -------------------------------------------------------------------------------------------------

    def http(self) -> httpx.Client:
        """Plain HTTP for the product and its pages: verifies TLS, follows no redirect, keeps no cookie."""

        def build() -> tuple[httpx.Client, Callable[[], None]]:
            client = http_client(timeout=self._timeout)
            return client, client.close

        return self._once("http", build)

    def login(self, path: str = "/api/auth/login") -> httpx.Response:
        """The answer of the product to the test user's login; a good one (200) is used again for half an hour.

        The product counts every attempt, good ones too: five in fifteen minutes per address. See ``cookie_header``.
        Raises ClientError when the product does not answer or the Target has no login.
        """
        base = require(self._target.api_url, self._target, "api_url")
        login = require(self._target.login, self._target, "login")
        with self._login_lock:
            if self._login and self._login[0] == path and time.monotonic() - self._login[1] < LOGIN_REUSE:
                return self._login[2]
            with http_errors(f"log in at {self._target.name}"):
                response = self.http().post(
                    f"{str(base).rstrip('/')}{path}",
                    json={"email": login.email, "password": login.password.get_secret_value()},
                )
            if response.status_code == httpx.codes.OK:
                self._login = (path, time.monotonic(), response)
            return response

    @contextmanager
    def postgres(self, *, read_only: bool = True, statement_timeout: float = 30.0) -> Iterator[psycopg.Connection]:
        """A connection to the product's database; the transaction ends with the block, by commit unless it raised.

        ``statement_timeout``: seconds. ``read_only`` guards against mistakes only: what is allowed is for GRANT to say.
        Any psycopg.Error that leaves the block becomes a ClientError.
        """
        url = require(self._target.database_url, self._target, "database_url")
        with (
            postgres_errors(f"query the database of {self._target.name}"),
            connect(url.get_secret_value(), read_only=read_only, statement_timeout=statement_timeout) as connection,
        ):
            yield connection

    @contextmanager
    def scratch_server(self, database: str = "", *, statement_timeout: float = 30.0) -> Iterator[psycopg.Connection]:
        """A connection to the server on which scratch databases are made; every statement is its own transaction.

        ``database``: another one than that of ``restore_database_url``. Errors as for ``postgres``.
        """
        url = require(self._target.restore_database_url, self._target, "restore_database_url").get_secret_value()
        with (
            postgres_errors(f"use the restore server of {self._target.name}"),
            connect(url, database=database, read_only=False, statement_timeout=statement_timeout) as connection,
        ):
            connection.autocommit = True
            yield connection

    # --- where it runs -----------------------------------------------------------------------------------------------

    def kube(self) -> KubeClients:
        """The cluster's API: kubeconfig of the Target, else the pod's service account, else the default kubeconfig."""
        part = require(self._target.kubernetes, self._target, "kubernetes")
        return self._once("kube", lambda: kube_clients(part, self._target.name, self._timeout))

    def s3(self) -> S3Client:
        """The bucket's server. Credentials of the Target, else boto3's own chain."""
        part = require(self._target.backup, self._target, "backup")

        def build() -> tuple[S3Client, Callable[[], None]]:
            client = s3_client(part, self._timeout)
            return client, client.close

        return self._once("s3", build)

    # --- vendors -----------------------------------------------------------------------------------------------------

    def stripe(self) -> StripeClient:
        """Stripe's API. Use ``client.v1``."""
        part = require(self._target.stripe, self._target, "stripe")
        key = require(part.api_key, self._target, "stripe.api_key").get_secret_value()
        return self._once("stripe", lambda: stripe_client(str(part.url), key, self._timeout))

    def sentry(self) -> Sentry:
        """The product's project of Sentry."""
        part = require(self._target.sentry, self._target, "sentry")
        token = require(part.token, self._target, "sentry.token").get_secret_value()
        organization = require(part.organization, self._target, "sentry.organization")
        project = require(part.project, self._target, "sentry.project")
        return self._client(
            "sentry", lambda: Sentry(str(part.url), token, organization, project, timeout=self._timeout)
        )

    def grafana(self) -> Grafana:
        """The team's Grafana."""
        part = require(self._target.grafana, self._target, "grafana")
        url = require(part.url, self._target, "grafana.url")
        token = require(part.token, self._target, "grafana.token").get_secret_value()
        return self._client("grafana", lambda: Grafana(str(url), token, timeout=self._timeout))

    def github(self) -> GitHub:
        """The product's repository; anonymous without a token."""
        part = require(self._target.github, self._target, "github")
        repository = require(part.repository, self._target, "github.repository")
        return self._client(
            "github", lambda: GitHub(str(part.url), repository, _text(part.token), timeout=self._timeout)
        )

    def vercel(self) -> Vercel:
        """The project of the frontend."""
        part = require(self._target.vercel, self._target, "vercel")
        return self._client(
            "vercel",
            lambda: Vercel(str(part.url), _text(part.token), part.project, part.team, timeout=self._timeout),
        )

    def _client(self, name: str, build: Callable[[], C]) -> C:
        def once() -> tuple[C, Callable[[], None]]:
            client = build()
            return client, client.close

        return self._once(name, once)


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
