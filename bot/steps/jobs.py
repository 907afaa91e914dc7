"""The Jobs in the namespace of a Target, as raw JSON: creates them, and reads their state and logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bot.steps.contract import step_errors
from clients.cluster import FIELD_MANAGER, NOT_FOUND, kube_errors
from clients.errors import ClientError
from clients.pods import STARTING, read_log_ends
from clients.target import require

if TYPE_CHECKING:
    from bot.steps.contract import StepInspection
    from clients.pods import LogEnds

HEAD, TAIL = 64 * 1024, 192 * 1024  # bytes of a log that are kept: of its beginning and, where errors stand, of its end
LAST_LINES, LAST_BYTES = 20, 16 * 1024  # of a log that is still written
JOB_COMPLETE, JOB_FAILED = "Complete", "Failed"  # how a Job has ended, by its conditions
JOB_GONE = "Gone"  # somebody has deleted it
BACKOFF = "BackoffLimitExceeded"  # a pod of it has failed
DEADLINE = "DeadlineExceeded"  # Kubernetes has stopped it: its activeDeadlineSeconds were over
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"  # the annotation that kubectl logs goes by

Pod = Mapping[str, Any]


@dataclass(frozen=True)
class JobState:
    """A Job at one moment."""

    end: str | None  # COMPLETE, FAILED or GONE, and nothing of it runs; None: it is not known to be over
    reason: str  # why it failed, in Kubernetes' words
    pods: Sequence[Pod]  # the oldest first


class Jobs:
    """The Jobs of the namespace of a Target."""

    def __init__(self, inspection: StepInspection) -> None:
        with step_errors():
            self.namespace = require(inspection.target.kubernetes, inspection.target, "kubernetes").namespace
            self._kube = inspection.clients.kube()

    def get(self, name: str) -> dict[str, Any] | None:
        """A Job; None when there is none of that name."""
        with step_errors():
            try:
                with kube_errors(f"read job/{name} in {self.namespace}"):
                    return self._kube.json(self._kube.batch.read_namespaced_job, name, self.namespace)
            except ClientError as error:
                if error.status != NOT_FOUND:
                    raise
                return None

    def pods(self, name: str) -> list[Pod]:
        """The pods of a Job, the oldest first."""
        with step_errors(), kube_errors(f"list pods in {self.namespace}"):
            listing = self._kube.core.list_namespaced_pod
            pods = self._kube.json(listing, self.namespace, label_selector=f"job-name={name}")["items"]
            return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def read_state(self, name: str) -> JobState:
        """Read the state of a Job. One that failed or was deleted has ended only when all its pods have.

        Before 1.31 Kubernetes calls a Job failed while the pods that it stops still run.
        """
        job, pods = self.get(name), self.pods(name)
        end, reason = (JOB_GONE, "") if job is None else _condition(job)
        is_running = any(pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"} for pod in pods)
        return JobState(None if is_running and end != JOB_COMPLETE else end, reason, pods)

    def create(self, body: Mapping[str, Any]) -> None:
        """Create a Job. Raises NoAnswer when it may have been created or exists already: read it again."""
        with step_errors(), kube_errors(f"create job/{body['metadata']['name']} in {self.namespace}"):
            create = self._kube.batch.create_namespaced_job
            self._kube.json(create, self.namespace, dict(body), field_manager=FIELD_MANAGER)

    def log(self, pods: Sequence[Pod]) -> LogEnds | None:
        """Return the log of the newest of ``pods``; None if there is none, or it has not begun."""
        return self._read(pods, head=HEAD, tail=TAIL)

    def last_lines(self, pods: Sequence[Pod]) -> list[str]:
        """Return the last lines of the log of the newest of ``pods``."""
        log = self._read(pods, head=0, tail=LAST_BYTES, tail_lines=LAST_LINES)
        return [] if log is None else lines_of(log.tail)

    def _read(self, pods: Sequence[Pod], **limits: int) -> LogEnds | None:
        if not pods or not _has_begun(pods[-1]):
            return None
        pod = pods[-1]["metadata"]["name"]
        with step_errors():
            return read_log_ends(
                self._kube,
                pod,
                self.namespace,
                where=f"{pod} in {self.namespace}",
                container=_container(pods[-1]),
                **limits,
            )


def lines_of(log: bytes) -> list[str]:
    """The lines that are not empty."""
    return [line for line in log.decode(errors="replace").splitlines() if line.strip()]


def trouble_of(pods: Sequence[Pod]) -> str:
    """Return why the newest of ``pods`` does not begin, such as ImagePullBackOff; empty if nothing is wrong."""
    reasons = [
        (status.get("state") or {}).get("waiting", {}).get("reason", "")
        for pod in pods[-1:]
        for status in _statuses(pod)
    ]
    return next((reason for reason in reasons if reason and reason not in STARTING), "")


def _condition(job: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return JOB_COMPLETE or JOB_FAILED, with the reason; None while the Job runs."""
    for condition in job.get("status", {}).get("conditions") or []:
        if condition.get("type") in {JOB_COMPLETE, JOB_FAILED} and condition.get("status") == "True":
            reason = str(condition.get("reason") or "")
            # The controller that loses a write at the deadline counts the pod that it has just stopped as one that failed.
            return str(condition["type"]), DEADLINE if reason == BACKOFF and _is_past_deadline(
                job, condition
            ) else reason
    return None, ""


def _is_past_deadline(job: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    """Return whether the Job ended no earlier than its activeDeadlineSeconds after its start; Kubernetes tells whole seconds."""
    start, end = job["status"].get("startTime"), condition.get("lastTransitionTime")
    limit = job["spec"].get("activeDeadlineSeconds")
    if not (start and end and limit):
        return False
    return datetime.fromisoformat(end) - datetime.fromisoformat(start) >= timedelta(seconds=limit)


def _container(pod: Pod) -> str:
    """Return the name of the container whose log `kubectl logs` would show."""
    name = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    return str(name or pod["spec"]["containers"][0]["name"])


def _has_begun(pod: Pod) -> bool:
    states = [status.get("state") or {} for status in _statuses(pod) if status.get("name") == _container(pod)]
    return any("waiting" not in state for state in states if state)


def _statuses(pod: Pod) -> Sequence[Mapping[str, Any]]:
    return pod.get("status", {}).get("containerStatuses") or []
