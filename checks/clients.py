"""Builds every vendor client from a Target, with time limits, and turns vendor errors into CheckError. Nowhere else."""

from __future__ import annotations

import importlib
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from checks.contract import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import boto3
    import psycopg
    from mypy_boto3_s3 import S3Client
    from stripe import StripeClient

    from checks.target import Target

T = TypeVar("T")
_LOADING = threading.RLock()

CONNECT_TIMEOUT = 5.0  # seconds until a server must have accepted the connection
LONGEST_PAUSE = 86_400.0  # seconds for which a vendor is left alone at most, whatever it asks for
LOCK_TIMEOUT = 5.0  # seconds a statement may wait for somebody else's lock
LOGIN_REUSE = (
    30 * 60.0
)  # seconds for which one login of the test user is used again; the product's session lives 8 hours

# The client of Kubernetes imports these only when they are asked for; they take a second.
KUBE_PACKAGES = (
    "kubernetes",
    *(f"kubernetes.client.api.{name}_v1_api" for name in ("core", "apps", "batch", "authorization")),
)
VENDOR_PARTS = ("sentry", "grafana", "stripe", "github")  # sections of their own in release-bot.yml, outside of targets
REFUSED = range(400, 500)  # statuses of HTTP with which a server says that it has done nothing and will not
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class KubeClients:
    """The API groups that checks use. Give every call ``_request_timeout=kube.timeout``: the client itself has none."""

    core: Any
    apps: Any
    batch: Any
    authorization: Any
    timeout: tuple[float, float]  # connect, read; seconds


class Clients:
    """The clients of one Target: built when first asked for, closed together. May be shared by checks side by side.

    ``http_timeout``: seconds for one answer of a server. Proxies are taken from the environment, except for loopback
    addresses. A part that the Target lacks is a CheckError which names the setting.
    """

    def __init__(self, target: Target, *, http_timeout: float = 10.0) -> None:
        self._target = target
        self._timeout = httpx.Timeout(http_timeout, connect=CONNECT_TIMEOUT)
        self._read_timeout = http_timeout
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
        return self._once("http", self._http_client)

    def login(self, path: str = "/api/auth/login") -> httpx.Response:
        """The answer of the product to the test user's login; a good one (200) is used again for half an hour.

        The product counts every attempt, good ones too: five in fifteen minutes per address. See ``cookie_header``.
        Raises CheckError when the product does not answer or the Target has no login.
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
        Any psycopg.Error that leaves the block becomes a CheckError.
        """
        url = require(self._target.database_url, self._target, "database_url")
        with (
            postgres_errors(f"query the database of {self._target.name}"),
            _connect(url.get_secret_value(), read_only=read_only, statement_timeout=statement_timeout) as connection,
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
            _connect(url, database=database, read_only=False, statement_timeout=statement_timeout) as connection,
        ):
            connection.autocommit = True
            yield connection

    # --- where it runs -----------------------------------------------------------------------------------------------

    def kube(self) -> KubeClients:
        """The cluster's API: kubeconfig of the Target, else the pod's service account, else the default kubeconfig."""
        return self._once("kube", self._kube)

    def _kube(self) -> tuple[KubeClients, Callable[[], None]]:
        load(*KUBE_PACKAGES)
        from kubernetes import client, config

        part = require(self._target.kubernetes, self._target, "kubernetes")
        settings = client.Configuration()
        try:
            if part.kubeconfig or part.context:
                self._load_kubeconfig(settings)
            else:
                try:
                    config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
                except config.ConfigException:
                    self._load_kubeconfig(settings)
        except (config.ConfigException, OSError) as exc:
            raise CheckError(
                f"no usable kubeconfig for {self._target.name}: {first_line(exc)}",
                hint=f"Set targets.{self._target.name}.kubernetes.kubeconfig to a file that the bot can read.",
            ) from exc
        settings.retries = (
            False  # one try a call: a poll asks again by itself, and a person sees the real error at once
        )
        if is_loopback(settings.host):
            settings.proxy = None
        api = client.ApiClient(configuration=settings)
        clients = KubeClients(
            core=client.CoreV1Api(api),
            apps=client.AppsV1Api(api),
            batch=client.BatchV1Api(api),
            authorization=client.AuthorizationV1Api(api),
            timeout=(CONNECT_TIMEOUT, self._read_timeout),
        )
        return clients, api.close

    def _load_kubeconfig(self, settings: Any) -> None:
        from kubernetes import config

        part = require(self._target.kubernetes, self._target, "kubernetes")
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=part.kubeconfig or None, context=part.context or None, client_configuration=settings
        )

    def s3(self) -> S3Client:
        """The bucket's server. Credentials of the Target, else boto3's own chain."""
        return self._once("s3", self._s3)

    def _s3(self) -> tuple[S3Client, Callable[[], None]]:
        load("boto3", "botocore.config")
        from botocore.config import Config

        part = require(self._target.backup, self._target, "backup")
        settings = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=self._read_timeout,
            retries={"max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": "path"} if part.endpoint_url else None,
            proxies={} if is_loopback(part.endpoint_url) else None,
        )
        secret = part.secret_access_key
        with (
            _LOADING
        ):  # a session is for one thread at a time; its clients are for any (boto3's guide, "Multithreading")
            client = _aws().client(
                "s3",
                endpoint_url=part.endpoint_url or None,
                region_name=part.region,
                aws_access_key_id=part.access_key_id.get_secret_value() if part.access_key_id else None,
                aws_secret_access_key=secret.get_secret_value() if secret else None,
                config=settings,
            )
        return client, client.close

    # --- vendors -----------------------------------------------------------------------------------------------------

    def stripe(self) -> StripeClient:
        """Stripe's API. Use ``client.v1``."""
        return self._once("stripe", self._stripe)

    def _stripe(self) -> tuple[StripeClient, Callable[[], None]]:
        load("requests", "stripe")
        import requests
        import stripe

        part = require(self._target.stripe, self._target, "stripe")
        key = require(part.api_key, self._target, "stripe.api_key")
        session = requests.Session()
        session.trust_env = not is_loopback(str(part.url))
        client = stripe.StripeClient(
            key.get_secret_value(),
            base_addresses={"api": str(part.url).rstrip("/")},
            max_network_retries=1,
            http_client=stripe.RequestsClient(timeout=self._read_timeout, session=session),
        )
        return client, session.close

    def sentry(self) -> httpx.Client:
        """Sentry's API, base ``…/api/0/``; paths are relative and end with a slash (docs.sentry.io/api)."""
        part = require(self._target.sentry, self._target, "sentry")
        token = require(part.token, self._target, "sentry.token").get_secret_value()
        return self._once("sentry", lambda: self._http_client(f"{str(part.url).rstrip('/')}/api/0/", token))

    def grafana(self) -> httpx.Client:
        """Grafana's API, relative to its root."""
        part = require(self._target.grafana, self._target, "grafana")
        url = require(part.url, self._target, "grafana.url")
        token = require(part.token, self._target, "grafana.token").get_secret_value()
        return self._once("grafana", lambda: self._http_client(str(url), token))

    def github(self) -> httpx.Client:
        """GitHub's API for the product's repository, base ``…/repos/owner/name/``; anonymous without a token."""
        part = require(self._target.github, self._target, "github")
        repository = require(part.repository, self._target, "github.repository")
        token = part.token.get_secret_value() if part.token else ""
        return self._once(
            "github", lambda: self._http_client(f"{str(part.url).rstrip('/')}/repos/{repository}/", token)
        )

    def _http_client(self, base_url: str = "", token: str = "") -> tuple[httpx.Client, Callable[[], None]]:
        client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"} if token else None,
            timeout=self._timeout,
            verify=certificates(),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one check's login must not serve another
            mounts={f"all://{host}": None for host in LOOPBACK if ":" not in host},
        )
        return client, client.close


@cache
def certificates() -> ssl.SSLContext:
    """Whom to trust with TLS, for every client. Read once: that takes far longer than a connection."""
    return httpx.create_ssl_context()


@cache
def _aws() -> boto3.session.Session:
    """The session that makes the clients. One for all: each reads the description of S3, a tenth of a second of work."""
    import boto3

    return boto3.session.Session()


def load(*modules: str) -> None:
    """Import vendors' packages, one thread at a time.

    Python breaks a deadlock between threads that import packages with circular imports (`requests`, which both
    `kubernetes` and `stripe` bring in) by handing out a half-made module: an ImportError in a check that ran first.
    """
    with _LOADING:
        for module in modules:
            importlib.import_module(module)


def require(value: T | None, target: Target, key: str) -> T:
    """The value, or a CheckError that names the setting. ``key``: its dotted name in the Target, ``sentry.token``."""
    if value is None or value == "":
        section, _, rest = key.partition(".")
        setting = key if section in VENDOR_PARTS else f"targets.{target.name}.{key}"
        what = key if rest or key.endswith("_url") else f"{key} section"
        raise CheckError(f"{target.name} has no {what}", hint=f"Set {setting} in release-bot.yml.")
    return value


def cookie_header(response: httpx.Response) -> dict[str, str]:
    """The cookies that an answer set, as a request header. Empty when it set none.

    A header and not a cookie jar: a jar holds back a Secure cookie on plain HTTP, which test systems speak.
    """
    pairs = "; ".join(f"{cookie.name}={cookie.value}" for cookie in response.cookies.jar)
    return {"Cookie": pairs} if pairs else {}


def is_loopback(url: str) -> bool:
    """Does the address name this machine? Then no proxy is asked."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def first_line(exc: BaseException) -> str:
    """The first line of an error's text, or its class name when it has none."""
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


def _connect(url: str, *, database: str = "", read_only: bool, statement_timeout: float) -> psycopg.Connection:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    settings = conninfo_to_dict(url, application_name="release-bot", connect_timeout=int(CONNECT_TIMEOUT))
    limits = {
        "default_transaction_read_only": "on" if read_only else "off",
        "statement_timeout": int(statement_timeout * 1000),
        "lock_timeout": int(LOCK_TIMEOUT * 1000),
    }
    own = " ".join(f"-c {name}={value}" for name, value in limits.items())
    settings["options"] = f"{settings.get('options') or ''} {own}".strip()
    if database:
        settings["dbname"] = database
    return psycopg.connect(**settings)  # type: ignore[arg-type]  # the keywords of libpq


# --- vendor errors -> CheckError, by code ----------------------------------------------------------------------------

STATUS_HINTS = {
    400: "The request was not understood: does the address belong to this vendor's API?",
    401: "The credentials were refused: renew them and set them again.",
    403: "The credentials lack a right: grant it.",
    404: "Not found: check the address and the names in release-bot.yml.",
    429: "Too many requests: wait a minute, then run the check again.",
}


def status_hint(status: int) -> str:
    """What to do about an HTTP status."""
    if status >= 500:  # noqa: PLR2004  the class of server errors
        return "The server has trouble of its own: wait until it is back, then run the check again."
    return STATUS_HINTS.get(status, "Run the check again; if it stays, look at the server's log.")


@contextmanager
def http_errors(what: str) -> Iterator[None]:
    """Translate httpx errors, also of raise_for_status(); ``what`` completes "cannot …", as "read the dashboard"."""
    try:
        yield
    except httpx.HTTPStatusError as exc:
        status = exc.response.status_code
        raise CheckError(
            f"cannot {what}: {status} {exc.response.reason_phrase}".rstrip(),
            hint=status_hint(status),
            seen=exc.response.text,
            retry_after=retry_after(exc.response.headers) if status in {429, 503} else None,
            status=status,
        ) from exc
    except httpx.TimeoutException as exc:
        raise CheckError(f"cannot {what}: no answer in time", hint=f"Is {_host(exc)} up and reachable?") from exc
    except (httpx.TransportError, httpx.InvalidURL, httpx.TooManyRedirects, httpx.DecodingError) as exc:
        raise CheckError(f"cannot {what}: {first_line(exc)}", hint=f"Is {_host(exc)} up and reachable?") from exc
    except ValueError as exc:  # json() of an answer that is no JSON
        raise CheckError(f"cannot {what}: the answer is no JSON", hint="Does the address belong to this API?") from exc


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds for which a server asks to be left alone, by the ``headers`` of its answer; None when it does not say.

    More than a day is taken for a day.

    Retry-After holds seconds or a date (RFC 9110, 10.2.3). Sentry also names the moment, as Unix time, in a header of
    its own (docs.sentry.io/api/ratelimits).
    """
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return min(float(value), LONGEST_PAUSE)
    reset = headers.get("X-Sentry-Rate-Limit-Reset", "")
    try:
        moment = datetime.fromtimestamp(int(reset), UTC) if reset.isdecimal() else parsedate_to_datetime(value)
    except (ValueError, OverflowError, OSError):  # as the platform says that a number is no moment
        return None
    if moment.tzinfo is None:
        return None
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), LONGEST_PAUSE)


def _host(exc: Exception) -> str:
    request = getattr(exc, "_request", None)  # the property raises when the error came before there was a request
    return str(request.url.netloc.decode()) if request is not None else "the server"


@contextmanager
def kube_errors(what: str) -> Iterator[None]:
    """Translate errors of the Kubernetes client; ``what`` completes "refused to …", as "list pods in solvereign"."""
    load("kubernetes")
    import urllib3
    from kubernetes.client.exceptions import ApiException, ForbiddenException, OpenApiException

    try:
        yield
    except ApiException as exc:
        verb = "refused" if exc.status in {401, 403} else "failed"
        message = _kube_message(exc)
        hint = status_hint(exc.status or 0)
        if isinstance(exc, ForbiddenException):
            hint = f"Grant this to the bot's service account: {message}"
        raise CheckError(
            f"Kubernetes {verb} to {what}: {exc.status} {exc.reason or ''}".rstrip(),
            hint=hint,
            seen=message,
            retry_after=retry_after(exc.headers or {}) if exc.status in {429, 503} else None,
            status=exc.status or 0,
        ) from exc
    except OpenApiException:  # of the client itself: a request that was put wrongly
        raise
    except (TypeError, AttributeError, ValueError) as exc:  # the client cannot make its own object of the answer
        raise CheckError(
            f"cannot {what}: Kubernetes did not answer with what its API promises",
            hint="Does the kubeconfig name a Kubernetes API server?",
            seen=type(exc).__name__,  # no more: its text holds values, which may be secret
        ) from exc
    except urllib3.exceptions.HTTPError as exc:
        refused = isinstance(exc, urllib3.exceptions.NewConnectionError)  # which urllib3 counts among the time-outs
        slow = isinstance(exc, urllib3.exceptions.TimeoutError) and not refused
        raise CheckError(
            f"Kubernetes did not answer in time to {what}" if slow else f"cannot reach Kubernetes to {what}",
            hint="Is the API server up and reachable from here? Does the kubeconfig name it and its certificate?",
            seen=f"{type(exc).__name__}: {first_line(exc)}",
        ) from exc


def _kube_message(exc: Any) -> str:
    import json

    try:
        return str(json.loads(exc.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(exc.body or exc.reason or "")


@contextmanager
def postgres_errors(what: str) -> Iterator[None]:
    """Translate psycopg errors by SQLSTATE; ``what`` completes "cannot …"."""
    import psycopg
    from psycopg import errors

    try:
        yield
    except errors.InsufficientPrivilege as exc:
        raise CheckError(
            f"cannot {what}: {exc.diag.message_primary}", hint="Grant this right to the role in database_url."
        ) from exc
    except (errors.QueryCanceled, errors.LockNotAvailable) as exc:
        raise CheckError(
            f"cannot {what}: {exc.diag.message_primary}",
            hint="The database is slow or locked: look at pg_stat_activity.",
        ) from exc
    except psycopg.OperationalError as exc:
        raise CheckError(
            f"cannot {what}: {first_line(exc)}", hint="Is the database up, and is database_url right?"
        ) from exc
    except psycopg.Error as exc:
        raise CheckError(
            f"cannot {what}: {first_line(exc)}", hint=f"SQLSTATE {exc.sqlstate}." if exc.sqlstate else ""
        ) from exc


@contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Translate botocore errors by code; ``what`` completes "cannot …", such as "list s3://bucket/prefix"."""
    load("botocore.exceptions")
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as exc:
        error = exc.response.get("Error", {})
        status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise CheckError(
            f"cannot {what}: {error.get('Code', status)} {error.get('Message', '')}".rstrip(),
            hint=status_hint(status),
            status=status,
        ) from exc
    except NoCredentialsError as exc:
        raise CheckError(
            f"cannot {what}: no S3 credentials",
            hint="Set backup.access_key_id and secret_access_key, or give the bot a role.",
        ) from exc
    except BotoCoreError as exc:  # EndpointConnectionError, ReadTimeoutError and their like
        raise CheckError(f"cannot {what}: {first_line(exc)}", hint="Is the S3 endpoint up and reachable?") from exc


@contextmanager
def stripe_errors(what: str) -> Iterator[None]:
    """Translate Stripe's errors by class and status; ``what`` completes "cannot …"."""
    load("stripe")
    import stripe

    try:
        yield
    except stripe.APIConnectionError as exc:
        raise CheckError(f"cannot {what}: no connection to Stripe", hint="Is stripe.url right and reachable?") from exc
    except stripe.StripeError as exc:
        raise CheckError(
            f"cannot {what}: {exc.http_status or ''} {exc.user_message or type(exc).__name__}",
            hint=status_hint(exc.http_status or 0),
            status=exc.http_status or 0,
        ) from exc
