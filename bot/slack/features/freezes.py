"""Freezing deploys, and lifting that."""

from __future__ import annotations

from bot.domain.policy import Action
from bot.flows import freeze
from bot.slack import grammar
from bot.slack.entries import Command, Interaction
from bot.slack.grammar import FreezeRequest
from bot.store.pool import Tx


def _freeze(tx: Tx, interaction: Interaction[FreezeRequest]) -> str:
    deps, request = interaction.deps, interaction.content
    until = deps.clock.now() + request.duration if request.duration else None
    return freeze.freeze(tx, deps, interaction.actor, until, request.reason)


BUTTONS = ()
COMMANDS = (
    Command(
        word="freeze", parameters="[DURATION] REASON", summary="Stop deploys for 30m, 2h or 1d, or until unfreeze.",
        details="At most 30 days. A deploy that has begun continues: press Cancel at its step, or roll back.",
        permission=Action.FREEZE, parse=grammar.freeze_request, run=_freeze,
    ),
    Command(
        word="unfreeze", summary="Allow deploys again.",
        details="A window of `policy.freeze_windows` lasts until its end, and the answer says so.",
        permission=Action.FREEZE, parse=grammar.nothing("unfreeze"),
        run=lambda tx, command: freeze.unfreeze(tx, command.deps, command.actor),
    ),
)  # fmt: skip
