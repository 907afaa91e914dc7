"""Clients: parts that are missing, time limits, proxies, and vendor errors by code; against real servers."""

import subprocess
import sys
import threading
from pathlib import Path

import botocore.exceptions
import httpx
import kubernetes.client.exceptions
import psycopg
import pytest
import stripe
import urllib3.exceptions
import yaml

from clients.cluster import Kubernetes, kube_errors
from clients.connections import Clients
from clients.errors import ClientError
from clients.grafana import GrafanaSettings
from clients.http import cookie_header, http_errors
from clients.postgres import postgres_errors
from clients.s3 import Backup, s3_errors
from clients.sentry import SentrySettings
from clients.stripe_account import StripeSettings, stripe_errors
from clients.target import Login, Target, require
from tests.checks.replies import Replies, Reply, closed_port_url

ROOT = Path(__file__).parents[2]
NOTHING = Target(name="staging")


def kube_target(folder, url):
    """A Target whose cluster is the server at the URL."""
    path = folder / "kubeconfig"
    part = {"name": "test"}
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "test",
                "clusters": [{**part, "cluster": {"server": url}}],
                "users": [{**part, "user": {"token": "secret"}}],
                "contexts": [{**part, "context": {"cluster": "test", "user": "test"}}],
            }
        )
    )
    return NOTHING.model_copy(update={"kubernetes": Kubernetes(kubeconfig=str(path), namespace="solvereign")})


def s3_target(url, **changes):
    """A Target whose bucket is on the server at the URL."""
    keys = {"access_key_id": "key", "secret_access_key": "secret", **changes}
    return NOTHING.model_copy(update={"backup": Backup(namespace="n", bucket="bucket", endpoint_url=url, **keys)})


# --- what is missing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "summary", "setting"),
    [
        (lambda clients: clients.kube(), "staging has no kubernetes section", "targets.staging.kubernetes"),
        (lambda clients: clients.s3(), "staging has no backup section", "targets.staging.backup"),
        (lambda clients: clients.postgres().__enter__(), "staging has no database_url", "targets.staging.database_url"),
        (
            lambda clients: clients.scratch_server().__enter__(),
            "staging has no restore_database_url",
            "targets.staging.restore_database_url",
        ),
        (lambda clients: clients.stripe(), "staging has no stripe section", "Set stripe in"),
        (lambda clients: clients.sentry(), "staging has no sentry section", "Set sentry in"),
        (lambda clients: clients.grafana(), "staging has no grafana section", "Set grafana in"),
        (lambda clients: clients.login(), "staging has no api_url", "targets.staging.api_url"),
    ],
)
def test_missing_part(ask, summary, setting):
    """A part that the Target lacks is an error that names the setting."""
    with Clients(NOTHING) as clients, pytest.raises(ClientError) as caught:
        ask(clients)
    assert caught.value.summary == summary
    assert setting in caught.value.hint


def test_missing_token():
    """A section without its token names the token."""
    target = NOTHING.model_copy(update={"sentry": SentrySettings()})
    with Clients(target) as clients, pytest.raises(ClientError, match=r"staging has no sentry\.token"):
        clients.sentry()


def test_require_empty_text():
    """An empty text counts as missing, 0 does not."""
    assert require(0, NOTHING, "tenant.id") == 0
    with pytest.raises(ClientError, match="staging has no tenant"):
        require("", NOTHING, "tenant.stripe_customer_id")


def test_kubeconfig_that_is_not_there(tmp_path):
    """A kubeconfig path that leads nowhere is an error that names the setting."""
    part = Kubernetes(kubeconfig=str(tmp_path / "none"), namespace="n")
    with Clients(NOTHING.model_copy(update={"kubernetes": part})) as clients, pytest.raises(ClientError) as caught:
        clients.kube()
    assert "targets.staging.kubernetes.kubeconfig" in caught.value.hint


# --- how they are built ----------------------------------------------------------------------------------------------


def test_vendor_addresses_and_tokens():
    """Sentry's and Grafana's clients send the bearer token to the address that is set, and only there."""
    with Replies(
        {"GET /api/0/projects/o/p/": Reply(200, {}), "GET /api/access-control/user/permissions": Reply(200, {})}
    ) as vendor:
        target = NOTHING.model_copy(
            update={
                "sentry": SentrySettings(url=vendor.url, token="s-token", organization="o", project="p"),
                "grafana": GrafanaSettings(url=vendor.url, token="g-token"),
            }
        )
        with Clients(target) as clients:
            clients.sentry().get_project()
            clients.grafana().permissions()
            clients.http().get(f"{vendor.url}/other")
    assert [request.headers.get("Authorization") for request in vendor.requests] == [
        "Bearer s-token",
        "Bearer g-token",
        None,
    ]


def test_no_proxy_for_loopback(monkeypatch, tmp_path):
    """With a proxy in the environment a local server is still asked directly, by every client."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, closed_port_url())
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    routes = {
        "GET /page": Reply(200, {}),
        "GET /api/v1/namespaces/n/pods": Reply(200, {"items": []}),
        "GET /bucket": Reply(200, b"<ListBucketResult/>"),
        "GET /v1/webhook_endpoints": Reply(200, {"object": "list", "data": [], "has_more": False, "url": "/v1/x"}),
    }
    with Replies(routes) as server:
        target = kube_target(tmp_path, server.url)
        target = target.model_copy(
            update={
                "backup": s3_target(server.url).backup,
                "stripe": StripeSettings(url=server.url, api_key="sk_test_1"),
            }
        )
        with Clients(target) as clients:
            clients.http().get(f"{server.url}/page").raise_for_status()
            clients.kube().core.list_namespaced_pod("n", _request_timeout=clients.kube().timeout)
            clients.s3().list_objects_v2(Bucket="bucket")
            clients.stripe().webhook_endpoints()
    assert {request.path for request in server.requests} == {route.split()[1] for route in routes}


def test_no_cookie_is_kept():
    """What one check's answer sets as a cookie is not sent by the next."""
    with Replies({"GET /": Reply(200, {}, {"Set-Cookie": "session=1; Path=/"})}) as server, Clients(NOTHING) as clients:
        clients.http().get(f"{server.url}/")
        clients.http().get(f"{server.url}/")
    assert [request.headers.get("Cookie") for request in server.requests] == [None, None]


def test_redirect_is_not_followed():
    """A redirect is an answer of its own: a page that sends to the login is not there."""
    with Replies({"GET /": Reply(302, "", {"Location": "/login"})}) as server, Clients(NOTHING) as clients:
        assert clients.http().get(f"{server.url}/").status_code == 302


def test_built_once_across_threads():
    """Checks side by side share the clients of their target."""
    with Clients(NOTHING) as clients:
        found = []
        threads = [threading.Thread(target=lambda: found.append(clients.http())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {id(client) for client in found} == {id(clients.http())}


def test_closed():
    """After close() no client is open; asking again builds a new one."""
    clients = Clients(NOTHING)
    client = clients.http()
    clients.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.get("http://127.0.0.1:9/")
    assert clients.http() is not client
    clients.close()


# --- login -----------------------------------------------------------------------------------------------------------


def product(url):
    """A Target with an API and a test user."""
    login = Login(email="qa@example.org", password="long enough")
    return NOTHING.model_copy(update={"api_url": httpx.URL(url), "login": login})


def test_one_login_for_all_checks():
    """A good login is used again, and its cookie travels in a header even if it is marked Secure."""
    cookie = {"Set-Cookie": "__Host-session=abc; Secure; HttpOnly; Path=/"}
    with (
        Replies({"POST /api/auth/login": Reply(200, {"success": True}, cookie)}) as server,
        Clients(product(server.url)) as clients,
    ):
        headers = [cookie_header(clients.login()) for _ in range(3)]
    assert headers == [{"Cookie": "__Host-session=abc"}] * 3
    assert [request.json() for request in server.requests] == [{"email": "qa@example.org", "password": "long enough"}]


def test_refused_login_is_not_kept():
    """A login that was refused is tried again by the next check."""
    with (
        Replies({"POST /api/auth/login": Reply(401, {})}) as server,
        Clients(product(server.url)) as clients,
    ):
        assert [clients.login().status_code, clients.login().status_code] == [401, 401]
    assert len(server.requests) == 2


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def test_read_only(database_url):
    """Without being asked for it a connection cannot write."""
    with Clients(NOTHING.model_copy(update={"database_url": secret(database_url)})) as clients:
        with pytest.raises(ClientError, match="read-only transaction"), clients.postgres() as connection:
            connection.execute("CREATE TABLE t ()")
        with clients.postgres(read_only=False) as connection:
            connection.execute("CREATE TABLE t ()")
        with clients.postgres() as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_statement_timeout(database_url):
    """A statement that takes too long is ended by the server."""
    with (
        Clients(NOTHING.model_copy(update={"database_url": secret(database_url)})) as clients,
        pytest.raises(ClientError, match="statement timeout"),
        clients.postgres(statement_timeout=0.05) as connection,
    ):
        connection.execute("SELECT pg_sleep(10)")


def test_scratch_server_in_another_database(postgres_url, database_url):
    """The restore server can be asked in a database other than the one that is set; each statement stands alone."""
    name = database_url.rpartition("/")[2].partition("?")[0]
    with (
        Clients(NOTHING.model_copy(update={"restore_database_url": secret(postgres_url)})) as clients,
        clients.scratch_server(name) as connection,
    ):
        assert connection.execute("SELECT current_database()").fetchone() == (name,)
        assert connection.autocommit


def test_database_down():
    """Nobody listens: the error says what to look at."""
    port = closed_port_url().rpartition(":")[2]
    target = NOTHING.model_copy(update={"database_url": secret(f"postgresql://u:pw@127.0.0.1:{port}/d")})
    with Clients(target) as clients, pytest.raises(ClientError) as caught, clients.postgres():
        pass
    assert "database_url" in caught.value.hint
    assert "pw" not in caught.value.summary


def secret(text):
    """A pydantic secret."""
    return Target(name="x", database_url=text).database_url


# --- errors of vendors, by code --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "summary", "hint"),
    [
        (Reply(403, {"message": 'User "bot" cannot list pods'}), "refused to list pods: 403", 'bot" cannot list pods'),
        (Reply(401, {}), "refused to list pods: 401", "credentials"),
        (Reply(404, {}), "failed to list pods: 404", "check the address and the names"),
        (Reply(429, {}, {"Retry-After": "7"}), "failed to list pods: 429", "wait a minute"),
        (Reply(503, "no JSON"), "failed to list pods: 503", "trouble of its own"),
    ],
)
def test_kube_error(tmp_path, reply, summary, hint):
    """Each answer of the API server becomes one line with its status, and a hint; 403 names the missing right."""
    with (
        Replies({"GET /api/v1/namespaces/n/pods": reply}) as server,
        Clients(kube_target(tmp_path, server.url)) as clients,
        pytest.raises(ClientError) as caught,
        kube_errors("list pods"),
    ):
        clients.kube().core.list_namespaced_pod("n", _request_timeout=clients.kube().timeout)
    assert summary in caught.value.summary
    assert hint in caught.value.hint
    assert caught.value.retry_after == (7.0 if reply.status == 429 else None)


def test_kube_down(tmp_path):
    """No API server there: an error of the transport, which is no ApiException."""
    with (
        Clients(kube_target(tmp_path, closed_port_url())) as clients,
        pytest.raises(ClientError, match="cannot reach Kubernetes to list pods"),
        kube_errors("list pods"),
    ):
        clients.kube().core.list_namespaced_pod("n", _request_timeout=clients.kube().timeout)


def slow(release):
    """A reply that comes once the test is over."""

    def answer(request):
        release.wait(5)
        return Reply(200, {"items": []})

    return answer


def test_kube_timeout(tmp_path):
    """An API server that does not answer is given up on."""
    release = threading.Event()
    with (
        Replies({"GET /api/v1/namespaces/n/pods": slow(release)}) as server,
        Clients(kube_target(tmp_path, server.url), http_timeout=0.1) as clients,
    ):
        with pytest.raises(ClientError, match="did not answer in time to list pods"), kube_errors("list pods"):
            clients.kube().core.list_namespaced_pod("n", _request_timeout=clients.kube().timeout)
        release.set()


def test_http_timeout():
    """A server that does not answer is given up on; the hint names it."""
    release = threading.Event()
    with Replies({"GET /": slow(release)}) as server, Clients(NOTHING, http_timeout=0.1) as clients:
        with pytest.raises(ClientError) as caught, http_errors("open the page"):
            clients.http().get(f"{server.url}/")
        release.set()
    assert caught.value.summary == "cannot open the page: no answer in time"
    assert server.url.removeprefix("http://") in caught.value.hint


@pytest.mark.parametrize(
    ("reply", "summary"),
    [
        (Reply(500, "trouble"), "cannot ask: 500 Internal Server Error"),
        (Reply(200, "<html>"), "cannot ask: the answer is no JSON"),
    ],
)
def test_http_error(reply, summary):
    """A status that raise_for_status() refuses, and an answer that is no JSON."""
    with (
        Replies({"GET /": reply}) as server,
        Clients(NOTHING) as clients,
        pytest.raises(ClientError) as caught,
        http_errors("ask"),
    ):
        clients.http().get(f"{server.url}/").raise_for_status().json()
    assert caught.value.summary == summary


@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        ("NoSuchBucket", 404, "check the address"),
        ("AccessDenied", 403, "lack a right"),
        ("Internal", 500, "of its own"),
    ],
)
def test_s3_error(code, status, hint):
    """S3 errors are told by code, the hint comes from the status."""
    body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    with (
        Replies({"GET /bucket": Reply(status, body)}) as server,
        Clients(s3_target(server.url)) as clients,
        pytest.raises(ClientError) as caught,
        s3_errors("list the bucket"),
    ):
        clients.s3().list_objects_v2(Bucket="bucket")
    assert caught.value.summary == f"cannot list the bucket: {code} m"
    assert hint in caught.value.hint


def test_s3_down():
    """Nobody listens at the endpoint."""
    with (
        Clients(s3_target(closed_port_url())) as clients,
        pytest.raises(ClientError, match="Could not connect to the endpoint"),
        s3_errors("list the bucket"),
    ):
        clients.s3().list_objects_v2(Bucket="bucket")


@pytest.mark.parametrize(
    ("reply", "summary"),
    [
        (
            Reply(401, {"error": {"message": "Invalid API Key"}}),
            "cannot list the webhook endpoints: 401 Invalid API Key",
        ),
        (Reply(403, {"error": {"message": "No permission"}}), "cannot list the webhook endpoints: 403 No permission"),
    ],
)
def test_stripe_error(reply, summary):
    """Stripe's errors keep their status."""
    with (
        Replies({"GET /v1/webhook_endpoints": reply}) as server,
        Clients(NOTHING.model_copy(update={"stripe": StripeSettings(url=server.url, api_key="sk_test_1")})) as clients,
        pytest.raises(ClientError) as caught,
    ):
        clients.stripe().webhook_endpoints()
    assert caught.value.summary == summary


def subclasses(*roots):
    """The classes and all that derive from them."""
    found = list(roots)
    for root in found:
        found += root.__subclasses__()
    return found


KUBE = {"status": 500, "reason": "Internal", "body": "", "headers": None}
S3 = {"response": {"Error": {"Code": "Internal"}}}
STRIPE = {"http_status": 500, "_message": "m"}


@pytest.mark.parametrize(
    ("translate", "root", "attributes"),
    [
        (kube_errors, kubernetes.client.exceptions.ApiException, KUBE),
        (kube_errors, urllib3.exceptions.HTTPError, {"partial": 0, "expected": 1, "length": 0, "response": None}),
        (postgres_errors, psycopg.Error, {"_info": None, "_encoding": "utf-8"}),
        (http_errors, httpx.TransportError, {"_request": None}),
        (http_errors, httpx.DecodingError, {"_request": None}),
        (http_errors, httpx.InvalidURL, {}),
        (s3_errors, botocore.exceptions.BotoCoreError, {}),
        (s3_errors, botocore.exceptions.ClientError, S3),
        (stripe_errors, stripe.StripeError, STRIPE),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_every_vendor_error_is_translated(translate, root, attributes):
    """Whatever class of error a vendor's package has, none of them gets past its seam."""
    for kind in subclasses(root):
        error = kind.__new__(kind)  # constructors differ from class to class; this is what they would set
        error.args = ("text",)
        vars(error).update(attributes)
        with pytest.raises(ClientError, match="do it"), translate("do it"):
            raise error


def test_checks_that_begin_side_by_side_load_their_vendors_packages_safely():
    """One thread is in the middle of kubernetes, which brings requests, when another one begins with stripe."""
    program = """
import sys, threading
from clients.connections import Clients
from clients.cluster import kube_errors
from clients.stripe_account import StripeSettings
from clients.target import Target

sys.setswitchinterval(1e-5)

def kube():
    with kube_errors("x"):
        pass

def stripe():
    while "requests_oauthlib" not in sys.modules and first.is_alive():
        pass
    Clients(Target(name="staging", stripe=StripeSettings(api_key="sk_test_1"))).stripe()

first, second = threading.Thread(target=kube), threading.Thread(target=stripe)
first.start(), second.start(), first.join(), second.join()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert ended.stderr == ""
