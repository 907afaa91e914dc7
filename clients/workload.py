"""The environment of a container as its Deployment or CronJob sets it: what is set, where it comes from, never a secret value."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from clients.answers import reading
from clients.cluster import NOT_FOUND, kube_errors
from clients.errors import ClientError
from clients.needs import READ_CRONJOB, READ_DEPLOYMENT, READ_REFERRED, ClusterRight, Variables
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from clients.cluster import KubeClients
    from clients.connections import Clients
    from clients.target import Target

Json = dict[str, Any]
Which = Literal["deployment", "cronjob"]

_WHOLE_REFERENCE = re.compile(r"\$\(([A-Za-z_][\w.-]*)\)")
_OF_THE_TEMPLATE = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


@dataclass(frozen=True)
class Variable:
    """One variable of a container. Of a Secret only whether there is something in it was kept."""

    name: str
    source: str = ""  # where it comes from, for people; empty: it is not set
    empty: bool = False
    plain: str | None = None  # the value where it stands openly in the workload or in a ConfigMap
    broken: str = ""  # why a reference leads nowhere, so that no pod can start

    @property
    def is_set(self) -> bool:
        """There, and with something in it."""
        return bool(self.source) and not self.empty and not self.broken

    def __str__(self) -> str:
        if self.broken:
            return f"{self.name} {self.broken}"
        if not self.source:
            return f"{self.name} is not set"
        return f"{self.name} is {'empty' if self.empty else 'set'} ({self.source})"


@dataclass(frozen=True)
class Workload:
    """A Deployment or CronJob as it is now."""

    what: str  # deployment/api in solvereign
    namespace: str
    pod: Json  # spec of its pods
    labels: Json  # of its pods' metadata
    annotations: Json
    status: Json


class TargetAccess(Protocol):
    """A target and its clients, as a CheckContext has them."""

    @property
    def target(self) -> Target:
        """Which."""

    @property
    def clients(self) -> Clients:
        """Its own."""


def rights_of(which: Which, variables: Variables) -> tuple[ClusterRight, ...]:
    """What it takes to read a workload and what these variables of it refer to."""
    references = (replace(right, variables=variables) for right in READ_REFERRED[which])
    return (READ_DEPLOYMENT if which == "deployment" else READ_CRONJOB, *references)


def references(workload: Workload, container: str, names: Iterable[str]) -> tuple[set[tuple[str, str]], bool]:
    """The objects that say what these variables are, as (secrets, name) or (configmaps, name), without reading them.

    Also whether something sets each of them, as far as that can be told. Case-insensitive. Raises
    ClientError when there is no such container.
    """
    objects: set[tuple[str, str]] = set()
    part = _container(workload, container)
    whole = {
        (resource, source[field]["name"])
        for source in part.get("envFrom") or []
        for resource, field in (("secrets", "secretRef"), ("configmaps", "configMapRef"))
        if field in source
    }
    pending, visited, all_set = list(names), set[str](), True
    while pending:
        name = pending.pop()
        visited.add(name.casefold())
        certain = False
        for entry in reversed(part.get("env") or []):
            if not _same(entry["name"], name, ignore_case=True):
                continue
            source = entry.get("valueFrom") or {}
            for resource, field in (("secrets", "secretKeyRef"), ("configmaps", "configMapKeyRef")):
                if field in source:
                    objects.add((resource, source[field]["name"]))
                    certain = certain or not source[field].get("optional")
            if not source:
                other = _WHOLE_REFERENCE.fullmatch(str(entry.get("value") or ""))
                if other is not None and other[1].casefold() not in visited:
                    pending.append(other[1])
                certain = True
            if certain:
                break
        if not certain:
            objects |= whole
            all_set = all_set and bool(whole)
    return objects, all_set


def read_workload(ctx: TargetAccess, which: Which) -> Workload:
    """The Deployment of the target, or its backup CronJob. Raises ClientError when it cannot be read or is not there."""
    kube = ctx.clients.kube()
    if which == "deployment":
        part = require(ctx.target.kubernetes, ctx.target, "kubernetes")
        name, namespace, call = part.deployment, part.namespace, kube.apps.read_namespaced_deployment
    else:
        backup = require(ctx.target.backup, ctx.target, "backup")
        name, namespace, call = backup.cronjob, backup.namespace, kube.batch.read_namespaced_cron_job
    body = _read_object(kube, call, name, namespace, which)
    if body is None:
        raise ClientError(
            f"there is no {which} {name} in {namespace}",
            hint="Is it installed, and are the names in release-bot.yml right?",
        )
    with reading("Kubernetes", f"{which} {name} in {namespace}"):
        spec = body["spec"] if which == "deployment" else body["spec"]["jobTemplate"]["spec"]
        metadata = spec["template"].get("metadata") or {}
        return Workload(
            what=f"{which}/{name} in {namespace}",
            namespace=namespace,
            pod={
                **spec["template"]["spec"],
                "containers": [dict(one) for one in spec["template"]["spec"]["containers"]],
            },
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
            status=body.get("status") or {},
        )


def read_service_account(ctx: TargetAccess, workload: Workload) -> tuple[str, Mapping[str, str] | None]:
    """Name and annotations of the service account of its pods; None when there is none of that name."""
    kube = ctx.clients.kube()
    name = workload.pod.get("serviceAccountName") or "default"
    account = _read_object(kube, kube.core.read_namespaced_service_account, name, workload.namespace, "service account")
    return name, None if account is None else account["metadata"].get("annotations") or {}


class Environment:
    """The variables of one container, each looked up when it is asked for: only what is needed is read.

    The order is that of Kubernetes: ``env`` wins over ``envFrom``, and in each the last entry wins; an optional
    reference to what is not there sets nothing.
    """

    def __init__(self, ctx: TargetAccess, workload: Workload, container: str = "") -> None:
        """``container``: its name; empty: the only one. Raises ClientError when there is no such container."""
        self._kube = ctx.clients.kube()
        self._workload = workload
        self._container = _container(workload, container)
        self._following: set[str] = set()  # names of $(NAME) under way
        self._read_before: dict[tuple[str, str], dict[str, _Value] | None] = {}

    def get(self, name: str, *, ignore_case: bool = False) -> Variable:
        """The variable. ``ignore_case``: take one that is spelled in other letters too, as some products do."""
        for actual_name, source in self._candidates(name, ignore_case=ignore_case):
            variable = self._resolve(actual_name, source)
            if variable is not None:
                return variable
        return Variable(name)

    def _candidates(self, name: str, *, ignore_case: bool) -> Iterator[tuple[str, Json]]:
        """Entries that may set the variable, the strongest first, with the name that each gives it."""
        for entry in reversed(self._container.get("env") or []):
            if _same(entry["name"], name, ignore_case=ignore_case):
                yield entry["name"], entry
        for source in reversed(self._container.get("envFrom") or []):
            for kind, field in (("Secret", "secretRef"), ("ConfigMap", "configMapRef")):
                if field not in source:
                    continue
                prefix, reference = source.get("prefix") or "", source[field]
                values = self._values(kind, reference["name"])
                if values is None and not reference.get("optional"):
                    yield (
                        name,
                        {"broken": f"can't be set: {kind} {reference['name']} doesn't exist, so no pod can start"},
                    )
                for key in values or {}:
                    if _same(prefix + key, name, ignore_case=ignore_case):
                        yield prefix + key, {"valueFrom": {f"{field[:-3]}KeyRef": {**reference, "key": key}}}

    def _resolve(self, name: str, entry: Json) -> Variable | None:
        """The variable that an entry sets; None when it is optional and leads nowhere."""
        if "broken" in entry:
            return Variable(name, broken=entry["broken"])
        source = entry.get("valueFrom")
        if source is None:
            return self._literal(name, str(entry.get("value") or ""))
        for kind, field in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
            if field in source:
                return self._referred(name, kind, source[field])
        if "resourceFieldRef" in source:
            return Variable(name, f"{source['resourceFieldRef'].get('resource')} of the container")
        path = (source.get("fieldRef") or {}).get("fieldPath", "")
        if not path:
            raise ClientError(f"{name} comes from {', '.join(source)}, which this check can't read")
        match = _OF_THE_TEMPLATE.fullmatch(path)
        texts = {"labels": self._workload.labels, "annotations": self._workload.annotations}
        return Variable(name, f"{path} of the pod", empty=match is not None and not texts[match[1]].get(match[2]))

    def _literal(self, name: str, value: str) -> Variable:
        reference = _WHOLE_REFERENCE.fullmatch(value)
        if reference is None or reference[1] == name:
            return Variable(name, "a plain value", empty=not value.strip(), plain=value)
        if reference[1] in self._following:
            return Variable(name, broken=f"refers to {reference[1]} in a circle")
        self._following.add(reference[1])
        other = self.get(reference[1])
        self._following.discard(reference[1])
        if not other.source and not other.broken:
            return Variable(name, broken=f"refers to {reference[1]}, which is not set")
        return Variable(name, f"{reference[1]}, {other.source}", other.empty, other.plain, other.broken)

    def _referred(self, name: str, kind: str, reference: Json) -> Variable | None:
        where, key = f"{kind} {reference['name']}", reference["key"]
        values = self._values(kind, reference["name"])
        if values is None or key not in values:
            if reference.get("optional"):
                return None
            problem = f"{where} doesn't exist" if values is None else f"{where} has no key {key}"
            return Variable(name, broken=f"can't be set: {problem}, so no pod can start")
        return Variable(name, where, empty=values[key].empty, plain=values[key].plain)

    def _values(self, kind: str, name: str) -> dict[str, _Value] | None:
        """What is in a Secret or ConfigMap; None when it is not there. Values of a Secret are forgotten at once."""
        if (kind, name) not in self._read_before:
            core = self._kube.core
            call = core.read_namespaced_secret if kind == "Secret" else core.read_namespaced_config_map
            body = _read_object(self._kube, call, name, self._workload.namespace, kind)
            data = None if body is None else body.get("data") or {}
            take = _of_secret if kind == "Secret" else _of_config_map
            self._read_before[kind, name] = None if data is None else {key: take(value) for key, value in data.items()}
        return self._read_before[kind, name]


@dataclass(frozen=True)
class _Value:
    """A value of a Secret or ConfigMap, as far as it may be known."""

    empty: bool
    plain: str | None


def _of_secret(value: str) -> _Value:
    try:
        return _Value(empty=not base64.b64decode(value).strip(), plain=None)
    except binascii.Error as exc:
        raise ClientError("Kubernetes sent a Secret whose data is not base64") from exc


def _of_config_map(value: str) -> _Value:
    return _Value(empty=not value.strip(), plain=value)


def _same(one: str, other: str, *, ignore_case: bool) -> bool:
    return one == other or (ignore_case and one.casefold() == other.casefold())


def _container(workload: Workload, name: str) -> Json:
    containers: list[Json] = workload.pod["containers"]
    if not name and len(containers) == 1:
        return containers[0]
    match = next((container for container in containers if container["name"] == name), None)
    if match is None:
        names = ", ".join(container["name"] for container in containers)
        raise ClientError(
            f"{workload.what} has no container {name}" if name else f"{workload.what} has several containers",
            hint=f"Name one of them in the checklist or in release-bot.yml: {names}.",
        )
    return match


def _read_object(kube: KubeClients, call: Callable[..., Any], name: str, namespace: str, what: str) -> Json | None:
    """One object as plain JSON, since the client's models drop fields that they do not know; None when it is not there."""
    try:
        with kube_errors(f"read {what} {name} in {namespace}"):
            return kube.json(call, name, namespace)
    except ClientError as error:
        if error.status != NOT_FOUND:
            raise
        return None
