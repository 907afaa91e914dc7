"""The simulated vendors: who they let in, the shapes that a client meets, and what their switches break."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import sentry_sdk
import stripe
from botocore.exceptions import ClientError

from sandbox.staging.versions import image_digest
from tests.fix_sandbox import Sandbox

ACCEPT = "application/vnd.oci.image.index.v1+json"


def eventually(ask: Callable[[], Any], seconds: float = 10) -> Any:
    """The first answer that is true, asked again and again."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return answer


def client(facts: dict[str, Any], path: str = "") -> httpx.Client:
    """A client with the vendor's bearer token."""
    return httpx.Client(base_url=facts["url"].rstrip("/") + path, headers={"Authorization": f"Bearer {facts['token']}"})


@pytest.mark.parametrize(
    ("vendor", "path", "status"),
    [
        ("sentry", "/api/0/organizations/solvereign/issues/", 401),
        ("grafana", "/api/datasources", 401),
        ("stripe", "/v1/webhook_endpoints", 401),
        ("github", "/repos/solvereign/solvereign", 401),
        ("registry", "/v2/solvereign/api/manifests/v4.8.0", 401),
        ("vercel", "/v9/projects/prj_solvereign?teamId=team_solvereign", 403),
    ],
)
def test_nobody_gets_in_without_a_token(sandbox: Sandbox, vendor: str, path: str, status: int) -> None:
    """Each vendor's own refusal."""
    assert httpx.get(sandbox[vendor]["url"].rstrip("/") + path).status_code == status


class TestSentry:
    """Ingest and read API."""

    @pytest.fixture
    def api(self, sandbox: Sandbox) -> Iterator[httpx.Client]:
        with client(sandbox["sentry"], "/api/0/") as api:
            yield api

    def send(self, sandbox: Sandbox, environment: str = "staging") -> tuple[str, str]:
        marker = f"release test {uuid.uuid4()}"
        sender = sentry_sdk.Client(sandbox["sentry"]["dsn"], environment=environment, release="solvereign@4.8.0")
        event_id = sender.capture_event({"message": marker, "level": "error"})
        sender.close(timeout=5)
        assert event_id is not None
        return event_id, marker

    def test_an_event_of_the_real_sdk_appears(self, sandbox: Sandbox, api: httpx.Client) -> None:
        """By its id a moment later, with its environment and release."""
        event_id, marker = self.send(sandbox)
        path = f"projects/solvereign/api/events/{event_id}/"
        assert api.get(path).status_code == 404
        eventually(lambda: api.get(path).is_success)
        event = api.get(path).json()
        tags = {tag["key"]: tag["value"] for tag in event["tags"]}
        assert (event["eventID"], event["title"], tags["environment"]) == (event_id, marker, "staging")
        assert event["release"] == {"version": "solvereign@4.8.0"}

    def test_dropped_events_never_appear(self, sandbox: Sandbox, api: httpx.Client) -> None:
        """The ingest says 200 all the same; the event sent after it, which is kept, proves that the time was up."""
        with sandbox.fault("sentry_drops_events"):
            dropped_id, _ = self.send(sandbox)
        stored_id, _ = self.send(sandbox)
        eventually(lambda: api.get(f"projects/solvereign/api/events/{stored_id}/").is_success)
        assert api.get(f"projects/solvereign/api/events/{dropped_id}/").status_code == 404

    def issues(self, api: httpx.Client, **query: str) -> list[dict[str, Any]]:
        answer = api.get("organizations/solvereign/issues/", params={"query": "", **query})
        answer.raise_for_status()
        issues_found: list[dict[str, Any]] = answer.json()
        return issues_found

    def test_a_new_issue_in_production(self, sandbox: Sandbox, api: httpx.Client) -> None:
        """One each time the switch is set on, first seen now, beside old issues that were there before."""
        before = {issue["id"]: issue["firstSeen"] for issue in self.issues(api, environment="production")}
        assert len(before) >= 3
        for _ in range(2):
            sandbox.switch("sentry_new_issue", True)
        new = [issue for issue in self.issues(api, environment="production") if issue["id"] not in before]
        assert [(issue["count"], issue["substatus"]) for issue in new] == [("1", "new")] * 2
        assert min(issue["firstSeen"] for issue in new) > max(before.values())

    def test_issues_are_those_of_the_environment_the_release_and_the_time(
        self, sandbox: Sandbox, api: httpx.Client
    ) -> None:
        """An empty query is all of them."""
        event_id, marker = self.send(sandbox)
        eventually(lambda: api.get(f"projects/solvereign/api/events/{event_id}/").is_success)
        titles = {issue["title"] for issue in self.issues(api, environment="staging")}
        assert {marker, "OperationalError: the connection is closed"} <= titles
        assert marker not in {issue["title"] for issue in self.issues(api, environment="production")}
        assert marker in {issue["title"] for issue in self.issues(api, query='release:"solvereign@4.8.0"')}
        assert self.issues(api, query='release:"solvereign@9.9.9"') == []
        assert marker not in {issue["title"] for issue in self.issues(api, end="2026-01-01T00:00:00Z")}

    @pytest.mark.parametrize("query", ["is:unresolved", "firstSeen:-15m", "timeout"])
    def test_a_search_that_the_bot_does_not_make_is_refused(self, api: httpx.Client, query: str) -> None:
        """So that nothing that is built on it seems to work."""
        assert api.get("organizations/solvereign/issues/", params={"query": query}).status_code == 400

    def test_pages_say_whether_there_is_more(self, api: httpx.Client) -> None:
        """rel=next is there on the last page too, with results="false"."""
        path, total = "organizations/solvereign/issues/", len(self.issues(api, query=""))
        link = api.get(path, params={"query": "", "limit": total - 1}).headers["Link"]
        last = api.get(path, params={"query": "", "limit": total - 1, "cursor": f"0:{total - 1}:0"})
        assert ('rel="next"; results="true"' in link, len(last.json())) == (True, 1)
        assert 'rel="next"; results="false"' in last.headers["Link"]


class TestGrafana:
    """Dashboard and queries."""

    @pytest.fixture
    def api(self, sandbox: Sandbox) -> Iterator[httpx.Client]:
        with client(sandbox["grafana"]) as api:
            yield api

    def query(self, api: httpx.Client, *expressions: str, uid: str | None = None) -> httpx.Response:
        source = {"type": "prometheus", "uid": uid or api.get("/api/datasources").json()[0]["uid"]}
        queries = [{"refId": f"Q{n}", "datasource": source, "expr": text} for n, text in enumerate(expressions)]
        return api.post("/api/ds/query", json={"from": "now-15m", "to": "now", "queries": queries})

    def panels(self, api: httpx.Client) -> list[dict[str, Any]]:
        panels_found: list[dict[str, Any]] = api.get("/api/dashboards/uid/solvereign-overview").json()["dashboard"][
            "panels"
        ]
        return panels_found

    def empty(self, api: httpx.Client) -> list[str]:
        """Titles of the panels of which no query has a value."""
        titles = []
        for panel in self.panels(api):
            answer = self.query(api, *(target["expr"] for target in panel.get("targets", [])))
            results = answer.json().get("results", {}).values()
            if panel["type"] != "row" and not any(result["frames"] for result in results):
                titles.append(panel["title"])
        return titles

    def test_the_dashboard_is_the_products(self, api: httpx.Client) -> None:
        """14 data panels and 4 open rows; 24 queries without refId and data source of their own."""
        panels = self.panels(api)
        targets = [target for panel in panels for target in panel.get("targets", [])]
        assert (len(panels), sum(panel["type"] == "row" for panel in panels), len(targets)) == (18, 4, 24)
        assert {key for target in targets for key in target} == {"expr", "legendFormat"}

    def test_only_the_solver_panels_are_empty(self, api: httpx.Client) -> None:
        """As in the product, nothing emits their metrics."""
        assert self.empty(api) == ["Solver Runs (Hourly)", "Solver Duration", "Drivers per Tenant"]

    def test_grafana_empty_panel(self, sandbox: Sandbox, api: httpx.Client) -> None:
        """One more panel has no data, and only that one."""
        with sandbox.fault("grafana_empty_panel"):
            assert "Request Rate" in self.empty(api)
        assert "Request Rate" not in self.empty(api)

    def test_values_are_fresh_and_nan_is_null_with_its_place(self, api: httpx.Client) -> None:
        """The newest time is now, and a NaN comes as null and is named in entities."""
        expression = self.panels(api)[3]["targets"][0]["expr"]
        data = self.query(api, expression).json()["results"]["Q0"]["frames"][0]["data"]
        times, values = data["values"]
        assert time.time() - times[-1] / 1000 < 20
        assert (values[0], data["entities"][1]["NaN"], values[-1] > 90) == (None, [0], True)

    def test_an_unresolved_variable_is_an_error_of_that_query(self, api: httpx.Client) -> None:
        """The whole answer is a 400, with the good result still in it."""
        answer = self.query(api, "pg_up", "rate(x[$__rate_interval])")
        results = answer.json()["results"]
        assert (answer.status_code, "error" in results["Q1"], len(results["Q0"]["frames"])) == (400, True, 1)

    def test_an_unresolved_data_source_is_not_found(self, api: httpx.Client) -> None:
        """The server does not fill the dashboard's variables."""
        assert self.query(api, "pg_up", uid="${datasource}").status_code == 404


class TestStripe:
    """The API, by the official package."""

    @pytest.mark.parametrize(
        ("key", "name", "live"), [("api_key", "staging", False), ("live_api_key", "production", True)]
    )
    def test_a_key_sees_the_endpoint_of_its_mode(self, sandbox: Sandbox, key: str, name: str, live: bool) -> None:
        """Enabled, with the events that the product handles: staging's in test mode, production's in live mode."""
        facts, transport = sandbox["stripe"], stripe.HTTPXClient(allow_sync_methods=True)
        api = stripe.StripeClient(facts[key], base_addresses={"api": facts["url"]}, http_client=transport)
        endpoints = api.v1.webhook_endpoints.list().data
        transport.close()
        url = sandbox[name]["api_url"] + "/api/billing/webhook"
        assert [(one.url, one.status, one.livemode) for one in endpoints] == [(url, "enabled", live)]
        assert "invoice.paid" in endpoints[0].enabled_events


class TestGitHub:
    """Commits, tags, comparison."""

    @pytest.fixture
    def api(self, sandbox: Sandbox) -> Iterator[httpx.Client]:
        with client(sandbox["github"], "/repos/solvereign/solvereign/") as api:
            yield api

    def test_main_is_ahead_of_the_live_version(self, api: httpx.Client) -> None:
        """The commits to release, oldest first, each with its pull request."""
        sha = api.get("commits/main").json()["sha"]
        range_ = api.get(f"compare/v4.7.0...{sha}").json()
        assert (range_["status"], range_["behind_by"], range_["commits"][-1]["sha"]) == ("ahead", 0, sha)
        assert range_["total_commits"] == range_["ahead_by"] == len(range_["commits"]) == 3
        assert api.get(f"commits/{sha}/pulls").json()[0]["merge_commit_sha"] == sha

    def test_checks_of_a_commit(self, api: httpx.Client) -> None:
        """All green; an unknown version is no commit."""
        check_runs = api.get("commits/main/check-runs").json()
        assert {run["conclusion"] for run in check_runs["check_runs"]} == {"success"}
        assert api.get("commits/main/status").json()["state"] == "success"
        assert api.get("commits/v9.9.9").status_code == 422

    def test_an_annotated_tag_is_two_steps_and_made_once(self, api: httpx.Client) -> None:
        """The first step makes no reference; a second reference of the name is refused."""
        sha = api.get("commits/main").json()["sha"]
        body = {"tag": "v4.9.9", "message": "v4.9.9", "object": sha, "type": "commit"}
        tag = api.post("git/tags", json=body).json()["sha"]
        before = api.get("git/ref/tags/v4.9.9").status_code
        ref = {"ref": "refs/tags/v4.9.9", "sha": tag}
        statuses = [api.post("git/refs", json=ref).status_code for _ in range(2)]
        target = api.get("git/ref/tags/v4.9.9").json()["object"]
        assert (before, statuses, target) == (404, [201, 422], {"sha": tag, "type": "tag"})
        assert api.get(f"git/tags/{tag}").json()["object"]["sha"] == sha

    def test_migration_files_have_the_checksums_of_the_database(self, api: httpx.Client) -> None:
        """So that what was applied can be compared with the release, file by file."""
        files = api.get("contents/backend_py/db/migrations", params={"ref": "main"}).json()
        assert [file["name"][:3] for file in files] == ["044", "045", "046", "047", "048", "060", "061"]
        released_files = api.get("contents/backend_py/db/migrations", params={"ref": "v4.7.0"}).json()
        assert released_files == files[:-1]  # the candidate brings one


class TestRegistry:
    """Tag to digest."""

    def head(self, sandbox: Sandbox, tag: str, accept: str = ACCEPT) -> httpx.Response:
        url = sandbox["registry"]["url"]
        scope = {"service": "ghcr.io", "scope": "repository:solvereign/api:pull"}
        token = httpx.get(f"{url}/token", params=scope).json()["token"]
        headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        return httpx.head(f"{url}/v2/solvereign/api/manifests/{tag}", headers=headers)

    def test_a_tag_has_a_digest(self, sandbox: Sandbox) -> None:
        """Always the same one, by which the image can be asked for too."""
        digest = self.head(sandbox, "v4.8.0").headers["Docker-Content-Digest"]
        assert digest == image_digest("v4.8.0")
        assert self.head(sandbox, digest).headers["Docker-Content-Digest"] == digest

    @pytest.mark.parametrize(("tag", "accept"), [("v9.9.9", ACCEPT), ("v4.8.0", "application/json")])
    def test_unknown(self, sandbox: Sandbox, tag: str, accept: str) -> None:
        """A tag that was never pushed, and a client that does not accept an index."""
        assert self.head(sandbox, tag, accept).status_code == 404

    def test_tag_moved(self, sandbox: Sandbox) -> None:
        """The tag points at another image, and what it pointed at before is still there."""
        with sandbox.fault("tag_moved"):
            moved_digest = self.head(sandbox, "v4.8.0").headers["Docker-Content-Digest"]
            old = self.head(sandbox, image_digest("v4.8.0")).status_code
        assert (moved_digest != image_digest("v4.8.0"), old) == (True, 200)


class TestVercel:
    """Deployments and what production shows."""

    @pytest.fixture
    def api(self, sandbox: Sandbox) -> Iterator[httpx.Client]:
        with client(sandbox["vercel"]) as api:
            api.params = httpx.QueryParams({"teamId": "team_solvereign"})
            yield api

    def live(self, api: httpx.Client) -> str:
        return str(api.get("/v9/projects/prj_solvereign").json()["targets"]["production"]["id"])

    def test_deploy_and_roll_back(self, api: httpx.Client) -> None:
        """A build goes live when it is ready; a rollback is asked for by id and is done a moment later."""
        before = self.live(api)
        source = {"type": "github", "ref": "v4.8.0"}
        body = {"name": "solvereign", "target": "production", "gitSource": source}
        deployment = api.post("/v13/deployments", json=body).json()
        eventually(lambda: api.get(f"/v13/deployments/{deployment['id']}").json()["readyState"] == "READY")
        live_after = self.live(api)
        status = api.post(f"/v1/projects/prj_solvereign/rollback/{before}").status_code
        eventually(lambda: self.live(api) == before)
        assert (deployment["readyState"], live_after, status) == ("BUILDING", deployment["id"], 201)
        request = api.get("/v9/projects/prj_solvereign").json()["lastAliasRequest"]
        assert (request["jobStatus"], request["toDeploymentId"]) == ("succeeded", before)

    def test_candidates_of_a_rollback(self, api: httpx.Client) -> None:
        """Ready production deployments that are not live."""
        query = {"projectId": "prj_solvereign", "rollbackCandidate": "true"}
        candidates = [item["uid"] for item in api.get("/v6/deployments", params=query).json()["deployments"]]
        assert "dpl_v4.6.0" in candidates
        assert self.live(api) not in candidates


@contextlib.contextmanager
def s3_client(sandbox: Sandbox, **changes: str) -> Iterator[Any]:
    """A boto3 client with the sandbox's credentials."""
    facts = sandbox["s3"] | changes
    client = boto3.client(
        "s3",
        endpoint_url=facts["endpoint_url"],
        region_name=facts["region"],
        aws_access_key_id=facts["access_key_id"],
        aws_secret_access_key=facts["secret_access_key"],
    )
    yield client
    client.close()


def test_s3_keeps_its_objects_over_a_restart(sandbox: Sandbox, postgres_url: str, tmp_path: Path) -> None:
    """Body, metadata, encryption and time of a backup are the same after a second start."""
    prefix = sandbox["staging"]["database_url"].split("@/")[1].split("_staging")[0]
    first = Sandbox(tmp_path / "world", postgres_url, prefix=prefix, env={})
    key = {"Bucket": first["s3"]["bucket"], "Key": "postgresql/one.dump"}
    with s3_client(first) as s3:
        s3.put_object(**key, Body=b"PGDMP", Metadata={"environment": "staging"}, ServerSideEncryption="AES256")
        before = s3.head_object(**key)
    first.stop()
    second = Sandbox(tmp_path / "world", postgres_url, prefix=prefix, env={})
    with s3_client(second) as s3:
        after = s3.head_object(**key)
        body = s3.get_object(**key)["Body"].read()
    second.stop()
    fields = ("Metadata", "ServerSideEncryption", "LastModified", "ETag")
    assert (body, [after[name] for name in fields]) == (b"PGDMP", [before[name] for name in fields])


def test_s3_refuses_a_wrong_key(sandbox: Sandbox) -> None:
    """As the real one does for an access key that it does not know."""
    with s3_client(sandbox, access_key_id="AKIANOBODY") as s3, pytest.raises(ClientError, match="InvalidAccessKeyId"):
        s3.list_objects_v2(Bucket=sandbox["s3"]["bucket"])
