"""The sandbox as a program: its ready line, its restart, its end, and its switches."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.fix_sandbox import Sandbox

FACTS = {
    "page", "slack_api_url", "control_url", "bot_token", "app_token", "signing_secret", "channel_id", "people",
    "kubeconfig", "bot_kubeconfig", "staging", "production", "s3", "backup", "sentry", "grafana", "stripe", "github", "registry",
    "vercel",
}  # fmt: skip
ENVIRONMENT = {
    "database_owner_url",
    "namespace", "deployment", "container", "database_url", "api_url", "frontend_url", "tenant_id",
    "stripe_customer_id", "login_email", "login_password",
}  # fmt: skip


@pytest.fixture(scope="module")
def prefix(running_sandbox: Sandbox) -> str:
    """The databases that are there already, so that another sandbox need not make its own."""
    name = psycopg.conninfo.conninfo_to_dict(running_sandbox.staging["database_url"])["dbname"]
    return str(name).removesuffix("_staging")


@pytest.fixture(scope="module")
def ended_sandbox(postgres_url: str, prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox that was used and then got SIGTERM."""
    sandbox = Sandbox(tmp_path_factory.mktemp("world"), postgres_url, prefix=prefix, env={})
    sandbox.switch("stripe_down", True)
    with _github(sandbox) as client:
        sha = client.get("commits/main").json()["sha"]
        client.post("git/refs", json={"ref": "refs/tags/v4.8.0", "sha": sha}).raise_for_status()
    os.kill(sandbox.process.pid, signal.SIGTERM)
    sandbox.process.wait(20)
    sandbox.stop()
    return sandbox


def test_the_ready_line_names_every_part(sandbox: Sandbox) -> None:
    """Who starts the sandbox finds all addresses and credentials in one line."""
    assert set(sandbox.facts) == FACTS
    assert set(sandbox["production"]) == ENVIRONMENT
    assert set(sandbox["staging"]) == ENVIRONMENT | {"database_admin_url", "restore_secret"}


@pytest.mark.parametrize("path", ["", "api/api.test", "sandbox/faults"])
def test_the_page_the_api_and_the_switches_are_one_server(sandbox: Sandbox, path: str) -> None:
    """A person opens one address."""
    answer = httpx.post(sandbox["page"] + path) if path.startswith("api") else httpx.get(sandbox["page"] + path)
    assert answer.status_code == 200


def test_it_ends_on_a_signal(ended_sandbox: Sandbox) -> None:
    """SIGTERM is a clean end, and nothing listens any more."""
    assert ended_sandbox.process.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(ended_sandbox["grafana"]["url"])


def test_a_second_start_goes_on_at_the_same_addresses(ended_sandbox: Sandbox, postgres_url: str, prefix: str) -> None:
    """State, switches and ports outlive the process, so links and configurations stay good."""
    second = Sandbox(ended_sandbox.data_dir, postgres_url, prefix=prefix, env={})
    with _github(second) as client:
        tag = client.get("git/ref/tags/v4.8.0").status_code
    switch = second.control("GET", "faults/stripe_down")["on"]
    code = second.stop()  # the end of standard input is an end too
    differences = {
        name: (fact, second.facts[name]) for name, fact in ended_sandbox.facts.items() if second.facts[name] != fact
    }
    assert (differences, tag, switch, code) == ({}, 200, True, 0)


def test_it_does_not_start_without_its_database(tmp_path: Path, prefix: str) -> None:
    """A wrong DSN ends the program instead of leaving half a world running."""
    with pytest.raises(AssertionError, match="OperationalError"):
        Sandbox(tmp_path / "world", f"host={tmp_path} user=postgres", prefix=prefix, env={})


def test_switches_are_listed_with_words_for_people(sandbox: Sandbox) -> None:
    """The page shows title and description, by group."""
    faults = sandbox.control("GET", "faults")["faults"]
    assert [set(fault) for fault in faults] == [{"name", "title", "description", "group", "on"}] * len(faults)
    assert [fault["on"] for fault in faults] == [False] * len(faults)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("faults/sentry_donw", {"on": True}, 404), ("faults/sentry_down", {}, 400), ("faults/sentry_down", [], 400)],
)
def test_a_switch_that_cannot_be_moved_is_named(sandbox: Sandbox, path: str, body: object, status: int) -> None:
    """A typing error must not look like a switch that did nothing."""
    assert httpx.put(sandbox["control_url"] + path, json=body).status_code == status


@pytest.mark.parametrize(
    ("switch", "url"),
    [
        ("sentry_down", lambda facts: facts["sentry"]["url"]),
        ("grafana_down", lambda facts: facts["grafana"]["url"]),
        ("stripe_down", lambda facts: facts["stripe"]["url"]),
        ("github_down", lambda facts: facts["github"]["url"]),
        ("registry_down", lambda facts: facts["registry"]["url"] + "/v2/"),
        ("s3_down", lambda facts: facts["s3"]["endpoint_url"]),
        ("product_down", lambda facts: facts["staging"]["api_url"] + "/health"),
    ],
)
def test_a_server_that_is_down_answers_503(sandbox: Sandbox, switch: str, url: Callable[[dict[str, Any]], str]) -> None:
    """Each server has a switch, and only that switch takes it down."""
    with sandbox.fault(switch):
        down = httpx.get(url(sandbox.facts)).status_code
    assert (down, httpx.get(url(sandbox.facts)).status_code != 503) == (503, True)


def _github(sandbox: Sandbox) -> httpx.Client:
    github = sandbox["github"]
    return httpx.Client(
        base_url=f"{github['url']}/repos/{github['repository']}/",
        headers={"Authorization": f"Bearer {github['token']}"},
    )
