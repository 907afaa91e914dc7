"""Step `migrate` with `job`: the product's own migrations in a Kubernetes Job with the image of the release."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bot.errors import Contradicted, NoAnswer, StepError, Superseded
from bot.steps.jobs import DEADLINE, JOB_COMPLETE, JOB_FAILED, JOB_GONE, Jobs, JobState, trouble_of
from bot.steps.migrations import mutations, new_files
from clients.needs import LIST_PODS, READ_LOGS, ClusterRight, Of

if TYPE_CHECKING:
    from bot.domain.actions import Migrate
    from bot.domain.plan import Mutation
    from bot.steps.contract import StepContext, StepInspection
    from clients.pods import LogEnds

IMAGE = "{image}"  # in the template: the image of the release by its digest
MAX_ATTEMPTS = 4  # requests to create the Job while the API server gives no answer
POLL = 0.5  # seconds between two looks
SILENT = "it has printed nothing yet"
QUOTED_LINES = 5  # last lines that an error quotes


def rights() -> tuple[ClusterRight, ...]:
    """Return the rights that the Job needs in the cluster."""
    jobs = (ClusterRight(verb, "batch", "jobs", Of.NAMESPACE) for verb in ("create", "get"))
    return (*jobs, LIST_PODS, READ_LOGS)


def preview(spec: Migrate, inspection: StepInspection) -> list[Mutation]:
    """Return a change for each file that is new in the release; the Job itself finds out which are applied already."""
    return mutations(new_files(inspection, spec.files), inspection.target.name)


def run(spec: Migrate, ctx: StepContext) -> str:
    """Start the Job, or take up the one that was started before a crash, wait for its end, and return the result in a line.

    Its name is recorded before it is created. A complete Job is never run again; after a failed one, a person's retry creates
    another one under a new name. Raises StepError if the Job fails, is deleted or cannot be seen.
    """
    changes = preview(spec, ctx)
    if not changes:
        return "nothing to apply"
    jobs, notes = Jobs(ctx), ctx.journal.observations()
    complete = next((str(note["job"]) for note in notes if note.get("ended") == JOB_COMPLETE), None)
    if complete is not None:
        return _completion(ctx, jobs, complete, [])
    name = next((str(note["job"]) for note in notes if note.get("attempt") == ctx.attempt), None)
    if name is None:
        name = _choose_name(ctx, jobs, notes)
        ctx.journal.record_observation(job=name, attempt=ctx.attempt)
    for attempt_number in range(MAX_ATTEMPTS):
        if ctx.retry_read(lambda: jobs.get(name)) is not None:
            break
        ctx.journal.record_intent(changes)
        try:
            jobs.create(_job_body(spec, ctx, name))
        except NoAnswer as error:
            ctx.journal.record_observation(trouble=error.user_message)
            ctx.wait_after_failure(error, POLL)
        except StepError:
            if not attempt_number:  # else an earlier request, of which nothing was heard, may still be carried out
                ctx.journal.record_refusal(changes)
                ctx.journal.record_observation(job=name, ended=JOB_GONE)
            raise
        else:
            ctx.journal.record_action(job=name)
    return _await_job(spec, ctx, jobs, name)


def find_complete_job(inspection: StepInspection) -> str:
    """Return the name of a complete Job of this release; empty for none. Raises Contradicted while one of them runs."""
    jobs, number = Jobs(inspection), 0
    while True:
        number += 1
        name = _job_name(inspection, number)
        end = inspection.retry_read(partial(jobs.read_state, name)).end
        if end in {JOB_COMPLETE, JOB_GONE}:
            return name if end == JOB_COMPLETE else ""
        if end is None:
            raise Contradicted(
                f"job/{name} is still running in {jobs.namespace}", hint="Wait until it ends, or delete it."
            )


def _choose_name(ctx: StepContext, jobs: Jobs, notes: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of the Job for this attempt: of the Job of an earlier attempt if it has not ended, else a free one.

    Raises StepError while a Job of an earlier release of the same commit still runs, because two must not run at once.
    """
    ours = {str(note["job"]) for note in notes if "attempt" in note}
    over = {str(note["job"]) for note in notes if "ended" in note}
    number = 0
    while True:
        number += 1
        name = _job_name(ctx, number)
        if name in over:
            continue
        state = ctx.retry_read(lambda name=name: jobs.read_state(name))  # type: ignore[misc]
        if state.end == JOB_GONE or (name in ours and state.end != JOB_FAILED):
            return name
        if name not in ours and state.end is None:
            raise StepError(
                f"job/{name} is still running in {jobs.namespace}, from an earlier start of {ctx.reference.version}",
                hint="Wait until it ends or delete it, then retry.",
            )


def _await_job(spec: Migrate, ctx: StepContext, jobs: Jobs, name: str) -> str:
    """Wait for the end of the Job, even past the deadline of the step: Kubernetes stops the Job after the same time.

    Raises StepError if it failed, or cannot be seen: at once if the bot may not read it, past the deadline if nobody answers.
    """
    lines: list[str] = []
    while True:
        try:
            state = jobs.read_state(name)
        except StepError as error:
            if ctx.overdue or not isinstance(error, NoAnswer):
                raise StepError(
                    f"job/{name} may still be running: {error.user_message}",
                    hint=f"Look at it with `kubectl get job/{name}` before you roll back. A retry picks it up again.",
                ) from error
            line = f"the bot can't see job/{name}: {error.user_message}"
        else:
            newest, trouble = _last_lines(jobs, state)
            lines = newest or lines
            if state.end is not None:
                return _report_end(spec, ctx, jobs, name, state, lines)
            line = trouble or (lines[-1] if lines else SILENT)
            if ctx.overdue:
                line = f"job/{name} is still running after the {spec.timeout:g} s of this step: {line}"
        ctx.journal.show_progress(line)
        ctx.rest(POLL)


def _report_end(spec: Migrate, ctx: StepContext, jobs: Jobs, name: str, state: JobState, lines: list[str]) -> str:
    """Record how the Job ended, and return that in a line. Raises StepError unless it is complete."""
    ctx.journal.record_observation(job=name, ended=state.end)  # before anything else can go wrong
    if state.end == JOB_COMPLETE:
        return _completion(ctx, jobs, name, lines)
    if state.end == JOB_GONE:
        raise StepError(
            f"job/{name} is gone from {jobs.namespace}{_last_line_text(lines)}",
            hint="Who deleted it, and how far did it get? A retry starts another one.",
        )
    tail = " | ".join(_keep_log(ctx, jobs, name, lines)[-QUOTED_LINES:])
    if state.reason == DEADLINE:
        raise StepError(
            f"job/{name} was stopped before it finished, after the {spec.timeout:g} s of this step: {tail}",
            hint="Check what it did before you retry or roll back. A longer `timeout` of the step gives it more time.",
        )
    raise StepError(f"job/{name} failed: {tail}", hint="Its log is in the thread. Fix the cause, then retry.")


def _last_line_text(lines: list[str]) -> str:
    return f"; its last line was: {lines[-1]}" if lines else ""


def await_completion(_spec: Migrate, ctx: StepContext, tell: Callable[[str], None]) -> bool:
    """Wait, before a rollback changes anything, for the Jobs of the step whose end nobody has seen; return whether one is complete.

    A Job is not stopped: half a migration is worse than a whole one, and its own deadline limits it. ``tell`` gets one line
    about its progress at each look. Raises StepError if it cannot be seen, or does not end before the deadline of ``ctx``.
    """
    notes = ctx.journal.observations()
    end_by_job = {str(note["job"]): str(note["ended"]) for note in notes if "ended" in note}
    started_jobs = dict.fromkeys(str(note["job"]) for note in notes if "attempt" in note)
    for name in started_jobs.keys() - end_by_job.keys():
        end_by_job[name] = _await_end(ctx, Jobs(ctx), name, tell)
    return JOB_COMPLETE in end_by_job.values()


def _await_end(ctx: StepContext, jobs: Jobs, name: str, tell: Callable[[str], None]) -> str:
    """Wait for the end of a Job, record it, and return it: JOB_COMPLETE, JOB_FAILED or JOB_GONE."""
    lines: list[str] = []
    while True:
        state = ctx.retry_read(lambda: jobs.read_state(name))
        newest, trouble = _last_lines(jobs, state)
        lines = newest or lines
        if state.end is not None:
            ctx.journal.record_observation(job=name, ended=state.end)
            _keep_log(ctx, jobs, name, lines)
            return state.end
        line = trouble or (lines[-1] if lines else SILENT)
        tell(
            f"waits for job/{name}, which is still migrating. To continue without it, press Cancel, then Retry. {line}"
        )
        ctx.pause(POLL, f"job/{name}")


def _completion(ctx: StepContext, jobs: Jobs, name: str, lines: list[str]) -> str:
    return f"job/{name} is complete: {_keep_log(ctx, jobs, name, lines)[-1]}"


def _keep_log(ctx: StepContext, jobs: Jobs, name: str, seen_lines: list[str]) -> list[str]:
    """Post the log of an ended Job as a file in the thread, and return its lines, or one line that says why there are none.

    A log that cannot be read does not change how the Job ended. Kubernetes deletes the pod that it stops, with its log: then
    the lines that were read before (``seen_lines``) are posted.
    """
    try:
        log = ctx.retry_read(lambda: jobs.log(jobs.pods(name)))
    except Superseded:
        raise
    except StepError as error:
        ctx.journal.record_observation(trouble=error.user_message)
        return [*seen_lines, f"its log can't be read ({error.user_message})"]
    if log is None and seen_lines:
        text = "\n".join(["… its pod is gone; these are the last lines the bot saw:", *seen_lines])
    else:
        text = _log_text(log, ctx.redact)
    ctx.journal.attach_log(f"{name}.log", f"Log of job/{name}", text)
    return [line for line in text.splitlines() if line.strip()] or ["it printed nothing"]


def _log_text(log: LogEnds | None, redact: Callable[[str], str]) -> str:
    """Return a log as redacted text. Its two parts are redacted apart: a secret that is cut is recognised only at an end of a text."""
    if log is None:
        return ""
    if not log.cut:
        return redact((log.head + log.tail).decode(errors="replace"))
    head, tail = (redact(part.decode(errors="replace")) for part in (log.head, log.tail))
    return f"{head}\n… {log.cut:,} bytes of the log left out …\n{tail}"


def _last_lines(jobs: Jobs, state: JobState) -> tuple[list[str], str]:
    """Return the newest lines of the log, and why there are none; a log that cannot be read does not fail the step."""
    try:
        lines = jobs.last_lines(state.pods)
    except StepError as error:
        return [], f"it runs, but its log can't be read ({error.user_message})"
    return lines, "" if lines else trouble_of(state.pods)


def _job_name(inspection: StepInspection, number: int) -> str:
    """Return the name of the Job with this number; it is always the same, so that a second creation is refused as a duplicate."""
    return f"migrate-{inspection.reference.version.replace('.', '-')}-{inspection.reference.commit[:8]}-{number}"


def _job_body(spec: Migrate, ctx: StepContext, name: str) -> dict[str, Any]:
    """Return the Job: the template of the checklist with the image of the release. It runs once and is never restarted."""
    template = _with_image(dict(spec.job or {}), ctx.reference.image)
    pod = {"restartPolicy": "Never", **template["spec"]}
    labels = {"app.kubernetes.io/managed-by": "release-bot", **(template.get("metadata") or {}).get("labels", {})}
    annotations = dict((template.get("metadata") or {}).get("annotations", {}))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels, "annotations": {"release-bot/version": ctx.reference.version}},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": math.ceil(spec.timeout),
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
        },
    }


def _with_image(value: Any, image: str) -> Any:
    if isinstance(value, str):
        return value.replace(IMAGE, image)
    if isinstance(value, dict):
        return {key: _with_image(child, image) for key, child in value.items()}
    if isinstance(value, list):
        return [_with_image(child, image) for child in value]
    return value
