"""Deploying: through the gate, past it with a break-glass, and the review of that."""

from __future__ import annotations

from typing import Any

from bot.domain.ids import ReleaseId
from bot.domain.policy import Action
from bot.flows import break_glass, status
from bot.flows.deploying.judge import judge_break_glass, judge_deploy
from bot.flows.deploying.prepare import prepare_deploy
from bot.slack import grammar
from bot.slack.blocks.modals import Form
from bot.slack.entries import Button, Command, Effect, Interaction
from bot.slack.payloads import ReleasePayload


def _deploy(interaction: Interaction[ReleasePayload]) -> Effect:
    return _through_the_gate(interaction, interaction.content.release_id)


def _deploy_current(interaction: Interaction[None]) -> Effect:
    return _through_the_gate(interaction, _current(interaction))


def _through_the_gate(interaction: Interaction[Any], release_id: ReleaseId) -> Effect:
    deps, actor = interaction.deps, interaction.actor
    findings = prepare_deploy(deps, actor, release_id)
    return lambda tx: judge_deploy(tx, deps, actor, findings)


def _past_the_gate(interaction: Interaction[str]) -> Effect:
    deps, actor, reason = interaction.deps, interaction.actor, interaction.content
    findings = prepare_deploy(deps, actor, _current(interaction), Action.BREAK_GLASS)
    return lambda tx: judge_break_glass(tx, deps, actor, findings, reason)


def _current(interaction: Interaction[Any]) -> ReleaseId:
    with interaction.deps.store.transaction() as tx:
        return status.release_of(tx, interaction.deps).id


BUTTONS = (
    Button(
        id="release.deploy", payload=ReleasePayload, permission=Action.DEPLOY,
        place="card, while the gate is open", does="deploys, after a question, as `/release deploy` does",
        prepare=_deploy,
    ),
    Button(
        id="break_glass.review", payload=ReleasePayload, permission=Action.REVIEW,
        place="break-glass and close-out, once the release is over",
        does="closes the review of a break-glass; not by whoever broke the glass",
        modal=Form(
            title="Review a break-glass", submit="Close the review", label="Was it right, and what changes now?",
            effect="Recorded under your name. Whoever broke the glass can't review it.",
        ),
        run=lambda tx, click: break_glass.review(tx, click.deps, click.actor, click.content.release_id, click.note),
    ),
)  # fmt: skip
COMMANDS = (
    Command(
        word="deploy", summary="Deploy once the gate is Go.",
        details=(
            "While it is No-Go, lists every reason. When the plan has changed since `plan` last showed it, shows the "
            "changes first; the next `deploy` accepts them."
        ),
        permission=Action.DEPLOY, parse=grammar.nothing("deploy"), prepare=_deploy_current,
    ),
    Command(
        word="deploy --break-glass", parameters="REASON",
        summary="Deploy in an emergency, past what the gate still asks for.",
        details="Only where the policy allows it: [past the gate](../howto/break-glass.md).",
        permission=Action.BREAK_GLASS, parse=grammar.reason("deploy --break-glass"), prepare=_past_the_gate,
    ),
)  # fmt: skip
