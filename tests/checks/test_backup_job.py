"""backup_job: the sandbox's backup CronJob, run for real, and the object it writes."""

import re
import uuid
from typing import Any

import pytest

from checks.contract import Outcome, Subject
from checks.registry import Registry
from clients.connections import Clients
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.fix_checks import (
    Pauses,
    RecordingUndo,
    context,
    production_target,
    run,
    staging_target,
    with_changes,
    with_vendor_at,
)

DUMP = b"PGDMP" + b"x" * 200


def jobs(sandbox):
    """The Jobs in the namespace of the backup, by name."""
    with Clients(staging_target(sandbox)) as clients:
        kube = clients.kube()
        job_list = kube.batch.list_namespaced_job(sandbox.facts["backup"]["namespace"], _request_timeout=kube.timeout)
    return {job.metadata.name: job for job in job_list.items}


def put(sandbox, key, body, **settings):
    """Write an object into the bucket, as a backup would or differently."""
    with Clients(staging_target(sandbox)) as clients:
        clients.s3().put_object(Bucket=sandbox.facts["s3"]["bucket"], Key=key, Body=body, **settings)


@pytest.fixture
def empty_bucket(sandbox):
    """Delete all backups in the bucket, since two of the same second would have the same key."""
    part = sandbox.facts["s3"]
    with Clients(staging_target(sandbox)) as clients:
        s3 = clients.s3()
        for item in s3.list_objects_v2(Bucket=part["bucket"], Prefix=part["prefix"]).get("Contents", []):
            s3.delete_object(Bucket=part["bucket"], Key=item["Key"])


def run_while(sandbox, prefix, other, params=None, *, moment="waiting"):
    """The answer of the check if ``other`` is called while its Job runs, or at another ``moment`` of its progress."""

    def once_started(line):
        if line.startswith(moment):
            other()

    target = with_changes(staging_target(sandbox), backup={"prefix": prefix})  # only the CronJob knows where it writes
    return run("backup_job", params or {}, target, progress=once_started).answer


def test_backup_runs(sandbox, empty_bucket):
    """A Job of the CronJob writes a new dump: PASS, and the dump's place is handed on."""
    answer = run("backup_job", {}, staging_target(sandbox), subject=Subject(version="v4.8.0")).answer

    assert answer.outcome is Outcome.PASS, answer.summary
    assert answer.data["bucket"] == sandbox.facts["s3"]["bucket"]
    assert answer.data["key"].startswith(sandbox.facts["s3"]["prefix"])
    assert answer.data["size"] > 1000
    assert answer.summary == f"{answer.data['key']}, {answer.data['size']:,} bytes, encrypted (AES256)"


def test_job_is_made_as_kubectl_makes_it(sandbox):
    """The Job has the CronJob's labels and the annotation of a manual run, and is owned by the CronJob."""
    before = jobs(sandbox)
    run("backup_job", {}, staging_target(sandbox), subject=Subject(version="v4.8.0-rc1"))
    (name,) = jobs(sandbox).keys() - before.keys()
    metadata = jobs(sandbox)[name].metadata

    assert name.startswith("backup-manual-v4-8-0-rc1-")
    assert metadata.annotations["cronjob.kubernetes.io/instantiate"] == "manual"
    assert metadata.labels["component"] == "backup"
    owner = metadata.owner_references[0]
    assert (owner.kind, owner.name, owner.controller) == ("CronJob", "solvereign-backup", True)
    assert owner.block_owner_deletion is None


def test_a_failed_backup_job_fails(sandbox):
    """If the Job fails, the check fails with the last line of its log and attaches the log."""
    with sandbox.fault("backup_fails"):
        answer = run("backup_job", {}, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.FAIL
    message = "Backup failed: pg_dump failed: connection to server was lost"
    assert answer.summary.startswith("the job failed: ")
    assert f"{message} (BackoffLimitExceeded, " in answer.summary
    assert "Starting PostgreSQL backup" in answer.evidence.attachment


def test_a_truncated_dump_is_not_recognised_here(sandbox, empty_bucket):
    """A truncated dump still begins like a dump; the restore drill has to find it."""
    with sandbox.fault("backup_truncated"):
        assert run("backup_job", {}, staging_target(sandbox)).outcome is Outcome.PASS


def test_a_job_without_a_new_dump_fails(sandbox):
    """The Job is complete but wrote elsewhere: FAIL, however many older dumps there are."""
    put(sandbox, "elsewhere/old.dump", b"PGDMP" + b"x" * 200)
    target = with_changes(staging_target(sandbox), backup={"prefix": "elsewhere/"})
    answer = run("backup_job", {}, target).answer

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.startswith("no new dump of staging in s3://")
    assert answer.evidence.seen == "1 objects, none of them new"


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"min_size": 10**9}, "only "),
        ({"environment": "moon"}, "metadata environment is staging, not moon"),
        ({"name": "{environment}.sql"}, "which is not named staging.sql"),
    ],
)
def test_an_unexpected_object_fails(sandbox, empty_bucket, params, reason):
    """The size, metadata and name of the object are compared with the checklist."""
    answer = run("backup_job", params, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.FAIL
    assert reason in answer.summary


@pytest.mark.parametrize(
    ("body", "settings", "reason"),
    [
        (b"<html>" + b"x" * 200, {"ServerSideEncryption": "AES256"}, "isn't a dump in pg_dump's custom format"),
        (b"PGDMP" + b"x" * 200, {}, "not encrypted at rest"),
        (b"", {"ServerSideEncryption": "AES256"}, "only 0 bytes; isn't a dump in pg_dump's custom format"),
    ],
)
def test_a_bad_object_fails(sandbox, body, settings, reason):
    """A new object that is no dump, is empty or is not encrypted is a FAIL."""
    settings = {"Metadata": {"environment": "staging"}, **settings}
    key = f"odd/{uuid.uuid4().hex}.dump"
    answer = run_while(sandbox, "odd/", lambda: put(sandbox, key, body, **settings))

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.startswith(reason)
    assert answer.summary.endswith(f": {key}")


@pytest.mark.parametrize(
    ("name", "metadata", "reason"),
    [
        ("solvereign_staging_1.dump", {}, "whose metadata environment is not set, not staging"),
        ("solvereign_staging_2.dump", {"environment": "production"}, "environment is production, not staging"),
        ("solvereign_production_1.dump", {"environment": "staging"}, "which is not named solvereign_staging_*.dump"),
        (
            "solvereign_staging_3.dump",
            {"environment": "staging", "created-at": "2026-01-11T02:00:00+00:00"},
            "started 2026-01-11 02:00:00 UTC, before the job",
        ),
    ],
)
def test_a_dump_of_somebody_else_does_not_count(sandbox, name, metadata, reason):
    """An object that another job wrote meanwhile is not the Job's dump: FAIL that names the object."""
    key = f"{uuid.uuid4().hex}/{name}"
    params = {"name": "solvereign_{environment}_*.dump"}
    folder = key.partition("/")[0] + "/"
    answer = run_while(sandbox, folder, lambda: put(sandbox, key, DUMP, Metadata=metadata), params)

    assert answer.outcome is Outcome.FAIL
    assert f"no new dump of staging in s3://{sandbox.facts['s3']['bucket']}/{folder}, only {key}, " in answer.summary
    assert answer.summary.endswith(reason)


def test_a_foreign_dump_beside_our_own_is_ignored(sandbox, empty_bucket):
    """If production's backup arrives in the same bucket meanwhile, our own dump is taken, and the evidence names the
    other.
    """
    prefix = sandbox.facts["s3"]["prefix"]
    key = f"{prefix}solvereign_production_{uuid.uuid4().hex}.dump"

    def land():
        put(sandbox, key, DUMP, Metadata={"environment": "production"}, ServerSideEncryption="AES256")

    answer = run_while(sandbox, prefix, land, moment="looking")  # the newest of all

    assert answer.outcome is Outcome.PASS, answer.summary
    assert answer.data["key"].startswith(f"{prefix}solvereign_staging_")
    assert f"ignored: {key}, whose metadata environment is production" in answer.evidence.seen


def test_a_job_that_takes_too_long_is_an_error(sandbox):
    """A Job that still runs at the deadline is an ERROR; it is stopped and nothing is left to undo."""
    undo, before = RecordingUndo(), jobs(sandbox)
    answer = run("backup_job", {}, staging_target(sandbox), undo=undo, seconds=0.1).answer

    assert answer.outcome is Outcome.ERROR
    assert "is still running" in answer.summary
    assert len(undo.records) == 1
    assert undo.open == []
    assert jobs(sandbox).keys() <= before.keys()


def test_a_finished_job_is_left_to_its_cronjob(sandbox):
    """The finished Job stays for its log, and undoing twice or what is gone does no harm."""
    undo = RecordingUndo()
    run("backup_job", {}, staging_target(sandbox), undo=undo)
    ((_, payload),) = undo.records.values()
    with Clients(staging_target(sandbox)) as clients:
        ctx = context(staging_target(sandbox), clients, cancelled=Pauses())
        for record in (payload, {**payload, "job": "backup-manual-gone"}):
            Registry.load().get("backup_job").undo(record, ctx)

    assert payload["job"] in jobs(sandbox)


def test_an_unreachable_bucket_is_an_error(sandbox):
    """If the bucket cannot be listed the answer is ERROR, and no Job is started."""
    before = jobs(sandbox)
    target = with_changes(staging_target(sandbox), backup={"endpoint_url": closed_port_url()})
    answer = run("backup_job", {}, target).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith("cannot list s3://")
    assert jobs(sandbox).keys() - before.keys() == set()


def test_an_unknown_cronjob_is_an_error(sandbox):
    """The error names the missing CronJob."""
    target = with_changes(staging_target(sandbox), backup={"cronjob": "nightly"})
    answer = run("backup_job", {}, target).answer

    assert answer.outcome is Outcome.ERROR
    assert "read cronjob nightly" in answer.summary


class Cluster(Replies):
    """A cluster with a CronJob that answers 503 to the creation of a Job, and with ``then`` when asked for that Job."""

    def __init__(self, then: int) -> None:
        super().__init__({})
        self.then = then

    def answer(self, request: Request) -> Reply:
        """By the kind of request, since the Job's name is the bot's to choose."""
        self.requests.append(request)
        if "/cronjobs/" in request.path:
            pod: dict[str, Any] = {"template": {"spec": {"containers": []}}}
            return Reply(200, {"metadata": {"name": "nightly", "uid": "1"}, "spec": {"jobTemplate": {"spec": pod}}})
        return Reply(503 if request.method == "POST" else self.then, {})

    def make(self) -> None:
        """Let the Job exist and run from now on."""
        self.then = 200


@pytest.mark.parametrize(
    ("then", "message", "open_undos", "is_late"),
    [
        (404, "", 0, False),
        (404, "", 0, True),
        (503, r"; then Kubernetes failed to stop job \S+ in \S+: 503 .*", 1, False),
    ],
)
def test_a_job_that_cannot_be_created_is_an_error(sandbox, tmp_path, then, message, open_undos, is_late):
    """The error comes first; if nobody knows whether the Job exists, the undo record stays open; a late Job is stopped."""
    undo = RecordingUndo()
    with Cluster(then) as cluster:
        target = with_vendor_at(staging_target(sandbox), "kube", cluster.url, tmp_path)
        pauses = Pauses(cluster.make) if is_late else Pauses()
        answer = run("backup_job", {}, target, undo=undo, cancelled=pauses).answer

    assert answer.outcome is Outcome.ERROR
    assert re.fullmatch(
        rf"Kubernetes failed to create job \S+ in \S+: 503 Service Unavailable{message}", answer.summary
    )
    assert len(undo.open) == open_undos
    warning = re.search(r"checked for 2 s\. Job \S+ may keep running in \S+ until it ends\.$", answer.hint)
    assert bool(warning) == (not open_undos)
    assert [request.method for request in cluster.requests].count("DELETE") == is_late


def test_the_check_is_refused_on_production(sandbox):
    """The kind starts a Job, so it is refused on production."""
    assert run("backup_job", {}, production_target(sandbox)).outcome is Outcome.ERROR
