"""Judges a rollout by the status of the Deployment, as `kubectl rollout status` does. Pure functions over raw JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Rollout:
    """How far a rollout is; ``line`` says it for people."""

    is_done: bool
    has_failed: bool
    line: str


def judge(deployment: Mapping[str, Any]) -> Rollout:
    """Return how far the rollout of ``deployment`` (raw JSON) is, judged in the order in which kubectl does."""
    meta, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status", {})
    replica_count = spec.get("replicas", 1)
    if meta.get("generation", 0) > status.get("observedGeneration", 0):
        return Rollout(is_done=False, has_failed=False, line="waiting for the controller to see the change")
    for condition in status.get("conditions", []):
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return Rollout(is_done=False, has_failed=True, line="the rollout exceeded its progress deadline")
    updated_count, total, available = (
        status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")
    )
    if updated_count < replica_count:
        return Rollout(is_done=False, has_failed=False, line=f"{updated_count} of {replica_count} new pods are started")
    if total > updated_count:
        return Rollout(is_done=False, has_failed=False, line=f"{total - updated_count} old pods are still there")
    if available < updated_count:
        return Rollout(is_done=False, has_failed=False, line=f"{available} of {updated_count} new pods are ready")
    return Rollout(is_done=True, has_failed=False, line=f"{available} of {replica_count} pods run the new version")


def advice(deployment: Mapping[str, Any]) -> str:
    """Return what to do about a failed rollout, and whether old pods still serve: `Recreate` stops them before new ones start."""
    recreates = deployment["spec"].get("strategy", {}).get("type") == "Recreate"
    serves = "The old pods were stopped first." if recreates else "The old pods still run."
    return f"{serves} Check the new pods, then retry or roll back."


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two pod templates are equal, the controller's hash label left out."""
    return without_hash(one) == without_hash(other)


def without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a pod template without the controller's hash label."""
    meta = dict(template.get("metadata", {}))
    meta["labels"] = {key: value for key, value in meta.get("labels", {}).items() if key != HASH_LABEL}
    return {**template, "metadata": meta}


def differences(one: Mapping[str, Any], other: Mapping[str, Any], container: str, variable: str | None) -> list[str]:
    """Return the paths in which two pod templates differ, never the values, which may be secrets.

    The image of ``container`` and its ``variable`` are left out, because a deploy changes them and the plan compares them.
    """
    ours = {f"spec.containers[{container}].image"}
    if variable:
        ours.add(f"spec.containers[{container}].env[{variable}]")
    return [path for path in _differing_paths(without_hash(one), without_hash(other), "") if path not in ours]


def _differing_paths(one: object, other: object, path: str) -> list[str]:
    """Return the paths in which two values differ; entries of lists are matched by their name if they have one."""
    if one == other:
        return []
    one, other = _by_name(one), _by_name(other)
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return [path]
    paths: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        inner = key if not path else f"{path}{key}" if key.startswith("[") else f"{path}.{key}"
        paths += _differing_paths(one.get(key), other.get(key), inner) if key in one and key in other else [inner]
    return paths


def _by_name(value: object) -> object:
    if isinstance(value, list) and value and all(isinstance(entry, Mapping) and "name" in entry for entry in value):
        return {f"[{entry['name']}]": entry for entry in value}
    return value


def image_of(template: Mapping[str, Any], container: str) -> str | None:
    """The image of a container in a pod template; None when there is no such container."""
    for entry in template["spec"]["containers"]:
        if entry["name"] == container:
            return str(entry.get("image", ""))
    return None


def variable_of(template: Mapping[str, Any], container: str, name: str) -> str:
    """The literal value of a variable of a container in a pod template; empty when it is not set or comes from elsewhere."""
    for entry in template["spec"]["containers"]:
        if entry["name"] == container:
            return next((str(env.get("value", "")) for env in entry.get("env", []) if env["name"] == name), "")
    return ""


def pod_trouble(pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each container of ``pods`` (raw JSON) that waits for a reason or has crashed."""
    lines = []
    for pod in pods:
        for state in pod.get("status", {}).get("containerStatuses", []):
            waiting_state = state.get("state", {}).get("waiting", {})
            if waiting_state.get("reason") not in {None, "ContainerCreating", "PodInitializing"}:
                lines.append(f"{pod['metadata']['name']}: {waiting_state['reason']}")
            elif not state.get("ready", False) and state.get("restartCount", 0):
                lines.append(f"{pod['metadata']['name']}: restarted {state['restartCount']} times")
            elif not state.get("ready", False):
                lines.append(f"{pod['metadata']['name']}: not ready")
    return lines
