"""Step `tag`: an annotated tag on the commit that the checks ran against. Never moves a tag."""

from __future__ import annotations

from collections.abc import Callable

from bot.domain.actions import Tag
from bot.domain.plan import Mutation, Way
from bot.errors import Contradicted, NoAnswer, StepError
from bot.steps.contract import FIRST_PAUSE, StepContext, StepInspection, step_errors
from clients.github import GitHub, previous_release
from clients.needs import READ_CHECKS, READ_CONTENTS, READ_STATUSES, WRITE_CONTENTS, Changes, Need

MAX_ATTEMPTS = 4  # requests to create the tag while GitHub gives no answer


def needs(spec: Tag) -> tuple[Need, ...]:
    """What the step needs at GitHub."""
    return (Changes("tags"), READ_CONTENTS, WRITE_CONTENTS, *((READ_CHECKS, READ_STATUSES) if spec.checks else ()))


def preview(spec: Tag, inspection: StepInspection) -> list[Mutation]:
    """Return the new tag as a change; none if it exists. Raises Contradicted if it points elsewhere or the commit breaks a rule."""
    version, commit = inspection.reference.version, inspection.reference.commit
    repository = inspection.clients.github()
    is_there = _is_there(inspection, repository)
    for refuse in _refusals(spec):
        refuse(inspection, repository)
    if is_there:
        return []
    return [
        Mutation(
            f"tag {version} of {repository.repository}",
            "",
            f"commit {commit}",
            Way.COMPATIBLE,
            "stays: a tag is never moved or deleted",
        )
    ]


def confirm(spec: Tag, inspection: StepInspection) -> str:
    """Confirm that the tag is on the release's commit, and that the commit meets the rules for tags.

    Every rule is checked, even after one that could not be: a broken rule (Contradicted) comes before an unknown one (StepError).
    """
    repository = inspection.clients.github()
    unseen: StepError | None = None
    for refuse in (_refuse_missing, *_refusals(spec)):
        try:
            refuse(inspection, repository)
        except Contradicted:
            raise
        except StepError as error:
            unseen = unseen or error
    if unseen is not None:
        raise unseen
    return f"{inspection.reference.version} is on {inspection.reference.commit[:12]}"


def _is_there(inspection: StepInspection, repository: GitHub) -> bool:
    """Whether the tag is there. Raises Contradicted when it points elsewhere."""
    version, commit = inspection.reference.version, inspection.reference.commit
    existing_tag = inspection.retry_read(lambda: repository.tag(version))
    if existing_tag is not None and existing_tag[0] != commit:
        raise Contradicted(
            f"the tag {version} exists and points to {existing_tag[0][:12]}, not to {commit[:12]}",
            hint="A tag is never moved. Abort, and release under another version.",
        )
    return existing_tag is not None


def _refusals(spec: Tag) -> tuple[Callable[[StepInspection, GitHub], None], ...]:
    """The rules that a commit must meet to be tagged."""
    return (_refuse_older, _refuse_red) if spec.checks else (_refuse_older,)


def _refuse_missing(inspection: StepInspection, repository: GitHub) -> None:
    if not _is_there(inspection, repository):
        raise Contradicted(
            f"there is no tag {inspection.reference.version} on GitHub yet",
            hint=f"Push it, on commit {inspection.reference.commit[:12]}.",
        )


def _refuse_older(inspection: StepInspection, repository: GitHub) -> None:
    """The commit must be ahead of the last release."""
    ship = inspection.reference
    commit, last = ship.commit, inspection.retry_read(lambda: previous_release(repository, ship.version, ship.previous))
    if not last:
        return
    comparison = inspection.retry_read(lambda: repository.compare(last, commit))
    if comparison.status != "ahead" or comparison.behind_by:
        words = {"identical": "is the same commit as", "behind": "is older than", "diverged": "lacks commits of"}
        raise Contradicted(
            f"the commit {commit[:12]} {words.get(comparison.status, 'is not ahead of')} {last}",
            hint=f"Release a commit that contains {last}.",
        )


def _refuse_red(inspection: StepInspection, repository: GitHub) -> None:
    """The checks of the commit must be good."""
    commit = inspection.reference.commit
    trouble = inspection.retry_read(lambda: repository.trouble_of(commit))
    if trouble:
        raise Contradicted(
            f"the checks of commit {commit[:12]} on GitHub: {trouble}", hint="Wait for them, or fix what failed."
        )


def create(spec: Tag, ctx: StepContext) -> str:
    """Create the tag if it does not exist, and return in a line where it is. Reads it again after every lost answer.

    The checks of the commit are judged only before, because the tag may start new ones. Raises StepError.
    """
    version, commit = ctx.reference.version, ctx.reference.commit
    repository = ctx.clients.github()
    changes = preview(spec, ctx)
    for attempt in range(MAX_ATTEMPTS):
        existing_tag = ctx.retry_read(lambda: repository.tag(version))
        if existing_tag is not None:
            break
        ctx.journal.record_intent(changes)
        try:
            with step_errors():
                repository.create_tag(version, commit, f"Release {version}")
        except NoAnswer as error:
            ctx.journal.record_observation(trouble=error.user_message)
            ctx.wait_after_failure(error, FIRST_PAUSE * 2**attempt)
        except StepError:
            if not attempt:  # else an earlier request, of which nothing was heard, may still be carried out
                ctx.journal.record_refusal(changes)
            raise
        else:
            ctx.journal.record_action(tag=version, commit=commit)
    existing_tag = ctx.retry_read(lambda: repository.tag(version))
    if existing_tag is None:
        raise StepError(f"GitHub doesn't create the tag {version}", hint="See githubstatus.com, then retry.")
    tagged_commit, is_annotated = existing_tag
    if tagged_commit != commit:
        raise StepError(
            f"someone else put the tag {version} on {tagged_commit[:12]} meanwhile", hint="Find out who and why."
        )
    ctx.journal.record_observation(tag=version, commit=tagged_commit, annotated=is_annotated)
    return f"{version} is on {commit[:12]}{'' if is_annotated else ', as a lightweight tag'}"
