"""The steps of a deploy or a rollback: retry, cancel, attest."""

from __future__ import annotations

from bot.domain.policy import Action
from bot.flows.deploying import step_clicks
from bot.slack.blocks.modals import Form
from bot.slack.entries import Button, Effect, Interaction
from bot.slack.payloads import StepPayload


def _attest(interaction: Interaction[StepPayload]) -> Effect:
    """Look at what the bot can see of the step, before a person's word is recorded."""
    deps, actor, step, note = interaction.deps, interaction.actor, interaction.content.step, interaction.note
    observation = step_clicks.inspect_attested_step(deps, actor, step)
    return lambda tx: step_clicks.attest(tx, deps, actor, step, note, observation)


BUTTONS = (
    Button(
        id="step.retry", payload=StepPayload, permission=Action.RETRY,
        place="steps, at a failed one", does="carries out the step again",
        run=lambda tx, click: step_clicks.retry(tx, click.deps, click.actor, click.content.step),
    ),
    Button(
        id="step.cancel", payload=StepPayload, permission=Action.RETRY,
        place="steps, at one that runs", does="stops the step, after a question; the step has then failed",
        run=lambda tx, click: step_clicks.cancel(tx, click.deps, click.actor, click.content.step),
    ),
    Button(
        id="step.attest",
        payload=StepPayload,
        place="steps, at a person's step once it is due, and at a failed one that may be done by hand",
        does=(
            "records that you did it, and for a failed step what the bot sees of it; the plan goes on. "
            "Refused when the bot sees that it wasn't done"
        ),
        modal=Form(
            title="Attest a step", submit="Attest", label="What was done, and how do you know?",
            effect="The step counts as done by you, not by the bot.",
        ),
        permission=Action.ATTEST,
        prepare=_attest,
    ),
)  # fmt: skip
COMMANDS = ()
