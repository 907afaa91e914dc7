"""The objects of the simulated cluster: read, written under an optimistic lock, watched, and kept over a restart.

All of it runs on one event loop, so a method is atomic. Objects are handed out as copies; a controller changes its copy
and writes it back.
"""

from __future__ import annotations

import marshal
import random
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sandbox.kube import defaults
from sandbox.kube.errors import already_exists, conflict, expired, not_found, terminating
from sandbox.kube.resources import EVENTS, JOBS, NAMESPACES, PODS, SERVICEACCOUNTS, Resource
from sandbox.persist import Snapshot

Json = dict[str, Any]

SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes makes names of: no vowels, no words
EVENTS_KEPT = 300  # the real server forgets an Event after an hour
HISTORY_KEPT = 2000  # changes that a watch can still ask for
OWNED_BY_SERVER = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")


class Change(NamedTuple):
    """One write, as a watch sees it."""

    version: int
    kind: str  # ADDED, MODIFIED, DELETED
    resource: Resource
    obj: Json


def _copied(obj: Json) -> Json:
    """An object with nothing in common with the one that is kept. Of plain JSON, which marshal copies in a seventh of the time."""
    found: Json = marshal.loads(marshal.dumps(obj))  # noqa: S302  what we have just written ourselves
    return found


def now() -> str:
    """This moment as Kubernetes writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """A time stamp of the API as an aware datetime."""
    return datetime.fromisoformat(text)


def random_suffix() -> str:
    """Five letters for a generated name."""
    return "".join(random.SystemRandom().choices(SAFE_LETTERS, k=5))


def controller_uid(obj: Json) -> str:
    """The uid of the object that manages this one, or ''."""
    owners = obj["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")


class Store:
    """All objects by resource, namespace and name."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        saved = snapshot.load() or {"version": 1, "objects": {}}
        self._document: Json = saved  # what the snapshot writes: a table of objects for each resource
        self._tables: dict[str, dict[str, Json]] = saved["objects"]
        self._history: deque[Change] = deque(maxlen=HISTORY_KEPT)
        self._listeners: set[Callable[[Change], None]] = set()

    @property
    def version(self) -> str:
        """The resourceVersion of the whole store."""
        return str(self._document["version"])

    # --- reading

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """A copy of one object, or None."""
        found = self._table(resource).get(f"{namespace}/{name}")
        return None if found is None else _copied(found)

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """A copy of one object; StatusError 404 if it is not there."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def objects(self, resource: Resource, namespace: str = "") -> list[Json]:
        """Copies of the objects of one namespace, or of all ("")."""
        table = self._table(resource)
        inside = f"{namespace}/" if namespace else ""
        return [_copied(table[key]) for key in sorted(table) if key.startswith(inside)]

    def owned(self, resource: Resource, owner: Json) -> list[Json]:
        """The objects whose controller is `owner`, oldest first."""
        meta = owner["metadata"]
        found = [o for o in self.objects(resource, meta["namespace"]) if controller_uid(o) == meta["uid"]]
        return sorted(found, key=lambda o: (o["metadata"]["creationTimestamp"], o["metadata"]["name"]))

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
        if "status" in resource.subresources:
            new.setdefault("status", {})
        self._write("ADDED", resource, new)
        if resource is NAMESPACES:
            self.create(SERVICEACCOUNTS, {"metadata": {"name": "default", "namespace": meta["name"]}})
        return _copied(new)

    def update(self, resource: Resource, obj: Json, *, status: bool = False) -> Json:
        """Replace an object (or only its status, with `status`) and return it.

        Where `obj` carries a resourceVersion it must be the newest: StatusError 409. A write that changes nothing keeps
        resourceVersion and generation; generation rises with the spec only.
        """
        meta = obj["metadata"]
        old = self.get(resource, meta.get("namespace", ""), meta["name"])
        if meta.get("resourceVersion") not in (None, "", old["metadata"]["resourceVersion"]):
            raise conflict(resource, meta["name"])
        if refusal := defaults.immutable_fields(resource, obj, old):
            raise refusal
        fresh = {"status": _copied(obj.get("status") or {})}
        new = old | fresh if status else _replacement(resource, obj, old)
        if new == old:
            return old
        if not status:
            defaults.check(resource, new, old)
        if resource.counts_generations and new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] += 1
        self._write("MODIFIED", resource, new)
        if new["metadata"].get("deletionTimestamp") and self._may_go(resource, new):
            self.remove(resource, meta.get("namespace", ""), meta["name"])
        return _copied(new)

    def mark_deleted(self, resource: Resource, obj: Json, *, grace: int = 0, finalizer: str = "") -> Json:
        """Note that an object is to go: its kubelet, its finalizer or its namespace takes it away later."""
        new = self.get(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        meta = new["metadata"]
        meta.setdefault("deletionTimestamp", now())
        meta["deletionGracePeriodSeconds"] = grace
        if finalizer and finalizer not in (meta.get("finalizers") or []):
            meta["finalizers"] = [*(meta.get("finalizers") or []), finalizer]
        if resource is NAMESPACES:
            new["status"] = {"phase": "Terminating"}
        self._write("MODIFIED", resource, new)
        return _copied(new)

    def remove(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Take an object away at once; None if it was gone."""
        gone = self._table(resource).pop(f"{namespace}/{name}", None)
        if gone is not None:
            self._tell("DELETED", resource, gone)
        return gone

    def event(self, about: Json, reason: str, message: str, kind: str = "Normal") -> None:
        """Record an Event of the object `about`, if its namespace still takes one."""
        meta = about["metadata"]
        space = self.find(NAMESPACES, "", meta["namespace"])
        if space is None or space["metadata"].get("deletionTimestamp"):
            return
        involved = {"kind": about["kind"], "apiVersion": about["apiVersion"]}
        involved |= {key: meta[key] for key in ("name", "namespace", "uid")}
        name = f"{meta['name']}.{uuid.uuid4().hex[:16]}"
        body: Json = {"metadata": {"name": name, "namespace": meta["namespace"]}, "involvedObject": involved}
        body |= {"reason": reason, "message": message, "type": kind, "count": 1, "source": {"component": "sandbox"}}
        self.create(EVENTS, body | {"firstTimestamp": now(), "lastTimestamp": now()})
        table = self._table(EVENTS)
        while len(table) > EVENTS_KEPT:
            oldest = next(iter(table.values()))["metadata"]
            self.remove(EVENTS, oldest["namespace"], oldest["name"])

    # --- watching

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` with each change from now on; the result ends that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def since(self, version: int) -> list[Change]:
        """The changes after a resourceVersion; StatusError 410 where they are forgotten."""
        oldest = self._history[0].version if self._history else int(self.version) + 1
        if version < oldest - 1:
            raise expired(version, self.version)
        return [change for change in self._history if change.version > version]

    # --- inside

    def _table(self, resource: Resource) -> dict[str, Json]:
        return self._tables.setdefault(resource.full, {})

    def _check_namespace(self, resource: Resource, namespace: str) -> None:
        if resource is NAMESPACES:
            return
        space = self.find(NAMESPACES, "", namespace)
        if space is None:
            raise not_found(NAMESPACES, namespace)
        if space["metadata"].get("deletionTimestamp"):
            raise terminating(namespace, resource)

    @staticmethod
    def _may_go(resource: Resource, obj: Json) -> bool:
        return resource not in (PODS, NAMESPACES) and not obj["metadata"].get("finalizers")

    def _write(self, kind: str, resource: Resource, obj: Json) -> None:
        key = f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
        self._table(resource)[key] = obj
        self._tell(kind, resource, obj)

    def _tell(self, kind: str, resource: Resource, obj: Json) -> None:
        self._document["version"] += 1
        obj["metadata"]["resourceVersion"] = self.version
        change = Change(self._document["version"], kind, resource, _copied(obj))
        self._history.append(change)
        for listener in list(self._listeners):
            listener(change)
        self._snapshot.save(self._document)


def _replacement(resource: Resource, obj: Json, old: Json) -> Json:
    """What a client's write makes of the old object: its status and what the server sets are not the client's."""
    new = defaults.normalize(resource, obj)
    if "status" in resource.subresources:
        new["status"] = old.get("status", {})
    for key in (*OWNED_BY_SERVER, "resourceVersion"):
        new["metadata"].pop(key, None)
        if key in old["metadata"]:
            new["metadata"][key] = old["metadata"][key]
    return new
