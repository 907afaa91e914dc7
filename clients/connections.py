"""Clients: those of one Target, built when first asked for and closed together."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, cast

import httpx

from clients.cluster import KubeClients, kube_clients
from clients.declared import Guarded
from clients.github import GitHub
from clients.grafana import Grafana
from clients.http import CONNECT_TIMEOUT, Http, http_errors
from clients.needs import API, FRONTEND, LOG_IN, Setting
from clients.postgres import connect, postgres_errors
from clients.s3 import GuardedS3, s3_client
from clients.sentry import Sentry
from clients.stripe_account import StripeAccount
from clients.target import require
from clients.vercel import Vercel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from mypy_boto3_s3 import S3Client
    from pydantic import SecretStr

    from clients.target import Target

C = TypeVar("C", bound="_Closable")
G = TypeVar("G", GitHub, Grafana, Sentry, StripeAccount, Vercel)

LOGIN_REUSE = (
    30 * 60.0
)  # seconds for which one login of the test user is used again; a session of the product lives 8 hours


class _Closable(Protocol):
    """What has connections to close."""

    def close(self) -> None:
        """Close them."""


class Clients(Guarded):
    """The clients of one Target: built when first asked for, closed together. May be shared by checks side by side.

    ``http_timeout``: seconds for one answer of a server. A part that the Target lacks is a ClientError which names the
    setting. What `bound_to` returns shares all of it, and refuses what its user has not declared.
    """

    def __init__(self, target: Target, *, http_timeout: float = 10.0) -> None:
        self._target = target
        self._timeout = http_timeout
        self._lock = threading.RLock()
        self._built: dict[str, _Closable] = {}
        self._logins: dict[str, tuple[float, httpx.Response]] = {}  # path: time.monotonic() and answer of a good one
        self._login_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close whatever was built. The Clients can be used again afterwards."""
        with self._lock:
            while self._built:
                self._built.popitem()[1].close()

    def _once(self, name: str, build: Callable[[], C]) -> C:
        with self._lock:
            if name not in self._built:
                self._built[name] = build()
            return cast("C", self._built[name])

    def _bound(self, name: str, build: Callable[[], G]) -> G:
        return self._once(name, build).bound_to(self._declared)

    # --- the product -------------------------------------------------------------------------------------------------

    def http(self) -> Http:
        """Plain HTTP for the product and its pages."""
        return self._http().bound_to(self._declared)

    def _http(self) -> Http:
        target = self._target
        addresses = [
            (str(url), setting) for url, setting in ((target.api_url, API), (target.frontend_url, FRONTEND)) if url
        ]
        password = target.login.password.get_secret_value() if target.login else ""
        return self._once("http", lambda: Http(addresses, password, timeout=self._timeout))

    def login(self, path: str = "/api/auth/login") -> httpx.Response:
        """The answer of the product to the test user's login; a good one (200) is used again for half an hour.

        The product counts every attempt, good ones too: five in fifteen minutes per address. See ``cookie_header``.
        Raises ClientError when the product doesn't answer or the Target has no login.
        """
        base = require(self._target.api_url, self._target, "api_url")
        login = require(self._target.login, self._target, "login")
        self._declared.retry_read(LOG_IN)
        with self._login_lock:
            moment, response = self._logins.get(path, (0.0, None))
            if response is not None and time.monotonic() - moment < LOGIN_REUSE:
                return response
            with http_errors(f"log in at {self._target.name}"):
                response = self._http().post(
                    f"{str(base).rstrip('/')}{path}",
                    json={"email": login.email, "password": login.password.get_secret_value()},
                )
            if response.status_code == httpx.codes.OK:
                self._logins[path] = time.monotonic(), response
            return response

    @contextmanager
    def postgres(self, *, read_only: bool = True, statement_timeout: float = 30.0) -> Iterator[psycopg.Connection]:
        """A connection to the product's database; the transaction ends with the block, by commit unless it raised.

        ``statement_timeout``: seconds. ``read_only`` guards against mistakes only: what is allowed is for GRANT to say.
        Any psycopg.Error that leaves the block becomes a ClientError.
        """
        url = require(self._target.database_url, self._target, "database_url")
        self._insist_on_database("database_url", read_only=read_only)
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
        self._insist_on_database("restore_database_url", read_only=False)
        with (
            postgres_errors(f"use the restore server of {self._target.name}"),
            connect(url, database=database, read_only=False, statement_timeout=statement_timeout) as connection,
        ):
            connection.autocommit = True
            yield connection

    def migrate_server(self, *, options: str) -> psycopg.Connection:
        """A connection to the product's database as the role that may change its schema; the caller closes it.

        ``options``: of libpq, such as limits of time. Of a user that has declared no change nothing can be written. Raises
        psycopg.Error, and ClientError where no such role is configured.
        """
        import psycopg

        url = require(self._target.migrate_database_url, self._target, "migrate_database_url").get_secret_value()
        self._declared.retry_read(Setting("migrate_database_url"))
        if not self._declared.may_change:
            options = f"{options} -c default_transaction_read_only=on"
        return psycopg.connect(
            url, application_name="release-bot", connect_timeout=int(CONNECT_TIMEOUT), options=options
        )

    def _insist_on_database(self, setting: str, *, read_only: bool) -> None:
        self._declared.retry_read(Setting(setting))
        if not read_only:
            self._declared.insist_on_change(f"write to the database of {setting}")

    # --- where it runs -----------------------------------------------------------------------------------------------

    def kube(self) -> KubeClients:
        """The cluster's API: kubeconfig of the Target, else the pod's service account, else the default kubeconfig."""
        part = require(self._target.kubernetes, self._target, "kubernetes")
        kube = self._once("kube", lambda: kube_clients(part, self._target.name, self._timeout))
        return kube.bound_to(self._declared)

    def s3(self) -> S3Client:
        """The bucket's server. Credentials of the Target, else boto3's own chain."""
        part = require(self._target.backup, self._target, "backup")
        client = self._once("s3", lambda: s3_client(part, self._timeout))
        return client if self._declared.needs is None else cast("S3Client", GuardedS3(client, self._declared))

    # --- vendors -----------------------------------------------------------------------------------------------------

    def stripe(self) -> StripeAccount:
        """The product's account of Stripe."""
        part = require(self._target.stripe, self._target, "stripe")
        key = require(part.api_key, self._target, "stripe.api_key").get_secret_value()
        return self._bound("stripe", lambda: StripeAccount(str(part.url), key, timeout=self._timeout))

    def sentry(self) -> Sentry:
        """The product's project of Sentry."""
        part = require(self._target.sentry, self._target, "sentry")
        token = require(part.token, self._target, "sentry.token").get_secret_value()
        organization = require(part.organization, self._target, "sentry.organization")
        project = require(part.project, self._target, "sentry.project")
        return self._bound("sentry", lambda: Sentry(str(part.url), token, organization, project, timeout=self._timeout))

    def grafana(self) -> Grafana:
        """The team's Grafana."""
        part = require(self._target.grafana, self._target, "grafana")
        url = require(part.url, self._target, "grafana.url")
        token = require(part.token, self._target, "grafana.token").get_secret_value()
        return self._bound("grafana", lambda: Grafana(str(url), token, timeout=self._timeout))

    def github(self) -> GitHub:
        """The product's repository; anonymous without a token."""
        part = require(self._target.github, self._target, "github")
        repository = require(part.repository, self._target, "github.repository")
        return self._bound(
            "github", lambda: GitHub(str(part.url), repository, _text(part.token), timeout=self._timeout)
        )

    def vercel(self) -> Vercel:
        """The project of the frontend."""
        part = require(self._target.vercel, self._target, "vercel")
        return self._bound(
            "vercel",
            lambda: Vercel(str(part.url), _text(part.token), part.project, part.team, timeout=self._timeout),
        )


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
