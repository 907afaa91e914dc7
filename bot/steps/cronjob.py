"""Steps `cronjob` and `restore_cronjob`: schedule and images of a CronJob as the release's commit has them, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from bot.domain.plan import Mutation, Way
from bot.errors import NoAnswer, StepError
from bot.steps.by_hand import refuse_remaining_changes
from bot.steps.cluster import AGAIN, CONFLICTS
from bot.steps.contract import NOTHING_TO_RESTORE, step_errors
from clients.cluster import FIELD_MANAGER, kube_errors
from clients.needs import READ_CONTENTS, Changes, ClusterRight, Need, Of
from clients.target import require

if TYPE_CHECKING:
    from bot.domain.actions import DeployCronJob, RestoreCronJob
    from bot.steps.contract import StepContext, StepInspection

TAKEN_BACK = ("schedule", "jobTemplate")  # of the spec


class CronJobs:
    """One CronJob in the namespace of a Target, as raw JSON."""

    def __init__(self, inspection: StepInspection, name: str) -> None:
        with step_errors():
            self.namespace = require(inspection.target.kubernetes, inspection.target, "kubernetes").namespace
            self._kube = inspection.clients.kube()
        self.name, self.place = name, f"cronjob/{name} in {self.namespace}"

    def get(self) -> dict[str, Any]:
        """The CronJob as it is now."""
        with step_errors(), kube_errors(f"read {self.place}"):
            return self._kube.json(self._kube.batch.read_namespaced_cron_job, self.name, self.namespace)

    def replace(self, current: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        """Put schedule and job template of ``spec`` into the CronJob. Raises NoAnswer if it has changed since ``current`` was read."""
        body: list[dict[str, Any]] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": current["metadata"]["resourceVersion"]}
        ]
        body += [{"op": "replace", "path": f"/spec/{key}", "value": spec[key]} for key in TAKEN_BACK]
        with step_errors(), kube_errors(f"change {self.place}"):
            patch = self._kube.batch.patch_namespaced_cron_job
            self._kube.json(patch, self.name, self.namespace, body, field_manager=FIELD_MANAGER)


def needs(spec: DeployCronJob) -> tuple[Need, ...]:
    """What the step needs in the cluster and at GitHub."""
    rights = (ClusterRight(verb, "batch", "cronjobs", Of.NAMESPACE, spec.name) for verb in ("get", "patch"))
    return (Changes("cronjob"), READ_CONTENTS, *rights)


def needs_to_restore(_spec: RestoreCronJob) -> tuple[Need, ...]:
    """What the step of the rollback needs: the same rights; the name of the CronJob is in what was recorded."""
    return (Changes("cronjob"), *(ClusterRight(verb, "batch", "cronjobs", Of.RECORDED) for verb in ("get", "patch")))


def where_we_are(spec: DeployCronJob, inspection: StepInspection) -> dict[str, Any]:
    """Return what a rollback restores: the current schedule and job template."""
    spec_now = inspection.retry_read(CronJobs(inspection, spec.name).get)["spec"]
    return {"name": spec.name, **{key: spec_now[key] for key in TAKEN_BACK}}


def preview(spec: DeployCronJob, inspection: StepInspection) -> list[Mutation]:
    """Return the changes of schedule and images that make the CronJob equal to the file at the release's commit."""
    jobs = CronJobs(inspection, spec.name)
    return _changes(jobs, inspection.retry_read(jobs.get)["spec"], _read_manifest(spec, inspection))


def _read_manifest(spec: DeployCronJob, inspection: StepInspection) -> dict[str, str]:
    """Return schedule and image of each container, by their name for people, as the file at the release's commit has them."""
    repository, commit = inspection.clients.github(), inspection.reference.commit
    text = inspection.retry_read(lambda: repository.file(spec.manifest, commit))
    if text is None:
        raise StepError(
            f"{repository.repository} has no {spec.manifest} at {commit[:12]}",
            hint="Is the path right in the checklist?",
        )
    try:
        documents = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
        cronjob = next(
            document
            for document in documents
            if document.get("kind") == "CronJob" and document["metadata"]["name"] == spec.name
        )
        return _schedule_and_images(cronjob["spec"])
    except StopIteration:
        raise StepError(f"{spec.manifest} has no CronJob {spec.name} at {commit[:12]}") from None
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise StepError(f"{spec.manifest} can't be read as a CronJob: {type(error).__name__}") from error


def _schedule_and_images(spec: Mapping[str, Any]) -> dict[str, str]:
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    images = {f"image of {entry['name']}": str(entry["image"]) for entry in pod["containers"]}
    return {"schedule": str(spec["schedule"]), **images}


def _changes(jobs: CronJobs, spec: Mapping[str, Any], new_values: Mapping[str, str]) -> list[Mutation]:
    here = _schedule_and_images(spec)
    if missing_fields := [what for what in new_values if what not in here]:
        raise StepError(
            f"{jobs.place} has no container {missing_fields[0].removeprefix('image of ')}",
            hint="Apply the file by hand.",
        )
    return [
        Mutation(f"{what} of {jobs.place}", here[what], value, Way.BACK, f"the rollback puts back {here[what]}")
        for what, value in new_values.items()
        if here[what] != value
    ]


def confirm(spec: DeployCronJob, inspection: StepInspection) -> str:
    """Confirm that the CronJob is as the file at the release's commit has it. Raises Contradicted if it is not."""
    refuse_remaining_changes(preview(spec, inspection))
    return f"{CronJobs(inspection, spec.name).place} is as {spec.manifest} has it"


def deploy(spec: DeployCronJob, ctx: StepContext) -> str:
    """Make schedule and images equal to the file at the release's commit, and return what was changed, in a line."""
    jobs, new_values = CronJobs(ctx, spec.name), _read_manifest(spec, ctx)
    changes = _settle(
        jobs,
        ctx,
        lambda current: _changes(jobs, current, new_values),
        lambda current: _merge_values(current, new_values),
    )
    phrases = [f"{change.what.partition(' of cronjob')[0]} is {change.after}" for change in changes]
    return f"{jobs.place}: {', '.join(phrases) or 'nothing to change'}"


def _settle(
    jobs: CronJobs,
    ctx: StepContext,
    differs: Callable[[Mapping[str, Any]], list[Mutation]],
    new_spec: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> list[Mutation]:
    """Replace the spec by that of ``new_spec`` until ``differs`` returns no more changes; return the changes that were made.

    Raises StepError if somebody else writes to the CronJob at every attempt.
    """
    made_changes: list[Mutation] = []
    for _ in range(CONFLICTS):
        current = ctx.retry_read(jobs.get)
        changes = differs(current["spec"])
        if not changes:
            return made_changes
        ctx.journal.record_state_before(**{change.what.partition(" of ")[0]: change.now for change in changes})
        ctx.journal.record_intent(changes)
        try:
            jobs.replace(current, new_spec(current["spec"]))
        except NoAnswer as error:
            ctx.journal.record_observation(trouble=error.user_message)
            ctx.wait_after_failure(error, AGAIN)
        else:
            ctx.journal.record_action(changed=[change.what for change in changes])
        made_changes = changes
    raise StepError(f"{jobs.place} keeps changing", hint="Is another tool changing it too?")


def _merge_values(spec: Mapping[str, Any], new_values: Mapping[str, str]) -> dict[str, Any]:
    """Return a copy of ``spec`` with new schedule and images; everything else stays as the cluster has it."""
    copy_of_spec: dict[str, Any] = json.loads(json.dumps(spec))
    copy_of_spec["schedule"] = new_values["schedule"]
    for entry in copy_of_spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]:
        entry["image"] = new_values.get(f"image of {entry['name']}", entry["image"])
    return copy_of_spec


def preview_restore(_spec: RestoreCronJob, inspection: StepInspection) -> list[Mutation]:
    """Return the changes that make the CronJob equal to what was recorded before the deploy."""
    if inspection.rollback_target is None:
        return []
    jobs = CronJobs(inspection, str(inspection.rollback_target["name"]))
    return _restore_changes(jobs, inspection.retry_read(jobs.get)["spec"], inspection.rollback_target)


def _restore_changes(jobs: CronJobs, spec: Mapping[str, Any], target: Mapping[str, Any]) -> list[Mutation]:
    if all(spec[key] == target[key] for key in TAKEN_BACK):
        return []
    here, there = _schedule_and_images(spec), _schedule_and_images(target)
    field_changes = [(what, here.get(what, ""), value) for what, value in there.items() if here.get(what) != value]
    back = "a new release brings the new one again"
    return [
        Mutation(f"{what} of {jobs.place}", now, after, Way.COMPATIBLE, back) for what, now, after in field_changes
    ] or [
        Mutation(
            f"job template of {jobs.place}", "another one", "what was recorded before the deploy", Way.COMPATIBLE, back
        )
    ]


def confirm_restore(spec: RestoreCronJob, inspection: StepInspection) -> str:
    """Confirm that the CronJob is as it was recorded before the deploy. Raises Contradicted if it is not."""
    if inspection.rollback_target is None:
        return NOTHING_TO_RESTORE
    refuse_remaining_changes(preview_restore(spec, inspection))
    return f"{CronJobs(inspection, str(inspection.rollback_target['name'])).place} is as it was before the deploy"


def restore(_spec: RestoreCronJob, ctx: StepContext) -> str:
    """Restore schedule and job template that were recorded before the deploy; a second call changes nothing."""
    target = ctx.rollback_target
    if target is None:
        return NOTHING_TO_RESTORE
    jobs = CronJobs(ctx, str(target["name"]))
    _settle(jobs, ctx, lambda current: _restore_changes(jobs, current, target), lambda _: target)
    return f"{jobs.place} is as it was before the deploy"
