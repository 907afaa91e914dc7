"""What goes because something else went: the objects of a deleted owner, and all that is in a deleted namespace."""

from __future__ import annotations

from typing import Any

from sandbox.kube.resources import ALL, NAMESPACES, PODS, Resource
from sandbox.kube.store import Store

Json = dict[str, Any]

FOREGROUND = "foregroundDeletion"
NAMESPACED = tuple(resource for resource in ALL if resource.namespaced)


class GarbageCollector:
    """Deletes objects whose owners are gone, and ends deletions that wait for dependents."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def sync_all(self) -> float | None:
        """One look at everything that has an owner or is being deleted."""
        alive = self.store.all_uids()
        for resource in NAMESPACED:
            for obj in self.store.objects(resource):
                owners = obj["metadata"].get("ownerReferences") or []
                if owners and not any(owner["uid"] in alive for owner in owners):
                    self.delete(resource, obj)
        self._end_foreground_deletions()
        self._empty_namespaces()
        return None

    def delete(self, resource: Resource, obj: Json) -> None:
        """Take one object away; a pod is given to its kubelet to stop."""
        meta = obj["metadata"]
        if resource is PODS:
            if not meta.get("deletionTimestamp"):
                self.store.mark_deleted(PODS, obj, grace=obj["spec"]["terminationGracePeriodSeconds"])
            return
        self.store.remove(resource, meta.get("namespace", ""), meta["name"])

    def orphan(self, owner: Json) -> None:
        """Cut the ties of an object's dependents, so that they outlive it."""
        for resource, obj in self._dependents(owner):
            uid = owner["metadata"]["uid"]
            obj["metadata"]["ownerReferences"] = [o for o in obj["metadata"]["ownerReferences"] if o["uid"] != uid]
            self.store.update(resource, obj)

    def _dependents(self, owner: Json) -> list[tuple[Resource, Json]]:
        return [
            (resource, obj)
            for resource in NAMESPACED
            for obj in self.store.objects(resource, owner["metadata"]["namespace"])
            if any(o["uid"] == owner["metadata"]["uid"] for o in obj["metadata"].get("ownerReferences") or [])
        ]

    def _end_foreground_deletions(self) -> None:
        for resource in NAMESPACED:
            for owner in self.store.objects(resource):
                if FOREGROUND not in (owner["metadata"].get("finalizers") or []):
                    continue
                dependents = self._dependents(owner)
                for kind, obj in dependents:
                    if not obj["metadata"].get("deletionTimestamp"):
                        finalizer = FOREGROUND if kind is not PODS else ""
                        grace = obj["spec"]["terminationGracePeriodSeconds"] if kind is PODS else 0
                        self.store.mark_deleted(kind, obj, grace=grace, finalizer=finalizer)
                if not dependents:
                    self.store.remove(resource, owner["metadata"]["namespace"], owner["metadata"]["name"])

    def _empty_namespaces(self) -> None:
        for space in self.store.objects(NAMESPACES):
            name = space["metadata"]["name"]
            if not space["metadata"].get("deletionTimestamp"):
                continue
            left = 0
            for resource in NAMESPACED:
                for obj in self.store.objects(resource, name):
                    left += resource is PODS
                    self.delete(resource, obj)
            if not left:
                self.store.remove(NAMESPACES, "", name)
