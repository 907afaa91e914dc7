"""The objects of the simulated cluster: read, written under an optimistic lock, and kept over a restart.

All of it runs on one event loop, so a method is atomic. Objects are handed out as copies; a controller changes its copy
and writes it back.
"""

from __future__ import annotations

import marshal
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sandbox.kube import defaults
from sandbox.kube.errors import already_exists, conflict, not_found, terminating
from sandbox.kube.resources import JOBS, NAMESPACES, SERVICEACCOUNTS, Resource
from sandbox.persist import Snapshot

Json = dict[str, Any]

SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes makes names of: no vowels, no words
OWNED_BY_SERVER = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")


class ObjectChange(NamedTuple):
    """One write to an object."""

    resource: Resource
    obj: Json
    is_removal: bool


def _copy(obj: Json) -> Json:
    """An object with nothing in common with the one that is kept. Of plain JSON, which marshal copies in a seventh of the time."""
    copy: Json = marshal.loads(marshal.dumps(obj))  # noqa: S302  what we have just written ourselves
    return copy


def now() -> str:
    """This moment as Kubernetes writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """A time stamp of the API as an aware datetime."""
    return datetime.fromisoformat(text)


def seconds_since(moment: str) -> float:
    """How long ago a time stamp of the API was."""
    return (datetime.now(UTC) - parse_time(moment)).total_seconds()


def random_suffix() -> str:
    """Five letters for a generated name."""
    return "".join(random.SystemRandom().choices(SAFE_LETTERS, k=5))


def controller_uid(obj: Json) -> str:
    """The uid of the object that manages this one, or ''."""
    owners = obj["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")


def controller_reference(owner: Json) -> Json:
    """The entry of `ownerReferences` that makes `owner` the manager of an object."""
    reference = {key: owner[key] for key in ("apiVersion", "kind")}
    reference |= {key: owner["metadata"][key] for key in ("name", "uid")}
    return reference | {"controller": True, "blockOwnerDeletion": True}


class ObjectStore:
    """All objects by resource, namespace and name."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._document: Json = snapshot.load() or {"version": 1, "objects": {}}
        self._tables: dict[str, dict[str, Json]] = self._document["objects"]
        self._listeners: set[Callable[[ObjectChange], None]] = set()

    @property
    def version(self) -> str:
        """The resourceVersion of the whole store."""
        return str(self._document["version"])

    # --- reading

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """A copy of one object, or None."""
        obj = self._table(resource).get(f"{namespace}/{name}")
        return None if obj is None else _copy(obj)

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """A copy of one object; StatusError 404 if it is not there."""
        obj = self.find(resource, namespace, name)
        if obj is None:
            raise not_found(resource, name)
        return obj

    def objects(self, resource: Resource, namespace: str = "") -> list[Json]:
        """Copies of the objects of one namespace, or of all ("")."""
        table = self._table(resource)
        prefix = f"{namespace}/" if namespace else ""
        return [_copy(table[key]) for key in sorted(table) if key.startswith(prefix)]

    def owned_by(self, resource: Resource, owner: Json) -> list[Json]:
        """The objects whose controller is `owner`, oldest first."""
        meta = owner["metadata"]
        objects = [o for o in self.objects(resource, meta["namespace"]) if controller_uid(o) == meta["uid"]]
        return sorted(objects, key=lambda o: (o["metadata"]["creationTimestamp"], o["metadata"]["name"]))

    def all_uids(self) -> set[str]:
        """The uid of every object there is."""
        return {obj["metadata"]["uid"] for table in self._tables.values() for obj in table.values()}

    # --- writing

    def create(self, resource: Resource, obj: Json) -> Json:
        """Add an object, defaults filled in, and return it. StatusError 404, 409 or 422 as on the real server."""
        new = defaults.normalize(resource, obj)
        meta = new["metadata"]
        namespace = meta.get("namespace", "")
        self._check_namespace(resource, namespace)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = f"{meta['generateName']}{random_suffix()}"
        defaults.check(resource, new, None)
        if f"{namespace}/{meta['name']}" in self._table(resource):
            raise already_exists(resource, meta["name"])
        for key in (*OWNED_BY_SERVER, "resourceVersion"):
            meta.pop(key, None)
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        if resource.counts_generations:
            meta["generation"] = 1
        if resource is JOBS:
            defaults.label_job(new)
        if resource.has_status:
            new.setdefault("status", {})
        self._write(resource, new)
        if resource is NAMESPACES:
            self.create(SERVICEACCOUNTS, {"metadata": {"name": "default", "namespace": meta["name"]}})
        return _copy(new)

    def update(self, resource: Resource, obj: Json, *, status: bool = False) -> Json:
        """Replace an object (or only its status, with `status`) and return it.

        Where `obj` carries a resourceVersion it must be the newest: StatusError 409. A write that changes nothing keeps
        resourceVersion and generation; generation rises with the spec only.
        """
        meta = obj["metadata"]
        old = self.get(resource, meta.get("namespace", ""), meta["name"])
        if meta.get("resourceVersion") not in (None, "", old["metadata"]["resourceVersion"]):
            raise conflict(resource, meta["name"])
        new = old | {"status": _copy(obj.get("status") or {})} if status else _replacement(resource, obj, old)
        if new == old:
            return old
        if not status:
            defaults.check(resource, new, old)
        if resource.counts_generations and new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] += 1
        self._write(resource, new)
        return _copy(new)

    def mark_deleted(self, resource: Resource, obj: Json, *, grace: int = 0) -> Json:
        """Note that a pod or a namespace is to go: its kubelet or the garbage collector takes it away later."""
        new = self.get(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        new["metadata"].setdefault("deletionTimestamp", now())
        new["metadata"]["deletionGracePeriodSeconds"] = grace
        if resource is NAMESPACES:
            new["status"] = {"phase": "Terminating"}
        self._write(resource, new)
        return _copy(new)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Take an object away at once, if it is there."""
        obj = self._table(resource).pop(f"{namespace}/{name}", None)
        if obj is not None:
            self._publish(resource, obj, is_removal=True)

    # --- listening

    def subscribe(self, listener: Callable[[ObjectChange], None]) -> Callable[[], None]:
        """Call `listener` with each change from now on; the result ends that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    # --- inside

    def _table(self, resource: Resource) -> dict[str, Json]:
        return self._tables.setdefault(resource.full_name, {})

    def _check_namespace(self, resource: Resource, namespace: str) -> None:
        if resource is NAMESPACES:
            return
        space = self.find(NAMESPACES, "", namespace)
        if space is None:
            raise not_found(NAMESPACES, namespace)
        if space["metadata"].get("deletionTimestamp"):
            raise terminating(namespace, resource)

    def _write(self, resource: Resource, obj: Json) -> None:
        key = f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
        self._table(resource)[key] = obj
        self._publish(resource, obj, is_removal=False)

    def _publish(self, resource: Resource, obj: Json, *, is_removal: bool) -> None:
        self._document["version"] += 1
        obj["metadata"]["resourceVersion"] = self.version
        change = ObjectChange(resource, _copy(obj), is_removal)
        for listener in list(self._listeners):
            listener(change)
        self._snapshot.save(self._document)


def _replacement(resource: Resource, obj: Json, old: Json) -> Json:
    """What a client's write makes of the old object: its status and what the server sets are not the client's."""
    new = defaults.normalize(resource, obj)
    if resource.has_status:
        new["status"] = old.get("status", {})
    for key in (*OWNED_BY_SERVER, "resourceVersion"):
        new["metadata"].pop(key, None)
        if key in old["metadata"]:
            new["metadata"][key] = old["metadata"][key]
    return new
