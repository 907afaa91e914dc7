"""Steps `vercel_deploy` and `restore_frontend`: production shows the commit of the release, or again what was recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from typing import Any

from bot.domain.actions import RestoreFrontend, VercelDeploy
from bot.domain.plan import Mutation, Way
from bot.errors import NoAnswer, StepError
from bot.steps.by_hand import refuse_remaining_changes
from bot.steps.contract import NOTHING_TO_RESTORE, StepContext, StepInspection, step_errors
from clients.needs import Changes, Need, Setting
from clients.vercel import MOVES, UNDER_WAY, Vercel, commit_of, describe_deployment, id_of, mark_of, state_of

POLLS = (0.1, 0.2, 0.5)  # seconds between two looks, the last one stays; Vercel's own command looks four times a second
UNSURE = 3.0  # seconds until a requested deployment is listed, even if the request got no answer
MAX_ATTEMPTS = 4  # requests for a move while Vercel gives no answer


def needs(_spec: VercelDeploy | RestoreFrontend) -> tuple[Need, ...]:
    """What both steps need; Vercel knows no rights of a token, only of its owner."""
    return (Changes("frontend"), Setting("vercel.token"), Setting("vercel.project"))


def where_we_are(_spec: VercelDeploy, inspection: StepInspection) -> dict[str, Any]:
    """Return the deployment that a rollback restores: the live one, or the one before if the release's commit is live already.

    Raises StepError if there is none.
    """
    project, commit = inspection.clients.vercel(), inspection.reference.commit
    live = inspection.retry_read(project.live)
    if live is not None and commit_of(live) != commit:
        return {"deployment": id_of(live), "commit": commit_of(live)}
    earlier = [item for item in inspection.retry_read(project.candidates) if commit_of(item) != commit]
    if not earlier:
        raise StepError(
            "Vercel has no earlier production deployment, so the frontend couldn't be rolled back",
            hint="Deploy the previous version to production once, then retry.",
        )
    return {"deployment": id_of(earlier[0]), "commit": commit_of(earlier[0])}


def preview(_spec: VercelDeploy, inspection: StepInspection) -> list[Mutation]:
    """Return the change of the production deployment; none if production shows the release's commit already."""
    live = inspection.retry_read(inspection.clients.vercel().live)
    if live is not None and commit_of(live) == inspection.reference.commit:
        return []
    back = id_of(live) if live is not None else ""
    if inspection.rollback_target is not None:
        back = str(inspection.rollback_target["deployment"])
    return [
        Mutation(
            f"production deployment of {inspection.clients.vercel().project_id} on Vercel",
            describe_deployment(live) if live is not None else "",
            f"a deployment of commit {inspection.reference.commit[:12]}",
            Way.BACK,
            f"the rollback moves production back to {back}",
        )
    ]


def confirm(spec: VercelDeploy, inspection: StepInspection) -> str:
    """Confirm that production shows the release's commit. Raises Contradicted if it shows another one."""
    refuse_remaining_changes(preview(spec, inspection))
    live = inspection.retry_read(inspection.clients.vercel().live)
    return f"production shows {describe_deployment(live or {})}"


def deploy(spec: VercelDeploy, ctx: StepContext) -> str:
    """Wait for Vercel's own deployment of the commit, make one if none comes, and wait until production shows it."""
    project, commit = ctx.clients.vercel(), ctx.reference.commit
    changes = preview(spec, ctx)
    if not changes:
        return f"production shows {describe_deployment(_live(ctx, project))} already"
    ctx.journal.record_state_before(deployment=changes[0].now)
    ctx.journal.record_intent(changes)  # whether Vercel begins by itself or is asked to
    ready = _wait_for_build(spec, ctx, project, changes)
    if commit_of(_live(ctx, project)) != commit and not _goes_live_by_itself(ctx, project):
        _move(ctx, project, id_of(ready), "promote", changes)
    pauses = chain(POLLS, repeat(POLLS[-1]))
    while True:
        live = _live(ctx, project)
        if commit_of(live) == commit:
            break
        ctx.journal.show_progress("built; waiting for production to show it")
        ctx.pause(next(pauses), "production to show the new deployment")
    ctx.journal.record_action(deployment=id_of(live))
    return f"production shows {describe_deployment(live)}"


def _live(ctx: StepContext, project: Vercel) -> dict[str, Any]:
    return ctx.retry_read(project.live) or {}


def _goes_live_by_itself(ctx: StepContext, project: Vercel) -> bool:
    """Whether a built deployment gets the domains without a promote; a rollback on Vercel has switched that off."""
    return bool(ctx.retry_read(project.project).get("autoAssignCustomDomains", True))


def _wait_for_build(
    spec: VercelDeploy, ctx: StepContext, project: Vercel, changes: Sequence[Mutation]
) -> dict[str, Any]:
    """Return the deployment of the commit once it is built; if Vercel begins none in time, create one.

    Raises StepError if the build fails; a retry creates another deployment, which has the number of the attempt.
    """
    mark = f"{ctx.reference.version}, attempt {ctx.attempt}"
    # Perhaps by a process that was killed.
    is_asked = any(note.get("asked") == mark for note in ctx.journal.observations())
    patience = time.monotonic() + (UNSURE if is_asked else spec.wait_for_auto)
    pauses = chain(POLLS, repeat(POLLS[-1]))
    while True:
        deployment = ctx.retry_read(lambda: project.of_commit(ctx.reference.commit))
        state = state_of(deployment) if deployment is not None else ""
        if deployment is not None and state == "READY":
            return deployment
        if deployment is not None and state in UNDER_WAY:
            ctx.journal.show_progress(f"Vercel: {describe_deployment(deployment)} is {state.lower()}")
        elif deployment is not None and (ctx.attempt == 1 or mark_of(deployment) == mark):
            raise StepError(
                f"Vercel couldn't build {describe_deployment(deployment)}: {state} {deployment.get('errorMessage') or ''}".rstrip(),
                hint=f"Its log: {deployment.get('inspectorUrl', 'on Vercel')}. Fix it, then retry: that builds it again.",
            )
        elif (deployment is None or is_asked) and time.monotonic() < patience:
            ctx.journal.show_progress("waiting for Vercel to begin" if is_asked else "waiting for Vercel to deploy it")
        else:
            patience, is_asked = time.monotonic() + UNSURE, True  # what was asked for may not be listed yet
            ctx.journal.record_observation(asked=mark)
            ctx.journal.record_intent(changes)
            try:
                with step_errors():
                    project.create(ctx.reference.commit, ctx.reference.version, mark)
            except NoAnswer as error:
                ctx.journal.record_observation(trouble=error.user_message)
                ctx.wait_after_failure(error, POLLS[0])
        ctx.pause(next(pauses), "Vercel to build the frontend")


def preview_restore(_spec: RestoreFrontend, inspection: StepInspection) -> list[Mutation]:
    """Return the change back to the recorded deployment; none if that is live."""
    if inspection.rollback_target is None:
        return []
    project = inspection.clients.vercel()
    live = inspection.retry_read(project.live)
    target_id = str(inspection.rollback_target["deployment"])
    if live is not None and id_of(live) == target_id:
        return []
    return [
        Mutation(
            f"production deployment of {project.project_id} on Vercel",
            describe_deployment(live) if live is not None else "",
            f"{target_id}, commit {str(inspection.rollback_target['commit'])[:12]}",
            Way.COMPATIBLE,
            "a new release, or `vercel promote`, brings another one",
        )
    ]


def confirm_restore(spec: RestoreFrontend, inspection: StepInspection) -> str:
    """Confirm that production shows the recorded deployment. Raises Contradicted if it shows another one."""
    if inspection.rollback_target is None:
        return NOTHING_TO_RESTORE
    refuse_remaining_changes(preview_restore(spec, inspection))
    return f"production shows {inspection.rollback_target['deployment']}"


def restore(spec: RestoreFrontend, ctx: StepContext) -> str:
    """Move production back to the deployment that was recorded before the deploy, and wait until it is live."""
    target: Mapping[str, Any] | None = ctx.rollback_target
    if target is None:
        return NOTHING_TO_RESTORE
    project, target_id = ctx.clients.vercel(), str(target["deployment"])
    changes = preview_restore(spec, ctx)
    if not changes:
        return f"production shows {target_id}"
    ctx.journal.record_state_before(deployment=changes[0].now)
    if ctx.retry_read(lambda: project.deployment(target_id)) is None:
        raise StepError(f"the deployment {target_id} is gone from Vercel", hint="Promote another one there by hand.")
    _move(ctx, project, target_id, "rollback", changes)
    ctx.journal.record_action(deployment=target_id)
    return f"production shows {target_id} again"


def _move(ctx: StepContext, project: Vercel, target_id: str, kind: str, changes: Sequence[Mutation]) -> None:
    """Ask Vercel to move production to ``target_id``, and wait until it is there; ask again only if no move is under way."""
    ask_count = 0
    pauses = chain(POLLS, repeat(POLLS[-1]))
    while True:
        project_now = ctx.retry_read(project.project)
        live = (project_now.get("targets") or {}).get("production") or {}
        if id_of(live) == target_id:
            return
        last = project_now.get("lastAliasRequest") or {}
        same, status = (last.get("toDeploymentId"), last.get("type")) == (target_id, kind), last.get("jobStatus")
        if ask_count and same and status in {"failed", "skipped"}:
            raise StepError(
                f"Vercel couldn't move production to {target_id}: {status}", hint="See the project on Vercel."
            )
        if not (same and (ask_count or status in MOVES)):  # what moves already was asked for before a crash
            if ask_count == MAX_ATTEMPTS:
                raise StepError(
                    f"Vercel doesn't move production to {target_id}",
                    hint="Move it there by hand: Vercel, Deployments.",
                )
            ask_count += 1
            ctx.journal.record_intent(changes)
            try:
                with step_errors():
                    (project.promote if kind == "promote" else project.roll_back)(target_id)
            except NoAnswer as error:
                ctx.journal.record_observation(trouble=error.user_message)
                ctx.wait_after_failure(error, POLLS[0])
        ctx.journal.show_progress(f"Vercel moves production to {target_id}")
        ctx.pause(next(pauses), f"production to show {target_id}")
