"""The replicaset controller: as many pods as each ReplicaSet asks for."""

from __future__ import annotations

import copy
from typing import Any

from sandbox.kube.resources import PODS, REPLICASETS
from sandbox.kube.store import ObjectStore, controller_reference, parse_time
from sandbox.kube.syncing import sync_each

Json = dict[str, Any]


class ReplicaSetController:
    """Creates and deletes the pods of each ReplicaSet, and writes its status."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def sync_all(self) -> float | None:
        """One look at every ReplicaSet; seconds until one has to be tried again, if any."""
        return sync_each(self._store.objects(REPLICASETS), self._sync)

    def _sync(self, replica_set: Json) -> None:
        pods = self._active_pods(replica_set)
        surplus = len(pods) - replica_set["spec"]["replicas"]
        for _ in range(-surplus):
            create_pod(self._store, replica_set)
        for pod in sorted(pods, key=_deletion_rank)[: max(0, surplus)]:
            self._store.mark_deleted(PODS, pod, grace=pod["spec"]["terminationGracePeriodSeconds"])
        pods = self._active_pods(replica_set)
        ready = sum(is_ready(pod) for pod in pods)
        counts = {"fullyLabeledReplicas": len(pods), "readyReplicas": ready, "availableReplicas": ready}
        status = {"replicas": len(pods)} | {key: value for key, value in counts.items() if value}
        status["observedGeneration"] = replica_set["metadata"]["generation"]
        self._store.update(REPLICASETS, replica_set | {"status": status}, status=True)

    def _active_pods(self, replica_set: Json) -> list[Json]:
        return [pod for pod in self._store.owned_by(PODS, replica_set) if is_active(pod)]


def create_pod(store: ObjectStore, owner: Json) -> None:
    """Create one pod of the template of a ReplicaSet or a Job. StatusError where its namespace takes none."""
    template, meta = copy.deepcopy(owner["spec"]["template"]), owner["metadata"]
    metadata = template["metadata"] | {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]}
    metadata["ownerReferences"] = [controller_reference(owner)]
    store.create(PODS, {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}})


def is_active(pod: Json) -> bool:
    """Whether a pod counts for its ReplicaSet or Job: it has not ended and is not being deleted."""
    has_ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    return not has_ended and not pod["metadata"].get("deletionTimestamp")


def is_ready(pod: Json) -> bool:
    """Whether the condition Ready of a pod is met."""
    conditions = pod["status"].get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _deletion_rank(pod: Json) -> tuple[Any, ...]:
    """Sort key: the pod to delete first comes first (pending, then not ready, then restarted, then young)."""
    restarts = sum(status["restartCount"] for status in pod["status"].get("containerStatuses") or [])
    age = -parse_time(pod["metadata"]["creationTimestamp"]).timestamp()
    return (pod["status"].get("phase") != "Pending", is_ready(pod), -restarts, age)
