"""backup_job: start the backup CronJob once by hand, wait for it, and look at what it wrote to the bucket."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params
from checks.kit.backups import environment_of, handed_on, made_at, objects
from clients.answers import reading
from clients.cluster import kube_errors
from clients.errors import ClientError
from clients.needs import (
    CREATE_BACKUP_JOB,
    LIST_BACKUP_PODS,
    LIST_BACKUPS,
    READ_BACKUP_JOB,
    READ_BACKUP_LOGS,
    READ_BACKUPS,
    READ_CRONJOB,
    STOP_BACKUP_JOB,
    Changes,
    Need,
)
from clients.pods import read_log
from clients.s3 import s3_errors
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from checks.contract import Change, CheckContext
    from clients.cluster import KubeClients
    from clients.settings import Backup

FIELD_MANAGER = "release-bot"
SLUG_LIMIT = 30  # characters of the version in a Job's name, which has at most 63: it becomes a label of its pods
POLL = (0.2, 0.3, 0.5, 1.0, 2.0)  # seconds between two looks at the Job; the last one repeats
NOT_FOUND = 404
TAIL = 40  # log lines of a failed Job
MAGIC = b"PGDMP"  # what pg_dump's custom format starts with
CLOCKS = timedelta(minutes=1)  # by which those of the cluster, of the job's node and of the bucket may differ


class BackupJobParams(Params):
    """What the object that the Job writes must look like."""

    name: str = Field(
        default="*.dump",
        description="Pattern of a dump's name, the last part of its key; `{environment}` stands for the environment.",
    )
    min_size: int = Field(default=100, ge=1, description="Bytes; a smaller object is no backup.")
    environment: str = Field(
        default="", description="The object's metadata `environment` has to be this; empty: the target's own."
    )


@dataclass(frozen=True)
class _Dump:
    """What is new in the bucket: our dump, if there is one, and what was passed over, a phrase each with the reason."""

    key: str
    head: HeadObjectOutputTypeDef | None
    others: tuple[str, ...]


class BackupJob(Kind):
    """Which object is new is told by a listing before and one after, not by clocks, which differ between servers.

    Of those only a dump of the target's environment that was begun after the job is taken: others may write there too.
    """

    name: ClassVar[str] = "backup_job"
    summary: ClassVar[str] = "Runs the backup CronJob once and checks the dump that it wrote"
    params: ClassVar[type[Params]] = BackupJobParams
    timeout: ClassVar[float] = 900.0

    def needs(self, params: BackupJobParams) -> tuple[Need, ...]:
        """To start the Job, to watch it, to stop it where it runs too long, and to see and read what it writes."""
        job = (READ_CRONJOB, CREATE_BACKUP_JOB, READ_BACKUP_JOB, STOP_BACKUP_JOB, LIST_BACKUP_PODS, READ_BACKUP_LOGS)
        return (Changes("backup"), *job, LIST_BACKUPS, READ_BACKUPS)

    def run(self, params: BackupJobParams, ctx: CheckContext) -> Answer:
        """FAIL when the Job fails, writes nothing, or writes something that is no encrypted dump.

        ``data`` of a PASS: the object, for a check that restores it.
        """
        part = require(ctx.target.backup, ctx.target, "backup")
        s3, kube = ctx.clients.s3(), ctx.clients.kube()
        place = f"s3://{part.bucket}/{part.prefix}"
        whose = environment_of(ctx.target, params.environment)
        question = f"job from cronjob/{part.cronjob} in {part.namespace}, then the new object of {whose} in {place}"
        expectation = f"job complete; an encrypted dump of {whose} of more than {params.min_size} bytes"
        before = objects(s3, part)
        start = time.monotonic()
        name = _name(ctx.subject.version)
        payload = {"namespace": part.namespace, "job": name}
        body = _job_of_cronjob(kube, part, name)
        late = f"Job {name} may keep running in {part.namespace} until it ends."
        with self.undo_after(f"job {name} in {part.namespace}", payload, ctx, late=late) as change:
            _create(kube, part, name, body, change)
            ctx.progress(f"waiting for job {name}")
            job = _wait(kube, part, name, ctx)
            change.payload["ended"] = True
        failure = _condition(job, "Failed")
        if failure is not None:
            log = _log_tail(kube, part, job)
            last = log.splitlines()[-1] if log else failure.get("message", "")
            return Answer(
                Outcome.FAIL,
                f"the job failed: {last} ({failure.get('reason', 'Failed')}, {name})",
                Evidence(question, expectation, json.dumps(failure), log, "job-log.txt"),
                hint="The log of the job's pod is attached.",
            )
        ctx.progress(f"looking for its dump, {time.monotonic() - start:.0f} s after the start of the job")
        after = objects(s3, part)
        new = sorted((key for key in after if before.get(key) != after[key]), key=lambda key: after[key], reverse=True)
        with reading("Kubernetes", f"job {name} in {part.namespace}"):
            job_start = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
        dump = _own(s3, part.bucket, new, params.name.replace("{environment}", whose), whose, job_start)
        if dump.head is None:
            instead = f"only {dump.others[0]}" if dump.others else f"though job {name} is complete"
            return Answer(
                Outcome.FAIL,
                "; ".join([f"no new dump of {whose} in {place}, {instead}", *dump.others[1:]]),
                Evidence(question, expectation, "\n".join(dump.others) or f"{len(after)} objects, none of them new"),
                hint="Does the CronJob write to the bucket and prefix in release-bot.yml? Does its environment variable"
                " match the target's `environment`?",
            )
        return _inspect(s3, part.bucket, dump, dump.head, params, Evidence(question, expectation, ""))

    def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
        """Stop a Job that still runs. One that has ended stays, as any of its CronJob, whose history limits remove it."""
        if payload.get("ended"):  # seen just now
            return
        for _ in ctx.undo_attempts():
            if _stop(ctx.clients.kube(), str(payload["namespace"]), str(payload["job"])):
                return


def _name(version: str) -> str:
    """A new name for a Job."""
    slug = re.sub(r"[^a-z0-9]+", "-", version.casefold())[:SLUG_LIMIT].strip("-")
    return "-".join(filter(None, ("backup-manual", slug, str(int(time.time())), secrets.token_hex(2))))


def _job_of_cronjob(kube: KubeClients, part: Backup, name: str) -> dict[str, Any]:
    """The Job that ``kubectl create job --from=cronjob/…`` would create.

    Plain JSON both ways: the client's typed models would drop fields that are newer than the client.
    """
    with kube_errors(f"read cronjob {part.cronjob} in {part.namespace}"):
        cron = kube.json(kube.batch.read_namespaced_cron_job, part.cronjob, part.namespace)
    with reading("Kubernetes", f"cronjob {part.cronjob} in {part.namespace}"):
        template = cron["spec"]["jobTemplate"]
        metadata = template.get("metadata", {})
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "labels": metadata.get("labels", {}),
                "annotations": {"cronjob.kubernetes.io/instantiate": "manual", **metadata.get("annotations", {})},
                # No blockOwnerDeletion: it would need a right on cronjobs/finalizers.
                "ownerReferences": [
                    {
                        "apiVersion": "batch/v1",
                        "kind": "CronJob",
                        "name": cron["metadata"]["name"],
                        "uid": cron["metadata"]["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": template["spec"],
        }


def _create(kube: KubeClients, part: Backup, name: str, body: dict[str, Any], change: Change) -> None:
    """``change`` says whether the cluster may still be at it: it has neither answered nor refused."""
    change.outcome_unknown = True
    try:
        with kube_errors(f"create job {name} in {part.namespace}"):
            kube.batch.create_namespaced_job(
                part.namespace, body, field_manager=FIELD_MANAGER, _request_timeout=kube.timeout
            )
    except ClientError as error:
        change.outcome_unknown = error.outcome_unknown
        raise
    change.outcome_unknown = False


def _stop(kube: KubeClients, namespace: str, name: str) -> bool:
    """Take the Job away unless it has ended; False when there is none."""
    try:
        with kube_errors(f"stop job {name} in {namespace}"):
            job = kube.json(kube.batch.read_namespaced_job, name, namespace)
            if not _has_ended(job):
                kube.batch.delete_namespaced_job(
                    name, namespace, propagation_policy="Background", _request_timeout=kube.timeout
                )
    except ClientError as error:
        if error.status != NOT_FOUND:
            raise
        return False
    return True


def _wait(kube: KubeClients, part: Backup, name: str, ctx: CheckContext) -> dict[str, Any]:
    """Poll until the Job is complete or failed; returns it."""
    look = 0
    while True:
        with kube_errors(f"read job {name} in {part.namespace}"):
            job = kube.json(kube.batch.read_namespaced_job, name, part.namespace)
        with reading("Kubernetes", f"job {name} in {part.namespace}"):
            if _has_ended(job):
                return job
        pause = POLL[min(look, len(POLL) - 1)]
        if ctx.remaining() <= pause:
            raise CheckError(
                f"job {name} is still running, and the time for this check is up",
                hint="The bot stopped it. See how long the last backups took, or set a longer `timeout` in the checklist.",
                seen=json.dumps(job.get("status", {})),
            )
        ctx.wait(pause)
        look += 1


def _has_ended(job: Mapping[str, Any]) -> bool:
    return bool(_condition(job, "Complete") or _condition(job, "Failed"))


def _condition(job: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    for condition in job.get("status", {}).get("conditions") or ():
        if condition.get("type") == kind and condition.get("status") == "True":
            return dict(condition)
    return None


def _log_tail(kube: KubeClients, part: Backup, job: Mapping[str, Any]) -> str:
    """The end of the log of the Job's newest pod; empty when it has none left."""
    labels = job["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    with kube_errors(f"list pods of job {job['metadata']['name']}"):
        pods = kube.core.list_namespaced_pod(
            part.namespace, label_selector=selector, _request_timeout=kube.timeout
        ).items
    if not pods:
        return ""
    newest = max(pods, key=lambda pod: pod.metadata.creation_timestamp)
    name = newest.metadata.name
    return read_log(kube, name, part.namespace, where=name, tail_lines=TAIL).decode(errors="replace").strip()


def _own(s3: S3Client, bucket: str, new: list[str], pattern: str, whose: str, job_began: datetime) -> _Dump:
    """The newest of ``new`` that the job can have written for the environment ``whose``. Newest first."""
    others: list[str] = []
    own: tuple[str, HeadObjectOutputTypeDef | None] = ("", None)
    for key in new:
        if not fnmatchcase(key.rpartition("/")[2], pattern):
            others.append(f"{key}, which is not named {pattern}")
            continue
        with s3_errors(f"read {PurePosixPath(key).name}"):
            head = s3.head_object(Bucket=bucket, Key=key)
        environment = head["Metadata"].get("environment", "")
        dump_start = made_at(head["Metadata"], head["LastModified"])
        if environment != whose:
            others.append(f"{key}, whose metadata environment is {environment or 'not set'}, not {whose}")
        elif dump_start < job_began - CLOCKS:
            others.append(f"{key}, started {dump_start:%Y-%m-%d %H:%M:%S} UTC, before the job")
        elif own[1] is None:
            own = (key, head)
    return _Dump(*own, tuple(others))


def _inspect(
    s3: S3Client, bucket: str, dump: _Dump, head: HeadObjectOutputTypeDef, params: BackupJobParams, evidence: Evidence
) -> Answer:
    key, size = dump.key, head["ContentLength"]
    with s3_errors(f"read {PurePosixPath(key).name}"):
        # An empty object has no first bytes to ask for.
        start = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{len(MAGIC) - 1}")["Body"].read() if size else b""
    # The stubs promise it; servers that speak S3 leave it out.
    encryption = dict(head).get("ServerSideEncryption", "")
    wrong = []
    if size <= params.min_size:
        wrong.append(f"only {size} bytes")
    if start != MAGIC:
        wrong.append("isn't a dump in pg_dump's custom format")
    if not encryption:
        wrong.append("not encrypted at rest")
    environment = head["Metadata"]["environment"]
    details = (
        f"{key}: {size} bytes, starts with {start!r}, encryption {encryption or 'none'}, environment {environment!r}"
    )
    details = "\n".join([details, *(f"ignored: {other}" for other in dump.others)])
    evidence = Evidence(evidence.asked, evidence.expected, details)
    if wrong:
        hint = "Check the backup program and the bucket's settings."
        return Answer(Outcome.FAIL, f"{'; '.join(wrong)}: {key}", evidence, hint=hint)
    return Answer(
        Outcome.PASS,
        f"{key}, {size:,} bytes, encrypted ({encryption})",
        evidence,
        data=handed_on(bucket, key, size),
    )
