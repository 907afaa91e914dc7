"""Judge: one reading of the release under its lock, one judgement of the gate, and the plan begins or nothing is done."""

from __future__ import annotations

from bot.domain.actions import NOT_THE_BOTS, StepSpec
from bot.domain.actor import Actor
from bot.domain.break_glass import MIN_WORDS, has_moved_unseen, judge_past_gate, says_why
from bot.domain.deploy_findings import DeployFindings
from bot.domain.events import BreakGlassUsed, DeployStarted, NotPassedLine, PassedReason
from bot.domain.gate import deploy_gate, non_blocking_failures
from bot.domain.ids import StepId
from bot.domain.plan import PlanKind, StepState
from bot.domain.plan_snapshot import plan_digest
from bot.domain.policy import Action
from bot.domain.posts import BreakGlassPost, StepsPost
from bot.domain.reasons import Cause, Reason
from bot.domain.release import ReleaseState
from bot.domain.view import BreakGlass, ReleaseView
from bot.errors import GateClosed, InvalidInput, RefusedError
from bot.flows import check
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, require
from bot.store import break_glass, plan_snapshots, releases, steps, work
from bot.store.pool import Tx
from bot.texts.gate import list_reasons, name_failures, reason_text
from bot.texts.plan import list_differences

MAX_NAMED = 5  # lines that do not block the deploy and have not passed, named in the answer


def judge_deploy(tx: Tx, deps: Deps, actor: Actor, findings: DeployFindings) -> str:
    """Begin the deploy if the gate allows it to ``actor`` at this moment, and return the answer for them.

    ``findings``: what `prepare` found out. Raises NotAllowed, and GateClosed with every reason. The rows that the gate judges
    stay locked until the commit, so nothing can change between the judgement and the beginning.
    """
    view = locked_view(tx, deps, findings.release_id)
    require(view.policy, actor, Action.DEPLOY)
    if view.release.state is ReleaseState.DEPLOYING:
        return _with_warning(_already(view), findings)
    decision = deploy_gate(view, actor.user, findings)
    if not decision.is_open:
        raise _refusal(view, findings, decision.reasons, f"No-Go for {view.release.version}")
    return _begin_deploy(tx, view, actor, findings)


def judge_break_glass(tx: Tx, deps: Deps, actor: Actor, findings: DeployFindings, reason: str) -> str:
    """Begin the deploy past what the policy lets ``actor`` pass over, and return the answer for them.

    Judged by the same gate, under the same lock, with the same findings as any other deploy. Raises NotAllowed, InvalidInput
    for a reason that says too little, RefusedError, and GateClosed with what break-glass does not pass over.
    """
    view = locked_view(tx, deps, findings.release_id)
    require(view.policy, actor, Action.BREAK_GLASS)
    if not view.policy.break_glass.allowed:
        raise RefusedError("The policy doesn't allow break-glass.", hint="Get the sign-offs and checks, then deploy.")
    release, reason = view.release, deps.clean(reason.strip())
    if release.state is ReleaseState.DEPLOYING:
        return _with_warning(_already(view), findings)
    if not says_why(reason):
        raise InvalidInput(
            f"Break-glass needs a reason that others can review: a sentence of at least {MIN_WORDS} words.",
            hint="`/release deploy --break-glass Logins fail for all customers since 18:00`",
        )
    judgement = judge_past_gate(view, actor.user, findings)
    if judgement.remaining_reasons:
        headline = f"Break-glass can't override this for {release.version}"
        raise _refusal(view, findings, judgement.remaining_reasons, headline)
    _refuse_break_glass(tx, view, is_needed=bool(judgement.overridden_reasons))
    passed_reasons = [
        PassedReason(cause=one.cause, about=one.about, text=deps.clean(reason_text(one)))
        for one in judgement.overridden_reasons
    ]
    break_glass.add(tx, release.id, BreakGlass(actor.user, reason, tuple(passed_reasons), view.now))
    answer = _begin_deploy(tx, view, actor, findings)
    event = BreakGlassUsed(reason=reason, passed=passed_reasons)
    commit_change(tx, release.id, event, at=view.now, by=actor.user, new_posts=[BreakGlassPost()])
    return f"{answer}\nThe channel is told what you overrode. Someone else must review it once the release is over."


def _refuse_break_glass(tx: Tx, view: ReleaseView, *, is_needed: bool) -> None:
    """Refuse what the gate does not know of: a version that moved unseen, no need, or an earlier one without its review."""
    release = view.release
    if has_moved_unseen(view):
        raise GateClosed(
            f"{release.version} means another commit or image than it did two minutes ago.",
            hint="Nothing was deployed. Look at the card, then decide again.",
        )
    if not is_needed:
        raise RefusedError("Go: ready to deploy, so break-glass isn't needed.", hint="`/release deploy`")
    if release_ids := break_glass.list_unreviewed(tx, release.environment):
        earlier = releases.get(tx, release_ids[0])
        raise RefusedError(
            f"The break-glass of {earlier.version if earlier else 'an earlier release'} was never reviewed.",
            hint="Someone else must review it first.",
        )


def _already(view: ReleaseView) -> str:
    return f"{view.release.version} is being deployed already, by <@{view.release.deployer}>."


def _with_warning(answer: str, findings: DeployFindings) -> str:
    return f"{answer}\n{findings.channel.warning}".rstrip()


def _refusal(view: ReleaseView, findings: DeployFindings, reasons: tuple[Reason, ...], headline: str) -> GateClosed:
    """What a person is told who may not deploy: the channel first, where it is that; else every reason."""
    channel = next((reason for reason in reasons if reason.cause is Cause.CHANNEL), None)
    if channel is not None:
        return GateClosed(f"{reason_text(channel)}.", hint=findings.channel.hint)
    if all(reason.cause is Cause.PLAN for reason in reasons):
        lines = "\n".join(f"• {line}" for line in list_differences(findings.plan_changes))
        return GateClosed(
            f"The plan of {view.release.version} has changed since it was last shown:\n{lines}",
            hint="Nothing was deployed. Deploy again to accept this; `/release plan` shows all of it.",
        )
    return GateClosed(f"{headline}:\n{list_reasons(reasons)}", hint="Nothing was deployed.")


def _begin_deploy(tx: Tx, view: ReleaseView, actor: Actor, findings: DeployFindings) -> str:
    """Begin the deploy of a view that is locked and was judged."""
    release = view.release
    failures, snapshot = non_blocking_failures(view), plan_snapshots.get(tx, release.id)
    if findings.confirmed_at is not None and findings.fingerprint == view.fingerprint:
        releases.confirm(tx, release.id, findings.confirmed_at)
    releases.move(tx, release, ReleaseState.DEPLOYING, view.now, deployer=actor.user)
    begin_plan(tx, view, PlanKind.DEPLOY, view.checklist.deploy)
    event = DeployStarted(
        image=release.pinned_image, commit=release.commit, fingerprint=view.fingerprint,
        plan_shown=None if snapshot is None else plan_digest(snapshot),
        results={entry.id: entry.result.id for entry in view.checks.values() if entry.result},
        signoffs=[signoff.id for signoff in view.signoffs],
        not_passed=[NotPassedLine(check=one.about, standing=one.status) for one in failures],
    )  # fmt: skip
    commit_change(tx, release.id, event, at=view.now, by=actor.user, new_posts=[StepsPost(plan=PlanKind.DEPLOY)])
    answer = f"Deploying {release.version}. Follow the steps in the thread."
    if failures:
        answer += f"\nNote: {name_failures(failures, MAX_NAMED)}."
    return _with_warning(answer, findings)


def begin_plan(tx: Tx, view: ReleaseView, plan: PlanKind, specs: tuple[StepSpec, ...]) -> None:
    """Have the steps of a plan carried out from its beginning: its rows and its work; no check runs any more.

    The release was moved to the state of the plan in the same transaction, and the caller commits the event.
    """
    release = view.release
    check.cancel_all(tx, release.id, view.checklist)
    steps.add_plan(tx, release.id, plan, initial_states(specs))
    work.enqueue(tx, "advance", release.id)


def initial_states(specs: tuple[StepSpec, ...]) -> list[tuple[StepId, StepState]]:
    """Return each step with the state it begins in: what a person does, or a message tells, is not the bot's to begin."""
    return [
        (spec.id, StepState.TO_ATTEST if isinstance(spec.action, NOT_THE_BOTS) else StepState.PENDING) for spec in specs
    ]
