"""Step `tag`: an annotated tag on the commit that the checks ran against. Never moves a tag."""

from __future__ import annotations

from bot.domain.actions import Tag
from bot.domain.plan import Mutation, Way
from bot.errors import NoAnswer, StepError
from bot.steps import github
from bot.steps.contract import PAUSE, Look, StepContext
from checks.uses import READ_CHECKS, READ_CONTENTS, READ_STATUSES, WRITE_CONTENTS, Use

TRIES = 4  # times that the tag is asked for while GitHub gives no answer


def uses(spec: Tag) -> tuple[Use, ...]:
    """What the step needs at GitHub."""
    return (READ_CONTENTS, WRITE_CONTENTS, *((READ_CHECKS, READ_STATUSES) if spec.checks else ()))


def preview(spec: Tag, look: Look) -> list[Mutation]:
    """The tag, if it is not there. Raises StepError when it points elsewhere or the commit is not fit to be released."""
    version, commit = look.shipment.version, look.shipment.commit
    repository = github.of(look)
    found = look.insist(lambda: repository.tag(version))
    if found is not None and found[0] != commit:
        raise StepError(
            f"the tag {version} is there and points to {found[0][:12]}, not to {commit[:12]}",
            hint="A tag is never moved. Abort, and release under another version.",
        )
    _refuse_unfit(spec, look, repository)
    if found is not None:
        return []
    return [
        Mutation(
            f"tag {version} of {repository.repository}",
            "",
            f"commit {commit}",
            Way.STAYS,
            "a tag is never moved or deleted",
        )
    ]


def _refuse_unfit(spec: Tag, look: Look, repository: github.GitHub) -> None:
    """The commit must be ahead of the last release, and its checks must be good."""
    commit, last = look.shipment.commit, github.last_release(look)
    if last:
        compared = look.insist(lambda: repository.compare(last, commit))
        if compared["status"] != "ahead" or compared["behind_by"]:
            words = {"identical": "is the very commit of", "behind": "is older than", "diverged": "lacks commits of"}
            raise StepError(
                f"the commit {commit[:12]} {words.get(compared['status'], 'is not ahead of')} {last}",
                hint=f"Release a commit that contains {last}.",
            )
    if spec.checks:
        trouble = look.insist(lambda: repository.trouble_of(commit))
        if trouble:
            raise StepError(
                f"the checks of commit {commit[:12]} on GitHub: {trouble}",
                hint="Wait for them, or fix what they found.",
            )


def create(spec: Tag, ctx: StepContext) -> str:
    """Create the tag if it is not there. Looks again after every answer that was lost.

    What the tag sets off may run new checks on the commit, so these are judged before it only.
    """
    version, commit = ctx.shipment.version, ctx.shipment.commit
    repository = github.of(ctx)
    changes = preview(spec, ctx)
    for attempt in range(TRIES):
        found = ctx.insist(lambda: repository.tag(version))
        if found is not None:
            break
        ctx.journal.intent(changes)
        try:
            repository.create_tag(version, commit, f"Release {version}")
        except NoAnswer as error:
            ctx.journal.observed(trouble=error.user_message)
            ctx.pause(PAUSE * 2**attempt, error.user_message)
        else:
            ctx.journal.acted(tag=version, commit=commit)
    found = ctx.insist(lambda: repository.tag(version))
    if found is None:
        raise StepError(f"GitHub does not create the tag {version}", hint="Look at githubstatus.com, then retry.")
    stands, annotated = found
    if stands != commit:
        raise StepError(f"somebody else put the tag {version} on {stands[:12]} meanwhile", hint="Find out who and why.")
    ctx.journal.observed(tag=version, commit=stands, annotated=annotated)
    return f"{version} is on {commit[:12]}{'' if annotated else ', as a lightweight tag'}"
