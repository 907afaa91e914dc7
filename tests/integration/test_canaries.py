"""P10 over the whole run: secrets planted in every source that checks read appear nowhere outside of these sources."""

import base64
import copy
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml

from bot import logs
from bot.app import load_checklist
from bot.domain.checklist import Checklist
from bot.domain.ids import CheckId, ReleaseId
from bot.flows import release_run
from bot.redact import MARK, Redactor
from bot.workers import Queue, Workers
from checks.registry import BUILT_IN, Registry
from clients.connections import Clients
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request
from tests.fix_checks import production_target, staging_target, with_changes
from tests.fix_demo import until
from tests.fix_sandbox import Sandbox, send_event
from tests.integration.slack_bot import Bot, Json
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, QUINN

pytestmark = CLIENT_LEAKS_SOCKETS

REGISTERED_SECRET = "Zirkel-7/registered+value"  # as one that stands in the configuration
CANARIES = (
    REGISTERED_SECRET,
    "sk_live_4canary0canary0",
    "rk_live_4canary0canary0",
    "whsec_4canary0canary0canary0",
    "xoxb-4444444444-canary0canary0",
    "AKIACANARYCANARYCANA",
    "ghp_canary0canary0canary0canary0",
    "glsa_canary0canary0canary0_c0ffee00",
    "sntrys_canary0canary0canary0",
    "eyJjYW5hcnkiOjF9.eyJjYW5hcnkiOjF9.canary0canary0",
    "pwcanary99",  # of a database URL
    "hunter-canary-2",  # of password=…
)
TEXT = " ".join(
    [
        *CANARIES[:-2],
        "postgresql://solvereign:pwcanary99@db.internal/prod",
        "password=hunter-canary-2",
        REGISTERED_SECRET,
    ]
)
OPENLY = "kastanie-im-klartext-77"  # like no credential: it stays inside only because nothing reads it out
SLOWLY = {"sentry_receives": 2.0, "backup_job": 4.0, "restore_drill": 4.0, "metrics_flow": 2.0}  # seconds to give up


BUCKET = "canary-backups"


class Leak(Replies):
    """A vendor whose every answer contains secrets, in body, headers and cookie."""

    def __init__(self, status: int) -> None:
        super().__init__({})
        self._status = status

    def answer(self, request: Request) -> Reply:
        """The same reply to every request."""
        headers = {"X-Debug": TEXT, "Set-Cookie": f"sv_platform_session={CANARIES[1]}; Path=/"}
        if request.path.startswith(f"/{BUCKET}"):
            failure = f"<Error><Code>AccessDenied</Code><Message>{TEXT}</Message></Error>"
            return Reply(403, failure.encode(), headers)
        body = {"status": TEXT, "error": TEXT, "message": TEXT, "detail": TEXT, "results": [], "kind": "Status"}
        return Reply(self._status, body, headers)


def with_leaking_vendors(staging: Target, name: str, url: str, folder: Path) -> Target:
    """Staging with every vendor at ``url``."""
    kubeconfig = folder / f"{name}.kubeconfig"
    cluster: Json = {"name": "c", "cluster": {"server": url}}
    context: Json = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    body: Json = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [cluster],
        "contexts": [context],
    }
    kubeconfig.write_text(yaml.safe_dump({**body, "users": [{"name": "c", "user": {"token": REGISTERED_SECRET}}]}))
    dsn = f"http://{'c0ffee00' * 4}@127.0.0.1:{urlsplit(url).port}/7"
    values: Json = json.loads(staging.model_dump_json())
    for part in ("sentry", "grafana", "stripe"):
        values[part]["url"] = url
    values |= {"name": name, "api_url": url, "frontend_url": url}
    values["sentry"] |= {"dsn": dsn, "token": REGISTERED_SECRET}
    values["login"]["password"] = values["grafana"]["token"] = REGISTERED_SECRET
    values["stripe"] |= {"api_key": "sk_test_canarycanary", "webhook_secret": REGISTERED_SECRET}
    values["kubernetes"]["kubeconfig"] = str(kubeconfig)
    values["backup"] |= {
        "bucket": BUCKET,
        "endpoint_url": url,
        "access_key_id": "testing",
        "secret_access_key": REGISTERED_SECRET,
    }
    for secret in ("database_url", "restore_database_url"):
        value = getattr(staging, secret)
        values[secret] = value.get_secret_value() if value else None
    return Target.model_validate(values)


def with_leaks() -> Checklist:
    """The shipped checklist, and each kind twice more, against vendors that leak in an answer and in an error."""
    body = copy.deepcopy(load_checklist("solvereign", Registry.load()).body)
    kinds = [kind for kind in BUILT_IN if kind not in {"attest", "announced", "all_of"}]
    leaks: list[Json] = [
        {"id": f"{target}.{kind}", "title": f"{kind} of a vendor that leaks", "kind": kind, "target": target}
        | {"params": dict(Registry.load().get(kind).example), "timeout": SLOWLY.get(kind, 15.0)}
        for target in ("leaky", "broken")
        for kind in kinds
    ]
    rows: Json = {
        "id": "rows.leak",
        "title": "Rows that leak",
        "kind": "sql_verify",
        "params": {"function": "public.canary"},
    }
    titles: Json = {"id": "titles.leak", "title": "Titles that leak", "kind": "sentry_quiet"}
    titles |= {"params": {"since": "2026-01-16T18:00:00Z", "environment": "canary"}}
    log_check: Json = {"id": "logs.leak", "title": "Logs that leak", "kind": "pod_logs"}
    openly: list[Json] = [
        {"id": f"{target}.{kind}", "title": f"{kind} of what holds secrets openly", "kind": kind, "target": target}
        for target, kind in (
            ("openly", "workload_env"),
            ("openly", "pod_restarts"),
            ("openly", "backup_credentials"),
            ("named", "backup_job"),
            ("named", "restore_drill"),
        )
    ]
    openly[0]["params"] = {"variables": ["OPENLY_SET"], "plain": {"OPENLY_WORD": ["on", "off"]}}
    openly[-1] |= {"params": {"needs_key_from": "named.backup_job"}, "needs": ["named.backup_job"]}
    body["sections"].append({"id": "leaks", "title": "Leaks", "checks": [rows, titles, log_check, *openly, *leaks]})
    return Checklist.model_validate(body)


@pytest.fixture
def rows_that_leak(sandbox: Sandbox, postgres_url: str) -> Iterator[None]:
    """A verify function of staging whose rows contain secrets."""
    url = urlsplit(postgres_url)._replace(path=urlsplit(sandbox["staging"]["database_url"]).path).geturl()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.canary() RETURNS TABLE (check_name text, status text, details text) LANGUAGE sql"
            f" AS $$ SELECT '{TEXT}', 'FAIL', '{TEXT}' $$".encode()
        )
        yield
        connection.execute("DROP FUNCTION public.canary()")


@pytest.fixture
def logs_that_leak(sandbox: Sandbox) -> Iterator[None]:
    """A pod of staging that looks like the others and logs secrets."""
    target = staging_target(sandbox)
    assert target.kubernetes is not None
    space, name = target.kubernetes.namespace, "api-canary"
    with Clients(target) as clients:
        kube = clients.kube()
        deployment = kube.apps.read_namespaced_deployment(target.kubernetes.deployment, space)
        sets = kube.apps.list_namespaced_replica_set(space).items
        revision = deployment.metadata.annotations["deployment.kubernetes.io/revision"]
        owner = next(one for one in sets if one.metadata.annotations["deployment.kubernetes.io/revision"] == revision)
        template = kube.apps.api_client.sanitize_for_serialization(owner.spec.template)
        owners = [("Deployment", deployment.metadata, True), ("ReplicaSet", owner.metadata, False)]
        metadata = {
            "name": name,
            "labels": template["metadata"]["labels"],
            "annotations": {"testbed/log": f"ERROR:    {TEXT}\nRuntimeError: {TEXT}"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": kind, "name": of.name, "uid": of.uid, "controller": controls}
                for kind, of, controls in owners
            ],
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        kube.core.create_namespaced_pod(space, body)
        until(lambda: TEXT[:20] in _log(kube, name, space), "the log of the pod")
        yield
        kube.core.delete_namespaced_pod(name, space, grace_period_seconds=0, _preload_content=False).release_conn()


@pytest.fixture
def openly_set(sandbox: Sandbox) -> Iterator[dict[str, Target]]:
    """Staging with a workload whose variables contain secrets, and with one whose backups are named by one."""
    target = staging_target(sandbox)
    assert target.kubernetes is not None
    assert target.backup is not None
    space, name = target.kubernetes.namespace, "openly"
    with Clients(target) as clients:
        kube = clients.kube()
        env = [{"name": "OPENLY_SET", "value": f"{OPENLY} {TEXT}"}, {"name": "OPENLY_WORD", "value": OPENLY}]
        container = {"name": target.kubernetes.container, "image": "openly:1", "env": env}
        template = {"metadata": {"labels": {"openly": "yes"}}, "spec": {"containers": [container]}}
        spec: Json = {"replicas": 0, "selector": {"matchLabels": {"openly": "yes"}}, "template": template}
        kube.apps.create_namespaced_deployment(
            space, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        )
        cron = kube.batch.api_client.sanitize_for_serialization(
            kube.batch.read_namespaced_cron_job(target.backup.cronjob, target.backup.namespace)
        )
        changes = {
            name: {"AWS_ACCESS_KEY_ID": CANARIES[5], "AWS_SECRET_ACCESS_KEY": OPENLY},
            "named": {"BACKUP_S3_PREFIX": f"named/{CANARIES[1]}/{REGISTERED_SECRET}/"},
        }
        for job, variables in changes.items():
            spec = copy.deepcopy(cron["spec"])
            (backup,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
            backup["env"] = [entry for entry in backup["env"] if entry["name"] not in variables]
            backup["env"] += [{"name": variable, "value": value} for variable, value in variables.items()]
            body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": job}, "spec": spec}
            kube.batch.create_namespaced_cron_job(target.backup.namespace, body)
        yield {
            name: with_changes(target, name=name, kubernetes={"deployment": name}, backup={"cronjob": name}),
            "named": with_changes(
                target, name="named", environment="staging", backup={"cronjob": "named", "prefix": "named/"}
            ),
        }
        for job in changes:
            kube.batch.delete_namespaced_cron_job(job, target.backup.namespace)
        kube.apps.delete_namespaced_deployment(name, space)


def _log(kube: Any, name: str, space: str) -> str:
    pod = kube.core.read_namespaced_pod(name, space)
    return kube.core.read_namespaced_pod_log(name, space) if pod.status.phase == "Running" else ""


def secrets_of(sandbox: Sandbox) -> set[str]:
    """The values of the Secrets in the sandbox's cluster, which the bot never gets."""
    target = production_target(sandbox)
    with Clients(target) as clients:
        secrets = clients.kube().core.list_namespaced_secret(sandbox["production"]["namespace"]).items
    values = {base64.b64decode(value).decode() for secret in secrets for value in (secret.data or {}).values()}
    return {value for value in values if len(value) >= 8}  # shorter ones are words


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Iterator[tuple[Redactor, io.StringIO]]:
    """The bot's log with its redactor, at the most verbose level."""
    root, stream, redactor = logging.getLogger(), io.StringIO(), Redactor()
    before = (root.handlers[:], root.level, {name: logging.getLogger(name).level for name in logs.CHATTY})
    logs.setup("DEBUG", as_json=True, redactor=redactor, stream=stream)
    yield redactor, stream
    root.handlers[:], root.level = before[:2]
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)


def run_all(bot: Bot) -> None:
    """Run all requested checks in parallel."""
    workers = Workers(bot.store, bot.clock, [Queue("check", 24, lambda job: release_run.execute(bot.deps, job))])
    workers.start()
    try:
        until(lambda: not bot.rows("SELECT FROM check_runs WHERE state <> 'idle'"), "the checks to end", 100)
    finally:
        workers.stop(15.0)


def look_at_everything(bot: Bot, release_id: ReleaseId) -> list[str]:
    """Publish every message, open all details and upload long texts; returns everything that Slack received."""
    bot.publish_all(release_id)
    for section in bot.deps.checklist.sections:
        for line in section.checks if section.phase == "before" else ():
            value = json.dumps({"release": release_id, "check": line.canonical_id})
            ts = bot.ts(release_id, "section", section.id)
            bot.click(QUINN, ts, "check.details", value=value, forged=True)
            for view in bot.slack.state(QUINN)["views"]:
                bot.slack.post("close", user=QUINN, view_id=view["id"])
    files = [bytes(row["content"]).decode() for row in bot.rows("SELECT content FROM files")]
    return [json.dumps(bot.slack.get("calls")), json.dumps(bot.slack.state(QUINN)), *files]


def tables(bot: Bot) -> str:
    """Every row of every table of the bot, as text."""
    names = bot.rows("SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'")
    return "\n".join(
        row["text"] for name in names for row in bot.rows(f"SELECT to_jsonb(t)::text AS text FROM {name['name']} t")
    )


@pytest.mark.slow
@pytest.mark.usefixtures("rows_that_leak", "logs_that_leak")
def test_no_secret_leaves_any_source(
    live: Bot, sandbox: Sandbox, log: tuple[Redactor, io.StringIO], tmp_path: Path, openly_set: dict[str, Target]
) -> None:
    """No message, form, file, evidence, record or log line contains a secret that a check could read."""
    redactor, stream = log
    send_event(sandbox, {"level": "error", "message": f"failed: {TEXT}", "environment": "canary"})
    staging = staging_target(sandbox)
    with Leak(200) as leaky_vendor, Leak(500) as error_vendor:
        targets = {
            "staging": staging,
            "production": production_target(sandbox),
            **openly_set,
            "leaky": with_leaking_vendors(staging, "leaky", leaky_vendor.url, tmp_path),
            "broken": with_leaking_vendors(staging, "broken", error_vendor.url, tmp_path),
        }
        redactor.register(REGISTERED_SECRET)
        live.change_deps(targets=targets, registry=Registry.load(), checklist=with_leaks(), redact=redactor.scrub)
        release_id = live.open_release()
        run_all(live)
    places = {"log": stream.getvalue(), "tables": tables(live)}
    places |= {f"Slack {number}": text for number, text in enumerate(look_at_everything(live, release_id))}
    leaks = {
        (place, secret)
        for place, text in places.items()
        for secret in {*CANARIES, OPENLY, *secrets_of(sandbox)}
        if secret in text
    }
    assert leaks == set()
    sources = {
        CheckId(row["check_id"])
        for row in live.rows("SELECT check_id, r::text AS text FROM check_results r")
        if MARK in row["text"]
    }
    assert {"named.backup_job", "named.restore_drill"} <= sources
    outcomes = {row["check_id"]: row["outcome"] for row in live.rows("SELECT check_id, outcome FROM check_results")}
    assert [outcomes[f"openly.{kind}"] for kind in ("workload_env", "backup_credentials")] == ["FAIL", "PASS"]
    assert {"rows.leak", "titles.leak", "logs.leak", "leaky.http_json", "broken.http_json"} <= sources
    assert {"broken.grafana_panels", "broken.sentry_quiet", "broken.backup_job", "broken.pod_logs"} <= sources
