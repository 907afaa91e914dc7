"""Taking a release back, from its card, from its watch, or by command."""

from __future__ import annotations

from bot.domain.plan import lasting_changes
from bot.domain.policy import Action
from bot.domain.view import ReleaseView
from bot.flows import status
from bot.flows.deploying.rollback import judge_rollback
from bot.slack import grammar, text
from bot.slack.blocks.limits import Block
from bot.slack.blocks.modals import Form
from bot.slack.blocks.plan import lasting_block
from bot.slack.entries import Button, Command, Interaction
from bot.slack.payloads import ReleasePayload
from bot.store.pool import Tx


def aborts_too(tx: Tx, view: ReleaseView) -> str:
    """The warning that the rollback aborts a newer release which is only open; empty where there is none."""
    other = status.gives_way(tx, view.release)
    if other is None:
        return ""
    version = text.outside(other.version, 100)
    return f":warning: *{version} is open and will be aborted.* Nothing of it was deployed."


def _lasting_blocks(view: ReleaseView) -> list[Block]:
    return lasting_block("The rollback leaves in place", lasting_changes(view.steps, view.checklist.deploy))


def _roll_back(tx: Tx, interaction: Interaction[ReleasePayload]) -> str:
    return judge_rollback(tx, interaction.deps, interaction.actor, interaction.content.release_id, interaction.note)


FORM = Form(
    title="Roll back",
    submit="Roll back",
    label="Why?",
    effect="Production goes back to what ran before the deploy.",
    required=False,
    warning=aborts_too,
    more=_lasting_blocks,
)
BUTTONS = (
    Button(
        id="release.rollback", payload=ReleasePayload, permission=Action.ROLLBACK,
        place="card, after the first change", does="rolls back",
        modal=FORM,
        run=_roll_back,
    ),
    Button(
        id="watch.rollback", payload=ReleasePayload, permission=Action.ROLLBACK,
        place="alarm, watch", does="rolls back",
        modal=FORM,
        run=_roll_back,
    ),
)  # fmt: skip
COMMANDS = (
    Command(
        word="rollback", parameters="[reason]", summary="Go back to what ran before the deploy.",
        details=(
            "Works in a freeze and whatever the checks say. Means the newest release whose deploy began; a newer one that "
            "is only OPEN is aborted."
        ),
        permission=Action.ROLLBACK, parse=grammar.rollback_reason,
        run=lambda tx, command: judge_rollback(
            tx, command.deps, command.actor, status.to_roll_back(tx, command.deps).id, command.content
        ),
    ),
)  # fmt: skip
