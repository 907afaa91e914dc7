"""The job and cronjob controllers: run one pod after the other until one succeeds, and keep the last Jobs of a CronJob.

A CronJob starts no Job by itself here: the bot runs the backup by hand, and nobody waits for the next night.
"""

from __future__ import annotations

from typing import Any

from sandbox.kube.replicasets import create_pod, is_active
from sandbox.kube.resources import CRONJOBS, JOBS, PODS
from sandbox.kube.store import ObjectStore, now, seconds_since
from sandbox.kube.syncing import sync_each

Json = dict[str, Any]

RETRY_SECONDS = 0.5  # doubles with each failure, to RETRY_LIMIT_SECONDS (10 s to 6 min on a real cluster)
RETRY_LIMIT_SECONDS = 8.0
JobVerdict = tuple[str, str, str]  # condition, reason, message


class JobController:
    """Creates the pods of each Job and tells when it is Complete or Failed."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def sync_all(self) -> float | None:
        """One look at every Job; seconds until a retry or a deadline is due, if any."""
        return sync_each(self._store.objects(JOBS), self._sync)

    def _sync(self, job: Json) -> float | None:
        if finished_condition(job):
            return None
        pods = self._store.owned_by(PODS, job)
        active = [pod for pod in pods if is_active(pod)]
        failed_pods = [pod for pod in pods if pod["status"].get("phase") == "Failed"]
        has_succeeded = any(pod["status"].get("phase") == "Succeeded" for pod in pods)
        status: Json = {"startTime": job["status"].get("startTime") or now()}
        pause, running = None, len(active)
        if verdict := _verdict(job, status["startTime"], has_succeeded, len(failed_pods)):
            self._finish(status, verdict, active)
            running = 0
        elif active:
            pause = _seconds_to_deadline(job, status["startTime"])
        elif failed_pods and (seconds := _seconds_to_retry(failed_pods)) > 0:
            pause = seconds
        else:
            create_pod(self._store, job)
            running = 1
        counts = {"active": running, "succeeded": int(has_succeeded), "failed": len(failed_pods)}
        status |= {key: value for key, value in counts.items() if value}
        self._store.update(JOBS, job | {"status": status}, status=True)
        return pause

    def _finish(self, status: Json, verdict: JobVerdict, active: list[Json]) -> None:
        kind, reason, message = verdict
        for pod in active:
            self._store.mark_deleted(PODS, pod, grace=pod["spec"]["terminationGracePeriodSeconds"])
        condition = {"type": kind, "status": "True", "lastProbeTime": now(), "lastTransitionTime": now()}
        status["conditions"] = [condition | ({"reason": reason, "message": message} if reason else {})]
        if kind == "Complete":
            status["completionTime"] = now()


class CronJobController:
    """Notes when a Job of each CronJob has succeeded last, and deletes its old Jobs."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def sync_all(self) -> float | None:
        """One look at every CronJob; seconds until one has to be tried again, if any."""
        return sync_each(self._store.objects(CRONJOBS), self._sync)

    def _sync(self, cron: Json) -> None:
        jobs = self._store.owned_by(JOBS, cron)
        if end_times := [job["status"]["completionTime"] for job in jobs if job["status"].get("completionTime")]:
            status = cron["status"] | {"lastSuccessfulTime": max(end_times)}
            self._store.update(CRONJOBS, cron | {"status": status}, status=True)
        self._forget(jobs, "Complete", cron["spec"]["successfulJobsHistoryLimit"])
        self._forget(jobs, "Failed", cron["spec"]["failedJobsHistoryLimit"])

    def _forget(self, jobs: list[Json], kind: str, limit: int) -> None:
        finished_jobs = [job for job in jobs if (finished_condition(job) or {}).get("type") == kind]
        finished_jobs.sort(key=lambda job: str(job["status"]["startTime"]))
        for job in finished_jobs[: max(0, len(finished_jobs) - limit)]:
            self._store.remove(JOBS, job["metadata"]["namespace"], job["metadata"]["name"])


def finished_condition(job: Json) -> Json | None:
    """The condition Complete or Failed of a Job that has ended, or None."""
    conditions: list[Json] = job["status"].get("conditions") or []
    return next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)


def _verdict(job: Json, start_time: str, has_succeeded: bool, failures: int) -> JobVerdict | None:
    """How a Job ended, or None while it runs."""
    if has_succeeded:
        return "Complete", "", ""
    if failures > job["spec"]["backoffLimit"]:
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    seconds = _seconds_to_deadline(job, start_time)
    if seconds is not None and seconds <= 0:
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def _seconds_to_deadline(job: Json, start_time: str) -> float | None:
    """Until `activeDeadlineSeconds` are over; None where the Job has no deadline."""
    limit = job["spec"].get("activeDeadlineSeconds")
    return None if limit is None else float(limit) - seconds_since(start_time)


def _seconds_to_retry(failed_pods: list[Json]) -> float:
    """Until the next pod may start after the last of those that failed; 0 or less once it may."""
    pause: float = min(RETRY_SECONDS * 2 ** (len(failed_pods) - 1), RETRY_LIMIT_SECONDS)
    return pause - min(seconds_since(_end_of(pod)) for pod in failed_pods)


def _end_of(pod: Json) -> str:
    end_times = [
        str(status["state"]["terminated"]["finishedAt"])
        for status in pod["status"].get("containerStatuses") or []
        if "terminated" in status["state"]
    ]
    return max(end_times, default=pod["metadata"]["creationTimestamp"])
