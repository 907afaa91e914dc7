"""Changes to the Deployment: set its image by digest, put back a recorded pod template. Raw JSON, so no field is lost."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any

from bot.domain.actions import RestoreBackend, SetImage
from bot.errors import StepError
from bot.steps.contract import StepContext
from bot.steps.rollout import REVISION, image_of, judge, pod_trouble, same_template, without_hash
from checks.clients import KubeClients, kube_errors
from checks.contract import CheckError
from checks.target import Kubernetes

FIELD_MANAGER = "release-bot"
CHANGE_CAUSE = "kubernetes.io/change-cause"  # what `kubectl rollout history` shows: the human version beside the digest
RESTORE = "release-bot/restore"  # which attempt at a rollback wrote last
POLLS = (0.2, 0.3, 0.5, 1.0)  # seconds between two looks at a rollout: quick at first, the last one stays
CONFLICTS = 20  # the controller writes the status all the time, so a lost optimistic lock is normal; forever is not


class Cluster:
    """The Deployment of a Target, read and patched as raw JSON."""

    def __init__(self, ctx: StepContext) -> None:
        if ctx.target.kubernetes is None:
            raise StepError(
                f"{ctx.target.name} has no kubernetes section",
                hint=f"Set targets.{ctx.target.name}.kubernetes in release-bot.yml.",
            )
        self.where: Kubernetes = ctx.target.kubernetes
        with _step_errors():
            self._clients: KubeClients = ctx.clients.kube()
        self._call = {"_preload_content": False, "_request_timeout": self._clients.timeout}

    def deployment(self) -> dict[str, Any]:
        """The Deployment as it is now."""
        with _step_errors(), kube_errors(f"read deployment/{self.where.deployment} in {self.where.namespace}"):
            answer = self._clients.apps.read_namespaced_deployment(
                self.where.deployment, self.where.namespace, **self._call
            )
            return dict(json.loads(answer.data))

    def owned(self, deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The ReplicaSets that the Deployment controls."""
        labels = ",".join(
            f"{key}={value}" for key, value in deployment["spec"]["selector"].get("matchLabels", {}).items()
        )
        with _step_errors(), kube_errors(f"list replicasets in {self.where.namespace}"):
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
        with _step_errors(), kube_errors(f"list pods in {self.where.namespace}"):
            answer = self._clients.core.list_namespaced_pod(
                self.where.namespace, label_selector=f"pod-template-hash={wanted}", **self._call
            )
            return pod_trouble(json.loads(answer.data)["items"])

    def patch(self, body: object) -> bool:
        """Patch the Deployment (dict: strategic merge, list: JSON patch); False when somebody else was faster.

        The body carries the resourceVersion that was seen, so a patch of a state that is no more is a conflict.

        A reply that is lost counts as False too: the caller looks again and sees whether it was carried out.
        """
        with _step_errors():
            try:
                with kube_errors(f"change deployment/{self.where.deployment} in {self.where.namespace}"):
                    self._clients.apps.patch_namespaced_deployment(
                        self.where.deployment, self.where.namespace, body, field_manager=FIELD_MANAGER, **self._call
                    )
            except CheckError as error:
                if _may_be_tried_again(error):
                    return False
                raise
        return True


def _may_be_tried_again(error: CheckError) -> bool:
    """A conflict, a server in trouble, or no reply: look again. A refusal is final."""
    status = getattr(error.__cause__, "status", None)
    return not status or status in {409, 429} or status >= 500  # noqa: PLR2004  the class of server errors


@contextmanager
def _step_errors() -> Iterator[None]:
    """The seam to the vendor's errors: what the clients say becomes the step's error, with its hint."""
    try:
        yield
    except CheckError as error:
        raise StepError(error.summary, hint=error.hint) from error


def set_image(spec: SetImage, ctx: StepContext) -> str:
    """Set the image of the Deployment by digest and wait until the rollout is complete.

    Looks before it acts, so a second call after a crash changes nothing that the first has done. Raises StepError when
    the Deployment cannot take it (paused, no replicas, no such container, changed by somebody else) or the rollout fails.
    """
    cluster = Cluster(ctx)
    deployment = cluster.deployment()
    _refuse_unfit(deployment, cluster.where)
    if ctx.rollback_target is None:
        ctx.record_target(_where_we_are(deployment, cluster))
    was = image_of(deployment["spec"]["template"], cluster.where.container)
    ctx.journal.before(image=was, revision=_revision(deployment))
    if was != ctx.shipment.image:
        _patch_image(spec, ctx, cluster, deployment)
        ctx.journal.acted(image=ctx.shipment.image)
    _wait_for_rollout(ctx, cluster, ctx.shipment.image)
    return f"{ctx.shipment.version} runs as {ctx.shipment.image}"


def restore_backend(spec: RestoreBackend, ctx: StepContext) -> str:  # noqa: ARG001  the same shape as every action
    """Put back the pod template that was recorded before the deploy and wait until the rollout is complete.

    Never relative: doing it twice ends at the same template (promise P6). Writes to the Deployment even when the template
    stands there: a patch of the deploy that may still be on its way then finds another resourceVersion and is refused.
    """
    target = ctx.rollback_target
    if target is None:
        return "nothing was changed, so there is nothing to put back"
    cluster = Cluster(ctx)
    deployment = cluster.deployment()
    image = image_of(target["template"], cluster.where.container) or ""
    ctx.journal.before(
        image=image_of(deployment["spec"]["template"], cluster.where.container), revision=_revision(deployment)
    )
    _refuse_paused(deployment, cluster.where)
    _patch_template(ctx, cluster, target)
    ctx.journal.acted(image=image)
    _wait_for_rollout(ctx, cluster, image)
    return f"back at revision {target['revision']}: {image}"


def _refuse_paused(deployment: Mapping[str, Any], where: Kubernetes) -> None:
    if deployment["spec"].get("paused"):
        raise StepError(
            f"deployment/{where.deployment} is paused", hint=f"kubectl rollout resume deployment/{where.deployment}"
        )


def _refuse_unfit(deployment: Mapping[str, Any], where: Kubernetes) -> None:
    _refuse_paused(deployment, where)
    spec = deployment["spec"]
    if spec.get("replicas", 1) == 0:
        raise StepError(
            f"deployment/{where.deployment} has no replicas, so nothing would run", hint="Scale it up first."
        )
    if image_of(spec["template"], where.container) is None:
        names = ", ".join(entry["name"] for entry in spec["template"]["spec"]["containers"])
        raise StepError(
            f"deployment/{where.deployment} has no container {where.container}",
            hint=f"It has: {names}. Set targets.….kubernetes.container.",
        )


def _revision(deployment: Mapping[str, Any]) -> str:
    return str(deployment["metadata"].get("annotations", {}).get(REVISION, ""))


def _where_we_are(deployment: Mapping[str, Any], cluster: Cluster) -> dict[str, Any]:
    """What a rollback has to put back: revision, ReplicaSet, template and image of this moment."""
    template = without_hash(deployment["spec"]["template"])
    owner = next(
        (item for item in cluster.owned(deployment) if same_template(item["spec"]["template"], template)), None
    )
    if owner is None:
        raise StepError(
            "the Deployment is in the middle of a change: its template has no ReplicaSet yet",
            hint="Wait a moment and retry the step.",
        )
    return {
        "revision": _revision(deployment),
        "replicaset": {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]},
        "template": template,
        "image": image_of(template, cluster.where.container),
        "change_cause": deployment["metadata"].get("annotations", {}).get(CHANGE_CAUSE, ""),
    }


def _patch_image(spec: SetImage, ctx: StepContext, cluster: Cluster, seen: Mapping[str, Any]) -> None:
    """Patch under an optimistic lock; give way only to the controller's own writes, never to another template."""
    template = seen["spec"]["template"]
    was = image_of(template, cluster.where.container)
    container: dict[str, Any] = {"name": cluster.where.container, "image": ctx.shipment.image}
    if spec.version_env:
        container["env"] = [{"name": spec.version_env, "value": ctx.shipment.bare_version}]
    for _ in range(CONFLICTS):
        body = {
            "metadata": {
                "resourceVersion": seen["metadata"]["resourceVersion"],
                "annotations": {CHANGE_CAUSE: f"release-bot: {ctx.shipment.version}"},
            },
            "spec": {"template": {"spec": {"containers": [container]}}},
        }
        # After the look and before each try: a step that was taken from us stops here, or fails on what it has seen.
        ctx.journal.intent(change="image", was=was, becomes=ctx.shipment.image)
        if cluster.patch(body):
            return
        ctx.pause(0.2, "the Deployment to be left alone")
        seen = cluster.deployment()
        if image_of(seen["spec"]["template"], cluster.where.container) == ctx.shipment.image:
            return
        if not same_template(seen["spec"]["template"], template):
            raise StepError(
                f"deployment/{cluster.where.deployment} was changed by somebody else meanwhile",
                hint="Find out who and why. Retry carries on from what stands there now.",
            )
    raise StepError("the Deployment is written to all the time", hint="Is another tool fighting over it?")


def _patch_template(ctx: StepContext, cluster: Cluster, target: Mapping[str, Any]) -> None:
    marks = {
        CHANGE_CAUSE: f"release-bot: back from {ctx.shipment.version}",
        RESTORE: uuid.uuid4().hex,  # never the same twice, so this is always a write
    }
    for _ in range(CONFLICTS):
        seen = cluster.deployment()
        found = seen["metadata"].get("annotations", {})
        if found.get(RESTORE) == marks[RESTORE] and same_template(seen["spec"]["template"], target["template"]):
            return  # it was carried out and only its reply was lost
        body = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": seen["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/metadata/annotations", "value": {**found, **marks}},
            {"op": "replace", "path": "/spec/template", "value": target["template"]},
        ]
        ctx.journal.intent(change="template", becomes=target["image"], revision=target["revision"])
        if cluster.patch(body):
            return
        ctx.pause(0.2, "the Deployment to be left alone")
    raise StepError("the Deployment is written to all the time", hint="Is another tool fighting over it?")


def _wait_for_rollout(ctx: StepContext, cluster: Cluster, image: str) -> None:
    for pause in chain(POLLS, repeat(POLLS[-1])):
        deployment = cluster.deployment()
        found = image_of(deployment["spec"]["template"], cluster.where.container)
        if found != image:
            raise StepError(
                f"somebody else changed the image to {found} during the rollout",
                hint="Find out who. Then retry or roll back.",
            )
        rollout = judge(deployment)
        if rollout.done:
            ctx.journal.observed(rollout=rollout.line, revision=_revision(deployment))
            return
        if rollout.failed:
            trouble = "; ".join(cluster.trouble(deployment)) or "no pod says why"
            ctx.journal.observed(rollout=rollout.line, pods=trouble)
            raise StepError(
                f"{rollout.line}: {trouble}",
                hint="The old pods still serve. Look at the new ones, then retry or roll back.",
            )
        ctx.journal.progress(rollout.line)
        ctx.pause(pause, "the rollout")
