"""Closing a release that has changed nothing."""

from __future__ import annotations

from bot.domain.policy import Action
from bot.flows import abort
from bot.flows.status import release_of
from bot.slack import grammar
from bot.slack.blocks.modals import Form
from bot.slack.entries import Button, Command
from bot.slack.payloads import ReleasePayload

BUTTONS = (
    Button(
        id="release.abort", payload=ReleasePayload, permission=Action.ABORT,
        place="card, and steps at one that failed or is a person's, while nothing was changed",
        does="closes the release",
        modal=Form(
            title="Abort", submit="Abort", label="Why?",
            effect="The release is closed. Nothing is deployed.",
            required=False,
        ),
        run=lambda tx, click: abort.abort(tx, click.deps, click.actor, click.content.release_id, click.note),
    ),
)  # fmt: skip
COMMANDS = (
    Command(
        word="abort", parameters="[reason]", summary="Close the release without a deploy.",
        details="Works until the first change: also when the deploy failed, or waits for a person, before it.",
        permission=Action.ABORT, parse=grammar.reason("abort"),
        run=lambda tx, command: abort.abort(
            tx, command.deps, command.actor, release_of(tx, command.deps).id, command.content
        ),
    ),
)  # fmt: skip
