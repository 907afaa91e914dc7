"""The deployment and replicaset controllers: rollouts, revisions, conditions.

The rules are those of kube-controller-manager (pkg/controller/deployment: sync.go, rolling.go, progress.go and
util/deployment_util.go), so that rollout status, history and undo see what they would see on a real cluster.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sandbox.kube.resources import DEPLOYMENTS, PODS, REPLICASETS
from sandbox.kube.selectors import spec_selector
from sandbox.kube.store import SAFE_LETTERS, Store, controller_uid, now, parse_time
from sandbox.kube.syncing import sync_each

Json = dict[str, Any]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
NOT_COPIED = {REVISION, REVISION_HISTORY, DESIRED, MAXIMUM, LAST_APPLIED, "deprecated.deployment.rollback.to"}
NO_DEADLINE = 2**31 - 1


class Rollout(NamedTuple):
    """A Deployment with the ReplicaSets it owns, sorted out."""

    deployment: Json
    new: Json | None
    old: list[Json]

    @property
    def all(self) -> list[Json]:
        """Every ReplicaSet of it."""
        return [*self.old, *([self.new] if self.new else [])]


class DeploymentController:
    """Moves each Deployment towards its spec, through ReplicaSets."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def sync_all(self) -> float | None:
        """One look at every Deployment; seconds until a progress deadline wants the next look, if any."""
        return sync_each(self.store.objects(DEPLOYMENTS), self.sync)

    def sync(self, deployment: Json) -> float | None:
        """One step for one Deployment; seconds until its progress deadline, if it has to be watched."""
        sets = self.store.owned(REPLICASETS, deployment)
        if deployment["metadata"].get("deletionTimestamp"):
            return None
        deployment = self._note_pause(deployment)
        spec = deployment["spec"]
        scaling = any(
            rs["spec"]["replicas"] > 0 and _annotation(rs, DESIRED) != str(spec["replicas"])
            for rs in sets
            if _annotation(rs, DESIRED)
        )
        if spec.get("paused") or scaling:
            rollout = self._find_new(deployment, sets, create=False)
            self._scale(rollout)
            self._write_status(rollout.deployment, _status(self._refresh(rollout)))
            return None
        rollout = self._find_new(deployment, sets, create=True)
        moved = self._recreate(rollout) if spec["strategy"]["type"] == "Recreate" else self._roll(rollout)
        rollout = self._refresh(rollout)
        if not moved and _is_complete(rollout.deployment, _status(rollout)):
            self._clean_up(rollout)
            rollout = self._refresh(rollout)
        return self._sync_rollout_status(rollout)

    # --- the new ReplicaSet

    def _find_new(self, deployment: Json, sets: list[Json], *, create: bool) -> Rollout:
        wanted = _plain_template(deployment)
        new = next((rs for rs in sets if _plain_template(rs) == wanted), None)
        old = [rs for rs in sets if rs is not new]
        revision = max((revision_of(rs) for rs in old), default=0) + 1
        if new is None and not create:
            return Rollout(deployment, None, old)
        if new is None:
            new = self._create_set(deployment, old, revision)
            text = f'Created new replica set "{new["metadata"]["name"]}"'
            deployment = self._set_condition(deployment, "Progressing", "True", "NewReplicaSetCreated", text)
        else:
            new = self._annotate(deployment, new, revision)
            if _condition(deployment, "Progressing") is None:
                text = f'Found new replica set "{new["metadata"]["name"]}"'
                deployment = self._set_condition(deployment, "Progressing", "True", "FoundNewReplicaSet", text)
        number = str(revision_of(new))
        if _annotation(deployment, REVISION) != number:
            deployment["metadata"].setdefault("annotations", {})[REVISION] = number
            deployment = self.store.update(DEPLOYMENTS, deployment)
        return Rollout(deployment, new, old)

    def _create_set(self, deployment: Json, old: list[Json], revision: int) -> Json:
        template, meta = _plain_template(deployment), deployment["metadata"]
        mark = _template_hash(template)
        labels = {**template["metadata"].get("labels", {}), HASH_LABEL: mark}
        template["metadata"]["labels"] = labels
        selector = copy.deepcopy(deployment["spec"]["selector"])
        selector.setdefault("matchLabels", {})[HASH_LABEL] = mark
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
        owner |= {"controller": True, "blockOwnerDeletion": True}
        annotations = _copied_annotations(deployment) | _size_annotations(deployment) | {REVISION: str(revision)}
        metadata = {"name": f"{meta['name']}-{mark}", "namespace": meta["namespace"], "labels": labels}
        metadata |= {"annotations": annotations, "ownerReferences": [owner]}
        replicas = _room_for_new(deployment, old, 0)
        spec = {"replicas": replicas, "selector": selector, "template": template}
        if deployment["spec"].get("minReadySeconds"):
            spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
        created = self.store.create(REPLICASETS, {"metadata": metadata, "spec": spec})
        if replicas:
            self.store.event(deployment, "ScalingReplicaSet", f"Scaled up replica set {metadata['name']} to {replicas}")
        return created

    def _annotate(self, deployment: Json, new: Json, revision: int) -> Json:
        """Give a ReplicaSet that is used again the next revision and the Deployment's annotations."""
        annotations = new["metadata"].setdefault("annotations", {})
        annotations |= _copied_annotations(deployment)
        before = _annotation(new, REVISION)
        if revision_of(new) < revision:
            annotations[REVISION] = str(revision)
            if before:
                annotations[REVISION_HISTORY] = ",".join(filter(None, [annotations.get(REVISION_HISTORY), before]))
        return self.store.update(REPLICASETS, new)

    # --- rolling

    def _roll(self, rollout: Rollout) -> bool:
        """One step of a rolling update: up with the new one, else down with the old ones. True if something moved."""
        deployment, new = rollout.deployment, rollout.new
        assert new is not None
        wanted, current = deployment["spec"]["replicas"], new["spec"]["replicas"]
        target = wanted if current >= wanted else current + _room_for_new(deployment, rollout.all, current)
        if self._resize(deployment, new, target):
            return True
        return self._shrink_old(rollout, new)

    def _shrink_old(self, rollout: Rollout, new: Json) -> bool:
        """Scale the old ReplicaSets down as far as maxUnavailable allows, unhealthy pods first."""
        deployment = rollout.deployment
        if not sum(rs["spec"]["replicas"] for rs in rollout.old):
            return False
        _, unavailable = _limits(deployment)
        floor = deployment["spec"]["replicas"] - unavailable
        spare = sum(rs["spec"]["replicas"] for rs in rollout.all) - floor
        spare -= new["spec"]["replicas"] - _count(new, "availableReplicas")
        if spare <= 0:
            return False
        moved = False
        sizes = {rs["metadata"]["name"]: rs["spec"]["replicas"] for rs in rollout.old}
        for rs in rollout.old:  # pods that serve nobody can go without asking
            name = rs["metadata"]["name"]
            cut = min(spare, max(0, sizes[name] - _count(rs, "availableReplicas")))
            sizes[name] -= cut
            spare -= cut
        left = sum(_count(rs, "availableReplicas") for rs in rollout.all) - floor
        for rs in rollout.old:
            name = rs["metadata"]["name"]
            cut = max(0, min(left, sizes[name]))
            sizes[name] -= cut
            left -= cut
        for rs in rollout.old:
            moved |= self._resize(deployment, rs, sizes[rs["metadata"]["name"]])
        return moved

    def _recreate(self, rollout: Rollout) -> bool:
        """One step of strategy Recreate: all old pods go before the first new one comes."""
        deployment, new = rollout.deployment, rollout.new
        assert new is not None
        moved = [self._resize(deployment, rs, 0) for rs in rollout.old]
        if any(moved) or self._old_pods_run(rollout):
            self._resize(deployment, new, new["spec"]["replicas"])
            return True
        return self._resize(deployment, new, deployment["spec"]["replicas"])

    def _old_pods_run(self, rollout: Rollout) -> bool:
        pods = self.store.objects(PODS, rollout.deployment["metadata"]["namespace"])
        uids = {rs["metadata"]["uid"] for rs in rollout.old}
        return any(controller_uid(pod) in uids for pod in pods)

    def _scale(self, rollout: Rollout) -> None:
        """Follow a change of `spec.replicas` outside a rollout step: in proportion where several sets are in use."""
        deployment = rollout.deployment
        wanted = deployment["spec"]["replicas"]
        active = [rs for rs in rollout.all if rs["spec"]["replicas"] > 0]
        if len(active) <= 1:
            newest = rollout.new or max(rollout.old, key=revision_of, default=None)
            target = active[0] if active else newest
            if target is not None:
                self._resize(deployment, target, wanted)
            return
        new = rollout.new
        if new and new["spec"]["replicas"] == wanted == _count(new, "availableReplicas"):
            for rs in rollout.old:
                self._resize(deployment, rs, 0)
            return
        surge, _ = _limits(deployment)
        total = sum(rs["spec"]["replicas"] for rs in active)
        allowed = wanted + surge if wanted else 0
        left = allowed - total
        for rs in sorted(active, key=lambda rs: -rs["spec"]["replicas"]):
            share = round(rs["spec"]["replicas"] * allowed / total) - rs["spec"]["replicas"]
            share = max(min(share, left), 0) if left > 0 else min(max(share, left), 0)
            left -= share
            self._resize(deployment, rs, rs["spec"]["replicas"] + share)

    def _resize(self, deployment: Json, rs: Json, replicas: int) -> bool:
        """Set the size of a ReplicaSet, and what it says of the Deployment's size. True if that makes or ends pods."""
        before = rs["spec"]["replicas"]
        rs["spec"]["replicas"] = replicas
        rs["metadata"].setdefault("annotations", {}).update(_size_annotations(deployment))
        rs.update(self.store.update(REPLICASETS, rs))
        if before == replicas:
            return False
        word = "up" if replicas > before else "down"
        text = f"Scaled {word} replica set {rs['metadata']['name']} to {replicas}"
        self.store.event(deployment, "ScalingReplicaSet", text)
        return True

    def _clean_up(self, rollout: Rollout) -> None:
        """Delete the oldest ReplicaSets beyond revisionHistoryLimit."""
        surplus = len(rollout.old) - rollout.deployment["spec"]["revisionHistoryLimit"]
        for rs in sorted(rollout.old, key=revision_of)[: max(0, surplus)]:
            meta = rs["metadata"]
            settled = rs["status"].get("observedGeneration") == meta["generation"]
            if settled and not rs["spec"]["replicas"] and not _count(rs, "replicas"):
                self.store.remove(REPLICASETS, meta["namespace"], meta["name"])

    # --- status

    def _refresh(self, rollout: Rollout) -> Rollout:
        uid = rollout.new["metadata"]["uid"] if rollout.new else ""
        sets = self.store.owned(REPLICASETS, rollout.deployment)
        new = next((rs for rs in sets if rs["metadata"]["uid"] == uid), None)
        return Rollout(rollout.deployment, new, [rs for rs in sets if rs is not new])

    def _sync_rollout_status(self, rollout: Rollout) -> float | None:
        deployment = rollout.deployment
        status = _status(rollout)
        before = _condition(deployment, "Progressing")
        if not _has_deadline(deployment):
            status["conditions"] = [c for c in status["conditions"] if c["type"] != "Progressing"]
        elif not (
            before
            and before["reason"] == "NewReplicaSetAvailable"
            and _number(status, "replicas") == _number(status, "updatedReplicas")
        ):
            name = rollout.new["metadata"]["name"] if rollout.new else ""
            if _is_complete(deployment, status):
                text = f'ReplicaSet "{name}" has successfully progressed.'
                _put_condition(status, "Progressing", "True", "NewReplicaSetAvailable", text)
            elif _is_progressing(deployment.get("status") or {}, status):
                text = f'ReplicaSet "{name}" is progressing.'
                _put_condition(status, "Progressing", "True", "ReplicaSetUpdated", text, touch=True)
            elif _seconds_left(deployment) <= 0:
                text = f'ReplicaSet "{name}" has timed out progressing.'
                _put_condition(status, "Progressing", "False", "ProgressDeadlineExceeded", text)
        after = self._write_status(deployment, status)
        condition = _condition(after, "Progressing")
        final = ("NewReplicaSetAvailable", "ProgressDeadlineExceeded")
        if condition is None or condition["reason"] in final:
            return None
        return max(0.05, _seconds_left(after))

    def _write_status(self, deployment: Json, status: Json) -> Json:
        return self.store.update(DEPLOYMENTS, deployment | {"status": status}, status=True)

    def _set_condition(self, deployment: Json, kind: str, value: str, reason: str, message: str) -> Json:
        if not _has_deadline(deployment):
            return deployment
        status = copy.deepcopy(deployment.get("status") or {})
        _put_condition(status, kind, value, reason, message)
        return self._write_status(deployment, status)

    def _note_pause(self, deployment: Json) -> Json:
        condition = _condition(deployment, "Progressing")
        reason = condition["reason"] if condition else ""
        paused = bool(deployment["spec"].get("paused"))
        if reason == "ProgressDeadlineExceeded":
            return deployment
        if paused and reason != "DeploymentPaused":
            return self._set_condition(deployment, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
        if not paused and reason == "DeploymentPaused":
            text = "Deployment is resumed"
            return self._set_condition(deployment, "Progressing", "Unknown", "DeploymentResumed", text)
        return deployment


class ReplicaSetController:
    """Keeps as many pods as each ReplicaSet asks for."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def sync_all(self) -> float | None:
        """One look at every ReplicaSet; seconds until a pod has been ready for `minReadySeconds`, if any waits."""
        return sync_each(self.store.objects(REPLICASETS), self.sync)

    def sync(self, rs: Json) -> float | None:
        """Create or delete pods of one ReplicaSet, and write its status."""
        pods = [pod for pod in self._pods(rs) if is_active(pod)]
        surplus = len(pods) - rs["spec"]["replicas"]
        if not rs["metadata"].get("deletionTimestamp"):
            for _ in range(-surplus):
                self._create_pod(rs)
            for pod in sorted(pods, key=_worth)[: max(0, surplus)]:
                grace = pod["spec"]["terminationGracePeriodSeconds"]
                self.store.mark_deleted(PODS, pod, grace=grace)
                self.store.event(rs, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
            pods = [pod for pod in self._pods(rs) if is_active(pod)]
        ages = [ready_seconds(pod) for pod in pods]
        minimum = rs["spec"].get("minReadySeconds", 0)
        ready = [age for age in ages if age is not None]
        status = {"replicas": len(pods), "fullyLabeledReplicas": len(pods), "readyReplicas": len(ready)}
        status |= {"availableReplicas": sum(age >= minimum for age in ready)}
        status = {key: value for key, value in status.items() if value or key == "replicas"}
        status["observedGeneration"] = rs["metadata"]["generation"]
        self.store.update(REPLICASETS, rs | {"status": status}, status=True)
        return min((minimum - age + 0.05 for age in ready if age < minimum), default=None)

    def _pods(self, rs: Json) -> list[Json]:
        """The pods of a ReplicaSet; one without a controller that its selector fits is adopted."""
        fits = spec_selector(rs["spec"]["selector"])
        for pod in self.store.objects(PODS, rs["metadata"]["namespace"]):
            if fits(pod) and not controller_uid(pod) and is_active(pod) and not rs["metadata"].get("deletionTimestamp"):
                owners = pod["metadata"].get("ownerReferences") or []
                pod["metadata"]["ownerReferences"] = [*owners, _set_owner(rs)]
                self.store.update(PODS, pod)
        return self.store.owned(PODS, rs)

    def _create_pod(self, rs: Json) -> None:
        template, meta = copy.deepcopy(rs["spec"]["template"]), rs["metadata"]
        metadata = template["metadata"] | {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]}
        metadata["ownerReferences"] = [_set_owner(rs)]
        pod = self.store.create(PODS, {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}})
        self.store.event(rs, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")


def is_active(pod: Json) -> bool:
    """Whether a pod counts for its ReplicaSet or Job: not ended, not on its way out."""
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not ended and not pod["metadata"].get("deletionTimestamp")


def ready_seconds(pod: Json) -> float | None:
    """For how long a pod has been Ready, or None if it is not."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return (datetime.now(UTC) - parse_time(condition["lastTransitionTime"])).total_seconds()
    return None


def revision_of(rs: Json) -> int:
    """The revision number of a ReplicaSet; 0 where it has none."""
    text = _annotation(rs, REVISION)
    return int(text) if text.isdecimal() else 0


def _worth(pod: Json) -> tuple[Any, ...]:
    """Sort key: the pod to delete first comes first (unready, then restarted, then young)."""
    status = pod.get("status") or {}
    restarts = sum(s.get("restartCount", 0) for s in status.get("containerStatuses") or [])
    phase = {"Pending": 0, "Unknown": 1}.get(status.get("phase", ""), 2)
    age = ready_seconds(pod)
    born = parse_time(pod["metadata"]["creationTimestamp"]).timestamp()
    return (phase, age is not None, age or 0.0, -restarts, -born)


def _set_owner(rs: Json) -> Json:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": rs["metadata"]["name"]}
    return owner | {"uid": rs["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}


def _annotation(obj: Json, key: str) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(key, ""))


def _copied_annotations(deployment: Json) -> Json:
    found: Json = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in found.items() if key not in NOT_COPIED}


def _size_annotations(deployment: Json) -> Json:
    surge, _ = _limits(deployment)
    wanted = deployment["spec"]["replicas"]
    return {DESIRED: str(wanted), MAXIMUM: str(wanted + surge)}


def _plain_template(obj: Json) -> Json:
    """A copy of the pod template without the hash label, as two templates are compared."""
    template: Json = copy.deepcopy(obj["spec"]["template"])
    labels = template["metadata"].get("labels") or {}
    labels.pop(HASH_LABEL, None)
    return template


def _template_hash(template: Json) -> str:
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(SAFE_LETTERS[byte % len(SAFE_LETTERS)] for byte in digest[:10])


def _limits(deployment: Json) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers of pods: percentages round up and down; both 0 would never move."""
    strategy, wanted = deployment["spec"]["strategy"], deployment["spec"]["replicas"]
    if strategy["type"] != "RollingUpdate":
        return 0, 0
    surge = _pods_of(strategy["rollingUpdate"]["maxSurge"], wanted, math.ceil)
    unavailable = _pods_of(strategy["rollingUpdate"]["maxUnavailable"], wanted, math.floor)
    return surge, min(unavailable, wanted) if surge or unavailable else 1


def _pods_of(value: int | str, total: int, round_: Any) -> int:
    if isinstance(value, int):
        return value
    return int(round_(int(value.rstrip("%")) * total / 100))


def _room_for_new(deployment: Json, sets: list[Json], current: int) -> int:
    """How many pods the new ReplicaSet may get on top of its `current` ones."""
    wanted = deployment["spec"]["replicas"]
    if deployment["spec"]["strategy"]["type"] == "Recreate":
        return 0 if any(rs["spec"]["replicas"] for rs in sets) else int(wanted - current)
    surge, _ = _limits(deployment)
    room = wanted + surge - sum(rs["spec"]["replicas"] for rs in sets)
    return int(max(0, min(room, wanted - current)))


def _count(rs: Json, field: str) -> int:
    return _number(rs.get("status") or {}, field)


def _number(status: Json, field: str) -> int:
    return int(status.get(field, 0))


def _status(rollout: Rollout) -> Json:
    """The status that follows from the ReplicaSets, with the conditions kept and Available judged anew."""
    deployment = rollout.deployment
    total = sum(_count(rs, "replicas") for rs in rollout.all)
    available = sum(_count(rs, "availableReplicas") for rs in rollout.all)
    counts = {"replicas": total, "availableReplicas": available, "unavailableReplicas": max(0, total - available)}
    counts["readyReplicas"] = sum(_count(rs, "readyReplicas") for rs in rollout.all)
    counts["updatedReplicas"] = _count(rollout.new, "replicas") if rollout.new else 0
    status: Json = {"observedGeneration": deployment["metadata"]["generation"]}
    status |= {key: value for key, value in counts.items() if value}
    status["conditions"] = copy.deepcopy((deployment.get("status") or {}).get("conditions") or [])
    _, unavailable = _limits(deployment)
    if available >= deployment["spec"]["replicas"] - unavailable:
        text = "Deployment has minimum availability."
        _put_condition(status, "Available", "True", "MinimumReplicasAvailable", text)
    else:
        text = "Deployment does not have minimum availability."
        _put_condition(status, "Available", "False", "MinimumReplicasUnavailable", text)
    return status


def _is_complete(deployment: Json, status: Json) -> bool:
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    return all(_number(status, field) == deployment["spec"]["replicas"] for field in fields)


def _is_progressing(old: Json, new: Json) -> bool:
    if _number(new, "replicas") - _number(new, "updatedReplicas") < _number(old, "replicas") - _number(
        old, "updatedReplicas"
    ):
        return True
    return any(_number(new, f) > _number(old, f) for f in ("updatedReplicas", "readyReplicas", "availableReplicas"))


def _has_deadline(deployment: Json) -> bool:
    return int(deployment["spec"]["progressDeadlineSeconds"]) != NO_DEADLINE


def _seconds_left(deployment: Json) -> float:
    """Until the progress deadline: counted from the last progress; infinite where nothing is awaited."""
    condition = _condition(deployment, "Progressing")
    if condition is None or condition["reason"] == "NewReplicaSetAvailable":
        return math.inf
    if condition["reason"] == "ProgressDeadlineExceeded":
        return 0
    waited = datetime.now(UTC) - parse_time(condition["lastUpdateTime"])
    return float(deployment["spec"]["progressDeadlineSeconds"]) - waited.total_seconds()


def _condition(deployment: Json, kind: str) -> Json | None:
    conditions: list[Json] = (deployment.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), None)


def _put_condition(status: Json, kind: str, value: str, reason: str, message: str, *, touch: bool = False) -> None:
    """Set a condition; with the same status and reason it stays as it was, unless `touch` renews its update time."""
    old = _condition({"status": status}, kind)
    if old and (old["status"], old["reason"]) == (value, reason) and not touch:
        return
    moment = now()
    since = old["lastTransitionTime"] if old and old["status"] == value else moment
    fresh = {"type": kind, "status": value, "lastUpdateTime": moment, "lastTransitionTime": since}
    rest = [condition for condition in status.get("conditions") or [] if condition["type"] != kind]
    status["conditions"] = [*rest, fresh | {"reason": reason, "message": message}]
