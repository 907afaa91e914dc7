"""Approving, declining, and withdrawing what a role said."""

from __future__ import annotations

from bot.domain.ids import ReleaseId
from bot.domain.posts import CardPost
from bot.domain.signoff import Verdict
from bot.flows import sign
from bot.slack.blocks.modals import Form
from bot.slack.entries import Audience, Button, Interaction
from bot.slack.payloads import RolePayload
from bot.store import posts
from bot.store.pool import Tx


def permalink_of_card(tx: Tx, release_id: ReleaseId) -> str:
    """The permalink of the card, which is the message that is signed; empty while it isn't in Slack."""
    card = posts.find(tx, release_id, CardPost())
    return card.permalink if card else ""


def _sign(tx: Tx, interaction: Interaction[RolePayload], verdict: Verdict) -> str:
    payload = interaction.content
    return sign.sign(
        tx,
        interaction.deps,
        interaction.actor,
        payload.release_id,
        role=payload.role,
        verdict=verdict,
        reason=interaction.note,
        permalink=permalink_of_card(tx, payload.release_id),
    )


BUTTONS = (
    Button(
        id="signoff.approve", payload=RolePayload, permission=Audience.OWN_ROLE,
        place="card", does="records your yes in that role",
        run=lambda tx, click: _sign(tx, click, Verdict.APPROVE),
    ),
    Button(
        id="signoff.decline", payload=RolePayload, permission=Audience.OWN_ROLE,
        place="card", does="records your no; the gate stays closed until it is revoked",
        modal=Form(
            title="Decline", submit="Decline", label="Why not?",
            effect="The gate stays closed until this is revoked.",
        ),
        run=lambda tx, click: _sign(tx, click, Verdict.DECLINE),
    ),
    Button(
        id="signoff.revoke", payload=RolePayload, permission=Audience.OWN_ROLE,
        place="card", does="withdraws the decision of that role",
        run=lambda tx, click: sign.revoke(tx, click.deps, click.actor, click.content.release_id, click.content.role),
    ),
)  # fmt: skip
COMMANDS = ()
