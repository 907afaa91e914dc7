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
from bot.flows.configuration_needs import PartFinding, list_needed_parts
from bot.settings import Settings
from bot.store.pool import Store, require_row
from checks.checkup.cluster import cluster
from checks.checkup.finding import Finding, State
from clients.connections import Clients
from clients.needs import READ_DEPLOYMENT, READ_LOGS, ClusterRight, Variables
from clients.rights import Grant, grants
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
Rights = dict[ClusterRight, tuple[str, ...]]


@pytest.fixture
def body(running_sandbox: Sandbox) -> Body:
    """A configuration in which everything works."""
    return copy.deepcopy(configuration(running_sandbox.facts))


def run_doctor(body: Mapping[str, Any], require_row: str = "") -> list[PartFinding]:
    """The findings of the doctor about targets and vendors, or about one section of the configuration."""
    settings = Settings.model_validate(body)
    parts, findings = list_needed_parts(settings, CHECKLIST, REGISTRY)
    parts_to_ask = [part for part in parts if require_row in {"", part.section}]
    return [*findings, *doctor.examine(doctor.list_questions(parts_to_ask, settings), lambda _: None)]


def problems(findings: list[PartFinding]) -> dict[str, list[Finding]]:
    """The findings that are problems, by part."""
    by_part: dict[str, list[Finding]] = {}
    for one in findings:
        if not one.finding.good:
            by_part.setdefault(one.part, []).append(one.finding)
    return by_part


def test_a_complete_configuration_has_no_problem(body: Body) -> None:
    """Every part that the checklist uses is examined, and what a vendor does not tell is a note."""
    findings = run_doctor(body)

    assert problems(findings) == {}
    parts = {one.part for one in findings}
    assert parts >= {"Sentry", "Grafana", "Stripe of production", "GitHub", "Vercel", "Image registry"}
    assert parts >= {f"{part} of {name}" for part in ("Kubernetes", "API", "Frontend") for name in TARGETS}
    assert parts >= {"Database of staging", "Restore server of staging", "Backup bucket of staging"}
    whats = [f"{one.part}: {one.finding.what}" for one in findings]
    assert "Sentry: connected; the token has event:read, org:read, project:read" in whats
    assert any(
        what.startswith("GitHub: its owner can push; GitHub doesn't show whether the token has contents: write")
        for what in whats
    )


def test_a_key_with_a_new_name_is_a_note() -> None:
    """Whoever asks the doctor learns the new name of a key; the old one is no problem."""
    settings = Settings.model_validate({"watch": {"late_seconds": 60}})
    _, note = doctor.configuration_findings(settings, CHECKLIST)
    assert note.finding == Finding(
        State.NOTE, "the key watch.late_seconds is called watch.settle_seconds now: rename it"
    )
    assert note.finding.good


def test_every_vendor_that_is_down_is_named(body: Body, sandbox: Sandbox) -> None:
    """Each is unreachable, with the lines that need it, and no token is called wrong."""
    for name in DOWN:
        sandbox.switch(name, True)
    by_part = problems(run_doctor(body))

    assert {part.partition(" of ")[0] for part in by_part} == set(VENDORS)
    assert {finding.state for findings in by_part.values() for finding in findings} == {State.UNREACHABLE}
    assert [part for part, findings in by_part.items() if not (findings[0].hint and findings[0].lines)] == []
    assert by_part["Grafana"][0].lines == ("go.grafana", "post.metrics")


def test_unreachable_addresses_are_named(body: Body, tmp_path: Path) -> None:
    """Cluster, databases and addresses are unreachable, and the setting with the address is named."""
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
    by_part = problems(run_doctor(body))

    assert {finding.state for findings in by_part.values() for finding in findings} == {State.UNREACHABLE}
    assert {part for part in by_part if part.endswith("of staging")} == {
        "API of staging", "Kubernetes of staging", "Frontend of staging", "Database of staging", "Restore server of staging",
    }  # fmt: skip
    assert "targets.staging.database_url" in by_part["Database of staging"][0].hint


@pytest.mark.parametrize("answer", ["<h1>Welcome</h1>", 7, {}], ids=["a page", "a number", "nothing"])
def test_an_answer_of_another_server_is_a_problem(answer: object, body: Body) -> None:
    """A 200 of another server, such as the page of a proxy, does not pass for the vendor's."""
    with Strange(answer) as server:
        for section in ("sentry", "grafana", "vercel", "github", "registry"):
            body[section]["url"] = server.url
        body["targets"]["production"]["stripe"]["url"] = server.url
        findings = run_doctor(body)

    parts = {"Sentry", "Grafana", "Vercel", "GitHub", "Image registry", "Stripe of production"}
    assert set(problems(findings)) == parts
    assert [one for one in findings if one.part in parts and one.finding.state is State.OK] == []
    assert [one.finding.what for one in findings if "unexpected" in one.finding.what] == []


class Strange(Replies):
    """A server that answers everything alike."""

    def __init__(self, body: object) -> None:
        super().__init__({})
        self._body = body

    def answer(self, request: Request) -> Reply:
        """The same reply to every request."""
        return Reply(200, self._body)


def test_a_rate_limit_is_no_wrong_token(body: Body) -> None:
    """GitHub also answers 403 to too many calls."""
    limit = Reply(403, {"message": "API rate limit exceeded for 192.0.2.1."})
    repository = body["github"]["repository"]
    with Replies({f"GET /repos/{repository}": limit}) as server:
        body["github"]["url"] = server.url
        [finding] = problems(run_doctor(body, "github"))["GitHub"]

    assert finding.state is State.UNREACHABLE
    assert "rate limit" in finding.what


def test_a_classic_token_has_its_missing_scope_named(body: Body) -> None:
    """A classic token shows its scopes, and may read everything of a public repository."""
    repository = body["github"]["repository"]
    repository_body = {"default_branch": "main", "private": False, "permissions": {"push": True}}
    base = f"GET /repos/{repository}"
    paths = (
        "git/matching-refs/tags",
        "issues",
        *(f"commits/main/{what}" for what in ("pulls", "check-runs", "status")),
    )
    routes = {
        base: Reply(200, repository_body, {"X-OAuth-Scopes": "read:org"}),
        **{f"{base}/{path}": Reply(200, []) for path in paths},
    }
    with Replies(routes) as server:
        body["github"]["url"] = server.url
        [finding] = problems(run_doctor(body, "github"))["GitHub"]
        server.routes[base] = Reply(200, repository_body, {"X-OAuth-Scopes": "public_repo"})
        good = [one.finding.state for one in run_doctor(body, "github") if one.part == "GitHub"]

    assert finding.what == "the token lacks contents: write: it has read:org"
    assert finding.lines == ("deploy.tag",)
    assert good == [State.OK]


def test_every_wrong_token_is_named(body: Body) -> None:
    """Each token is called refused, with its setting in the hint and without its value."""
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
    answers = run_doctor(body)
    by_part = problems(answers)

    assert {part.partition(" of ")[0] for part in by_part} == {*VENDORS, "Database"}
    assert {finding.state for findings in by_part.values() for finding in findings} == {State.MISSING}
    hints = {part.partition(" of ")[0]: findings[0].hint for part, findings in by_part.items()}
    assert "sentry.token" in hints["Sentry"]
    assert "grafana.token" in hints["Grafana"]
    assert "stripe.api_key" in hints["Stripe"]
    assert "github.token" in hints["GitHub"]
    assert "vercel in release-bot.yml" in hints["Vercel"]
    assert "registry.token" in hints["Image registry"]
    assert "backup.access_key_id" in hints["Backup bucket"]
    assert "targets.staging.database_url" in hints["Database"]
    assert wrong not in repr(answers)


def test_every_missing_right_of_a_token_is_named(body: Body) -> None:
    """Each missing right is named in the vendor's words, with exactly the lines that need it."""
    body["sentry"]["token"] = sentry.CI_TOKEN
    body["grafana"]["token"] = grafana.POOR_TOKEN
    body["github"]["token"] = github.POOR_TOKEN
    body["targets"]["production"]["stripe"]["api_key"] = stripe_api.POOR_LIVE_KEY
    prefix = f"doctor-{uuid.uuid4().hex}/"
    body["targets"]["staging"]["backup"]["prefix"] = prefix
    assert problems(run_doctor(body)).keys() == {
        "Sentry",
        "Grafana",
        "GitHub",
        "Stripe of production",
    }  # nothing there yet: a note
    with Clients(Settings.model_validate(body).target_values()["staging"]) as clients:
        clients.s3().put_object(Bucket=s3.BUCKET, Key=f"{prefix}one.dump", Body=b"PGDMP")
    body["targets"]["staging"]["backup"]["access_key_id"] = s3.POOR_ACCESS_KEY_ID
    by_part = problems(run_doctor(body))

    assert {(finding.what, finding.lines) for finding in by_part.pop("Sentry")} == {
        ("the token lacks event:read for solvereign/api", ("watch.issues",)),
        ("the token lacks org:read for solvereign/api", ("watch.rate",)),
        ("the token lacks project:read for solvereign/api", ("go.sentry",)),
    }
    assert [finding.what for finding in by_part.pop("Grafana")] == [
        "the token lacks datasources:query", "the token lacks datasources:read",
    ]  # fmt: skip
    assert {finding.what for finding in by_part.pop("GitHub")} == {
        *(f"the token lacks {what}: read" for what in ("checks", "commit statuses", "issues", "pull requests")),
        "the token's owner can't push: contents: write is missing",
    }
    assert "rak_webhook_read" in by_part["Stripe of production"][0].what
    assert by_part.pop("Stripe of production")[0].hint == "Give the restricted key the right to read webhook endpoints."
    assert "s3:GetObject" in by_part["Backup bucket of staging"][0].hint
    assert by_part.pop("Backup bucket of staging")[0].lines == ("go.backup", "go.restore")
    assert by_part == {}


def test_a_missing_setting_is_a_problem_if_a_line_needs_it(body: Body) -> None:
    """A missing setting is a problem if a line of the checklist needs it, and otherwise a note."""
    del body["grafana"], body["targets"]["production"]["stripe"]["api_key"], body["targets"]["staging"]["tenant"]
    del body["sentry"]["dsn"]
    by_part = problems(run_doctor(body))

    assert {finding.state for findings in by_part.values() for finding in findings} == {State.UNSET}
    assert by_part["Grafana"][0].lines == ("go.grafana", "post.metrics")
    assert by_part["Grafana"][0].what == "grafana.token, grafana.url are not set"
    assert by_part["Sentry"][0].what == "sentry.dsn is not set"
    assert by_part["Test tenant of staging"][0].what == "targets.staging.tenant is not set"
    assert by_part["Test tenant of staging"][0].lines == (
        "go.billing_gating",
        "go.stripe_webhook",
        "go.webhook_idempotent",
    )

    service = load_checklist("web-service", REGISTRY)
    settings = Settings.model_validate({**body, "targets": {"production": body["targets"]["production"]}})
    parts, results = list_needed_parts(settings, service, REGISTRY)
    notes = {one.part: one.finding for one in results}
    assert notes["Grafana"] == Finding(State.NOTE, "not configured; no line of the checklist needs it")
    assert notes["Stripe"].what == "configured, but no line of the checklist needs it"
    assert notes["Target staging"].state is State.UNSET
    assert "database_url" not in {part.section for part in parts}

    parts, results = list_needed_parts(Settings.model_validate({"github": body["github"]}), service, REGISTRY)
    assert {part.section for part in parts} == {"github"}, "what every release needs is asked without any target"
    assert "GitHub" not in {one.part for one in results}
    assert "every release" in next(one.finding.lines for one in results if one.part == "Image registry")


def test_a_check_that_would_be_refused_is_reported(body: Body) -> None:
    """A target that is not mutable, and a live key, are reported before a check ends in ERROR."""
    staging = body["targets"]["staging"]
    staging["mutable"] = False
    target_findings = problems(run_doctor(body, "nothing"))["Target staging"]
    assert {finding.what.partition(": ")[2] for finding in target_findings} == {
        f"{kind} changes data, but staging isn't mutable"
        for kind in ("backup_job", "billing_gate", "restore_drill", "sentry_receives", "stripe_webhook")
    }
    assert target_findings[0].hint == "Point the check at a test system, or set targets.staging.mutable there."
    staging |= {"mutable": True, "stripe": {"api_key": stripe_api.LIVE_KEY, "webhook_secret": "whsec_of_staging"}}
    assert "is a live one" in problems(run_doctor(body, "nothing"))["Target staging"][0].what


def test_each_missing_grant_is_named_with_its_statement(body: Body, running_sandbox: Sandbox) -> None:
    """Grants that a function needs are included, also for tables that the role cannot see."""
    staging = body["targets"]["staging"]
    statements = (
        "GRANT USAGE ON SCHEMA billing, auth TO {}",
        "GRANT SELECT ON tenants, schema_migrations, billing.webhook_events TO {}",
        "GRANT DELETE ON billing.webhook_events TO {}",
    )
    with poor_role(running_sandbox["staging"]["database_owner_url"], *statements) as url:
        staging |= {"database_url": url, "restore_database_url": url}
        by_part = problems(run_doctor(body))
        role = urlsplit(url).username

    rules = [finding.rule for finding in by_part["Database of staging"] if finding.rule]
    assert rules == [
        f"GRANT USAGE ON SCHEMA consent TO {role};",
        f"GRANT EXECUTE ON FUNCTION verify_final_hardening() TO {role};",
        f"GRANT SELECT ON billing.invoices TO {role};",
        f"GRANT DELETE ON billing.invoices TO {role};",
        f"GRANT UPDATE ON tenants TO {role};",
    ]
    invisible_tables = ("billing.invoices", "billing.stripe_customers", "billing.subscriptions")
    whats = [finding.what for finding in by_part["Database of staging"] if not finding.rule]
    assert whats == [
        f"the role {role} isn't allowed to run auth.verify_legal_acceptance_integrity(): permission denied for table legal_documents",
        f"role {role} has no right on {', '.join(invisible_tables)}, so billing.verify_billing_schema() reports them as missing",
    ]
    assert by_part["Restore server of staging"][0].rule == f"ALTER ROLE {role} CREATEDB;"


def test_a_missing_right_in_the_cluster_is_named(kube: Kube, tmp_path: Path) -> None:
    """The right is named as verb, resource and namespace, with the rule that grants it."""
    account = BotAccount(kube, tmp_path)
    all_grants = grants([READ_DEPLOYMENT, READ_LOGS], account.target)
    needs: Rights = {READ_DEPLOYMENT: ("go.app_boots",), READ_LOGS: ("go.app_boots",)}
    account.grant([grant for grant in all_grants if grant.resource != "deployments"], all_grants)
    [finding] = cluster(account.target, needs)

    assert finding.what == f"the bot isn't allowed to get deployments.apps web in {kube.namespace}"
    assert finding.rule == "- {apiGroups: [apps], resources: [deployments], resourceNames: [web], verbs: [get]}"
    assert finding.lines == ("go.app_boots",)
    logs = '- {apiGroups: [""], resources: [pods/log], verbs: [get]}'
    body = {"metadata": {"name": "release-bot"}, "rules": yaml.safe_load(f"{finding.rule}\n{logs}")}
    kube.rbac.replace_namespaced_role("release-bot", kube.namespace, body)
    account.grant(all_grants, all_grants)
    assert cluster(account.target, needs)[0].state is State.OK

    config = yaml.safe_load(account.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "nobody.knows.this"}
    account.kubeconfig.write_text(yaml.safe_dump(config))
    [finding] = cluster(account.target, needs)
    assert finding.state is State.MISSING
    assert finding.hint.startswith("Is its token still valid?")


def test_the_secrets_of_a_deployment_are_named(kube: Kube, tmp_path: Path) -> None:
    """Exactly the Secrets and ConfigMaps of the variables are named, and a missing Deployment is reported."""
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
    lines_by_rule = {finding.rule: finding.lines for finding in cluster(account.target, rights)}
    assert lines_by_rule == {
        '- {apiGroups: [""], resources: [configmaps], resourceNames: [api], verbs: [get]}': ("environment.sentry_dsn",),
        '- {apiGroups: [""], resources: [secrets], resourceNames: [sentry], verbs: [get]}': ("environment.sentry_dsn",),
    }
    more = [
        Grant(kube.namespace, "", "secrets", "get", "sentry"),
        Grant(kube.namespace, "", "configmaps", "get", "api"),
    ]
    account.grant([*looking, *more], [*looking, *more])
    assert cluster(account.target, rights)[0].state is State.OK


def test_the_bot_s_own_database_is_examined(store: Store) -> None:
    """The database is up to date, its role lacks a grant, a migration is missing, or it cannot be reached."""
    owner = doctor.examine_own_database(store.url)
    assert [finding.state for finding in owner] == [State.OK, State.NOTE]
    assert "could change the record" in owner[1].what
    grants_of = GRANTS.read_text(encoding="utf-8").replace("release_bot", "{}")
    with poor_role(store.url, grants_of, "REVOKE DELETE ON work FROM {}") as url:
        [finding] = doctor.examine_own_database(url)
    assert finding.what.endswith("isn't allowed to DELETE on work")
    assert "deploy/postgres-grants.sql" in finding.rule
    with store.transaction() as tx:
        last = "DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations) RETURNING name, checksum"
        migration = require_row(tx.execute(last).fetchone())
    [finding] = doctor.examine_own_database(store.url)
    with store.transaction() as tx:
        tx.execute("INSERT INTO schema_migrations (name, checksum) VALUES (%(name)s, %(checksum)s)", migration)
    assert finding.state is State.MISSING
    assert finding.rule == "release-bot migrate"
    [finding] = doctor.examine_own_database(store.url.replace("postgres@", "nobody_here@"))
    assert (finding.state, "DATABASE_URL" in finding.hint) == (State.MISSING, True)
    [finding] = doctor.examine_own_database(
        f"postgresql://bot:secret-word@127.0.0.1:{urlsplit(closed_port_url()).port}/bot"
    )
    assert finding.state is State.UNREACHABLE
    assert "secret-word" not in repr(finding)


def test_the_command_prints_json_and_text_without_secrets(
    body: Body, running_sandbox: Sandbox, store: Store, tmp_path: Path
) -> None:
    """The command ends with 0 and JSON if everything works, and otherwise with 1 and a text."""
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
