"""A Deployment in the middle of a rollout, and what its status says of that: counts of replicas and conditions; no store."""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

from sandbox.kube.store import now, seconds_since

Json = dict[str, Any]


class SimulatedRollout(NamedTuple):
    """A Deployment with the ReplicaSets it owns: the one of its template now, and those of earlier templates."""

    deployment: Json
    new: Json | None
    old: list[Json]

    @property
    def sets(self) -> list[Json]:
        """Every ReplicaSet of it."""
        return [*self.old, *([self.new] if self.new else [])]

    def status(self) -> Json:
        """The status that follows from the ReplicaSets, with the conditions kept and Available judged anew."""
        total, available = (sum(count(one, field) for one in self.sets) for field in ("replicas", "availableReplicas"))
        counts = {
            "replicas": total,
            "availableReplicas": available,
            "unavailableReplicas": max(0, total - available),
            "readyReplicas": sum(count(one, "readyReplicas") for one in self.sets),
            "updatedReplicas": count(self.new, "replicas") if self.new else 0,
        }
        status: Json = {"observedGeneration": self.deployment["metadata"]["generation"]}
        status |= {field: number for field, number in counts.items() if number}
        status["conditions"] = copy.deepcopy(self.deployment["status"].get("conditions") or [])
        _, max_unavailable = pod_limits(self.deployment)
        if available >= self.deployment["spec"]["replicas"] - max_unavailable:
            text = "Deployment has minimum availability."
            put_condition(status, "Available", "True", "MinimumReplicasAvailable", text)
        else:
            text = "Deployment does not have minimum availability."
            put_condition(status, "Available", "False", "MinimumReplicasUnavailable", text)
        return status

    def is_complete(self) -> bool:
        """Whether every replica is of the new template and available."""
        status = self.status()
        fields = ("updatedReplicas", "replicas", "availableReplicas")
        return all(status.get(field, 0) == self.deployment["spec"]["replicas"] for field in fields)

    def status_with_progress(self) -> Json:
        """The status with the condition Progressing judged anew: complete, on its way, or past its deadline."""
        status, before = self.status(), condition(self.deployment, "Progressing")
        is_old_news = before is not None and before["reason"] == "NewReplicaSetAvailable"
        if is_old_news and status.get("replicas", 0) == status.get("updatedReplicas", 0):
            return status
        name = self.new["metadata"]["name"] if self.new else ""
        if self.is_complete():
            text = f'ReplicaSet "{name}" has successfully progressed.'
            put_condition(status, "Progressing", "True", "NewReplicaSetAvailable", text)
        elif _has_progressed(self.deployment["status"], status):
            text = f'ReplicaSet "{name}" is progressing.'
            put_condition(status, "Progressing", "True", "ReplicaSetUpdated", text, renew=True)
        elif seconds_to_deadline(self.deployment) <= 0:
            text = f'ReplicaSet "{name}" has timed out progressing.'
            put_condition(status, "Progressing", "False", "ProgressDeadlineExceeded", text)
        return status


def count(replica_set: Json, field: str) -> int:
    """One of the counts in the status of a ReplicaSet."""
    return int(replica_set["status"].get(field, 0))


def pod_limits(deployment: Json) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers of pods: percentages round up and down; both 0 would never move."""
    rolling, replicas = deployment["spec"]["strategy"]["rollingUpdate"], deployment["spec"]["replicas"]
    max_surge, max_unavailable = (
        value if isinstance(value, int) else to_whole(int(value.rstrip("%")) * replicas / 100)
        for value, to_whole in ((rolling["maxSurge"], math.ceil), (rolling["maxUnavailable"], math.floor))
    )
    return max_surge, min(max_unavailable, replicas) if max_surge or max_unavailable else 1


def condition(deployment: Json, kind: str) -> Json | None:
    """One of the conditions of a Deployment, or None."""
    conditions: list[Json] = deployment["status"].get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), None)


def put_condition(status: Json, kind: str, value: str, reason: str, message: str, *, renew: bool = False) -> None:
    """Set a condition; with the same status and reason it stays as it was, unless `renew` sets its update time anew."""
    old = condition({"status": status}, kind)
    if old and (old["status"], old["reason"]) == (value, reason) and not renew:
        return
    moment = now()
    since = old["lastTransitionTime"] if old and old["status"] == value else moment
    fresh = {"type": kind, "status": value, "lastUpdateTime": moment, "lastTransitionTime": since}
    rest = [one for one in status.get("conditions") or [] if one["type"] != kind]
    status["conditions"] = [*rest, fresh | {"reason": reason, "message": message}]


def seconds_to_deadline(deployment: Json) -> float:
    """Until the progress deadline, counted from the last progress: 0 once it is over, infinite where nothing is awaited."""
    progressing = condition(deployment, "Progressing")
    if progressing is None or progressing["reason"] == "NewReplicaSetAvailable":
        return math.inf
    if progressing["reason"] == "ProgressDeadlineExceeded":
        return 0
    return float(deployment["spec"]["progressDeadlineSeconds"]) - seconds_since(progressing["lastUpdateTime"])


def _has_progressed(old: Json, new: Json) -> bool:
    """Whether there are fewer old pods, or more new, ready or available ones."""

    def count_outdated(status: Json) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    fields = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return count_outdated(new) < count_outdated(old) or any(new.get(field, 0) > old.get(field, 0) for field in fields)
