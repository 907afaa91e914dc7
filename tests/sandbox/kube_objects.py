"""Objects and questions that the tests of the simulated cluster share."""

import json
from typing import Any

from kubernetes.client.exceptions import ServiceException

from tests.fix_kube import Json, Kube, eventually

QUICK = {"testbed/ready-after": "50ms"}  # instead of 300 ms, for the sake of the run
REVISION = "deployment.kubernetes.io/revision"


def deploy(kube: Kube, image: str = "app:1", annotations: dict[str, str] | None = None, **spec: Any) -> None:
    """Create the Deployment `web` (two replicas) and return at once."""
    container = {"name": "main", "image": image, "env": [{"name": "MODE", "value": "test"}]}
    template: Json = {"metadata": {"labels": {"app": "web"}, "annotations": QUICK | (annotations or {})}}
    template["spec"] = {"containers": [container]}
    body = {"replicas": 2, "progressDeadlineSeconds": 2, "selector": {"matchLabels": {"app": "web"}}}
    body |= {"template": template, **spec}
    kube.apps.create_namespaced_deployment(kube.namespace, {"metadata": {"name": "web"}, "spec": body})


def deploy_and_wait(kube: Kube, image: str = "app:1", **spec: Any) -> None:
    """The same, and wait until it has rolled out."""
    deploy(kube, image, **spec)
    eventually("the first rollout", lambda: is_rolled_out(kube))


def create_pod(kube: Kube, body: Json, namespace: str = "") -> Any:
    """Create a pod as soon as the namespace is ready for one: a real server first makes a token of its account."""

    def attempt() -> Any:
        try:
            return kube.core.create_namespaced_pod(namespace or kube.namespace, body)
        except ServiceException as error:
            if "No API token found" not in str(error.body):
                raise
            return None

    return eventually("the pod", attempt)


def set_image(kube: Kube, image: str) -> None:
    """Ask for another image, as `kubectl set image` does."""
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
    kube.apps.patch_namespaced_deployment("web", kube.namespace, patch)


def read(kube: Kube) -> Any:
    """The Deployment `web`."""
    return kube.apps.read_namespaced_deployment("web", kube.namespace)


def is_rolled_out(kube: Kube) -> bool:
    """The questions of `kubectl rollout status`."""
    deployment = read(kube)
    status, replicas = deployment.status, deployment.spec.replicas
    current = status.observed_generation == deployment.metadata.generation
    return bool(current and status.replicas == status.updated_replicas == status.available_replicas == replicas)


def progressing(kube: Kube) -> str:
    """The reason of the condition Progressing, or ''."""
    conditions = read(kube).status.conditions or []
    return next((str(c.reason) for c in conditions if c.type == "Progressing"), "")


def revisions(kube: Kube) -> dict[int, str]:
    """Revision to image of every ReplicaSet."""
    sets = kube.apps.list_namespaced_replica_set(kube.namespace, label_selector="app=web").items
    return {int(s.metadata.annotations[REVISION]): s.spec.template.spec.containers[0].image for s in sets}


def pods(kube: Kube) -> list[Any]:
    """The pods of `web` that are not on their way out."""
    pods_of_web = kube.core.list_namespaced_pod(kube.namespace, label_selector="app=web").items
    return [pod for pod in pods_of_web if pod.metadata.deletion_timestamp is None]


def images(kube: Kube, settings: Json) -> None:
    """Say how images behave."""
    data = {"images": json.dumps(settings)}
    kube.core.create_namespaced_config_map(kube.namespace, {"metadata": {"name": "testbed-images"}, "data": data})
