"""The watch after a deploy: acknowledging an alarm."""

from __future__ import annotations

from bot.domain.policy import Action
from bot.flows import watch
from bot.slack.blocks.modals import Form
from bot.slack.entries import Button
from bot.slack.payloads import AlarmPayload

BUTTONS = (
    Button(
        id="watch.acknowledge", payload=AlarmPayload, permission=Action.ACKNOWLEDGE,
        place="alarm", does="records that you looked at the issue",
        modal=Form(
            title="Acknowledge an alarm", submit="Acknowledge", label="Why may the release stay?",
            effect="The alarm no longer keeps the watch from ending.",
        ),
        run=lambda tx, click: watch.acknowledge(tx, click.deps, click.actor, click.content.alarm, click.note),
    ),
)  # fmt: skip
COMMANDS = ()
