"""The cluster of a Target as the steps use it: read and patched as raw JSON, so that no field is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bot.errors import NoAnswer, StepError
from bot.steps.contract import Look
from bot.steps.rollout import pod_trouble, same_template
from checks.clients import KubeClients, kube_errors
from checks.contract import CheckError
from checks.target import Kubernetes

FIELD_MANAGER = "release-bot"
AGAIN = 0.2  # seconds after a lost lock
CONFLICTS = 20  # the controller writes the status all the time, so a lost optimistic lock is normal; forever is not


class Cluster:
    """The Deployment of a Target, read and patched as raw JSON."""

    def __init__(self, ctx: Look) -> None:
        if ctx.target.kubernetes is None:
            raise StepError(
                f"{ctx.target.name} has no kubernetes section",
                hint=f"Set targets.{ctx.target.name}.kubernetes in release-bot.yml.",
            )
        self.where: Kubernetes = ctx.target.kubernetes
        with step_errors():
            self._clients: KubeClients = ctx.clients.kube()
        self._call = {"_preload_content": False, "_request_timeout": self._clients.timeout}

    def deployment(self) -> dict[str, Any]:
        """The Deployment as it is now."""
        with step_errors(), kube_errors(f"read deployment/{self.where.deployment} in {self.where.namespace}"):
            answer = self._clients.apps.read_namespaced_deployment(
                self.where.deployment, self.where.namespace, **self._call
            )
            return dict(json.loads(answer.data))

    def owned(self, deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The ReplicaSets that the Deployment controls."""
        labels = ",".join(
            f"{key}={value}" for key, value in deployment["spec"]["selector"].get("matchLabels", {}).items()
        )
        with step_errors(), kube_errors(f"list replicasets in {self.where.namespace}"):
            answer = self._clients.apps.list_namespaced_replica_set(
                self.where.namespace, label_selector=labels, **self._call
            )
            items = json.loads(answer.data)["items"]
        uid = deployment["metadata"]["uid"]
        return [
            item for item in items if any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences", []))
        ]

    def trouble(self, deployment: Mapping[str, Any]) -> list[str]:
        """What is wrong with the pods of the newest ReplicaSet, one line each."""
        current = [
            item
            for item in self.owned(deployment)
            if same_template(item["spec"]["template"], deployment["spec"]["template"])
        ]
        if not current:
            return []
        wanted = current[0]["metadata"]["labels"].get("pod-template-hash", "")
        with step_errors(), kube_errors(f"list pods in {self.where.namespace}"):
            answer = self._clients.core.list_namespaced_pod(
                self.where.namespace, label_selector=f"pod-template-hash={wanted}", **self._call
            )
            return pod_trouble(json.loads(answer.data)["items"])

    def patch(self, body: object) -> None:
        """Patch the Deployment (dict: strategic merge, list: JSON patch).

        The body carries the resourceVersion that was seen, so a patch of a state that is no more is a conflict. Raises
        NoAnswer when somebody else was faster, and when the reply is lost: the caller looks again and sees what stands there.
        """
        with step_errors(), kube_errors(f"change deployment/{self.where.deployment} in {self.where.namespace}"):
            self._clients.apps.patch_namespaced_deployment(
                self.where.deployment, self.where.namespace, body, field_manager=FIELD_MANAGER, **self._call
            )


def may_be_tried_again(error: CheckError) -> bool:
    """A conflict, a server in trouble, or no reply: look again. A refusal is final."""
    status = getattr(error.__cause__, "status", None)
    return not status or status in {409, 429} or status >= 500  # noqa: PLR2004  the class of server errors


def status_of(error: StepError) -> int:
    """The status with which the API server refused, or 0 when it gave none."""
    return int(getattr(getattr(error.__cause__, "__cause__", None), "status", 0) or 0)


@contextmanager
def step_errors() -> Iterator[None]:
    """The seam to the vendor's errors: what the clients say becomes the step's error, with its hint."""
    try:
        yield
    except CheckError as error:
        if may_be_tried_again(error):
            raise NoAnswer(error.summary, hint=error.hint, retry_after=error.retry_after) from error
        raise StepError(error.summary, hint=error.hint) from error
