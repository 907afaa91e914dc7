"""What is put into a cluster, and the switches that break it, on the simulator and on a real API server."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest
from moto.server import ThreadedMotoServer

from sandbox.kube import AppSeed, BackupSeed, BucketSeed, Seed, apply_fault, production_app, seed, staging_app
from tests.fix_kube import Kube, eventually

SECRETS = {
    "SOLVEREIGN_SENTRY_DSN": "http://key@127.0.0.1:1/42",
    "SOLVEREIGN_STRIPE_API_KEY": "sk_test_1",
    "SOLVEREIGN_STRIPE_WEBHOOK_SECRET": "whsec_1",
}


class Product:
    """The product in two fresh namespaces."""

    def __init__(self, kube: Kube) -> None:
        self.kube, self.staging, self.production = kube, kube.namespace, kube.another_namespace()

    def seed(self, *apps: AppSeed, backups: tuple[BackupSeed, ...] = ()) -> None:
        asyncio.run(seed(self.kube.kubeconfig, Seed(apps, backups)))
        assert all(self.available(app.namespace) >= 2 for app in apps)  # at once: nobody finds production down

    def fault(self, name: str, on: bool) -> None:
        spaces = {"staging_namespace": self.staging, "production_namespace": self.production}
        asyncio.run(apply_fault(self.kube.kubeconfig, name, on, **spaces))

    def deployment(self, namespace: str) -> Any:
        return self.kube.apps.read_namespaced_deployment("api", namespace)

    def image(self, namespace: str) -> str:
        return str(self.deployment(namespace).spec.template.spec.containers[0].image)

    def available(self, namespace: str) -> int:
        return self.deployment(namespace).status.available_replicas or 0

    def set_image(self, namespace: str, image: str) -> None:
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "api", "image": image}]}}}}
        self.kube.apps.patch_namespaced_deployment("api", namespace, patch)

    def pods(self, namespace: str) -> list[Any]:
        pods = self.kube.core.list_namespaced_pod(namespace, label_selector="app=solvereign,component=api").items
        return [pod for pod in pods if pod.metadata.deletion_timestamp is None]

    def logs(self, namespace: str) -> list[str]:
        read_log = self.kube.core.read_namespaced_pod_log
        return [str(read_log(pod.metadata.name, namespace)) for pod in self.pods(namespace)]


@pytest.fixture
def product(kube: Kube) -> Product:
    """Two namespaces, still empty."""
    return Product(kube)


def test_the_product_is_seeded_as_a_release_finds_it(product: Product) -> None:
    """Staging has the candidate by its tag, production the version before by its digest; secrets are referred to."""
    product.seed(staging_app(SECRETS, product.staging), production_app(SECRETS, product.production))
    images = [
        product.deployment(n).spec.template.spec.containers[0].image for n in (product.staging, product.production)
    ]
    assert images[0] == "ghcr.io/solvereign/api:v4.8.0"
    assert images[1].startswith("ghcr.io/solvereign/api@sha256:")
    env = {e.name: e for e in product.deployment(product.production).spec.template.spec.containers[0].env}
    assert env["SOLVEREIGN_STRIPE_API_KEY"].value_from.secret_key_ref.name == "api-env"
    assert env["SOLVEREIGN_APP_VERSION"].value == "4.7.0"
    assert env["SOLVEREIGN_BILLING_ENFORCEMENT"].value == "on"


def test_the_pods_log_as_the_product_does(product: Product) -> None:
    """JSON lines of the application in their real order, between the plain lines of uvicorn."""
    product.seed(staging_app(SECRETS, product.staging))
    lines = product.logs(product.staging)[0].splitlines()
    messages = [json.loads(line)["message"] for line in lines if line.startswith("{")]
    expected_messages = ["billing_router_registered", "sentry_error_tracking_enabled", "stripe_billing_initialized"]
    assert [message for message in messages if message in expected_messages] == expected_messages
    assert "INFO:     Application startup complete." in lines


def test_seeding_again_leaves_what_a_release_deployed(product: Product) -> None:
    """The image stays; a secret gets its newest value."""
    product.seed(staging_app(SECRETS, product.staging))
    product.set_image(product.staging, "ghcr.io/solvereign/api:v4.9.0")
    newer = SECRETS | {"SOLVEREIGN_SENTRY_DSN": "http://key@127.0.0.1:2/42"}
    product.seed(staging_app(newer, product.staging))
    assert product.image(product.staging) == "ghcr.io/solvereign/api:v4.9.0"
    secret = product.kube.core.read_namespaced_secret("api-env", product.staging)
    assert secret.data["SOLVEREIGN_SENTRY_DSN"] == "aHR0cDovL2tleUAxMjcuMC4wLjE6Mi80Mg=="


def test_errors_in_the_log_come_and_go(product: Product) -> None:
    """Every staging pod logs errors in both formats; switched off, none does, and no revision was made."""
    product.seed(staging_app(SECRETS, product.staging))
    product.fault("app_log_errors", True)
    for log in product.logs(product.staging):
        assert '"level": "ERROR"' in log
        assert "ERROR:    Exception in ASGI application" in log
    product.fault("app_log_errors", False)
    assert [log for log in product.logs(product.staging) if "ERROR" in log] == []
    annotations = product.deployment(product.staging).metadata.annotations
    assert annotations["deployment.kubernetes.io/revision"] == "1"


def test_one_pod_crash_loops_beside_the_healthy_ones(product: Product) -> None:
    """It carries the labels of the current ReplicaSet, has restarted, and the Deployment stays fully available."""
    product.seed(staging_app(SECRETS, product.staging))
    product.fault("app_crash_loop", True)
    restarts = sorted(pod.status.container_statuses[0].restart_count for pod in product.pods(product.staging))
    assert len(restarts) == 3
    assert restarts[:2] == [0, 0]
    assert restarts[2] >= 1
    assert len({pod.metadata.labels["pod-template-hash"] for pod in product.pods(product.staging)}) == 1
    crashing = max(product.pods(product.staging), key=lambda p: p.status.container_statuses[0].restart_count)
    log = product.kube.core.read_namespaced_pod_log(crashing.metadata.name, product.staging, previous=True)
    assert log.startswith("Traceback (most recent call last):")
    assert product.available(product.staging) == 2
    product.fault("app_crash_loop", False)
    assert len(product.pods(product.staging)) == 2


@pytest.mark.parametrize("fault", ["image_never_ready", "image_crash_loop"])
def test_a_new_image_in_production_misbehaves_and_the_old_one_does_not(product: Product, fault: str) -> None:
    """No pod of the new image gets ready; back on the old one, all are, with the switch still on."""
    product.seed(production_app(SECRETS, product.production))
    old = product.image(product.production)
    product.fault(fault, True)
    product.set_image(product.production, "ghcr.io/solvereign/api:v4.8.0")

    def bad() -> list[Any]:
        new_pods = [p for p in product.pods(product.production) if p.spec.containers[0].image != old]
        return [
            p for p in new_pods if _is_restarted(p) or (fault == "image_never_ready" and p.status.phase == "Running")
        ]

    assert not eventually("the bad pod", bad)[0].status.container_statuses[0].ready
    product.set_image(product.production, old)
    eventually(
        "the way back", lambda: [p.spec.containers[0].image for p in product.pods(product.production)] == [old] * 2
    )
    assert product.available(product.production) == 2
    product.fault(fault, False)
    product.set_image(product.production, "ghcr.io/solvereign/api:v4.8.1")
    eventually("a good rollout", lambda: product.deployment(product.production).status.updated_replicas == 2)


def test_pods_that_were_never_ready_recover(product: Product) -> None:
    """With the switch off again the rollout that hung goes on to its end by itself; no matter what is ready already."""
    product.seed(production_app(SECRETS, product.production))
    good = {pod.metadata.name for pod in product.pods(product.production)}
    product.fault("image_never_ready", True)
    product.set_image(product.production, "ghcr.io/solvereign/api:v4.8.0")
    eventually(
        "a pod that is not ready", lambda: {pod.metadata.name for pod in product.pods(product.production)} - good
    )
    product.fault("image_never_ready", False)

    def new_and_ready() -> bool:
        images = [pod.spec.containers[0].image for pod in product.pods(product.production)]
        return images == ["ghcr.io/solvereign/api:v4.8.0"] * 2 and product.available(product.production) == 2

    eventually("the rollout goes on to its end", new_and_ready)


def _is_restarted(pod: Any) -> bool:
    return any(status.restart_count for status in pod.status.container_statuses or [])


@pytest.fixture(scope="session")
def bucket() -> Iterator[BucketSeed]:
    """An S3 server with the bucket of the backups."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    seed_of_bucket = BucketSeed(f"http://{host}:{port}", "key", "secret")
    where = {"LocationConstraint": seed_of_bucket.region}
    _s3(seed_of_bucket).create_bucket(Bucket=seed_of_bucket.bucket, CreateBucketConfiguration=where)
    yield seed_of_bucket
    server.stop()


def _s3(bucket: BucketSeed) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint_url,
        aws_access_key_id=bucket.access_key_id,
        aws_secret_access_key=bucket.secret_access_key,
        region_name=bucket.region,
    )


def _libpq(url: str) -> dict[str, str]:
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD"}
    parts = psycopg.conninfo.conninfo_to_dict(url)
    return {name: str(parts[key]) for key, name in names.items() if key in parts}


def _back_up(product: Product, name: str) -> tuple[str, str]:
    """Run the CronJob's Job by hand: (Complete or Failed, its log)."""
    kube, space = product.kube, product.staging
    cron = kube.batch.read_namespaced_cron_job("solvereign-backup", space)
    spec = kube.api.sanitize_for_serialization(cron.spec.job_template.spec)
    kube.batch.create_namespaced_job(space, {"metadata": {"name": name}, "spec": spec})

    def end() -> str:
        conditions = kube.batch.read_namespaced_job(name, space).status.conditions or []
        return "".join(c.type for c in conditions if c.status == "True")

    verdict = eventually("the end of the backup", end, 40)
    pod = kube.core.list_namespaced_pod(space, label_selector=f"job-name={name}").items[0]
    return verdict, str(kube.core.read_namespaced_pod_log(pod.metadata.name, space))


def test_backups_are_real_and_can_be_broken(product: Product, bucket: BucketSeed, database_url: str) -> None:
    """A Job of the CronJob stores a dump as the product does; its switches cut it short, or fail it."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE tenants AS SELECT generate_series(1, 500) AS id")
    job = BackupSeed(product.staging, product.kube.namespace, _libpq(database_url), bucket, backoff_limit=0)
    product.seed(backups=(job,))
    s3, prefix = _s3(bucket), f"{bucket.prefix}solvereign_{job.environment}_"

    def objects() -> list[Any]:
        return list(s3.list_objects_v2(Bucket=bucket.bucket, Prefix=prefix).get("Contents", []))

    verdict, log = _back_up(product, "backup-test-1")
    assert verdict == "Complete", log
    assert "Backup completed in " in log.splitlines()[-1]
    [entry] = objects()
    assert entry["Key"].endswith(".dump")
    head = s3.head_object(Bucket=bucket.bucket, Key=entry["Key"])
    assert (head["ServerSideEncryption"], head["StorageClass"]) == ("AES256", "STANDARD_IA")
    assert head["Metadata"]["environment"] == job.environment
    assert set(head["Metadata"]) == {"backup-type", "environment", "created-at"}
    assert s3.get_object(Bucket=bucket.bucket, Key=entry["Key"])["Body"].read(5) == b"PGDMP"

    product.fault("backup_truncated", True)
    assert _back_up(product, "backup-test-2")[0] == "Complete"
    smallest = min(entry["Size"] for entry in objects())
    assert smallest == int(entry["Size"] * 0.6)

    product.fault("backup_fails", True)
    verdict, log = _back_up(product, "backup-test-3")
    assert (verdict, "ERROR - Backup failed: " in log) == ("Failed", True)
