"""Jobs and CronJobs, with commands that really run, on the simulator and on a real API server."""

import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from sandbox.kube.jobs import schedule_matches
from tests.fix_kube import Json, Kube, eventually


def _cronjob(kube: Kube, script: str, **job: Any) -> Any:
    """Create the CronJob `nightly`, which runs Python code with a variable from a Secret."""
    kube.core.create_namespaced_secret(
        kube.namespace, {"metadata": {"name": "creds"}, "stringData": {"token": "s3cret"}}
    )
    secret = {"name": "creds", "key": "token"}
    container: Json = {"name": "main", "image": "tools:1", "command": [sys.executable, "-c", script]}
    container["env"] = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": secret}},
        {"name": "HEADER", "value": "Bearer $(TOKEN)"},
    ]
    container["envFrom"] = [{"configMapRef": {"name": "absent", "optional": True}}]
    template: Json = {"metadata": {"annotations": {"testbed/exec": "true"}}}
    template["spec"] = {"restartPolicy": "Never", "containers": [container]}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"backoffLimit": 0, "template": template, **job}}}
    body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": spec}
    return kube.batch.create_namespaced_cron_job(kube.namespace, body)


def _run(kube: Kube, name: str = "manual-1") -> Any:
    """Make a Job of the CronJob, as `kubectl create job --from` does, and wait for its end."""
    raw = kube.batch.read_namespaced_cron_job("nightly", kube.namespace)
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": "nightly",
        "uid": raw.metadata.uid,
        "controller": True,
    }
    spec = kube.api.sanitize_for_serialization(raw.spec.job_template.spec)
    annotations = {"cronjob.kubernetes.io/instantiate": "manual"}
    metadata = {"name": name, "annotations": annotations, "ownerReferences": [owner]}
    kube.batch.create_namespaced_job(kube.namespace, {"metadata": metadata, "spec": spec})

    def ended():
        job = kube.batch.read_namespaced_job(name, kube.namespace)
        return job if job.status.conditions else None

    return eventually(f"the end of the Job {name}", ended)


def _log(kube: Kube, job: str = "manual-1") -> str:
    pod = kube.core.list_namespaced_pod(kube.namespace, label_selector=f"job-name={job}").items[0]
    return str(kube.core.read_namespaced_pod_log(pod.metadata.name, kube.namespace))


def test_a_job_from_a_cronjob_really_runs(kube: Kube) -> None:
    """Its command sees the variables of its container, and its output is the log of its pod."""
    _cronjob(kube, "import os; print(os.environ['HEADER'], 'PATH' in os.environ, os.environ['HOSTNAME'][:8])")
    job = _run(kube)
    assert [c.type for c in job.status.conditions if c.status == "True"] == ["Complete"]
    assert job.status.succeeded == 1
    assert _log(kube) == "Bearer s3cret True manual-1\n"


def test_a_command_that_fails_fails_the_job(kube: Kube) -> None:
    """Exit code 1 with backoffLimit 0 is the end; what it wrote to stderr is in the log."""
    _cronjob(kube, "import sys; sys.exit('no database')")
    job = _run(kube)
    assert [(c.type, c.reason) for c in job.status.conditions] == [("Failed", "BackoffLimitExceeded")]
    assert job.status.failed == 1
    assert _log(kube) == "no database\n"


def test_a_job_past_its_deadline_is_stopped(kube: Kube) -> None:
    """The deadline ends the process and fails the Job."""
    _cronjob(kube, "import time; time.sleep(60)", activeDeadlineSeconds=1, backoffLimit=3)
    job = _run(kube)
    assert [(c.type, c.reason) for c in job.status.conditions] == [("Failed", "DeadlineExceeded")]


def test_a_fixed_name_makes_a_job_once(kube: Kube) -> None:
    """The same name again is refused as AlreadyExists."""
    _cronjob(kube, "pass")
    _run(kube)
    with pytest.raises(ApiException) as refused:
        _run(kube)
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    assert '"reason":"AlreadyExists"' in str(refused.value.body).replace(" ", "")


def test_a_generated_name_is_a_new_job_each_time(kube: Kube) -> None:
    """The name grows out of generateName."""
    container = {"name": "main", "image": "tools:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    body = {"metadata": {"generateName": "task-"}, "spec": {"template": template}}
    names = {kube.batch.create_namespaced_job(kube.namespace, body).metadata.name for _ in range(3)}
    assert len(names) == 3
    assert {name[:5] for name in names} == {"task-"}


def test_a_deleted_job_takes_its_pods_with_it(kube: Kube) -> None:
    """Unless they are to be orphaned, as they are by default in this API."""
    _cronjob(kube, "pass")
    _run(kube)
    kube.batch.delete_namespaced_job("manual-1", kube.namespace, propagation_policy="Background")
    eventually("the end of its pod", lambda: not kube.core.list_namespaced_pod(kube.namespace).items)


def test_a_cronjob_lists_and_can_be_suspended(kube: Kube) -> None:
    """It reads back as batch/v1, and a patch of suspend leaves the rest."""
    _cronjob(kube, "pass")
    kube.batch.patch_namespaced_cron_job("nightly", kube.namespace, {"spec": {"suspend": True}})
    found = kube.batch.list_namespaced_cron_job(kube.namespace).items
    assert [(c.metadata.name, c.spec.suspend, c.spec.schedule) for c in found] == [("nightly", True, "0 0 1 1 *")]


@pytest.mark.parametrize(
    ("schedule", "moment", "fires"),
    [
        ("0 2 * * *", "2026-01-11T02:00", True),
        ("0 2 * * *", "2026-01-11T02:01", False),
        ("*/15 * * * *", "2026-01-11T07:45", True),
        ("0 4 * * 0", "2026-01-11T04:00", True),  # a Sunday
        ("0 4 * * 7", "2026-01-11T04:00", True),
        ("0 4 * * 1-5", "2026-01-11T04:00", False),
        ("5,10 8-17/3 * 1 *", "2026-01-12T11:10", True),
        ("0 0 13 * 5", "2026-02-13T00:00", True),
        ("0 0 13 * 5", "2026-01-13T00:00", True),  # day of month or day of week, where both are given
    ],
)
def test_a_schedule_fires_when_cron_would(schedule: str, moment: str, fires: bool) -> None:
    """Numbers, lists, ranges, steps, and Sunday as 0 or 7."""
    assert schedule_matches(schedule, datetime.fromisoformat(moment).replace(tzinfo=UTC)) is fires
