"""Garbage collection: the objects of deleted owners, and everything in deleted namespaces."""

from __future__ import annotations

from typing import Any

from sandbox.kube.resources import ALL, NAMESPACES, PODS, Resource
from sandbox.kube.store import ObjectStore

Json = dict[str, Any]

NAMESPACED_RESOURCES = tuple(resource for resource in ALL if resource.is_namespaced)


class GarbageCollector:
    """Deletes objects whose owners are gone, and empties namespaces that are being deleted."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def sync_all(self) -> None:
        """One look at everything that has an owner or is in a namespace that is being deleted."""
        uids = self._store.all_uids()
        for resource in NAMESPACED_RESOURCES:
            for obj in self._store.objects(resource):
                owners = obj["metadata"].get("ownerReferences") or []
                if owners and not any(owner["uid"] in uids for owner in owners):
                    self._delete(resource, obj)
        for space in self._store.objects(NAMESPACES):
            if space["metadata"].get("deletionTimestamp"):
                self._empty(space["metadata"]["name"])

    def _empty(self, namespace: str) -> None:
        for resource in NAMESPACED_RESOURCES:
            for obj in self._store.objects(resource, namespace):
                self._delete(resource, obj)
        if not self._store.objects(PODS, namespace):
            self._store.remove(NAMESPACES, "", namespace)

    def _delete(self, resource: Resource, obj: Json) -> None:
        """Take one object away; a pod is given to its kubelet to stop."""
        meta = obj["metadata"]
        if resource is not PODS:
            self._store.remove(resource, meta["namespace"], meta["name"])
        elif not meta.get("deletionTimestamp"):
            self._store.mark_deleted(PODS, obj, grace=obj["spec"]["terminationGracePeriodSeconds"])
