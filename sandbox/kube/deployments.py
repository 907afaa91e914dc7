"""The deployment controller: rollouts, revisions, conditions.

The rules are those of kube-controller-manager (pkg/controller/deployment: sync.go, rolling.go, progress.go and
util/deployment_util.go), so that a release sees what it would see on a real cluster. There is the strategy RollingUpdate only.
"""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from sandbox.kube.resources import DEPLOYMENTS, REPLICASETS
from sandbox.kube.rollouts import SimulatedRollout, condition, count, pod_limits, put_condition, seconds_to_deadline
from sandbox.kube.store import SAFE_LETTERS, ObjectStore, controller_reference
from sandbox.kube.syncing import sync_each

Json = dict[str, Any]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SOONEST_LOOK_SECONDS = 0.05  # for a progress deadline
NOT_COPIED = {REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS, LAST_APPLIED}


class DeploymentController:
    """Moves each Deployment towards its spec, through ReplicaSets."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def sync_all(self) -> float | None:
        """One look at every Deployment; seconds until the next look for a progress deadline, if one is running."""
        return sync_each(self._store.objects(DEPLOYMENTS), self._sync)

    def _sync(self, deployment: Json) -> float | None:
        deployment = self._note_pause(deployment)
        sets = self._store.owned_by(REPLICASETS, deployment)
        replicas = str(deployment["spec"]["replicas"])
        is_resized = any(
            replica_set["spec"]["replicas"] > 0 and _annotation(replica_set, DESIRED_REPLICAS) not in ("", replicas)
            for replica_set in sets
        )
        if deployment["spec"].get("paused") or is_resized:
            rollout = self._find_rollout(deployment, sets)
            self._scale(rollout)
            self._write_status(rollout.deployment, self._refresh(rollout).status())
            return None
        rollout = self._start_rollout(self._find_rollout(deployment, sets))
        has_moved = self._roll(rollout)
        rollout = self._refresh(rollout)
        if not has_moved and rollout.is_complete():
            self._delete_history(rollout)
            rollout = self._refresh(rollout)
        deployment = self._write_status(rollout.deployment, rollout.status_with_progress())
        progressing = condition(deployment, "Progressing")
        if progressing is None or progressing["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
            return None
        return max(SOONEST_LOOK_SECONDS, seconds_to_deadline(deployment))

    # --- the new ReplicaSet

    def _find_rollout(self, deployment: Json, sets: list[Json]) -> SimulatedRollout:
        template = _plain_template(deployment)
        new = next((replica_set for replica_set in sets if _plain_template(replica_set) == template), None)
        return SimulatedRollout(deployment, new, [replica_set for replica_set in sets if replica_set is not new])

    def _start_rollout(self, rollout: SimulatedRollout) -> SimulatedRollout:
        """Make the new ReplicaSet, or give the one that is used again the next revision."""
        deployment, new, old = rollout
        revision = max((_revision(replica_set) for replica_set in old), default=0) + 1
        if new is None:
            new = self._create_set(deployment, old, revision)
            reason, text = "NewReplicaSetCreated", f'Created new replica set "{new["metadata"]["name"]}"'
            deployment = self._set_progressing(deployment, "True", reason, text)
        else:
            new = self._annotate(deployment, new, revision)
        number = str(_revision(new))
        if _annotation(deployment, REVISION) != number:
            deployment["metadata"].setdefault("annotations", {})[REVISION] = number
            deployment = self._store.update(DEPLOYMENTS, deployment)
        return SimulatedRollout(deployment, new, old)

    def _create_set(self, deployment: Json, old: list[Json], revision: int) -> Json:
        template, meta = _plain_template(deployment), deployment["metadata"]
        template_hash = _template_hash(template)
        labels = {**template["metadata"].get("labels", {}), HASH_LABEL: template_hash}
        template["metadata"]["labels"] = labels
        selector = copy.deepcopy(deployment["spec"]["selector"])
        selector["matchLabels"][HASH_LABEL] = template_hash
        metadata = {
            "name": f"{meta['name']}-{template_hash}",
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": _copied_annotations(deployment) | _size_annotations(deployment) | {REVISION: str(revision)},
            "ownerReferences": [controller_reference(deployment)],
        }
        spec = {"replicas": _room(deployment, old, 0), "selector": selector, "template": template}
        return self._store.create(REPLICASETS, {"metadata": metadata, "spec": spec})

    def _annotate(self, deployment: Json, new: Json, revision: int) -> Json:
        """Give a ReplicaSet that is used again the next revision and the Deployment's annotations."""
        annotations = new["metadata"].setdefault("annotations", {})
        annotations |= _copied_annotations(deployment)
        before = _annotation(new, REVISION)
        if _revision(new) < revision:
            annotations[REVISION] = str(revision)
            annotations[REVISION_HISTORY] = ",".join(filter(None, [annotations.get(REVISION_HISTORY), before]))
        return self._store.update(REPLICASETS, new)

    # --- rolling

    def _roll(self, rollout: SimulatedRollout) -> bool:
        """One step of a rolling update: up with the new one, else down with the old ones. True if something moved."""
        deployment, new = rollout.deployment, rollout.new
        assert new is not None
        replicas, current = deployment["spec"]["replicas"], new["spec"]["replicas"]
        target = replicas if current >= replicas else current + _room(deployment, rollout.sets, current)
        return self._resize(deployment, new, target) or self._shrink_old(rollout, new)

    def _shrink_old(self, rollout: SimulatedRollout, new: Json) -> bool:
        """Scale the old ReplicaSets down as far as maxUnavailable allows, unhealthy pods first. True if one moved."""
        deployment, old = rollout.deployment, rollout.old
        _, max_unavailable = pod_limits(deployment)
        floor = deployment["spec"]["replicas"] - max_unavailable
        spare = sum(replica_set["spec"]["replicas"] for replica_set in rollout.sets) - floor
        spare -= new["spec"]["replicas"] - count(new, "availableReplicas")
        if spare <= 0:
            return False
        sizes = [replica_set["spec"]["replicas"] for replica_set in old]
        for number, replica_set in enumerate(old):  # pods that serve nobody can go without asking
            cut = min(spare, max(0, sizes[number] - count(replica_set, "availableReplicas")))
            sizes[number] -= cut
            spare -= cut
        spare = sum(count(replica_set, "availableReplicas") for replica_set in rollout.sets) - floor
        for number, size in enumerate(sizes):
            cut = max(0, min(spare, size))
            sizes[number] -= cut
            spare -= cut
        changes = [self._resize(deployment, *pair) for pair in zip(old, sizes, strict=True)]
        return any(changes)

    def _scale(self, rollout: SimulatedRollout) -> None:
        """Follow a change of `spec.replicas`: at once with one ReplicaSet in use, else as part of the rollout that is under way."""
        deployment, new, old = rollout
        active = [replica_set for replica_set in rollout.sets if replica_set["spec"]["replicas"] > 0]
        if len(active) > 1:
            for replica_set in active:
                self._resize(deployment, replica_set, replica_set["spec"]["replicas"])
        elif target := active[0] if active else new or max(old, key=_revision, default=None):
            self._resize(deployment, target, deployment["spec"]["replicas"])

    def _resize(self, deployment: Json, replica_set: Json, replicas: int) -> bool:
        """Set the size of a ReplicaSet and its annotations about the Deployment's size. True if the number of pods changes."""
        before = replica_set["spec"]["replicas"]
        replica_set["spec"]["replicas"] = replicas
        replica_set["metadata"].setdefault("annotations", {}).update(_size_annotations(deployment))
        replica_set.update(self._store.update(REPLICASETS, replica_set))
        return bool(before != replicas)

    def _delete_history(self, rollout: SimulatedRollout) -> None:
        """Delete the oldest ReplicaSets beyond revisionHistoryLimit."""
        surplus = len(rollout.old) - rollout.deployment["spec"]["revisionHistoryLimit"]
        for replica_set in sorted(rollout.old, key=_revision)[: max(0, surplus)]:
            if not replica_set["spec"]["replicas"] and not count(replica_set, "replicas"):
                meta = replica_set["metadata"]
                self._store.remove(REPLICASETS, meta["namespace"], meta["name"])

    # --- status

    def _refresh(self, rollout: SimulatedRollout) -> SimulatedRollout:
        uid = rollout.new["metadata"]["uid"] if rollout.new else ""
        sets = self._store.owned_by(REPLICASETS, rollout.deployment)
        new = next((replica_set for replica_set in sets if replica_set["metadata"]["uid"] == uid), None)
        return SimulatedRollout(
            rollout.deployment, new, [replica_set for replica_set in sets if replica_set is not new]
        )

    def _write_status(self, deployment: Json, status: Json) -> Json:
        return self._store.update(DEPLOYMENTS, deployment | {"status": status}, status=True)

    def _set_progressing(self, deployment: Json, value: str, reason: str, message: str) -> Json:
        status = copy.deepcopy(deployment["status"])
        put_condition(status, "Progressing", value, reason, message)
        return self._write_status(deployment, status)

    def _note_pause(self, deployment: Json) -> Json:
        progressing = condition(deployment, "Progressing")
        reason = progressing["reason"] if progressing else ""
        if reason == "ProgressDeadlineExceeded":
            return deployment
        is_paused = bool(deployment["spec"].get("paused"))
        if is_paused and reason != "DeploymentPaused":
            return self._set_progressing(deployment, "Unknown", "DeploymentPaused", "Deployment is paused")
        if not is_paused and reason == "DeploymentPaused":
            return self._set_progressing(deployment, "Unknown", "DeploymentResumed", "Deployment is resumed")
        return deployment


def _revision(replica_set: Json) -> int:
    """The revision number of a ReplicaSet; 0 where it has none."""
    text = _annotation(replica_set, REVISION)
    return int(text) if text.isdecimal() else 0


def _annotation(obj: Json, key: str) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(key, ""))


def _copied_annotations(deployment: Json) -> Json:
    annotations: Json = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key not in NOT_COPIED}


def _size_annotations(deployment: Json) -> Json:
    max_surge, _ = pod_limits(deployment)
    replicas = deployment["spec"]["replicas"]
    return {DESIRED_REPLICAS: str(replicas), MAX_REPLICAS: str(replicas + max_surge)}


def _plain_template(obj: Json) -> Json:
    """A copy of the pod template without the hash label, as two templates are compared."""
    template: Json = copy.deepcopy(obj["spec"]["template"])
    (template["metadata"].get("labels") or {}).pop(HASH_LABEL, None)
    return template


def _template_hash(template: Json) -> str:
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(SAFE_LETTERS[byte % len(SAFE_LETTERS)] for byte in digest[:10])


def _room(deployment: Json, sets: list[Json], current: int) -> int:
    """How many pods the new ReplicaSet may get on top of its `current` ones."""
    replicas = deployment["spec"]["replicas"]
    max_surge, _ = pod_limits(deployment)
    total = sum(replica_set["spec"]["replicas"] for replica_set in sets)
    return int(max(0, min(replicas + max_surge - total, replicas - current)))
