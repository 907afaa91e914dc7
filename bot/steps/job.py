"""Step `migrate` with `job`: the product's own migrations in a Kubernetes Job with the image of the release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bot.errors import NoAnswer, StepError, Superseded
from bot.steps.jobs import COMPLETE, FAILED, Jobs, ended_as
from bot.steps.migrations import mutations, new_files
from checks.rights import LIST_PODS, READ_LOGS, Of, Right

if TYPE_CHECKING:
    from bot.domain.actions import Migrate
    from bot.domain.plan import Mutation
    from bot.steps.contract import Look, StepContext

IMAGE = "{image}"  # in the template: the image of the release by its digest
TRIES = 4  # times that the Job is asked for while the API server gives no answer
POLL = 0.5  # seconds between two looks
TAIL = 5  # last lines that an error quotes


def rights(spec: Migrate) -> tuple[Right, ...]:
    """What the step needs in the cluster; nothing where it applies the files itself."""
    if spec.job is None:
        return ()
    jobs = (Right(verb, "batch", "jobs", Of.NAMESPACE) for verb in ("create", "get"))
    return (*jobs, LIST_PODS, READ_LOGS)


def preview(spec: Migrate, look: Look) -> list[Mutation]:
    """The files that are new; the Job itself finds out which of them are applied already."""
    return mutations(new_files(look, spec.files), look.target.name)


def run(spec: Migrate, ctx: StepContext) -> str:
    """Start the Job, or take up the one that was started, and wait for its end.

    The release has one Job, by its name, which is written down before it is made. One that is complete is never run again,
    whatever becomes of the step; after one that failed, a retry by a person makes another one, under a new name.
    """
    changes = preview(spec, ctx)
    if not changes:
        return "nothing to apply"
    jobs, seen = Jobs(ctx), ctx.journal.seen()
    complete = next((str(note["job"]) for note in seen if note.get("ended") == COMPLETE), None)
    if complete is not None:
        return _completed(ctx, jobs, complete)
    name = next((str(note["job"]) for note in seen if note.get("attempt") == ctx.attempt), None)
    if name is None:
        name = _choose(ctx, jobs, seen)
        ctx.journal.observed(job=name, attempt=ctx.attempt)
    for _ in range(TRIES):
        if ctx.insist(lambda: jobs.get(name)) is not None:
            break
        ctx.journal.intent(changes)
        try:
            jobs.create(_body(spec, ctx, name))
        except NoAnswer as error:
            ctx.journal.observed(trouble=error.user_message)
            ctx.pause(POLL, error.user_message)
        else:
            ctx.journal.acted(job=name)
    return _wait(ctx, jobs, name)


def _choose(ctx: StepContext, jobs: Jobs, seen: Sequence[Mapping[str, Any]]) -> str:
    """The name of the Job of this attempt: that of an earlier attempt unless it failed, else the first that is free.

    Raises StepError while a Job of an earlier release of the same commit still runs: two at once must not be.
    """
    ours = {str(note["job"]) for note in seen if "attempt" in note}
    failed = {str(note["job"]) for note in seen if note.get("ended") == FAILED}
    number = 0
    while True:
        number += 1
        name = _name(ctx, number)
        if name in failed:
            continue
        found = ctx.insist(lambda name=name: jobs.get(name))  # type: ignore[misc]
        if found is None:
            return name
        ended = ended_as(found)
        if name in ours and ended != FAILED:
            return name
        if name not in ours and ended is None:
            raise StepError(
                f"job/{name} still runs in {jobs.namespace}, from an earlier start of {ctx.shipment.version}",
                hint="Wait for its end or delete it, then retry.",
            )


def _wait(ctx: StepContext, jobs: Jobs, name: str) -> str:
    while True:
        job = ctx.insist(lambda: jobs.get(name))
        if job is None:
            raise StepError(
                f"job/{name} is gone from {jobs.namespace}", hint="Who deleted it? A retry starts another one."
            )
        ended = ended_as(job)
        if ended is not None:
            ctx.journal.observed(job=name, ended=ended)  # before anything else can go wrong
            if ended == COMPLETE:
                return _completed(ctx, jobs, name)
            tail = " | ".join(_kept_log(ctx, jobs, name)[-TAIL:])
            raise StepError(f"job/{name} failed: {tail}", hint="Its log is in the thread. Mend the cause, then retry.")
        ctx.journal.progress(_newest_line(jobs, name))
        ctx.pause(POLL, f"job/{name}")


def _completed(ctx: StepContext, jobs: Jobs, name: str) -> str:
    return f"job/{name} is complete: {_kept_log(ctx, jobs, name)[-1]}"


def _kept_log(ctx: StepContext, jobs: Jobs, name: str) -> list[str]:
    """The lines of the log of a Job that has ended, which becomes a file in the thread; or one line why there are none.

    How the Job ended is known, so a log that cannot be read changes nothing about that.
    """
    try:
        log = ctx.insist(lambda: jobs.log(name))
    except Superseded:
        raise
    except StepError as error:
        ctx.journal.observed(trouble=error.user_message)
        return [f"its log cannot be read ({error.user_message})"]
    ctx.journal.log(f"{name}.log", f"Log of job/{name}", log)
    return _lines(log) or ["it printed nothing"]


def _newest_line(jobs: Jobs, name: str) -> str:
    """What a Job that runs has printed last. A log that cannot be read does not stop it, so it does not stop the step."""
    try:
        lines = _lines(jobs.log(name))
    except StepError as error:
        return f"job/{name} runs; its log cannot be read ({error.user_message})"
    return lines[-1] if lines else f"job/{name} starts"


def _lines(log: str) -> list[str]:
    return [line for line in log.splitlines() if line.strip()]


def _name(ctx: StepContext, number: int) -> str:
    """The same for the same number, so that a second creation is refused as a double."""
    return f"migrate-{ctx.shipment.version.replace('.', '-')}-{ctx.shipment.commit[:8]}-{number}"


def _body(spec: Migrate, ctx: StepContext, name: str) -> dict[str, Any]:
    """The Job: the template of the checklist with the image put in; it runs once and is never restarted by itself."""
    template = _with_image(dict(spec.job or {}), ctx.shipment.image)
    pod = {"restartPolicy": "Never", **template["spec"]}
    labels = {"app.kubernetes.io/managed-by": "release-bot", **(template.get("metadata") or {}).get("labels", {})}
    annotations = dict((template.get("metadata") or {}).get("annotations", {}))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels, "annotations": {"release-bot/version": ctx.shipment.version}},
        "spec": {
            "backoffLimit": 0,
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
