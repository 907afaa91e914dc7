"""Jobs and CronJobs, with commands that really run, on the simulator and on a real API server."""

import sys
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.fix_kube import Json, Kube, eventually


def _cronjob(kube: Kube, script: str, *, limits: Json | None = None, **job: Any) -> Any:
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
    spec |= limits or {}
    body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": spec}
    return kube.batch.create_namespaced_cron_job(kube.namespace, body)


def _run(kube: Kube, name: str = "manual-1", seconds: float = 20) -> Any:
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

    def find_end():
        job = kube.batch.read_namespaced_job(name, kube.namespace)
        return job if job.status.conditions else None

    return eventually(f"the end of the Job {name}", find_end, seconds)


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
    with pytest.raises(ApiException) as refusal:
        _run(kube)
    assert (refusal.value.status, refusal.value.reason) == (409, "Conflict")
    assert '"reason":"AlreadyExists"' in str(refusal.value.body).replace(" ", "")


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
    cron_jobs = kube.batch.list_namespaced_cron_job(kube.namespace).items
    assert [(c.metadata.name, c.spec.suspend, c.spec.schedule) for c in cron_jobs] == [("nightly", True, "0 0 1 1 *")]


@pytest.mark.slow
def test_a_job_that_fails_is_tried_again(kube: Kube) -> None:
    """As often as its backoffLimit says, each time in a new pod; a real server waits ten seconds before it does."""
    _cronjob(kube, "import sys; sys.exit(1)", backoffLimit=1)
    job = _run(kube, seconds=40)
    assert [(c.type, c.reason) for c in job.status.conditions] == [("Failed", "BackoffLimitExceeded")]
    assert (job.status.failed, job.status.active) == (2, None)
    assert len(kube.core.list_namespaced_pod(kube.namespace, label_selector="job-name=manual-1").items) == 2


@pytest.mark.slow
def test_only_the_last_jobs_of_a_cronjob_are_kept(kube: Kube) -> None:
    """As many as its limits say, also of those that were made by hand; a real server looks every ten seconds."""
    _cronjob(kube, "pass", limits={"successfulJobsHistoryLimit": 1})
    for name in ("manual-1", "manual-2"):
        _run(kube, name)

    def names() -> list[str]:
        return [job.metadata.name for job in kube.batch.list_namespaced_job(kube.namespace).items]

    eventually("the end of the first", lambda: names() == ["manual-2"], 40)


def test_a_job_has_defaults_and_the_labels_of_its_pods(kube: Kube) -> None:
    """What selects its pods is made by the server."""
    _cronjob(kube, "pass")
    job = _run(kube)
    labels = {"controller-uid": job.metadata.uid, "job-name": "manual-1"}
    assert job.spec.selector.match_labels == {"controller-uid": job.metadata.uid}
    assert job.spec.template.metadata.labels == job.metadata.labels == labels
    assert (job.spec.parallelism, job.spec.completions, job.spec.backoff_limit) == (1, 1, 0)
    (pod,) = kube.core.list_namespaced_pod(kube.namespace).items
    assert pod.metadata.labels == labels


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schedule": "at night"}, "spec.schedule"),
        ({"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}}, "restartPolicy"),
    ],
)
def test_a_cronjob_that_breaks_a_rule_is_refused(kube: Kube, changes: Json, field: str) -> None:
    """422 with the field."""
    _cronjob(kube, "pass")
    with pytest.raises(ApiException) as refusal:
        kube.batch.patch_namespaced_cron_job("nightly", kube.namespace, {"spec": changes})
    assert refusal.value.status == 422
    assert field in str(refusal.value.body)


def test_what_a_job_runs_cannot_be_changed(kube: Kube) -> None:
    """422: its pods would not be those that it says."""
    _cronjob(kube, "pass")
    _run(kube)
    containers = [{"name": "main", "image": "tools:2"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    with pytest.raises(ApiException) as refusal:
        kube.batch.patch_namespaced_job("manual-1", kube.namespace, patch)
    assert refusal.value.status == 422
