"""Prepare: gather all that must hold outside of the database for a deploy, before the transaction that judges it."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.actor import Actor
from bot.domain.break_glass import judge_past_gate
from bot.domain.deploy_findings import DeployFindings
from bot.domain.gate import deploy_gate
from bot.domain.ids import ReleaseId
from bot.domain.plan_snapshot import PlanSnapshot
from bot.domain.policy import Action
from bot.domain.reasons import Cause
from bot.domain.view import ReleaseView
from bot.flows import sign, status
from bot.flows.deploying.plan_snapshot import compare_with_snapshot
from bot.flows.deps import Deps, require
from bot.flows.source_resolution import resolve_source, store_resolution
from bot.store import plan_snapshots

# With these alone against it GitHub and the registry are asked: they settle the first, and somebody else may press next.
_WORTH_ASKING = frozenset({Cause.SOURCE, Cause.FOUR_EYES})


def prepare_deploy(deps: Deps, actor: Actor, release_id: ReleaseId, action: Action = Action.DEPLOY) -> DeployFindings:
    """Ask Slack, GitHub, the registry and the target what must hold for ``action``, a deploy or a break-glass, by ``actor``.

    What has changed meanwhile is stored at once, whatever becomes of the deploy: an approval of somebody who lost the role is
    void, and a version that moved means what it means now. Vendors are not asked, and nobody looks at the plan, while
    something else is against it. Raises NotAllowed for somebody whose roles do not cover ``action``, UnknownThing, and
    VendorError or IdentityUnknown when one does not answer: nobody deploys what could not be confirmed.
    """
    view, snapshot = _read_release(deps, release_id)
    require(view.policy, actor, action)
    if sign.void_without_role(deps, view):
        view, snapshot = _read_release(deps, release_id)
    channel = deps.channel_access(view.release.channel)
    findings = DeployFindings(release_id, view.fingerprint, channel)
    if _causes(view, actor, action, findings) <= _WORTH_ASKING:
        resolution = resolve_source(deps, view.release)
        if resolution.confirms(view.release):
            findings = replace(findings, confirmed_at=resolution.asked_at)
        else:
            store_resolution(deps, release_id, resolution)
            view, snapshot = _read_release(deps, release_id)
            findings = replace(findings, fingerprint=view.fingerprint)
    if snapshot is not None and not _causes(view, actor, action, findings):
        findings = replace(findings, plan_changes=compare_with_snapshot(deps, actor, view.release, snapshot))
    return findings


def _read_release(deps: Deps, release_id: ReleaseId) -> tuple[ReleaseView, PlanSnapshot | None]:
    with deps.store.transaction() as tx:
        return status.view(tx, deps, release_id), plan_snapshots.get(tx, release_id)


def _causes(view: ReleaseView, actor: Actor, action: Action, findings: DeployFindings) -> set[Cause]:
    """What is against it as far as it is known without a lock; only `judge` decides."""
    if action is Action.BREAK_GLASS:
        reasons = judge_past_gate(view, actor.user, findings).remaining_reasons
    else:
        reasons = deploy_gate(view, actor.user, findings).reasons
    return {reason.cause for reason in reasons}
