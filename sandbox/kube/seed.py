"""What the simulated product has in its clusters: the Deployment `api` and the backup CronJob, in two namespaces.

Written through the API only, so that it works on the simulator and on a real API server; a second run changes nothing
that a release may have changed since.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.kube import backup
from sandbox.kube.client import KubeClient, until
from sandbox.staging.versions import BACKUP_IMAGE, BACKUP_SCHEDULE, CANDIDATE, IMAGE, LIVE, image_digest

Json = dict[str, Any]

STAGING = "solvereign-staging"
PRODUCTION = "solvereign"
DEPLOYMENT = "api"
CONTAINER = "api"
API_SECRET = "api-env"
RESTORE_SECRET = "release-bot-restore"
REPOSITORY = Path(__file__).parents[2]  # in which the simulated product is a module
BACKUP_CRONJOB = "solvereign-backup"
BACKUP_SECRET = "backup-env"
BACKUP_FAULTS = "backup-faults"  # ConfigMap whose keys become variables of the backup
API_LABELS = {"app": "solvereign", "component": "api"}
BACKUP_LABELS = {"app": "solvereign", "component": "backup"}


@dataclass(frozen=True)
class AppSeed:
    """One installation of the product.

    `secrets` are the variables that come from the Secret `api-env`: SOLVEREIGN_SENTRY_DSN, SOLVEREIGN_STRIPE_API_KEY,
    SOLVEREIGN_STRIPE_WEBHOOK_SECRET. `version` is a tag like v4.8.0. The progress deadline is short, so that a rollout
    that fails is known to have failed while somebody looks on. Its pods are played; one of the same template with the
    annotation `testbed/exec` really runs the product, on `port` of this machine. `restore_password`: of the role that restores
    backups, in the Secret `release-bot-restore`; empty: there is none.
    """

    namespace: str
    environment: str
    version: str
    image: str
    secrets: Mapping[str, str]
    port: int = 8000
    restore_password: str = ""
    replicas: int = 2
    progress_deadline_seconds: int = 20


@dataclass(frozen=True)
class BucketSeed:
    """Where the backups go."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    bucket: str = "solvereign-backups-prod"
    prefix: str = "postgresql/"
    region: str = "eu-central-1"


@dataclass(frozen=True)
class BackupSeed:
    """One backup CronJob. `database` holds libpq's variables: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD."""

    namespace: str
    environment: str
    database: Mapping[str, str]
    bucket: BucketSeed
    backoff_limit: int = 1


@dataclass(frozen=True)
class Seed:
    """All that is put into the cluster."""

    apps: tuple[AppSeed, ...]
    backups: tuple[BackupSeed, ...] = ()


def staging_app(
    secrets: Mapping[str, str], namespace: str = STAGING, *, port: int = 8000, restore_password: str = ""
) -> AppSeed:
    """Staging as a release finds it: the candidate is there, by its tag."""
    image = f"{IMAGE}:{CANDIDATE}"
    return AppSeed(namespace, "staging", CANDIDATE, image, secrets, port=port, restore_password=restore_password)


def production_app(secrets: Mapping[str, str], namespace: str = PRODUCTION) -> AppSeed:
    """Production as a release finds it: the version before, by its digest."""
    return AppSeed(namespace, "production", LIVE, f"{IMAGE}@{image_digest(LIVE)}", secrets)


async def seed(kubeconfig: Path, plan: Seed) -> None:
    """Create what is missing. Secrets and CronJobs get their newest values (addresses change with each start of the
    sandbox); a Deployment that exists is left as it is, because a release may have changed it.

    Returns when the Deployments that it created are available: who asks earlier would find production down.
    Raises KubeError where the API server refuses, TimeoutError where the pods do not follow within 20 s.
    """
    async with KubeClient(kubeconfig) as client:
        new_apps = [app for app in plan.apps if await _seed_app(client, app)]
        for job in plan.backups:
            await _seed_backup(client, job)
        for app in new_apps:
            await until(functools.partial(_available, client, app), f"{app.namespace} is available")


async def _seed_app(client: KubeClient, app: AppSeed) -> bool:
    """True if its Deployment is new."""
    await _namespace(client, app.namespace)
    await _secret(client, app.namespace, API_SECRET, app.secrets)
    if app.restore_password:
        await _secret(client, app.namespace, RESTORE_SECRET, {"password": app.restore_password})
    return await client.create(f"/apis/apps/v1/namespaces/{app.namespace}/deployments", _deployment(app))


async def _available(client: KubeClient, app: AppSeed) -> bool:
    deployment = await client.get(f"/apis/apps/v1/namespaces/{app.namespace}/deployments/{DEPLOYMENT}")
    return int((deployment.get("status") or {}).get("availableReplicas") or 0) >= app.replicas


async def _seed_backup(client: KubeClient, job: BackupSeed) -> None:
    await _namespace(client, job.namespace)
    secrets = {
        "AWS_ACCESS_KEY_ID": job.bucket.access_key_id,
        "AWS_SECRET_ACCESS_KEY": job.bucket.secret_access_key,
        "PGPASSWORD": job.database.get("PGPASSWORD", ""),
    }
    await _secret(client, job.namespace, BACKUP_SECRET, secrets)
    crons, cron = f"/apis/batch/v1/namespaces/{job.namespace}/cronjobs", _cronjob(job)
    if not await client.create(crons, cron):
        await client.merge(f"{crons}/{BACKUP_CRONJOB}", {"spec": {"jobTemplate": cron["spec"]["jobTemplate"]}})


async def _namespace(client: KubeClient, name: str) -> None:
    await client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def _secret(client: KubeClient, namespace: str, name: str, values: Mapping[str, str]) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    body: Json = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)}
    if not await client.create(path, body):
        await client.merge(f"{path}/{name}", {"stringData": dict(values)})


def _deployment(app: AppSeed) -> Json:
    literals = {
        "SOLVEREIGN_ENVIRONMENT": app.environment,
        "SOLVEREIGN_APP_VERSION": app.version.removeprefix("v"),
        "SOLVEREIGN_BILLING_ENFORCEMENT": "on",
        "PORT": str(app.port),
        "PYTHONPATH": str(REPOSITORY),
    }
    env = [_from_secret(name, API_SECRET) for name in app.secrets] + [_literal(*item) for item in literals.items()]
    template = {
        "metadata": {"labels": API_LABELS, "annotations": {"testbed/log": "\n".join(startup_log(app))}},
        "spec": {
            "containers": [
                {
                    "name": CONTAINER,
                    "image": app.image,
                    "command": [sys.executable, "-m", "sandbox.staging.pod"],
                    "env": env,
                    "ports": [{"containerPort": app.port}],
                }
            ]
        },
    }
    spec = {
        "replicas": app.replicas,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": app.progress_deadline_seconds,
        "selector": {"matchLabels": API_LABELS},
        "template": template,
    }
    metadata = {"name": DEPLOYMENT, "labels": API_LABELS}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _cronjob(job: BackupSeed) -> Json:
    literals = {
        "SOLVEREIGN_ENVIRONMENT": job.environment,
        "BACKUP_S3_BUCKET": job.bucket.bucket,
        "BACKUP_S3_PREFIX": job.bucket.prefix,
        "BACKUP_RETENTION_DAYS": "30",
        "AWS_DEFAULT_REGION": job.bucket.region,
        "AWS_ENDPOINT_URL_S3": job.bucket.endpoint_url,
    }
    literals |= {name: value for name, value in job.database.items() if name != "PGPASSWORD"}
    secrets = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD")
    container = {
        "name": "backup",
        "image": BACKUP_IMAGE,
        "command": [sys.executable, "-P", str(Path(backup.__file__).resolve())],
        "envFrom": [{"configMapRef": {"name": BACKUP_FAULTS, "optional": True}}],
        "env": [_literal(*item) for item in literals.items()] + [_from_secret(name, BACKUP_SECRET) for name in secrets],
    }
    pod = {
        "metadata": {"labels": BACKUP_LABELS, "annotations": {"testbed/exec": "true"}},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    work = {"activeDeadlineSeconds": 3600, "backoffLimit": job.backoff_limit, "template": pod}
    spec = {
        "schedule": BACKUP_SCHEDULE,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 300,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
        "jobTemplate": {"metadata": {"labels": BACKUP_LABELS}, "spec": work},
    }
    metadata = {"name": BACKUP_CRONJOB, "labels": BACKUP_LABELS}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}


def _literal(name: str, value: str) -> Json:
    return {"name": name, "value": value}


def _from_secret(name: str, secret: str) -> Json:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}


# What the product logs when it starts, in this order: (logger, message).
_STARTUP = (
    ("api.main", "auth_router_registered"),
    ("api.main", "portal_public_router_registered"),
    ("api.main", "portal_admin_router_registered"),
    ("api.main", "platform_admin_router_registered"),
    ("api.main", "consent_router_registered"),
    ("api.main", "billing_router_registered"),
    ("api.main", "tenant_dashboard_router_registered"),
    ("api.main", "evidence_viewer_router_registered"),
    ("api.main", "audit_viewer_router_registered"),
    ("api.main", "notifications_router_registered"),
    ("api.main", "roster_pack_router_registered"),
    ("api.main", "roster_lifecycle_router_registered"),
    ("api.main", "routing_pack_router_registered"),
    ("api.main", "ops_copilot_router_registered"),
    ("api.main", "metrics_endpoint_registered"),
    ("api.main", "starting_application"),
    ("api.sentry", "sentry_initialized"),
    ("api.main", "sentry_error_tracking_enabled"),
    ("api.database", "database_pool_created"),
    ("api.main", "database_pool_initialized"),
    ("api.main", "policy_service_initialized"),
    ("api.main", "stripe_billing_initialized"),
)


def startup_log(app: AppSeed) -> list[str]:
    """The first lines of the product's log: its own in JSON, those of uvicorn in plain text."""
    facts: Json = {"app_name": "SOLVEREIGN", "version": app.version.removeprefix("v"), "environment": app.environment}
    extras: dict[str, Json] = {"starting_application": facts, "database_pool_created": {"min_size": 2, "max_size": 10}}
    lines = ["INFO:     Started server process [1]", "INFO:     Waiting for application startup."]
    lines += [json_log("INFO", logger, message, extras.get(message, {})) for logger, message in _STARTUP]
    lines += ["INFO:     Application startup complete."]
    lines += ["INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)"]
    request = {"request_id": "3b1f6c52", "method": "GET", "path": "/health", "status_code": 200, "duration_ms": 1.9}
    return [*lines, json_log("INFO", "api.middleware", "request_completed", request)]


def json_log(level: str, logger: str, message: str, extra: Mapping[str, Any]) -> str:
    """One line in the product's JSON log format."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"timestamp": moment, "level": level, "logger": logger, "message": message, **extra})
