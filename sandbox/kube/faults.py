"""Switches that make pods and backups misbehave, through the API only, so that they work on a real API server too."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.kube.behaviour import IMAGES
from sandbox.kube.client import KubeClient, KubeError, until
from sandbox.kube.seed import (
    API_SECRET,
    BACKUP_FAULTS,
    BACKUP_SECRET,
    CONTAINER,
    DEPLOYMENT,
    PRODUCTION,
    STAGING,
    json_log,
)

Json = dict[str, Any]

CRASH_LOG = """\
Traceback (most recent call last):
  File "/app/api/main.py", line 41, in <module>
    settings = Settings()
pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings"""
ERROR_LOG = """\
ERROR:    Exception in ASGI application
Traceback (most recent call last):
  File "/app/api/roster/router.py", line 118, in list_plans
KeyError: 'driver_id'"""


@dataclass(frozen=True)
class ProductPlace:
    """Where the product runs: its two namespaces, at one API server."""

    client: KubeClient
    staging: str
    production: str


async def apply_fault(
    kubeconfig: Path,
    name: str,
    on: bool,
    *,
    staging_namespace: str = STAGING,
    production_namespace: str = PRODUCTION,
) -> None:
    """Move one of the switches in `FAULTS` and return when it shows; off brings the healthy state back.

    Moving a switch to where it is does nothing new. Raises KeyError for another name, KubeError where the API server
    refuses, TimeoutError where the pods do not follow within 20 s.
    """
    switch = FAULTS[name]
    async with KubeClient(kubeconfig) as client:
        await switch(ProductPlace(client, staging_namespace, production_namespace), on)


async def _app_log_errors(place: ProductPlace, on: bool) -> None:
    """The pods of staging log errors: they have to start again, because a log is printed at the start."""
    deployment = await _deployment(place, place.staging)
    errors = [json_log("ERROR", "api.roster", "plan_publish_failed", {"plan_id": 17}), *ERROR_LOG.splitlines()]
    settings = {f"{_repository(_image(deployment))}*": {"log": [*_healthy_log(deployment), *errors]}} if on else None
    if await _set_images(place, place.staging, "app_log_errors", settings):
        await _restart(place, place.staging, deployment)


async def _app_crash_loop(place: ProductPlace, on: bool) -> None:
    """One more pod that looks like those of the current ReplicaSet, and crashes.

    It is owned by the Deployment, not by the ReplicaSet, so that the ReplicaSet does not count it and delete one pod
    too many; the second, non-controlling reference tells what it belongs to.
    """
    deployment = await _deployment(place, place.staging)
    current = await _current_replica_set(place, place.staging, deployment)
    path = f"/api/v1/namespaces/{place.staging}/pods"
    if not on:
        for pod in (await place.client.get(path))["items"]:
            if (pod["metadata"].get("annotations") or {}).get("testbed/crash"):
                await place.client.delete(f"{path}/{pod['metadata']['name']}", grace_seconds=0)
        return
    template, name = copy.deepcopy(current["spec"]["template"]), f"{current['metadata']['name']}-crash"
    annotations = {**(template["metadata"].get("annotations") or {})}
    annotations |= {"testbed/crash": "true", "testbed/log": CRASH_LOG}
    owners = [
        {"apiVersion": "apps/v1", "kind": kind, "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}
        for kind, obj in (("Deployment", deployment), ("ReplicaSet", current))
    ]
    owners[0]["controller"] = True
    metadata = {"name": name, "labels": template["metadata"]["labels"], "annotations": annotations}
    metadata["ownerReferences"] = owners
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    await place.client.create(path, body)

    async def has_restarted() -> bool:
        pod = await place.client.get(f"{path}/{name}")
        return any(status["restartCount"] for status in pod["status"].get("containerStatuses") or [])

    await until(has_restarted, "the pod restarts")


async def _image_never_ready(place: ProductPlace, on: bool) -> None:
    """Pods that are never ready do not read their settings again, so they are replaced when the switch goes off."""
    has_moved = await _break_new_images(place, "image_never_ready", "never-ready", on, {})
    if has_moved and not on:
        await _renew_unready(place, place.production)


async def _image_crash_loop(place: ProductPlace, on: bool) -> None:
    await _break_new_images(place, "image_crash_loop", "crash", on, {"log": CRASH_LOG.splitlines()})


async def _break_new_images(place: ProductPlace, fault: str, setting: str, on: bool, more: Json) -> bool:
    """Break all images of the product except those that are ready now, whose patterns come later and win. True if it moved."""
    settings: Json | None = None
    if on:
        deployment = await _deployment(place, place.production)
        settings = {f"{_repository(_image(deployment))}*": {setting: True, **more}}
        for replica_set in await _replica_sets(place, place.production, deployment):
            if replica_set["status"].get("readyReplicas"):
                settings[_image(replica_set)] = {setting: False}
                if more:
                    settings[_image(replica_set)]["log"] = _healthy_log(replica_set)
    return await _set_images(place, place.production, fault, settings)


async def _renew_unready(place: ProductPlace, namespace: str) -> None:
    """Delete the pods of the Deployment that are not ready, and wait until they are gone; new ones take their place."""
    deployment = await _deployment(place, namespace)
    owners = {replica_set["metadata"]["uid"] for replica_set in await _replica_sets(place, namespace, deployment)}
    path = f"/api/v1/namespaces/{namespace}/pods"

    async def unready() -> dict[str, str]:
        return {
            pod["metadata"]["uid"]: pod["metadata"]["name"]
            for pod in (await place.client.get(path))["items"]
            if not _is_ready(pod) and owners & {o["uid"] for o in pod["metadata"].get("ownerReferences") or []}
        }

    old = await unready()
    for name in old.values():
        await place.client.delete(f"{path}/{name}")

    async def are_gone() -> bool:
        return not old.keys() & (await unready()).keys()

    await until(are_gone, "the pods that were not ready are gone")


async def _backup_fails(place: ProductPlace, on: bool) -> None:
    await _set_backup(place, "BACKUP_FAIL", on)


async def _backup_truncated(place: ProductPlace, on: bool) -> None:
    await _set_backup(place, "BACKUP_TRUNCATE", on)


async def _backup_tiny(place: ProductPlace, on: bool) -> None:
    await _set_backup(place, "BACKUP_TINY", on)


async def _backup_unencrypted(place: ProductPlace, on: bool) -> None:
    await _set_backup(place, "BACKUP_UNENCRYPTED", on)


async def _backup_unwritten(place: ProductPlace, on: bool) -> None:
    await _set_backup(place, "BACKUP_UNWRITTEN", on)


async def _secret_empty(place: ProductPlace, on: bool) -> None:
    """Empty one value of the API's Secret; the old value is kept under another key."""
    await _move_key(place, API_SECRET, "SOLVEREIGN_SENTRY_DSN", on, remainder="")


async def _backup_keys_missing(place: ProductPlace, on: bool) -> None:
    await _move_key(place, BACKUP_SECRET, "AWS_SECRET_ACCESS_KEY", on, remainder=None)


async def _move_key(place: ProductPlace, secret: str, key: str, on: bool, *, remainder: str | None) -> None:
    """Move a value of a Secret in production to another key, leaving ``remainder`` in its place (None: nothing), or back."""
    path, away = f"/api/v1/namespaces/{place.production}/secrets/{secret}", f"{key}.away"
    data: dict[str, str] = (await place.client.get(path)).get("data") or {}
    if on:
        await place.client.merge(path, {"data": {key: remainder, away: data.get(key) or data[away]}})
    elif away in data:
        await place.client.merge(path, {"data": {key: data[away], away: None}})


async def _enforcement_off(place: ProductPlace, on: bool) -> None:
    await _set_enforcement(place, "off" if on else "on")


async def _enforcement_unset(place: ProductPlace, on: bool) -> None:
    await _set_enforcement(place, None if on else "on")


async def _set_enforcement(place: ProductPlace, value: str | None) -> None:
    """Set or remove the variable on the Deployment in production, as `kubectl set env` does: a rollout."""
    name = "SOLVEREIGN_BILLING_ENFORCEMENT"
    deployment = await _deployment(place, place.production)
    containers = copy.deepcopy(deployment["spec"]["template"]["spec"]["containers"])
    for container in containers:
        env = [item for item in container.get("env") or [] if item["name"] != name]
        container["env"] = env + ([{"name": name, "value": value}] if value is not None else [])
    path = f"/apis/apps/v1/namespaces/{place.production}/deployments/{DEPLOYMENT}"
    await place.client.merge(path, {"spec": {"template": {"spec": {"containers": containers}}}})


FAULTS: dict[str, Callable[[ProductPlace, bool], Awaitable[None]]] = {
    "app_log_errors": _app_log_errors,
    "app_crash_loop": _app_crash_loop,
    "image_never_ready": _image_never_ready,
    "image_crash_loop": _image_crash_loop,
    "backup_fails": _backup_fails,
    "backup_truncated": _backup_truncated,
    "backup_tiny": _backup_tiny,
    "backup_unencrypted": _backup_unencrypted,
    "backup_unwritten": _backup_unwritten,
    "secret_empty": _secret_empty,
    "backup_keys_missing": _backup_keys_missing,
    "enforcement_off": _enforcement_off,
    "enforcement_unset": _enforcement_unset,
}


async def _set_backup(place: ProductPlace, variable: str, on: bool) -> None:
    for namespace in (place.staging, place.production):
        await _set_data(place, namespace, BACKUP_FAULTS, {variable: "on" if on else None})


async def _set_images(place: ProductPlace, namespace: str, key: str, settings: Json | None) -> bool:
    """Write one entry of the ConfigMap of image settings, or remove it with None. True if that moves the switch."""
    text = None if settings is None else json.dumps(settings)
    return await _set_data(place, namespace, IMAGES, {key: text})


async def _set_data(place: ProductPlace, namespace: str, name: str, data: dict[str, str | None]) -> bool:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await place.client.create(path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
    before: dict[str, str] = (await place.client.get(f"{path}/{name}")).get("data") or {}
    await place.client.merge(f"{path}/{name}", {"data": data})
    return any((key in before) != (value is not None) for key, value in data.items())


async def _restart(place: ProductPlace, namespace: str, deployment: Json) -> None:
    """Delete the pods of a Deployment and wait until as many new ones are ready; its template stays as it is."""
    current = await _current_replica_set(place, namespace, deployment)
    path, uid = f"/api/v1/namespaces/{namespace}/pods", current["metadata"]["uid"]

    async def pods() -> dict[str, Json]:
        pods = (await place.client.get(path))["items"]
        return {
            pod["metadata"]["name"]: pod
            for pod in pods
            if any(o["uid"] == uid and o.get("controller") for o in pod["metadata"].get("ownerReferences") or [])
        }

    old = await pods()
    for name in old:
        await place.client.delete(f"{path}/{name}")

    async def ready() -> bool:
        fresh = [pod for name, pod in (await pods()).items() if name not in old and _is_ready(pod)]
        return len(fresh) >= int(deployment["spec"]["replicas"])

    await until(ready, "the new pods are ready")


async def _deployment(place: ProductPlace, namespace: str) -> Json:
    return await place.client.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{DEPLOYMENT}")


async def _replica_sets(place: ProductPlace, namespace: str, deployment: Json) -> list[Json]:
    sets = (await place.client.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets"))["items"]
    uid = deployment["metadata"]["uid"]
    return [
        replica_set
        for replica_set in sets
        if any(o["uid"] == uid for o in replica_set["metadata"].get("ownerReferences") or [])
    ]


async def _current_replica_set(place: ProductPlace, namespace: str, deployment: Json) -> Json:
    revision = "deployment.kubernetes.io/revision"
    for replica_set in await _replica_sets(place, namespace, deployment):
        if replica_set["metadata"]["annotations"][revision] == deployment["metadata"]["annotations"][revision]:
            return replica_set
    raise KubeError(404, f"no ReplicaSet of the current revision in {namespace}")


def _healthy_log(owner: Json) -> list[str]:
    annotations: dict[str, str] = owner["spec"]["template"]["metadata"].get("annotations") or {}
    return annotations.get("testbed/log", "").splitlines()


def _image(owner: Json) -> str:
    containers = owner["spec"]["template"]["spec"]["containers"]
    return next(str(c["image"]) for c in containers if c["name"] == CONTAINER)


def _repository(image: str) -> str:
    """The image without its tag or digest."""
    path, _, last = image.partition("@")[0].rpartition("/")
    return f"{path}/{last.partition(':')[0]}" if path else last.partition(":")[0]


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
