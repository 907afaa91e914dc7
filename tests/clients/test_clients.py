"""Clients: sections that are missing, time limits, proxies, and the errors of vendors by code, against real servers."""

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

from clients.cluster import kube_errors
from clients.connections import Clients
from clients.errors import ClientError
from clients.http import cookie_header, http_errors
from clients.postgres import postgres_errors
from clients.s3 import s3_errors
from clients.settings import Backup, GrafanaSettings, Kubernetes, SentrySettings, StripeSettings
from clients.stripe_account import stripe_errors
from clients.target import Login, Target, require
from tests.checks.replies import Replies, Reply, closed_port_url

ROOT = Path(__file__).parents[2]
EMPTY_TARGET = Target(name="staging")


def kube_target(folder, url):
    """A Target whose Kubernetes cluster is the server at ``url``."""
    path = folder / "kubeconfig"
    entry = {"name": "test"}
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "test",
                "clusters": [{**entry, "cluster": {"server": url}}],
                "users": [{**entry, "user": {"token": "secret"}}],
                "contexts": [{**entry, "context": {"cluster": "test", "user": "test"}}],
            }
        )
    )
    return EMPTY_TARGET.model_copy(update={"kubernetes": Kubernetes(kubeconfig=str(path), namespace="solvereign")})


def s3_target(url, **changes):
    """A Target whose backup bucket is on the server at ``url``."""
    keys = {"access_key_id": "key", "secret_access_key": "secret", **changes}
    return EMPTY_TARGET.model_copy(update={"backup": Backup(namespace="n", bucket="bucket", endpoint_url=url, **keys)})


# --- what is missing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "summary", "setting"),
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
def test_a_section_that_the_target_lacks_is_an_error_that_names_the_setting(call, summary, setting):
    """A client whose section the Target lacks raises a ClientError that names the missing setting."""
    with Clients(EMPTY_TARGET) as clients, pytest.raises(ClientError) as error:
        call(clients)
    assert error.value.summary == summary
    assert setting in error.value.hint


def test_a_section_without_its_token_is_an_error_that_names_the_token():
    """A client whose section has no token raises a ClientError that names the token."""
    target = EMPTY_TARGET.model_copy(update={"sentry": SentrySettings()})
    with Clients(target) as clients, pytest.raises(ClientError, match=r"staging has no sentry\.token"):
        clients.sentry()


def test_an_empty_text_counts_as_a_missing_setting_and_zero_does_not():
    """require() raises for an empty text and returns 0 as it is."""
    assert require(0, EMPTY_TARGET, "tenant.id") == 0
    with pytest.raises(ClientError, match="staging has no tenant"):
        require("", EMPTY_TARGET, "tenant.stripe_customer_id")


def test_a_kubeconfig_path_that_does_not_exist_is_an_error_that_names_the_setting(tmp_path):
    """A kubeconfig path at which there is no file raises a ClientError that names the setting."""
    kubernetes_section = Kubernetes(kubeconfig=str(tmp_path / "none"), namespace="n")
    with (
        Clients(EMPTY_TARGET.model_copy(update={"kubernetes": kubernetes_section})) as clients,
        pytest.raises(ClientError) as error,
    ):
        clients.kube()
    assert "targets.staging.kubernetes.kubeconfig" in error.value.hint


# --- how they are built ----------------------------------------------------------------------------------------------


def test_vendor_clients_send_the_configured_token_only_to_the_configured_address():
    """The Sentry and Grafana clients send their bearer tokens to the configured addresses; the plain HTTP client sends
    no token.
    """
    with Replies(
        {"GET /api/0/projects/o/p/": Reply(200, {}), "GET /api/access-control/user/permissions": Reply(200, {})}
    ) as vendor:
        target = EMPTY_TARGET.model_copy(
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


def test_local_servers_are_reached_without_the_proxy_of_the_environment(monkeypatch, tmp_path):
    """Every client connects to a server on the loopback address directly although the environment names a proxy."""
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


def test_cookies_of_one_answer_are_not_sent_with_the_next_request():
    """A cookie that one answer sets is not sent with the next request of the same client."""
    with (
        Replies({"GET /": Reply(200, {}, {"Set-Cookie": "session=1; Path=/"})}) as server,
        Clients(EMPTY_TARGET) as clients,
    ):
        clients.http().get(f"{server.url}/")
        clients.http().get(f"{server.url}/")
    assert [request.headers.get("Cookie") for request in server.requests] == [None, None]


def test_redirects_are_not_followed():
    """The HTTP client returns a redirect as the answer and does not follow it, so that a page that redirects to the
    login counts as absent.
    """
    with Replies({"GET /": Reply(302, "", {"Location": "/login"})}) as server, Clients(EMPTY_TARGET) as clients:
        assert clients.http().get(f"{server.url}/").status_code == 302


def test_threads_share_one_client_of_a_target():
    """Eight threads that ask the same Clients at the same time receive the same HTTP client."""
    with Clients(EMPTY_TARGET) as clients:
        http_clients = []
        threads = [threading.Thread(target=lambda: http_clients.append(clients.http())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {id(client) for client in http_clients} == {id(clients.http())}


def test_a_client_is_built_anew_after_close():
    """close() closes the clients that are open, and the next call builds a new one."""
    clients = Clients(EMPTY_TARGET)
    client = clients.http()
    clients.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.get("http://127.0.0.1:9/")
    assert clients.http() is not client
    clients.close()


# --- login -----------------------------------------------------------------------------------------------------------


def product_target(url):
    """A Target with the product's API and a test user who can log in."""
    login = Login(email="qa@example.org", password="long enough")
    return EMPTY_TARGET.model_copy(update={"api_url": httpx.URL(url), "login": login})


def test_one_login_serves_all_checks():
    """A successful login is made once for all checks, and its cookie is sent in a header even if it is marked Secure."""
    cookie = {"Set-Cookie": "__Host-session=abc; Secure; HttpOnly; Path=/"}
    with (
        Replies({"POST /api/auth/login": Reply(200, {"success": True}, cookie)}) as server,
        Clients(product_target(server.url)) as clients,
    ):
        headers = [cookie_header(clients.login()) for _ in range(3)]
    assert headers == [{"Cookie": "__Host-session=abc"}] * 3
    assert [request.json() for request in server.requests] == [{"email": "qa@example.org", "password": "long enough"}]


def test_a_rejected_login_is_tried_again():
    """A login that the product rejects is not kept: the next check logs in again."""
    with (
        Replies({"POST /api/auth/login": Reply(401, {})}) as server,
        Clients(product_target(server.url)) as clients,
    ):
        assert [clients.login().status_code, clients.login().status_code] == [401, 401]
    assert len(server.requests) == 2


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def test_database_connections_are_read_only_by_default(database_url):
    """A database connection cannot write unless it was opened with read_only=False."""
    with Clients(EMPTY_TARGET.model_copy(update={"database_url": secret(database_url)})) as clients:
        with pytest.raises(ClientError, match="read-only transaction"), clients.postgres() as connection:
            connection.execute("CREATE TABLE t ()")
        with clients.postgres(read_only=False) as connection:
            connection.execute("CREATE TABLE t ()")
        with clients.postgres() as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_statement_that_takes_too_long_is_cancelled(database_url):
    """The database server cancels a statement that exceeds the statement timeout."""
    with (
        Clients(EMPTY_TARGET.model_copy(update={"database_url": secret(database_url)})) as clients,
        pytest.raises(ClientError, match="statement timeout"),
        clients.postgres(statement_timeout=0.05) as connection,
    ):
        connection.execute("SELECT pg_sleep(10)")


def test_the_restore_server_can_be_reached_in_another_database(postgres_url, database_url):
    """scratch_server() connects to the named database of the restore server, in autocommit mode."""
    name = database_url.rpartition("/")[2].partition("?")[0]
    with (
        Clients(EMPTY_TARGET.model_copy(update={"restore_database_url": secret(postgres_url)})) as clients,
        clients.scratch_server(name) as connection,
    ):
        assert connection.execute("SELECT current_database()").fetchone() == (name,)
        assert connection.autocommit


def test_a_database_that_is_down_is_an_error_that_names_the_setting():
    """Where no database server listens, the ClientError names the setting and does not show the password."""
    port = closed_port_url().rpartition(":")[2]
    target = EMPTY_TARGET.model_copy(update={"database_url": secret(f"postgresql://u:pw@127.0.0.1:{port}/d")})
    with Clients(target) as clients, pytest.raises(ClientError) as error, clients.postgres():
        pass
    assert "database_url" in error.value.hint
    assert "pw" not in error.value.summary


def secret(text):
    """The text as the secret type of Target.database_url."""
    return Target(name="x", database_url=text).database_url


# --- errors of vendors, by code --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "summary", "hint"),
    [
        (Reply(403, {"message": 'User "bot" cannot list pods'}), "refused to list pods: 403", 'bot" cannot list pods'),
        (Reply(401, {}), "refused to list pods: 401", "credentials"),
        (Reply(404, {}), "failed to list pods: 404", "check the address and the names"),
        (Reply(429, {}, {"Retry-After": "7"}), "failed to list pods: 429", "wait a minute"),
        (Reply(503, "no JSON"), "failed to list pods: 503", "The server has a problem"),
    ],
)
def test_errors_of_kubernetes_name_the_status_and_give_a_hint(tmp_path, reply, summary, hint):
    """Each error status of the Kubernetes API becomes a ClientError with the status, a hint and the Retry-After time;
    403 names the missing right.
    """
    with (
        Replies({"GET /api/v1/namespaces/n/pods": reply}) as server,
        Clients(kube_target(tmp_path, server.url)) as clients,
        pytest.raises(ClientError) as error,
        kube_errors("list pods"),
    ):
        clients.kube().core.list_namespaced_pod("n", _request_timeout=clients.kube().timeout)
    assert summary in error.value.summary
    assert hint in error.value.hint
    assert error.value.retry_after == (7.0 if reply.status == 429 else None)


def test_a_kubernetes_api_that_is_down_is_a_client_error(tmp_path):
    """Where no Kubernetes API listens, the transport error, which is no ApiException, becomes a ClientError too."""
    with (
        Clients(kube_target(tmp_path, closed_port_url())) as clients,
        pytest.raises(ClientError, match="cannot reach Kubernetes to list pods"),
        kube_errors("list pods"),
    ):
        clients.kube().core.list_namespaced_pod("n", _request_timeout=clients.kube().timeout)


def delayed_reply(release):
    """A reply that is sent once ``release`` is set, which the test does at its end."""

    def answer(request):
        release.wait(5)
        return Reply(200, {"items": []})

    return answer


def test_a_kubernetes_api_that_does_not_answer_is_a_timeout_error(tmp_path):
    """A Kubernetes API that does not answer within the time limit becomes a ClientError."""
    release = threading.Event()
    with (
        Replies({"GET /api/v1/namespaces/n/pods": delayed_reply(release)}) as server,
        Clients(kube_target(tmp_path, server.url), http_timeout=0.1) as clients,
    ):
        with pytest.raises(ClientError, match="didn't answer in time to list pods"), kube_errors("list pods"):
            clients.kube().core.list_namespaced_pod("n", _request_timeout=clients.kube().timeout)
        release.set()


def test_a_web_server_that_does_not_answer_is_a_timeout_error():
    """A web server that does not answer within the time limit becomes a ClientError whose hint names the server."""
    release = threading.Event()
    with Replies({"GET /": delayed_reply(release)}) as server, Clients(EMPTY_TARGET, http_timeout=0.1) as clients:
        with pytest.raises(ClientError) as error, http_errors("open the page"):
            clients.http().get(f"{server.url}/")
        release.set()
    assert error.value.summary == "cannot open the page: no answer in time"
    assert server.url.removeprefix("http://") in error.value.hint


@pytest.mark.parametrize(
    ("reply", "summary"),
    [
        (Reply(500, "trouble"), "cannot ask: 500 Internal Server Error"),
        (Reply(200, "<html>"), "cannot ask: the answer isn't JSON"),
    ],
)
def test_error_statuses_and_answers_that_are_no_json_are_client_errors(reply, summary):
    """An error status and an answer that is no JSON each become a ClientError that says which it was."""
    with (
        Replies({"GET /": reply}) as server,
        Clients(EMPTY_TARGET) as clients,
        pytest.raises(ClientError) as error,
        http_errors("ask"),
    ):
        clients.http().get(f"{server.url}/").raise_for_status().json()
    assert error.value.summary == summary


@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        ("NoSuchBucket", 404, "check the address"),
        ("AccessDenied", 403, "lack a right"),
        ("Internal", 500, "The server has a problem"),
    ],
)
def test_errors_of_s3_name_the_code_and_give_a_hint_by_status(code, status, hint):
    """A ClientError of S3 names the code of the error, and its hint depends on the status."""
    body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    with (
        Replies({"GET /bucket": Reply(status, body)}) as server,
        Clients(s3_target(server.url)) as clients,
        pytest.raises(ClientError) as error,
        s3_errors("list the bucket"),
    ):
        clients.s3().list_objects_v2(Bucket="bucket")
    assert error.value.summary == f"cannot list the bucket: {code} m"
    assert hint in error.value.hint


def test_an_s3_endpoint_that_is_down_is_a_client_error():
    """Where nothing listens at the S3 endpoint, the call raises a ClientError."""
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
def test_errors_of_stripe_name_the_status(reply, summary):
    """A ClientError of Stripe names the status and Stripe's message."""
    with (
        Replies({"GET /v1/webhook_endpoints": reply}) as server,
        Clients(
            EMPTY_TARGET.model_copy(update={"stripe": StripeSettings(url=server.url, api_key="sk_test_1")})
        ) as clients,
        pytest.raises(ClientError) as error,
    ):
        clients.stripe().webhook_endpoints()
    assert error.value.summary == summary


def subclasses(*roots):
    """The given classes and all classes that derive from them."""
    classes = list(roots)
    for root in classes:
        classes += root.__subclasses__()
    return classes


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
    """Every error class of a vendor's package is translated to a ClientError by the vendor's context manager."""
    for error_class in subclasses(root):
        error = error_class.__new__(error_class)  # constructors differ from class to class; this is what they would set
        error.args = ("text",)
        vars(error).update(attributes)
        with pytest.raises(ClientError, match="do it"), translate("do it"):
            raise error


def test_two_threads_can_load_vendor_packages_at_the_same_time():
    """One thread loads Stripe's package while another is in the middle of loading the one of Kubernetes, which brings
    requests with it.
    """
    program = """
import sys, threading
from clients.connections import Clients
from clients.cluster import kube_errors
from clients.settings import StripeSettings
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
    process = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert process.stderr == ""


def test_the_configuration_is_read_without_any_vendor_package():
    """`release-bot health`, which runs every half minute in a container, loads neither httpx nor a vendor's package."""
    program = (
        "import sys, bot.settings; print([name for name in ('httpx', 'psycopg', 'kubernetes') if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    assert process.stdout == "[]\n"
