"""`release-bot doctor` against the sandbox: all well, each vendor down, each token wrong, rights and grants missing, parts not set."""

import copy
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from bot.app import load_checklist, load_registry
from bot.demo import configuration
from bot.flows import doctor
from bot.flows.needed import Said, needed
from bot.settings import Settings
from bot.store.pool import Store, only
from checks.checkup.cluster import cluster
from checks.checkup.finding import Finding, State
from clients.connections import Clients
from clients.rights import READ_DEPLOYMENT, READ_LOGS, Grant, Right, Variables, grants
from clients.workload import rights_of
from sandbox.staging import github, grafana, s3, sentry, stripe_api
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.fix_account import BotAccount
from tests.fix_kube import Kube
from tests.fix_postgres import poor_role
from tests.fix_sandbox import Sandbox
from tests.sandbox.kube_objects import deploy

REGISTRY = load_registry()
CHECKLIST = load_checklist("solvereign", REGISTRY)
DOWN = ("sentry_down", "grafana_down", "stripe_down", "github_down", "vercel_down", "registry_down", "s3_down")
VENDORS = ("Sentry", "Grafana", "Stripe", "GitHub", "Vercel", "Image registry", "Backup bucket")
TARGETS = ("staging", "production")
GRANTS = Path(__file__).parents[2] / "deploy" / "postgres-grants.sql"
Body = dict[str, Any]
Rights = dict[Right, tuple[str, ...]]


@pytest.fixture
def body(running_sandbox: Sandbox) -> Body:
    """A configuration in which all is well."""
    return copy.deepcopy(configuration(running_sandbox.facts))


def told(body: Mapping[str, Any], only: str = "") -> list[Said]:
    """What the doctor says of targets and vendors; ``only``: of this one section of the configuration."""
    settings = Settings.model_validate(body)
    parts, said = needed(settings, CHECKLIST, REGISTRY)
    asked = [part for part in parts if only in {"", part.section}]
    return [*said, *doctor.examine(doctor.questions(asked, settings), lambda _: None)]


def bad(said: list[Said]) -> dict[str, list[Finding]]:
    """The findings that are not good, by part."""
    found: dict[str, list[Finding]] = {}
    for one in said:
        if not one.finding.good:
            found.setdefault(one.part, []).append(one.finding)
    return found


def test_all_is_well(body: Body) -> None:
    """Every part that the checklist uses is asked, and says what it grants; what a vendor does not tell is a note."""
    said = told(body)

    assert bad(said) == {}
    asked = {one.part for one in said}
    assert asked >= {"Sentry", "Grafana", "Stripe of production", "GitHub", "Vercel", "Image registry"}
    assert asked >= {f"{part} of {name}" for part in ("Kubernetes", "API", "Frontend") for name in TARGETS}
    assert asked >= {"Database of staging", "Restore server of staging", "Backup bucket of staging"}
    whats = [f"{one.part}: {one.finding.what}" for one in said]
    assert "Sentry: takes the token, which has event:read, org:read, project:read" in whats
    assert any(what.startswith("GitHub: its owner may push; whether the token has contents: write") for what in whats)


def test_every_vendor_is_down(body: Body, sandbox: Sandbox) -> None:
    """Each is named as not reachable, with the lines that need it; nobody's token is called wrong."""
    for name in DOWN:
        sandbox.switch(name, True)
    found = bad(told(body))

    assert {part.partition(" of ")[0] for part in found} == set(VENDORS)
    assert {finding.state for findings in found.values() for finding in findings} == {State.UNREACHABLE}
    assert [part for part, findings in found.items() if not (findings[0].hint and findings[0].lines)] == []
    assert found["Grafana"][0].lines == ("go.grafana", "post.metrics")


def test_nobody_listens(body: Body, tmp_path: Path) -> None:
    """Cluster, databases and addresses: each says that it cannot be reached, and from which setting it has the address."""
    nowhere = closed_port_url()
    port = urlsplit(nowhere).port
    kubeconfig = yaml.safe_load(Path(body["targets"]["staging"]["kubernetes"]["kubeconfig"]).read_text())
    kubeconfig["clusters"][0]["cluster"] = {"server": nowhere}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(kubeconfig))
    for name in TARGETS:
        target = body["targets"][name]
        target |= {"api_url": f"{nowhere.rstrip('/')}/{name}/", "frontend_url": nowhere}
        target["kubernetes"]["kubeconfig"] = str(file)
    for key in ("database_url", "restore_database_url"):
        body["targets"]["staging"][key] = f"postgresql://somebody:secret-word@127.0.0.1:{port}/nothing"
    found = bad(told(body))

    assert {finding.state for findings in found.values() for finding in findings} == {State.UNREACHABLE}
    assert {part for part in found if part.endswith("of staging")} == {
        "API of staging", "Kubernetes of staging", "Frontend of staging", "Database of staging", "Restore server of staging",
    }  # fmt: skip
    assert "targets.staging.database_url" in found["Database of staging"][0].hint


@pytest.mark.parametrize("answer", ["<h1>Welcome</h1>", 7, {}], ids=["a page", "a number", "nothing"])
def test_somebody_else_answers(answer: object, body: Body) -> None:
    """A 200 of whoever stands at the address, such as a proxy's page, is good for nobody."""
    with Strange(answer) as server:
        for section in ("sentry", "grafana", "vercel", "github", "registry"):
            body[section]["url"] = server.url
        body["targets"]["production"]["stripe"]["url"] = server.url
        said = told(body)

    asked = {"Sentry", "Grafana", "Vercel", "GitHub", "Image registry", "Stripe of production"}
    assert set(bad(said)) == asked
    assert [one for one in said if one.part in asked and one.finding.state is State.OK] == []
    assert [one.finding.what for one in said if "unexpected" in one.finding.what] == []


class Strange(Replies):
    """Answers everything with one and the same."""

    def __init__(self, body: object) -> None:
        super().__init__({})
        self._body = body

    def answer(self, request: Request) -> Reply:
        """The same to every request."""
        return Reply(200, self._body)


def test_too_many_calls(body: Body) -> None:
    """GitHub says 403 to that too: nobody's token is wrong."""
    limit = Reply(403, {"message": "API rate limit exceeded for 192.0.2.1."})
    repository = body["github"]["repository"]
    with Replies({f"GET /repos/{repository}": limit}) as server:
        body["github"]["url"] = server.url
        [finding] = bad(told(body, "github"))["GitHub"]

    assert finding.state is State.UNREACHABLE
    assert "rate limit" in finding.what


def test_a_classic_token(body: Body) -> None:
    """It tells its scopes, so the one that is missing is named; of a public repository it may read everything."""
    repository = body["github"]["repository"]
    shown = {"default_branch": "main", "private": False, "permissions": {"push": True}}
    base = f"GET /repos/{repository}"
    paths = (
        "git/matching-refs/tags",
        "issues",
        *(f"commits/main/{what}" for what in ("pulls", "check-runs", "status")),
    )
    routes = {
        base: Reply(200, shown, {"X-OAuth-Scopes": "read:org"}),
        **{f"{base}/{path}": Reply(200, []) for path in paths},
    }
    with Replies(routes) as server:
        body["github"]["url"] = server.url
        [finding] = bad(told(body, "github"))["GitHub"]
        server.routes[base] = Reply(200, shown, {"X-OAuth-Scopes": "public_repo"})
        good = [one.finding.state for one in told(body, "github") if one.part == "GitHub"]

    assert finding.what == "the token lacks contents: write: it has read:org"
    assert finding.lines == ("deploy.tag",)
    assert good == [State.OK]


def test_every_token_is_wrong(body: Body) -> None:
    """Each is called refused, and the hint names the setting; what was set is in none of the words."""
    wrong = "sk_test_wrong_" + uuid.uuid4().hex
    for section in ("sentry", "grafana", "vercel", "github"):
        body[section]["token"] = wrong
    body["stripe"]["api_key"] = wrong
    body["targets"]["production"]["stripe"]["api_key"] = wrong.replace("sk_test", "rk_live")
    body["registry"] |= {"username": "somebody", "token": wrong}
    body["targets"]["staging"]["backup"]["access_key_id"] = "AKIAWRONG"
    database = urlsplit(body["targets"]["staging"]["database_url"])
    body["targets"]["staging"]["database_url"] = database._replace(
        netloc=database.netloc.replace("release_bot", "nobody_here")
    ).geturl()
    said = told(body)
    found = bad(said)

    assert {part.partition(" of ")[0] for part in found} == {*VENDORS, "Database"}
    assert {finding.state for findings in found.values() for finding in findings} == {State.MISSING}
    hints = {part.partition(" of ")[0]: findings[0].hint for part, findings in found.items()}
    assert "sentry.token" in hints["Sentry"]
    assert "grafana.token" in hints["Grafana"]
    assert "stripe.api_key" in hints["Stripe"]
    assert "github.token" in hints["GitHub"]
    assert "vercel in release-bot.yml" in hints["Vercel"]
    assert "registry.token" in hints["Image registry"]
    assert "backup.access_key_id" in hints["Backup bucket"]
    assert "targets.staging.database_url" in hints["Database"]
    assert wrong not in repr(said)


def test_every_token_lacks_a_right(body: Body) -> None:
    """Each right that is missing is named in the vendor's words, with the lines that need it, and only those."""
    body["sentry"]["token"] = sentry.CI_TOKEN
    body["grafana"]["token"] = grafana.POOR_TOKEN
    body["github"]["token"] = github.POOR_TOKEN
    body["targets"]["production"]["stripe"]["api_key"] = stripe_api.POOR_LIVE_KEY
    prefix = f"doctor-{uuid.uuid4().hex}/"
    body["targets"]["staging"]["backup"]["prefix"] = prefix
    assert bad(told(body)).keys() == {
        "Sentry",
        "Grafana",
        "GitHub",
        "Stripe of production",
    }  # nothing there yet: a note
    with Clients(Settings.model_validate(body).target_values()["staging"]) as clients:
        clients.s3().put_object(Bucket=s3.BUCKET, Key=f"{prefix}one.dump", Body=b"PGDMP")
    body["targets"]["staging"]["backup"]["access_key_id"] = s3.POOR_ACCESS_KEY_ID
    found = bad(told(body))

    assert {(finding.what, finding.lines) for finding in found.pop("Sentry")} == {
        ("the token lacks event:read for solvereign/api", ("watch.issues",)),
        ("the token lacks org:read for solvereign/api", ("watch.rate",)),
        ("the token lacks project:read for solvereign/api", ("go.sentry",)),
    }
    assert [finding.what for finding in found.pop("Grafana")] == [
        "the token lacks datasources:query", "the token lacks datasources:read",
    ]  # fmt: skip
    assert {finding.what for finding in found.pop("GitHub")} == {
        *(f"the token lacks {what}: read" for what in ("checks", "commit statuses", "issues", "pull requests")),
        "whose token it is may not push: no contents: write",
    }
    assert "rak_webhook_read" in found["Stripe of production"][0].what
    assert found.pop("Stripe of production")[0].hint == "Give the restricted key the right to read webhook endpoints."
    assert "s3:GetObject" in found["Backup bucket of staging"][0].hint
    assert found.pop("Backup bucket of staging")[0].lines == ("go.backup", "go.restore")
    assert found == {}


def test_what_is_not_configured(body: Body) -> None:
    """A fault where a line of the checklist needs it, and else a note."""
    del body["grafana"], body["targets"]["production"]["stripe"]["api_key"], body["targets"]["staging"]["tenant"]
    del body["sentry"]["dsn"]
    found = bad(told(body))

    assert {finding.state for findings in found.values() for finding in findings} == {State.UNSET}
    assert found["Grafana"][0].lines == ("go.grafana", "post.metrics")
    assert found["Grafana"][0].what == "grafana.token, grafana.url are not set"
    assert found["Sentry"][0].what == "sentry.dsn is not set"
    assert found["Test tenant of staging"][0].what == "targets.staging.tenant is not set"
    assert found["Test tenant of staging"][0].lines == (
        "go.billing_gating",
        "go.stripe_webhook",
        "go.webhook_idempotent",
    )

    service = load_checklist("web-service", REGISTRY)
    settings = Settings.model_validate({**body, "targets": {"production": body["targets"]["production"]}})
    parts, said = needed(settings, service, REGISTRY)
    notes = {one.part: one.finding for one in said}
    assert notes["Grafana"] == Finding(State.NOTE, "not configured; no line of the checklist needs it")
    assert notes["Stripe"].what == "configured, but no line of the checklist needs it: not asked"
    assert notes["Target staging"].state is State.UNSET
    assert "database_url" not in {part.section for part in parts}

    parts, said = needed(Settings.model_validate({"github": body["github"]}), service, REGISTRY)
    assert {part.section for part in parts} == {"github"}, "what every release needs is asked without any target"
    assert "GitHub" not in {one.part for one in said}
    assert "every release" in next(one.finding.lines for one in said if one.part == "Image registry")


def test_checks_that_change_data_and_would_refuse(body: Body) -> None:
    """A target that is not mutable, and a live key: said before somebody wonders about an ERROR."""
    staging = body["targets"]["staging"]
    staging["mutable"] = False
    found = bad(told(body, "nothing"))["Target staging"]
    assert {finding.what.partition(": ")[2] for finding in found} == {
        f"{kind} changes data and staging is not mutable"
        for kind in ("backup_job", "billing_gate", "restore_drill", "sentry_receives", "stripe_webhook")
    }
    assert found[0].hint == "Point the check at a test system, or set targets.staging.mutable there."
    staging |= {"mutable": True, "stripe": {"api_key": stripe_api.LIVE_KEY, "webhook_secret": "whsec_of_staging"}}
    assert "is a live one" in bad(told(body, "nothing"))["Target staging"][0].what


def test_an_incomplete_grant(body: Body, running_sandbox: Sandbox) -> None:
    """Each grant that is missing, with its statement; also what a function reads, and what it cannot see and takes for missing."""
    staging = body["targets"]["staging"]
    given = (
        "GRANT USAGE ON SCHEMA billing, auth TO {}",
        "GRANT SELECT ON tenants, schema_migrations, billing.webhook_events TO {}",
        "GRANT DELETE ON billing.webhook_events TO {}",
    )
    with poor_role(running_sandbox["staging"]["database_owner_url"], *given) as url:
        staging |= {"database_url": url, "restore_database_url": url}
        found = bad(told(body))
        role = urlsplit(url).username

    rules = [finding.rule for finding in found["Database of staging"] if finding.rule]
    assert rules == [
        f"GRANT USAGE ON SCHEMA consent TO {role};",
        f"GRANT EXECUTE ON FUNCTION verify_final_hardening() TO {role};",
        f"GRANT SELECT ON billing.invoices TO {role};",
        f"GRANT DELETE ON billing.invoices TO {role};",
        f"GRANT UPDATE ON tenants TO {role};",
    ]
    hidden = ("billing.invoices", "billing.stripe_customers", "billing.subscriptions")
    whats = [finding.what for finding in found["Database of staging"] if not finding.rule]
    assert whats == [
        f"the role {role} may not run auth.verify_legal_acceptance_integrity(): permission denied for table legal_documents",
        f"role {role} has no right on {', '.join(hidden)}, which billing.verify_billing_schema() takes for missing",
    ]
    assert found["Restore server of staging"][0].rule == f"ALTER ROLE {role} CREATEDB;"


def test_a_cluster_that_grants_less(kube: Kube, tmp_path: Path) -> None:
    """The right that is missing as verb, resource and namespace, with the rule that grants it, which does."""
    account = BotAccount(kube, tmp_path)
    wanted = grants([READ_DEPLOYMENT, READ_LOGS], account.target)
    needs: Rights = {READ_DEPLOYMENT: ("go.app_boots",), READ_LOGS: ("go.app_boots",)}
    account.grant([grant for grant in wanted if grant.resource != "deployments"], wanted)
    [finding] = cluster(account.target, needs)

    assert finding.what == f"the bot may not get deployments.apps web in {kube.namespace}"
    assert finding.rule == "- {apiGroups: [apps], resources: [deployments], resourceNames: [web], verbs: [get]}"
    assert finding.lines == ("go.app_boots",)
    logs = '- {apiGroups: [""], resources: [pods/log], verbs: [get]}'
    body = {"metadata": {"name": "release-bot"}, "rules": yaml.safe_load(f"{finding.rule}\n{logs}")}
    kube.rbac.replace_namespaced_role("release-bot", kube.namespace, body)
    account.grant(wanted, wanted)
    assert cluster(account.target, needs)[0].state is State.OK

    config = yaml.safe_load(account.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "nobody.knows.this"}
    account.kubeconfig.write_text(yaml.safe_dump(config))
    [finding] = cluster(account.target, needs)
    assert finding.state is State.MISSING
    assert finding.hint.startswith("Is its token still good?")


def test_what_a_deployment_refers_to(kube: Kube, tmp_path: Path) -> None:
    """The very Secrets and ConfigMaps that the variables come from, by name, and no others; and a Deployment that is not there."""
    account = BotAccount(kube, tmp_path)
    rights: Rights = dict.fromkeys(
        rights_of("deployment", Variables(("SENTRY_DSN", "MODE"))), ("environment.sentry_dsn",)
    )
    looking = grants([READ_DEPLOYMENT], account.target)
    account.grant(looking, looking)
    [finding] = cluster(account.target, rights)
    assert finding.what == f"there is no deployment web in {kube.namespace}"
    assert finding.state is State.MISSING

    secret = {"secretKeyRef": {"name": "sentry", "key": "dsn"}}
    other = {"secretKeyRef": {"name": "never-asked-for", "key": "word"}}
    env = [{"name": "SENTRY_DSN", "valueFrom": secret}, {"name": "OTHER", "valueFrom": other}]
    container = {"name": "main", "image": "app:1", "env": env, "envFrom": [{"configMapRef": {"name": "api"}}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    deploy(kube, replicas=0, template=template)
    found = {finding.rule: finding.lines for finding in cluster(account.target, rights)}
    assert found == {
        '- {apiGroups: [""], resources: [configmaps], resourceNames: [api], verbs: [get]}': ("environment.sentry_dsn",),
        '- {apiGroups: [""], resources: [secrets], resourceNames: [sentry], verbs: [get]}': ("environment.sentry_dsn",),
    }
    more = [
        Grant(kube.namespace, "", "secrets", "get", "sentry"),
        Grant(kube.namespace, "", "configmaps", "get", "api"),
    ]
    account.grant([*looking, *more], [*looking, *more])
    assert cluster(account.target, rights)[0].state is State.OK


def test_the_bots_own_database(store: Store) -> None:
    """Up to date; then a role with less than deploy/postgres-grants.sql gives; then a migration that is not applied."""
    owner = doctor.own_database(store.url)
    assert [finding.state for finding in owner] == [State.OK, State.NOTE]
    assert "could change the record" in owner[1].what
    grants_of = GRANTS.read_text(encoding="utf-8").replace("release_bot", "{}")
    with poor_role(store.url, grants_of, "REVOKE DELETE ON work FROM {}") as url:
        [finding] = doctor.own_database(url)
    assert finding.what.endswith("may not DELETE on work")
    assert "deploy/postgres-grants.sql" in finding.rule
    with store.transaction() as tx:
        last = "DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations) RETURNING name, checksum"
        applied = only(tx.execute(last).fetchone())
    [finding] = doctor.own_database(store.url)
    with store.transaction() as tx:
        tx.execute("INSERT INTO schema_migrations (name, checksum) VALUES (%(name)s, %(checksum)s)", applied)
    assert finding.state is State.MISSING
    assert finding.rule == "release-bot migrate"
    [finding] = doctor.own_database(store.url.replace("postgres@", "nobody_here@"))
    assert (finding.state, "DATABASE_URL" in finding.hint) == (State.MISSING, True)
    [finding] = doctor.own_database(f"postgresql://bot:secret-word@127.0.0.1:{urlsplit(closed_port_url()).port}/bot")
    assert finding.state is State.UNREACHABLE
    assert "secret-word" not in repr(finding)


def test_the_command(body: Body, running_sandbox: Sandbox, store: Store, tmp_path: Path) -> None:
    """As a process: 0 and JSON when all is well; 1, words and no secret when something is not."""
    env = {
        **os.environ,
        "SLACK_BOT_TOKEN": running_sandbox["bot_token"],
        "SLACK_API_URL": running_sandbox["slack_api_url"],
        "DATABASE_URL": store.url,
    }

    def begin(name: str, *options: str) -> subprocess.Popen[str]:
        config = tmp_path / name
        config.write_text(yaml.safe_dump(body))
        command = [sys.executable, "-m", "bot", "--config", str(config), "doctor", *options]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    well = begin("well.yml", "--json")
    secrets = [body["sentry"]["token"], running_sandbox["bot_token"]]
    for section in ("targets", "sentry", "grafana", "stripe", "vercel"):
        del body[section]
    body["slack"]["roles"]["release_manager"] = []
    body["registry"] |= {"username": "somebody", "token": "wrong-and-secret"}
    ill = begin("ill.yml")
    out, _ = well.communicate(timeout=100)
    words, log = ill.communicate(timeout=100)

    answer = json.loads(out)
    assert [one for one in answer["findings"] if one["state"] not in {"ok", "note"}] == []
    assert (well.returncode, answer["good"]) == (0, True)
    assert {"Slack", "The bot's database", "Configuration"} <= {one["part"] for one in answer["findings"]}
    assert ill.returncode == 1
    assert "missing         Configuration: policy: nobody could ever deploy" in words
    assert "not configured  Target staging: there is no such target\n                Add targets.staging to" in words
    assert "missing         Image registry: The image registry answered 403 to /token\n" in words
    assert "                Needed by every release.\n" in words
    assert words.rstrip().splitlines()[-1].endswith(" to be put right.")
    secrets += ["wrong-and-secret"]
    assert [secret for secret in secrets if secret in out + words + log] == []
