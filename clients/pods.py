"""Pods: those of a Deployment's newest ReplicaSet, whether it is available, and the log of one."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clients.answers import reading
from clients.cluster import kube_errors
from clients.needs import LIST_PODS, LIST_REPLICASETS, READ_DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clients.cluster import KubeClients
    from clients.settings import Kubernetes

REVISION = "deployment.kubernetes.io/revision"
READS_PODS = (READ_DEPLOYMENT, LIST_REPLICASETS, LIST_PODS)  # the rights that the functions of this module need
STARTING = frozenset({"ContainerCreating", "PodInitializing"})  # any other waiting reason is trouble
PIECE = 64 * 1024  # bytes of a log that are read at a time
LONGEST_WORD = 4096  # bytes: a longer one is no secret that anybody could give
_BETWEEN_WORDS = re.compile(rb"[\s,;&=\"'<>]")
SETTLE_LOOKS, SETTLE_PAUSE = 4, 0.5  # seconds between looks: a Deployment's status follows its pods with a delay


def read_log(kube: KubeClients, name: str, namespace: str, *, where: str, **limits: Any) -> bytes:
    """The log of a pod, as it was written. ``where`` names it for people, ``limits`` are those of the API's ``log``.

    Raises ClientError when the cluster does not answer or has no such log (yet).
    """
    with _log(kube, name, namespace, where, limits) as response:
        return bytes(response.data)


@dataclass(frozen=True)
class LogEnds:
    """The beginning and the end of a log; ``cut`` bytes between them are left out."""

    head: bytes
    cut: int
    tail: bytes


def read_log_ends(
    kube: KubeClients, name: str, namespace: str, *, where: str, head: int, tail: int, **limits: Any
) -> LogEnds:
    """The first ``head`` and the last ``tail`` bytes of the log of a pod, however long it is; else as `read_log`.

    The API's own ``limit_bytes`` keeps the beginning only, and the error stands at the end. Of a longer log whole words
    only: half of a secret would not be known for one any more.
    """
    first, last, cut = b"", bytearray(), 0
    with _log(kube, name, namespace, where, limits) as response:
        for piece in response.stream(PIECE):
            room = head - len(first)
            first += piece[:room]
            last += piece[room:]
            cut += max(0, len(last) - tail)
            del last[: max(0, len(last) - tail)]
    if not cut:
        return LogEnds(first, 0, bytes(last))
    end, begin = end_of_words(first), begin_of_words(last)
    return LogEnds(first[:end], cut + len(first) - end + begin, bytes(last[begin:]))


def end_of_words(data: bytes) -> int:
    """Where the last word ends that is not cut."""
    since = max(0, len(data) - LONGEST_WORD)
    return max((match.end() for match in _BETWEEN_WORDS.finditer(data, since)), default=since)


def begin_of_words(data: bytes | bytearray) -> int:
    """Where the first word begins that is not cut."""
    match = _BETWEEN_WORDS.search(data, 0, LONGEST_WORD)
    return match.start() if match else min(LONGEST_WORD, len(data))


@contextmanager
def _log(kube: KubeClients, name: str, namespace: str, where: str, limits: dict[str, Any]) -> Iterator[Any]:
    """The answer to a request for a log, not read yet."""
    with kube_errors(f"read the log of {where}"):
        response = kube.core.read_namespaced_pod_log(
            name,
            namespace,
            _preload_content=False,  # else invalid UTF-8 in a log is an exception
            _request_timeout=kube.timeout,
            **limits,
        )
        try:
            yield response
        finally:
            response.release_conn()


def read_deployment(kube: KubeClients, part: Kubernetes) -> Any:
    """The Deployment as it is now. Raises ClientError when the cluster does not answer or has none."""
    what = f"deployment {part.deployment} in {part.namespace}"
    with kube_errors(f"read {what}"):
        result = kube.apps.read_namespaced_deployment(part.deployment, part.namespace, _request_timeout=kube.timeout)
    with reading("Kubernetes", what):
        _ = result.metadata.uid, result.spec.selector.match_labels, result.status.conditions
    return result


def settled_deployment(kube: KubeClients, part: Kubernetes, wait: Callable[[float], None]) -> Any:
    """The Deployment, once it is available; at the latest after a moment, as it is then. ``wait`` waits for seconds."""
    looks = 0
    while True:
        deployment = read_deployment(kube, part)
        if not not_available(deployment) or looks == SETTLE_LOOKS:
            return deployment
        wait(SETTLE_PAUSE)
        looks += 1


def newest_pods(kube: KubeClients, part: Kubernetes, deployment: Any) -> list[Any]:
    """The pods whose owner is the Deployment's newest ReplicaSet; that of the highest revision is the newest."""
    selector = _selector(deployment.spec.selector)
    with kube_errors(f"list replicasets in {part.namespace}"):
        sets = kube.apps.list_namespaced_replica_set(
            part.namespace, label_selector=selector, _request_timeout=kube.timeout
        ).items
    with reading("Kubernetes", "replicasets"):
        own_sets = [item for item in sets if deployment.metadata.uid in _owners(item)]
        if not own_sets:
            return []
        newest = max(own_sets, key=lambda item: int((item.metadata.annotations or {}).get(REVISION, "0")))
    with kube_errors(f"list pods in {part.namespace}"):
        pods = kube.core.list_namespaced_pod(
            part.namespace, label_selector=selector, _request_timeout=kube.timeout
        ).items
    with reading("Kubernetes", "pods"):
        ours = [pod for pod in pods if newest.metadata.uid in _owners(pod) and not pod.metadata.deletion_timestamp]
        _ = [pod.status.container_statuses for pod in ours]
        return sorted(ours, key=lambda pod: str(pod.metadata.name))


def _owners(item: Any) -> set[str]:
    return {owner.uid for owner in item.metadata.owner_references or ()}


def _selector(selector: Any) -> str:
    """A label selector as the query parameter spells it (kubernetes.io, labels and selectors)."""
    terms = [f"{key}={value}" for key, value in (selector.match_labels or {}).items()]
    for rule in selector.match_expressions or ():
        values = f"({','.join(rule.values or ())})"
        terms.append(
            {
                "In": f"{rule.key} in {values}",
                "NotIn": f"{rule.key} notin {values}",
                "Exists": rule.key,
                "DoesNotExist": f"!{rule.key}",
            }[rule.operator]
        )
    return ",".join(terms)


def not_available(deployment: Any) -> str:
    """Why a Deployment is not available, as "not available: 1 of 2 pods ready"; nothing when it is."""
    status = deployment.status
    for condition in status.conditions or ():
        if condition.type == "Available" and condition.status == "True":
            return ""
    return f"not available: {status.ready_replicas or 0} of {deployment.spec.replicas} pods ready"
