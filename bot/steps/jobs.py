"""The Jobs in the namespace of a Target, as raw JSON: made, read, and what their pods have printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bot.errors import StepError
from bot.steps.cluster import FIELD_MANAGER, status_of, step_errors
from checks.clients import kube_errors

if TYPE_CHECKING:
    from bot.steps.contract import Look

LOG_LIMIT = 256 * 1024  # bytes of the log that are kept
COMPLETE, FAILED = "Complete", "Failed"  # the conditions of a Job that has ended


class Jobs:
    """The Jobs of the namespace of a Target."""

    def __init__(self, look: Look) -> None:
        if look.target.kubernetes is None:
            raise StepError(
                f"{look.target.name} has no kubernetes section", hint=f"Set targets.{look.target.name}.kubernetes."
            )
        self.namespace = look.target.kubernetes.namespace
        with step_errors():
            self._clients = look.clients.kube()
        self._call: dict[str, Any] = {"_preload_content": False, "_request_timeout": self._clients.timeout}

    def get(self, name: str) -> dict[str, Any] | None:
        """A Job; None when there is none of that name."""
        try:
            with step_errors(), kube_errors(f"read job/{name} in {self.namespace}"):
                answer = self._clients.batch.read_namespaced_job(name, self.namespace, **self._call)
                return dict(json.loads(answer.data))
        except StepError as error:
            if status_of(error) == 404:  # noqa: PLR2004  not found
                return None
            raise

    def create(self, body: Mapping[str, Any]) -> None:
        """Make a Job; one of that name that is there already stays. Raises NoAnswer: look again."""
        with step_errors(), kube_errors(f"create job/{body['metadata']['name']} in {self.namespace}"):
            self._clients.batch.create_namespaced_job(
                self.namespace, dict(body), field_manager=FIELD_MANAGER, **self._call
            )

    def log(self, name: str) -> str:
        """What the newest pod of a Job has printed so far; empty while it has not started."""
        with step_errors(), kube_errors(f"list pods in {self.namespace}"):
            answer = self._clients.core.list_namespaced_pod(
                self.namespace, label_selector=f"job-name={name}", **self._call
            )
        pods = sorted(json.loads(answer.data)["items"], key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        if not pods or not any(
            "waiting" not in (status.get("state") or {"waiting": {}})
            for status in pods[-1].get("status", {}).get("containerStatuses", [])
        ):
            return ""
        pod = pods[-1]["metadata"]["name"]
        with step_errors(), kube_errors(f"read the log of {pod} in {self.namespace}"):
            answer = self._clients.core.read_namespaced_pod_log(
                pod, self.namespace, limit_bytes=LOG_LIMIT, **self._call
            )
        return bytes(answer.data).decode(errors="replace")


def ended_as(job: Mapping[str, Any]) -> str | None:
    """COMPLETE or FAILED; None while it runs."""
    for condition in job.get("status", {}).get("conditions") or []:
        if condition.get("type") in {COMPLETE, FAILED} and condition.get("status") == "True":
            return str(condition["type"])
    return None
