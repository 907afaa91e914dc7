"""Changes to the Deployment: set its image by digest, put back a recorded pod template. Raw JSON, so no field is lost."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from typing import Any

from bot.domain.actions import RestoreBackend, SetImage, SetVariable
from bot.domain.plan import Mutation, Way
from bot.errors import Contradicted, NoAnswer, StepError
from bot.steps.by_hand import refuse_remaining_changes
from bot.steps.cluster import AGAIN, CONFLICTS, DeploymentClient
from bot.steps.contract import NOTHING_TO_RESTORE, StepContext, StepInspection
from bot.steps.rollout import REVISION, advice, differences, image_of, judge, same_template, variable_of, without_hash
from clients.needs import CHANGE_DEPLOYMENT, LIST_PODS, LIST_REPLICASETS, READ_DEPLOYMENT, Changes, Need
from clients.settings import Kubernetes

CHANGE_CAUSE = "kubernetes.io/change-cause"  # what `kubectl rollout history` shows: the human version beside the digest
RESTORE = "release-bot/restore"  # which attempt at a rollback wrote last
MAX_NAMES = 5  # differences that a message names
POLLS = (0.2, 0.3, 0.5, 1.0)  # seconds between two looks at a rollout: quick at first, the last one stays


def needs(_spec: SetImage | RestoreBackend | SetVariable) -> tuple[Need, ...]:
    """What these steps need in the cluster."""
    return (Changes("deployment"), READ_DEPLOYMENT, CHANGE_DEPLOYMENT, LIST_REPLICASETS, LIST_PODS)


def where_we_are(_spec: SetImage, inspection: StepInspection) -> dict[str, Any]:
    """Return what a rollback restores: the current revision, ReplicaSet, pod template and image.

    Raises StepError if the Deployment cannot take a new image, or is in the middle of another change.
    """
    cluster = DeploymentClient(inspection)
    deployment = inspection.retry_read(cluster.deployment)
    refuse_unfit(deployment, cluster.where)
    template = without_hash(deployment["spec"]["template"])
    replica_sets = inspection.retry_read(lambda: cluster.replica_sets(deployment))
    owner = next((item for item in replica_sets if same_template(item["spec"]["template"], template)), None)
    if owner is None:
        raise StepError(
            "the Deployment is in the middle of a change: its template has no ReplicaSet yet",
            hint="Wait a moment and retry the step.",
        )
    return {
        "revision": _revision(deployment),
        "replicaset": {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]},
        "template": template,
        "image": image_of(template, cluster.where.container),
        "change_cause": deployment["metadata"].get("annotations", {}).get(CHANGE_CAUSE, ""),
    }


def preview_image(spec: SetImage, inspection: StepInspection) -> list[Mutation]:
    """Return the changes of the image and of the variable with the version; none if both are set already."""
    cluster = DeploymentClient(inspection)
    deployment = inspection.retry_read(cluster.deployment)
    refuse_unfit(deployment, cluster.where)
    return _changes(spec, inspection, cluster.where, deployment)


def _changes(
    spec: SetImage, inspection: StepInspection, where: Kubernetes, deployment: Mapping[str, Any]
) -> list[Mutation]:
    template = deployment["spec"]["template"]
    was = image_of(template, where.container) or ""
    target = inspection.rollback_target or {"revision": _revision(deployment), "image": was}
    back = f"the rollback puts back revision {target['revision']}, {target['image']}"
    place = f"deployment/{where.deployment} in {where.namespace}"
    new_values = [(f"image of {place}", was, inspection.reference.image)]
    if spec.version_env:
        now = variable_of(template, where.container, spec.version_env)
        new_values.append((f"{spec.version_env} of {place}", now, inspection.reference.bare_version))
    return [Mutation(what, now, after, Way.BACK, back) for what, now, after in new_values if now != after]


def set_image(spec: SetImage, ctx: StepContext) -> str:
    """Set the image of the Deployment by digest and wait until the rollout is complete.

    Looks before it acts, so a second call after a crash changes nothing that the first has done. Raises StepError when
    the Deployment cannot take it (paused, no replicas, no such container, changed by somebody else) or the rollout fails.
    """
    cluster = DeploymentClient(ctx)
    deployment = ctx.retry_read(cluster.deployment)
    refuse_unfit(deployment, cluster.where)
    was = image_of(deployment["spec"]["template"], cluster.where.container)
    ctx.journal.record_state_before(image=was, revision=_revision(deployment))
    if _changes(spec, ctx, cluster.where, deployment):
        if not ctx.journal.has_intent():
            _refuse_changed(spec, ctx, cluster.where, deployment)
        _patch_image(spec, ctx, cluster, deployment)
        ctx.journal.record_action(image=ctx.reference.image)
    wait_for_rollout(ctx, cluster, ctx.reference.image)
    return f"{ctx.reference.version} runs as {ctx.reference.image}"


def confirm_image(spec: SetImage, inspection: StepInspection) -> str:
    """Confirm that all pods run the image of the release. Raises Contradicted if they do not."""
    cluster = DeploymentClient(inspection)
    deployment = inspection.retry_read(cluster.deployment)
    _refuse_unfinished(deployment, cluster.where, _changes(spec, inspection, cluster.where, deployment))
    return f"{inspection.reference.version} runs as {inspection.reference.image}"


def _refuse_unfinished(deployment: Mapping[str, Any], where: Kubernetes, changes: Sequence[Mutation]) -> None:
    """Raise Contradicted if ``changes`` are still to be made, or the rollout of the Deployment is not complete."""
    try:
        refuse_unfit(deployment, where)
    except StepError as error:
        raise Contradicted(error.user_message, hint=error.hint) from error
    refuse_remaining_changes(changes)
    rollout = judge(deployment)
    if not rollout.is_done:
        raise Contradicted(
            f"deployment/{where.deployment}: {rollout.line}", hint="Wait for the rollout, or retry the step."
        )


def _refuse_changed(
    spec: SetImage, inspection: StepInspection, where: Kubernetes, deployment: Mapping[str, Any]
) -> None:
    """Raise StepError if the pod template is not the recorded one: a rollback would undo somebody else's change.

    Called before the first patch only, because after it the template is the release's own.
    """
    if inspection.rollback_target is None:
        return
    recorded_template, current_template = inspection.rollback_target["template"], deployment["spec"]["template"]
    if fields := differences(recorded_template, current_template, where.container, spec.version_env):
        names = ", ".join(fields[:MAX_NAMES]) + (
            f" and {len(fields) - MAX_NAMES} more" if len(fields) > MAX_NAMES else ""
        )
        raise StepError(
            f"deployment/{where.deployment} was changed by someone else since the deploy began: {names}",
            hint="Find out who and why. Nothing was changed by this step. A retry plans anew, from what stands there then: a "
            "rollback goes back to that.",
        )


def preview_restore(_spec: RestoreBackend, inspection: StepInspection) -> list[Mutation]:
    """Return the change back to the recorded pod template, named by revision and image."""
    if inspection.rollback_target is None:
        return []
    cluster = DeploymentClient(inspection)
    return [_restore_change(inspection.retry_read(cluster.deployment), cluster.where, inspection.rollback_target)]


def _restore_change(deployment: Mapping[str, Any], where: Kubernetes, target: Mapping[str, Any]) -> Mutation:
    image = image_of(deployment["spec"]["template"], where.container)
    return Mutation(
        f"pod template of deployment/{where.deployment} in {where.namespace}",
        f"revision {_revision(deployment)}, {image}",
        f"revision {target['revision']}, {target['image']}",
        Way.COMPATIBLE,
        "a new release brings the new version again",
    )


def confirm_restore(_spec: RestoreBackend, inspection: StepInspection) -> str:
    """Confirm that all pods run the recorded pod template. Raises Contradicted if they do not."""
    if inspection.rollback_target is None:
        return NOTHING_TO_RESTORE
    cluster = DeploymentClient(inspection)
    deployment = inspection.retry_read(cluster.deployment)
    is_restored = same_template(deployment["spec"]["template"], inspection.rollback_target["template"])
    _refuse_unfinished(
        deployment,
        cluster.where,
        [] if is_restored else [_restore_change(deployment, cluster.where, inspection.rollback_target)],
    )
    return f"back at revision {inspection.rollback_target['revision']}: {inspection.rollback_target['image']}"


def restore_backend(spec: RestoreBackend, ctx: StepContext) -> str:  # noqa: ARG001  the same shape as every action
    """Restore the pod template that was recorded before the deploy, and wait until the rollout is complete.

    Doing it twice ends at the same template (promise P6). It writes to the Deployment even if the template is there already:
    a patch of the deploy that is still on its way then finds another resourceVersion and is refused.
    """
    target = ctx.rollback_target
    if target is None:
        return NOTHING_TO_RESTORE
    cluster = DeploymentClient(ctx)
    deployment = ctx.retry_read(cluster.deployment)
    image = image_of(target["template"], cluster.where.container) or ""
    ctx.journal.record_state_before(
        image=image_of(deployment["spec"]["template"], cluster.where.container), revision=_revision(deployment)
    )
    _refuse_paused(deployment, cluster.where)
    _patch_template(ctx, cluster, target)
    ctx.journal.record_action(image=image)
    wait_for_rollout(ctx, cluster, image)
    return f"back at revision {target['revision']}: {image}"


def _refuse_paused(deployment: Mapping[str, Any], where: Kubernetes) -> None:
    if deployment["spec"].get("paused"):
        raise StepError(
            f"deployment/{where.deployment} is paused", hint=f"kubectl rollout resume deployment/{where.deployment}"
        )


def refuse_unfit(deployment: Mapping[str, Any], where: Kubernetes) -> None:
    """Raise StepError for a Deployment that is paused, has no replicas or lacks the product's container."""
    _refuse_paused(deployment, where)
    spec = deployment["spec"]
    if spec.get("replicas", 1) == 0:
        raise StepError(
            f"deployment/{where.deployment} has no replicas, so nothing would run", hint="Scale it up first."
        )
    if image_of(spec["template"], where.container) is None:
        names = ", ".join(entry["name"] for entry in spec["template"]["spec"]["containers"])
        raise StepError(
            f"deployment/{where.deployment} has no container {where.container}",
            hint=f"It has: {names}. Set targets.….kubernetes.container.",
        )


def _revision(deployment: Mapping[str, Any]) -> str:
    return str(deployment["metadata"].get("annotations", {}).get(REVISION, ""))


def _patch_image(spec: SetImage, ctx: StepContext, cluster: DeploymentClient, current: Mapping[str, Any]) -> None:
    """Patch under an optimistic lock; give way only to the controller's own writes, never to another template."""
    template = current["spec"]["template"]
    container: dict[str, Any] = {"name": cluster.where.container, "image": ctx.reference.image}
    if spec.version_env:
        container["env"] = [{"name": spec.version_env, "value": ctx.reference.bare_version}]
    for _ in range(CONFLICTS):
        body = {
            "metadata": {
                "resourceVersion": current["metadata"]["resourceVersion"],
                "annotations": {CHANGE_CAUSE: f"release-bot: {ctx.reference.version}"},
            },
            "spec": {"template": {"spec": {"containers": [container]}}},
        }
        # After the look and before each try: a step that was taken from us stops here, or fails on what it has seen.
        ctx.journal.record_intent(_changes(spec, ctx, cluster.where, current))
        try:
            cluster.patch(body)
        except NoAnswer as error:
            ctx.wait_after_failure(error, AGAIN)
        else:
            return
        current = ctx.retry_read(cluster.deployment)
        if not _changes(spec, ctx, cluster.where, current):
            return
        if not same_template(current["spec"]["template"], template):
            raise StepError(
                f"deployment/{cluster.where.deployment} was changed by someone else meanwhile",
                hint="Find out who and why. A retry continues from the current state.",
            )
    raise StepError("the Deployment keeps changing", hint="Is another tool changing it too?")


def _patch_template(ctx: StepContext, cluster: DeploymentClient, target: Mapping[str, Any]) -> None:
    marks = {
        CHANGE_CAUSE: f"release-bot: back from {ctx.reference.version}",
        RESTORE: uuid.uuid4().hex,  # never the same twice, so this is always a write
    }
    for _ in range(CONFLICTS):
        current = ctx.retry_read(cluster.deployment)
        is_marked = current["metadata"].get("annotations", {}).get(RESTORE) == marks[RESTORE]
        if is_marked and same_template(current["spec"]["template"], target["template"]):
            return  # it was carried out and only its reply was lost
        ctx.journal.record_intent([_restore_change(current, cluster.where, target)])
        try:
            cluster.replace(current, marks, "/spec/template", target["template"])
        except NoAnswer as error:
            ctx.wait_after_failure(error, AGAIN)
        else:
            return
    raise StepError("the Deployment keeps changing", hint="Is another tool changing it too?")


def wait_for_rollout(ctx: StepContext, cluster: DeploymentClient, image: str) -> None:
    """Wait until every pod runs what the Deployment says. Raises StepError when it fails or another image is set."""
    for pause in chain(POLLS, repeat(POLLS[-1])):
        deployment = ctx.retry_read(cluster.deployment)
        image_now = image_of(deployment["spec"]["template"], cluster.where.container)
        if image_now != image:
            raise StepError(
                f"someone else changed the image to {image_now} during the rollout",
                hint="Find out who. Then retry or roll back.",
            )
        rollout = judge(deployment)
        if rollout.is_done:
            ctx.journal.record_observation(rollout=rollout.line, revision=_revision(deployment))
            return
        # A pod that is ready for a moment before it crashes counts as progress, each time: that deadline may never come.
        late = time.monotonic() + pause > ctx.deadline
        if rollout.has_failed or late:
            trouble = "; ".join(cluster.trouble(deployment)) or "no pod shows why"
            ctx.journal.record_observation(rollout=rollout.line, pods=trouble)
            if not rollout.has_failed:
                hint = "Check the new pods, then retry or roll back."
                raise StepError(f"gave up waiting: {rollout.line}: {trouble}", hint=hint)
            raise StepError(f"{rollout.line}: {trouble}", hint=advice(deployment))
        ctx.journal.show_progress(rollout.line)
        ctx.pause(pause, "the rollout")
