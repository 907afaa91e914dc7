"""The tables that `kubectl get` shows: the server, not kubectl, knows the columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sandbox.kube.resources import CRONJOBS, DEPLOYMENTS, JOBS, PODS, REPLICASETS, Resource
from sandbox.kube.store import parse_time

Json = dict[str, Any]


def table(resource: Resource, objects: list[Json], version: str) -> Json:
    """A meta.k8s.io/v1 Table of these objects."""
    names, cells = _COLUMNS.get(resource, (["Age"], lambda obj: [_age(obj["metadata"]["creationTimestamp"])]))
    column = {"type": "string", "format": "", "description": "", "priority": 0}
    columns = [{"name": name, **column} for name in ["Name", *names]]
    rows = []
    for obj in objects:
        meta = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
        rows.append({"cells": [obj["metadata"]["name"], *cells(obj)], "object": meta})
    result: Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version}}
    return result | {"columnDefinitions": columns, "rows": rows}


def _deployment(obj: Json) -> list[str]:
    status = obj.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{obj['spec']['replicas']}"
    counts = [str(status.get(field, 0)) for field in ("updatedReplicas", "availableReplicas")]
    return [ready, *counts, _age(obj["metadata"]["creationTimestamp"])]


def _replicaset(obj: Json) -> list[str]:
    status = obj.get("status") or {}
    counts = [str(status.get(field, 0)) for field in ("replicas", "readyReplicas")]
    return [str(obj["spec"]["replicas"]), *counts, _age(obj["metadata"]["creationTimestamp"])]


def _pod(obj: Json) -> list[str]:
    status = obj.get("status") or {}
    containers: list[Json] = status.get("containerStatuses") or []
    shown = status.get("phase", "Pending")
    for container in containers:
        for state in container["state"].values():
            shown = state.get("reason") or shown
    if obj["metadata"].get("deletionTimestamp"):
        shown = "Terminating"
    ready = f"{sum(bool(c['ready']) for c in containers)}/{len(obj['spec']['containers'])}"
    restarts = sum(int(c["restartCount"]) for c in containers)
    return [ready, shown, str(restarts), _age(obj["metadata"]["creationTimestamp"])]


def _job(obj: Json) -> list[str]:
    status = obj.get("status") or {}
    done = f"{status.get('succeeded', 0)}/{obj['spec']['completions']}"
    start = status.get("startTime")
    took = _age(start, status.get("completionTime")) if start else ""
    kinds = [condition["type"] for condition in status.get("conditions") or []]
    return [kinds[0] if kinds else "Running", done, took, _age(obj["metadata"]["creationTimestamp"])]


def _cronjob(obj: Json) -> list[str]:
    status, spec = obj.get("status") or {}, obj["spec"]
    last = status.get("lastScheduleTime")
    active = str(len(status.get("active") or []))
    return [
        spec["schedule"],
        str(spec["suspend"]),
        active,
        _age(last) if last else "<none>",
        _age(obj["metadata"]["creationTimestamp"]),
    ]


_COLUMNS: dict[Resource, tuple[list[str], Callable[[Json], list[str]]]] = {
    DEPLOYMENTS: (["Ready", "Up-to-date", "Available", "Age"], _deployment),
    REPLICASETS: (["Desired", "Current", "Ready", "Age"], _replicaset),
    PODS: (["Ready", "Status", "Restarts", "Age"], _pod),
    JOBS: (["Status", "Completions", "Duration", "Age"], _job),
    CRONJOBS: (["Schedule", "Suspend", "Active", "Last Schedule", "Age"], _cronjob),
}


def _age(start: str, end: str | None = None) -> str:
    moment = parse_time(end) if end else datetime.now(UTC)
    seconds = int((moment - parse_time(start)).total_seconds())
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{letter}"
    return f"{max(0, seconds)}s"
