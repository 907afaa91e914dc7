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
MAX_ATTEMPTS = 4  # times that the Job is asked for while the API server gives no answer
POLL = 0.5  # seconds between two looks
SILENT = "it has printed nothing yet"
QUOTED_LINES = 5  # last lines that an error quotes


def rights() -> tuple[ClusterRight, ...]:
    """What a Job of it takes in the cluster."""
    jobs = (ClusterRight(verb, "batch", "jobs", Of.NAMESPACE) for verb in ("create", "get"))
    return (*jobs, LIST_PODS, READ_LOGS)


def preview(spec: Migrate, inspection: StepInspection) -> list[Mutation]:
    """The files that are new; the Job itself finds out which of them are applied already."""
    return mutations(new_files(inspection, spec.files), inspection.target.name)


def run(spec: Migrate, ctx: StepContext) -> str:
    """Start the Job, or take up the one that was started, and wait for its end.

    The release has one Job, by its name, which is written down before it is made. One that is complete is never run again,
    whatever becomes of the step; after one that failed, a retry by a person makes another one, under a new name.
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
    """The name of a Job of this release that is complete; empty for none. Raises Contradicted while one of them runs."""
    jobs, number = Jobs(inspection), 0
    while True:
        number += 1
        name = _job_name(inspection, number)
        end = inspection.retry_read(partial(jobs.read_state, name)).end
        if end in {JOB_COMPLETE, JOB_GONE}:
            return name if end == JOB_COMPLETE else ""
        if end is None:
            raise Contradicted(f"job/{name} still runs in {jobs.namespace}", hint="Wait for its end, or delete it.")


def _choose_name(ctx: StepContext, jobs: Jobs, notes: Sequence[Mapping[str, Any]]) -> str:
    """The name of the Job of this attempt: that of an earlier attempt unless it is over, else the first that is free.

    Raises StepError while a Job of an earlier release of the same commit still runs: two at once must not be.
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
                f"job/{name} still runs in {jobs.namespace}, from an earlier start of {ctx.reference.version}",
                hint="Wait for its end or delete it, then retry.",
            )


def _await_job(spec: Migrate, ctx: StepContext, jobs: Jobs, name: str) -> str:
    """Wait for its end, also past the time of the step: while it is seen to run it has not failed.

    Its own deadline, which is that time, stops it. Raises StepError once it cannot be seen: at once where the bot may not
    look, and when the time is over where nobody answers.
    """
    lines: list[str] = []
    while True:
        try:
            state = jobs.read_state(name)
        except StepError as error:
            if ctx.overdue or not isinstance(error, NoAnswer):
                raise StepError(
                    f"job/{name} may still run: {error.user_message}",
                    hint=f"Look at it with `kubectl get job/{name}` before you roll back. A retry takes it up again.",
                ) from error
            line = f"job/{name} cannot be seen: {error.user_message}"
        else:
            newest, trouble = _last_lines(jobs, state)
            lines = newest or lines
            if state.end is not None:
                return _report_end(spec, ctx, jobs, name, state, lines)
            line = trouble or (lines[-1] if lines else SILENT)
            if ctx.overdue:
                line = f"job/{name} still runs past the {spec.timeout:g} s of this step: {line}"
        ctx.journal.show_progress(line)
        ctx.rest(POLL)


def _report_end(spec: Migrate, ctx: StepContext, jobs: Jobs, name: str, state: JobState, lines: list[str]) -> str:
    """What came of it. Raises StepError unless it is complete."""
    ctx.journal.record_observation(job=name, ended=state.end)  # before anything else can go wrong
    if state.end == JOB_COMPLETE:
        return _completion(ctx, jobs, name, lines)
    if state.end == JOB_GONE:
        raise StepError(
            f"job/{name} is gone from {jobs.namespace}{_last_line_text(lines)}",
            hint="Who deleted it, and how far was it? A retry starts another one.",
        )
    tail = " | ".join(_keep_log(ctx, jobs, name, lines)[-QUOTED_LINES:])
    if state.reason == DEADLINE:
        raise StepError(
            f"job/{name} was stopped, half done, after the {spec.timeout:g} s of this step: {tail}",
            hint="Look what it has done before you retry or roll back. A longer `timeout` of the step gives it more time.",
        )
    raise StepError(f"job/{name} failed: {tail}", hint="Its log is in the thread. Mend the cause, then retry.")


def _last_line_text(lines: list[str]) -> str:
    return f"; its last line was: {lines[-1]}" if lines else ""


def await_completion(_spec: Migrate, ctx: StepContext, tell: Callable[[str], None]) -> bool:
    """Wait for the end of what the step has started and nobody saw the end of, before a rollback changes anything.

    It is not stopped: half a migration is worse than a whole one, and its own deadline bounds it. ``tell`` hears how far it
    is. True: it is complete, so all that the step was about to change is made. Raises StepError when it cannot be seen, and
    once the time of the step is over again.
    """
    notes = ctx.journal.observations()
    end_by_job = {str(note["job"]): str(note["ended"]) for note in notes if "ended" in note}
    started_jobs = dict.fromkeys(str(note["job"]) for note in notes if "attempt" in note)
    for name in started_jobs.keys() - end_by_job.keys():
        end_by_job[name] = _await_end(ctx, Jobs(ctx), name, tell)
    return JOB_COMPLETE in end_by_job.values()


def _await_end(ctx: StepContext, jobs: Jobs, name: str, tell: Callable[[str], None]) -> str:
    """How a Job has ended."""
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
        tell(f"waits for job/{name}, which still migrates. Cancel, then Retry, goes on without. {line}")
        ctx.pause(POLL, f"job/{name}")


def _completion(ctx: StepContext, jobs: Jobs, name: str, lines: list[str]) -> str:
    return f"job/{name} is complete: {_keep_log(ctx, jobs, name, lines)[-1]}"


def _keep_log(ctx: StepContext, jobs: Jobs, name: str, seen_lines: list[str]) -> list[str]:
    """The lines of the log of a Job that has ended, which becomes a file in the thread; or one line why there are none.

    How the Job ended is known, so a log that cannot be read changes nothing about that. Kubernetes deletes the pod that it
    stops, and its log with it: what was seen of it before (``seen_lines``) is kept then.
    """
    try:
        log = ctx.retry_read(lambda: jobs.log(jobs.pods(name)))
    except Superseded:
        raise
    except StepError as error:
        ctx.journal.record_observation(trouble=error.user_message)
        return [*seen_lines, f"its log cannot be read ({error.user_message})"]
    if log is None and seen_lines:
        text = "\n".join(["… its pod is gone; these are the last lines that were seen:", *seen_lines])
    else:
        text = _log_text(log, ctx.redact)
    ctx.journal.attach_log(f"{name}.log", f"Log of job/{name}", text)
    return [line for line in text.splitlines() if line.strip()] or ["it printed nothing"]


def _log_text(log: LogEnds | None, redact: Callable[[str], str]) -> str:
    """A log as people read it. Each part is redacted by itself: what a secret looks like at a cut is known at an end only."""
    if log is None:
        return ""
    if not log.cut:
        return redact((log.head + log.tail).decode(errors="replace"))
    head, tail = (redact(part.decode(errors="replace")) for part in (log.head, log.tail))
    return f"{head}\n… {log.cut:,} bytes of the log are left out here …\n{tail}"


def _last_lines(jobs: Jobs, state: JobState) -> tuple[list[str], str]:
    """What it has printed last, or why there is nothing. A log that cannot be read does not stop the Job, nor the step."""
    try:
        lines = jobs.last_lines(state.pods)
    except StepError as error:
        return [], f"it runs, but its log cannot be read ({error.user_message})"
    return lines, "" if lines else trouble_of(state.pods)


def _job_name(inspection: StepInspection, number: int) -> str:
    """The same for the same number, so that a second creation is refused as a double."""
    return f"migrate-{inspection.reference.version.replace('.', '-')}-{inspection.reference.commit[:8]}-{number}"


def _job_body(spec: Migrate, ctx: StepContext, name: str) -> dict[str, Any]:
    """The Job: the template of the checklist with the image put in; it runs once and is never restarted by itself."""
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
