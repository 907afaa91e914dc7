"""The job and cronjob controllers: run pods to their end, by hand or by schedule."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.kube.deployments import is_active
from sandbox.kube.resources import CRONJOBS, JOBS, PODS
from sandbox.kube.store import Store, now, parse_time
from sandbox.kube.syncing import sync_each

Json = dict[str, Any]

RETRY_SECONDS = 0.5  # doubles with each failure, to RETRY_LIMIT_SECONDS (10 s to 6 min on a real cluster)
RETRY_LIMIT_SECONDS = 8.0


class JobController:
    """Creates the pods of each Job and tells when it is Complete or Failed."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def sync_all(self) -> float | None:
        """One look at every Job; seconds until a retry or a deadline is due, if any."""
        return sync_each(self.store.objects(JOBS), self.sync)

    def sync(self, job: Json) -> float | None:
        """One step for one Job."""
        if job["metadata"].get("deletionTimestamp") or not self.store.find(
            JOBS, job["metadata"]["namespace"], job["metadata"]["name"]
        ):
            return None
        if finished_condition(job):
            return self._expire(job)
        pods = self.store.owned(PODS, job)
        active = [pod for pod in pods if is_active(pod)]
        succeeded = [pod for pod in pods if pod["status"].get("phase") == "Succeeded"]
        failed = [pod for pod in pods if pod["status"].get("phase") == "Failed"]
        status: Json = {"startTime": job["status"].get("startTime") or now()}
        wait, verdict = self._judge(job, status["startTime"], (len(active), len(succeeded)), failed)
        if verdict:
            self._finish(job, status, verdict, active)
            active = []
        elif wait is None and not job["spec"].get("suspend"):
            wanted = min(job["spec"]["parallelism"], job["spec"]["completions"] - len(succeeded))
            for _ in range(wanted - len(active)):
                active.append(self._create_pod(job))
        counts = {"active": len(active), "succeeded": len(succeeded), "failed": len(failed)}
        status |= {key: value for key, value in counts.items() if value}
        self.store.update(JOBS, job | {"status": status}, status=True)
        return wait

    def _judge(
        self, job: Json, started: str, counts: tuple[int, int], failed: list[Json]
    ) -> tuple[float | None, tuple[str, str, str] | None]:
        """(seconds to wait before the next pod or the deadline, verdict (type, reason, message) once it is over)."""
        spec, (active, succeeded) = job["spec"], counts
        if succeeded >= spec["completions"]:
            return None, ("Complete", "", "")
        restarts = sum(_restarts(pod) for pod in self.store.owned(PODS, job)) if active else 0
        if len(failed) > spec["backoffLimit"] or restarts > spec["backoffLimit"]:
            return None, ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        limit, wait = spec.get("activeDeadlineSeconds"), None
        if limit is not None:
            wait = limit - _seconds_since(started)
            if wait <= 0:
                return None, ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        if failed and not active:
            pause = min(RETRY_SECONDS * 2 ** (len(failed) - 1), RETRY_LIMIT_SECONDS)
            left = pause - min(_seconds_since(_ended(pod)) for pod in failed)
            return (left if left > 0 else None), None
        return (wait if active else None), None

    def _finish(self, job: Json, status: Json, verdict: tuple[str, str, str], active: list[Json]) -> None:
        kind, reason, message = verdict
        for pod in active:
            self.store.mark_deleted(PODS, pod, grace=pod["spec"]["terminationGracePeriodSeconds"])
        condition = {"type": kind, "status": "True", "lastProbeTime": now(), "lastTransitionTime": now()}
        condition |= {"reason": reason, "message": message} if reason else {}
        status["conditions"] = [condition]
        if kind == "Complete":
            status["completionTime"] = now()
            self.store.event(job, "Completed", "Job completed")
        else:
            self.store.event(job, reason, message, "Warning")

    def _expire(self, job: Json) -> float | None:
        """Delete a finished Job after `ttlSecondsAfterFinished`; seconds until then."""
        condition, lifetime = finished_condition(job), job["spec"].get("ttlSecondsAfterFinished")
        if condition is None or lifetime is None:
            return None
        left = float(lifetime) - _seconds_since(condition["lastTransitionTime"])
        if left <= 0:
            self.store.remove(JOBS, job["metadata"]["namespace"], job["metadata"]["name"])
        return left if left > 0 else None

    def _create_pod(self, job: Json) -> Json:
        meta, template = job["metadata"], copy.deepcopy(job["spec"]["template"])
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
        metadata = template["metadata"] | {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]}
        metadata["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
        pod = self.store.create(PODS, {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}})
        self.store.event(job, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return pod


class CronJobController:
    """Makes Jobs by schedule (UTC), and deletes the old ones."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def sync_all(self) -> float | None:
        """One look at every CronJob; seconds until the next full minute if one has a schedule to keep."""
        return sync_each(self.store.objects(CRONJOBS), self.sync)

    def sync(self, cron: Json) -> float:
        """Start the Job of this minute if it is due, note what runs, drop what history no longer keeps.

        Seconds until the next minute.
        """
        moment = datetime.now(UTC)
        minute = moment.replace(second=0, microsecond=0)
        jobs = self.store.owned(JOBS, cron)
        running = [job for job in jobs if not finished_condition(job)]
        status = copy.deepcopy(cron.get("status") or {})
        last = status.get("lastScheduleTime") or cron["metadata"]["creationTimestamp"]
        due = schedule_matches(cron["spec"]["schedule"], minute) and minute > parse_time(last)
        blocked = cron["spec"]["concurrencyPolicy"] == "Forbid" and running
        if due and not cron["spec"]["suspend"] and not blocked:
            running.append(self._start(cron, minute))
            status["lastScheduleTime"] = minute.strftime("%Y-%m-%dT%H:%M:%SZ")
        status.pop("active", None)
        if running:
            keys = ("name", "namespace", "uid", "resourceVersion")
            status["active"] = [
                {"kind": "Job", "apiVersion": "batch/v1"} | {key: job["metadata"][key] for key in keys}
                for job in running
            ]
        ends = [job["status"]["completionTime"] for job in jobs if job["status"].get("completionTime")]
        if ends:
            status["lastSuccessfulTime"] = max(ends)
        self.store.update(CRONJOBS, cron | {"status": status}, status=True)
        self._forget(cron, jobs, "Complete", "successfulJobsHistoryLimit")
        self._forget(cron, jobs, "Failed", "failedJobsHistoryLimit")
        return 60.05 - (moment - minute).total_seconds()

    def _start(self, cron: Json, minute: datetime) -> Json:
        meta, template = cron["metadata"], copy.deepcopy(cron["spec"]["jobTemplate"])
        owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": meta["name"], "uid": meta["uid"]}
        metadata = template.get("metadata") or {}
        metadata |= {"name": f"{meta['name']}-{int(minute.timestamp()) // 60}", "namespace": meta["namespace"]}
        metadata["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
        job = self.store.create(JOBS, {"metadata": metadata, "spec": template["spec"]})
        self.store.event(cron, "SuccessfulCreate", f"Created job {metadata['name']}")
        return job

    def _forget(self, cron: Json, jobs: list[Json], kind: str, limit: str) -> None:
        ended = [job for job in jobs if (finished_condition(job) or {}).get("type") == kind]
        ended.sort(key=lambda job: str(job["status"].get("startTime", "")))
        for job in ended[: max(0, len(ended) - int(cron["spec"][limit]))]:
            self.store.remove(JOBS, job["metadata"]["namespace"], job["metadata"]["name"])


def finished_condition(job: Json) -> Json | None:
    """The condition Complete or Failed of a Job that has ended, or None."""
    conditions: list[Json] = (job.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)


def schedule_matches(schedule: str, minute: datetime) -> bool:
    """Whether a five-field cron expression (numbers, *, lists, ranges, steps) fires in this minute."""
    minutes, hours, days, months, weekdays = schedule.split()
    in_month = _field_matches(days, minute.day, 1, 31)
    in_week = _field_matches(weekdays.replace("7", "0"), minute.isoweekday() % 7, 0, 6)
    day = (in_month or in_week) if "*" not in (days, weekdays) else (in_month and in_week)
    return (
        day
        and _field_matches(minutes, minute.minute, 0, 59)
        and _field_matches(hours, minute.hour, 0, 23)
        and _field_matches(months, minute.month, 1, 12)
    )


def _field_matches(field: str, value: int, low: int, high: int) -> bool:
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = low if first == "*" else int(first)
        end = int(last) if last else high if first == "*" or step else start
        if start <= value <= end and (value - start) % int(step or 1) == 0:
            return True
    return False


def _restarts(pod: Json) -> int:
    return sum(int(s.get("restartCount", 0)) for s in pod["status"].get("containerStatuses") or [])


def _ended(pod: Json) -> str:
    times = [
        str(s["state"]["terminated"]["finishedAt"])
        for s in pod["status"].get("containerStatuses") or []
        if "terminated" in s["state"]
    ]
    return max(times, default=pod["metadata"]["creationTimestamp"])


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - parse_time(moment)) / timedelta(seconds=1)
