"""Listeners: store the delivery, ack, return. Everything else happens in the workers (promise P1)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from slack_bolt import Ack, App, BoltResponse

from bot.errors import DatabaseError
from bot.slack.blocks.modals import Form
from bot.slack.features import BUTTONS
from bot.slack.grammar import COMMAND
from bot.slack.identity import Installation
from bot.slack.payloads import REASON
from bot.store import inbox
from bot.store.pool import Store
from checks.runner import redact_values

logger = logging.getLogger(__name__)

Put = Callable[[str, str, dict[str, Any]], int | None]  # delivery id, kind, body -> row; None: stored already

_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
NOT_KEPT = frozenset(
    {"token", "message"}
)  # Slack's old secret; its copy of a message, by which nothing is ever decided
OURS_TO_USE = frozenset({"response_url", "trigger_id"})  # looks like a secret, is one, and is needed for the answer
PATIENCE = 2.0  # seconds to wait for the database: Slack waits three for the ack
NOT_TAKEN = "The bot's database doesn't answer, so nothing was done. Try again in a minute."
ANY = re.compile("")  # every action id and view: one that we do not know is answered and recorded, not ignored


def keep(store: Store, redact: Callable[[str], str], delivery: str, kind: str, body: dict[str, Any]) -> int | None:
    """Store a delivery, without the secrets that a person has typed by mistake: here is the one door for what people say.

    Returns None when it is stored already. Raises DatabaseError in time for another answer.
    """
    stored_body = {key: value for key, value in body.items() if key not in NOT_KEPT}
    clean = {
        key: value if key in OURS_TO_USE else redact_values(value, lambda text: _storable(redact(text)))
        for key, value in stored_body.items()
    }
    with store.transaction(wait=PATIENCE) as tx:
        return inbox.store_delivery(tx, delivery, kind, clean)


def _storable(text: str) -> str:
    """JSON can say NUL and half a character, PostgreSQL cannot hold them."""
    return _NOT_TEXT.sub("\ufffd", text)


def register(app: App, put: Put, workspace: Installation) -> None:
    """Register all commands, actions and views."""

    @app.middleware
    def only_this_app(body: dict[str, Any], next: Callable[[], BoltResponse]) -> BoltResponse | None:  # noqa: A002  Bolt's name
        """Drop what was sent to another app or installed elsewhere; an outside *person* is stored, to be refused on record."""
        if workspace.app and body.get("api_app_id") not in {None, workspace.app}:
            logger.warning("dropped a delivery for the app %s", body.get("api_app_id"))
            return BoltResponse(status=200)
        return next()

    app.error(_not_taken)

    @app.command(COMMAND)
    def command(ack: Ack, body: dict[str, Any]) -> None:
        try:
            put(_delivery(body), "command", body)
        except DatabaseError:
            logger.exception("a command was not taken")
            ack(NOT_TAKEN)
            return
        ack()

    @app.action(ANY)
    def action(ack: Ack, body: dict[str, Any]) -> None:
        if "url" in body["actions"][0]:  # a link button: the browser has opened it already
            ack()
            return
        put(_delivery(body), "action", body)  # not stored: no ack, and Slack shows the person a warning mark
        ack()

    @app.view(ANY)
    def view(ack: Ack, body: dict[str, Any]) -> None:
        if wrong := _blank_reason(body):
            ack(response_action="errors", errors={REASON: wrong})
            return
        put(_delivery(body), "view", body)
        ack()


def _not_taken(error: Exception) -> BoltResponse:
    """Without an ack Slack shows the person that it was not taken: over HTTP by the status, over the socket by silence."""
    is_database_error = isinstance(error, DatabaseError)
    logger.error("a delivery was not taken: %s", error, exc_info=None if is_database_error else error)
    return BoltResponse(status=503 if is_database_error else 500)


def _delivery(body: dict[str, Any]) -> str:
    """Slack's own id of this delivery: a trigger id is made anew for each command, click and submission."""
    return str(body["trigger_id"])


def _blank_reason(body: dict[str, Any]) -> str:
    button = BUTTONS.get(body["view"].get("callback_id", ""))
    if button is None or not isinstance(button.modal, Form) or not button.modal.required:
        return ""
    value = body["view"]["state"]["values"].get(REASON, {}).get(REASON, {}).get("value") or ""
    return "" if value.strip() else "Write a few words: this goes on record."
