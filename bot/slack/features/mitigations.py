"""Mitigations: setting a variable for a while, and putting it back."""

from __future__ import annotations

from bot.domain.policy import Action
from bot.flows import mitigation
from bot.slack.blocks.modals import Form
from bot.slack.entries import Button
from bot.slack.payloads import MitigationPayload, StepPayload

BUTTONS = (
    Button(
        id="mitigation.apply", payload=StepPayload, permission=Action.ROLLBACK,
        place="steps, at one that is offered; mitigation that got stuck",
        does="sets the variable for a while; you own it, and the release stays open",
        modal=Form(
            title="Set it for a while", submit="Set it", label="What is wrong?",
            effect=(
                "The pods restart with it. You own it and get reminders until it is put back. "
                "Nothing is deployed in the meantime."
            ),
        ),
        run=lambda tx, click: mitigation.apply(tx, click.deps, click.actor, click.content.step, click.note),
    ),
    Button(
        id="mitigation.resolve", payload=MitigationPayload, permission=Action.ROLLBACK,
        place="mitigation", does="puts the earlier value back; the last one closes the release",
        run=lambda tx, click: mitigation.resolve(tx, click.deps, click.actor, click.content.mitigation),
    ),
    Button(
        id="mitigation.attest", payload=MitigationPayload, permission=Action.ROLLBACK,
        place="mitigation that got stuck", does="records that you put it back by hand",
        modal=Form(
            title="Put back by hand", submit="Record it", label="What was put back, and how do you know?",
            effect="It counts as put back by you, not by the bot, and no longer blocks deploys.",
        ),
        run=lambda tx, click: mitigation.attest(tx, click.deps, click.actor, click.content.mitigation, click.note),
    ),
)  # fmt: skip
COMMANDS = ()
