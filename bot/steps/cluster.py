"""The cluster of a Target as the steps use it: read and patched as raw JSON, so that no field is lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.steps.contract import StepInspection, step_errors
from bot.steps.rollout import pod_trouble, same_template
from clients.cluster import FIELD_MANAGER, KubeClients, kube_errors
from clients.settings import Kubernetes
from clients.target import require

AGAIN = 0.2  # seconds until the next attempt after a conflict
CONFLICTS = 20  # attempts: the controller writes the status all the time, so a few conflicts are normal


class DeploymentClient:
    """The Deployment of a Target, read and patched as raw JSON."""

    def __init__(self, ctx: StepInspection) -> None:
        with step_errors():
            self.where: Kubernetes = require(ctx.target.kubernetes, ctx.target, "kubernetes")
            self._kube: KubeClients = ctx.clients.kube()

    def deployment(self) -> dict[str, Any]:
        """The Deployment as it is now."""
        with step_errors(), kube_errors(f"read deployment/{self.where.deployment} in {self.where.namespace}"):
            call = self._kube.apps.read_namespaced_deployment
            return self._kube.json(call, self.where.deployment, self.where.namespace)

    def replica_sets(self, deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The ReplicaSets that the Deployment controls."""
        labels = ",".join(
            f"{key}={value}" for key, value in deployment["spec"]["selector"].get("matchLabels", {}).items()
        )
        with step_errors(), kube_errors(f"list replicasets in {self.where.namespace}"):
            listing = self._kube.apps.list_namespaced_replica_set
            items = self._kube.json(listing, self.where.namespace, label_selector=labels)["items"]
        uid = deployment["metadata"]["uid"]
        return [
            item for item in items if any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences", []))
        ]

    def trouble(self, deployment: Mapping[str, Any]) -> list[str]:
        """Return one line for each problem of the pods of the newest ReplicaSet."""
        current = [
            item
            for item in self.replica_sets(deployment)
            if same_template(item["spec"]["template"], deployment["spec"]["template"])
        ]
        if not current:
            return []
        with step_errors(), kube_errors(f"list pods in {self.where.namespace}"):
            selector = f"pod-template-hash={current[0]['metadata']['labels'].get('pod-template-hash', '')}"
            listing = self._kube.core.list_namespaced_pod
            return pod_trouble(self._kube.json(listing, self.where.namespace, label_selector=selector)["items"])

    def replace(self, current: Mapping[str, Any], annotations: Mapping[str, str], path: str, value: object) -> None:
        """Put ``value`` at ``path`` of the Deployment as it was read (``current``), and add annotations. Raises as `patch`."""
        metadata = current["metadata"]
        new_annotations = {**metadata.get("annotations", {}), **annotations}
        self.patch(
            [
                {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
                {"op": "add", "path": "/metadata/annotations", "value": new_annotations},
                {"op": "add", "path": path, "value": value},
            ]
        )

    def patch(self, body: object) -> None:
        """Patch the Deployment (dict: strategic merge, list: JSON patch).

        The body has the resourceVersion that was read, so that a patch of an outdated state is a conflict. Raises NoAnswer for a
        conflict, and when the reply is lost: the caller reads the Deployment again.
        """
        with step_errors(), kube_errors(f"change deployment/{self.where.deployment} in {self.where.namespace}"):
            patch = self._kube.apps.patch_namespaced_deployment
            self._kube.json(patch, self.where.deployment, self.where.namespace, body, field_manager=FIELD_MANAGER)
