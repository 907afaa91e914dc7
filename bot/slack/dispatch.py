"""Dispatch: one stored command or click becomes one effect and one answer, in one transaction."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime
from typing import Any

from slack_sdk import WebClient

from bot.domain.actor import Actor
from bot.domain.events import ClickRefused, CommandRefused
from bot.domain.ids import ReleaseId, UserId
from bot.errors import IdentityUnknown, InvalidInput, RefusedError, StaleButton, VendorError
from bot.flows import status
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, Job
from bot.slack.blocks import status as answers
from bot.slack.blocks.limits import Rendered
from bot.slack.blocks.modals import Details, Form
from bot.slack.clicks import ensure_genuine, read_click
from bot.slack.client import SlackError, slack_call
from bot.slack.commands import read_command
from bot.slack.delivery import Sender, click_in, note_in, sender_of
from bot.slack.entries import AnyButton, AnyCommand, Audience, Interaction
from bot.slack.grammar import Malformed
from bot.slack.identity import Identity
from bot.slack.payloads import Payload
from bot.store import inbox, releases, replies
from bot.store.inbox import InboxRow
from bot.store.pool import Tx
from checks.runner import redact_values

logger = logging.getLogger(__name__)

GIVE_UP_AFTER = 5  # attempts at a delivery whose handling fails for an unknown reason

_INTERNAL_ERROR = "Something went wrong in the bot. Nothing was changed."
_TOO_LATE, _PRESS_AGAIN = "That took too long, so Slack didn't open the form.", "Press the button again."


class Dispatch:
    """Carries out the queue ``inbox``."""

    def __init__(self, deps: Deps, client: WebClient, identity: Identity) -> None:
        self._deps, self._client, self._identity = deps, client, identity

    def execute(self, job: Job) -> datetime | None:
        """Handle one delivery (key: id of its inbox row). What Slack delivers twice has one effect."""
        with self._deps.store.transaction() as tx:
            row = inbox.get(tx, int(job.claim.key))
        if row is None or row.handled_at is not None:
            return None
        sender = sender_of(row, self._deps.channel)
        try:
            self._handle(row, sender)
        except (RefusedError, VendorError) as error:
            self._refuse(row, sender, error)
        return None

    def give_up(self, job: Job, error: Exception) -> None:
        """Answer a delivery that could not be handled after all attempts, with a reference to the log."""
        reference = uuid.uuid4().hex[:8]
        logger.error("gave up on inbox %s, reference %s: %s", job.claim.key, reference, type(error).__name__)
        with self._deps.store.transaction() as tx:
            row = inbox.get(tx, int(job.claim.key))
        if row is not None and row.handled_at is None:
            answer = answers.answer(_INTERNAL_ERROR, f"Give your platform team the reference {reference}.")
            self._finish(row, sender_of(row, self._deps.channel), answer, f"failed {reference}")

    # --- what was asked

    def _handle(self, row: InboxRow, sender: Sender) -> None:
        """Find what was clicked or typed, and open its form or carry it out."""
        if row.kind == "command":
            reading = read_command(row.body.get("text") or "")
            if isinstance(reading, Malformed):
                raise InvalidInput(reading.problem, hint=reading.hint)
            self._carry_out(row, sender, *reading)
            return
        button, payload = read_click(row)
        if row.kind == "action" and button.modal is not None:
            self._open_modal(row, sender, button.id, button.modal, payload)
        else:
            self._carry_out(row, sender, button, payload)

    def _carry_out(self, row: InboxRow, sender: Sender, entry: AnyButton | AnyCommand, content: Any) -> None:
        """Prepare it, then have its effect and store the answer in one transaction. Raises RefusedError, VendorError."""
        note = note_in(row) if row.kind == "view" else ""
        interaction = Interaction(self._deps, self._actor(entry, sender), content, delivery=row.id, note=note)
        effect = entry.effect_of(interaction)
        with self._deps.store.transaction() as tx:
            if row.kind != "command":
                ensure_genuine(tx, row, content)
            answer = effect(tx)
            if isinstance(answer, str):
                answer = answers.answer(self._deps.clean(answer.rstrip()))
            self._close(tx, row, sender, answer, "done")

    def _actor(self, entry: AnyButton | AnyCommand, sender: Sender) -> Actor:
        """Who it is, as Slack says now; of what anybody may do, Slack is not asked."""
        if entry.permission is Audience.ANYBODY:
            return Actor(UserId(sender.user), frozenset())
        return self._identity.actor(sender.user)

    def _open_modal(
        self, row: InboxRow, sender: Sender, button_id: str, modal: Form | Details[Any], payload: Payload
    ) -> None:
        """Open the form soon: its trigger lives for three seconds. Whose role may submit it is asked at the submission."""
        self._identity.member(sender.user)  # a form shows evidence, and outsiders can press buttons too
        with self._deps.store.transaction() as tx:
            ensure_genuine(tx, row, payload)
            view = status.view(tx, self._deps, payload.release_id)
            form = modal.render(button_id, payload, view, modal.prepare(tx, payload, view))
        try:
            with slack_call("views.open"):
                self._client.views_open(trigger_id=sender.trigger, view=redact_values(form, self._deps.redact))
        except SlackError as error:
            if error.code in {"expired_trigger_id", "trigger_expired", "invalid_trigger_id"}:
                self._finish(row, sender, answers.answer(_TOO_LATE, _PRESS_AGAIN), "done")
                return
            if error.code != "exchanged_trigger_id":  # opened by an attempt that died before it was written down
                raise
        with self._deps.store.transaction() as tx:
            inbox.mark_handled(tx, row.id, "form opened", self._deps.clock.now())  # the form is the answer

    # --- answers

    def _refuse(self, row: InboxRow, sender: Sender, error: RefusedError | VendorError) -> None:
        """Say why nothing was done, and put it on record."""
        content = row.body.get("text", "") if row.kind == "command" else click_in(row)
        now, clean = self._deps.clock.now(), self._deps.clean
        event_type = CommandRefused if row.kind == "command" else ClickRefused
        if isinstance(error, IdentityUnknown):
            logger.warning("cannot tell who %s is: %s", sender.user, error)
        with self._deps.store.transaction() as tx:
            answer = answers.answer(clean(error.user_message), clean(error.hint))
            self._close(tx, row, sender, answer, f"refused: {type(error).__name__}")
            event = event_type(
                what=clean(str(content), 500), why=clean(error.user_message, 1000), reason=type(error).__name__
            )
            commit_change(tx, self._release_of(tx, row), event, at=now, by=sender.user)

    def _release_of(self, tx: Tx, row: InboxRow) -> ReleaseId | None:
        """The release in whose record a refusal belongs: that of the button, or the one under way; None: there is none."""
        if row.kind == "command":
            release = releases.active(tx, self._deps.environment)
        else:
            try:
                release = releases.get(tx, read_click(row)[1].release_id)
            except StaleButton:
                release = None  # no button of ours
        return None if release is None else release.id

    def _finish(self, row: InboxRow, sender: Sender, answer: Rendered, outcome: str) -> None:
        with self._deps.store.transaction() as tx:
            self._close(tx, row, sender, answer, outcome)

    def _close(self, tx: Tx, row: InboxRow, sender: Sender, answer: Rendered, outcome: str) -> None:
        """Mark the delivery as handled and enqueue the answer to its sender, in the transaction of the effect."""
        now = self._deps.clock.now()
        inbox.mark_handled(tx, row.id, outcome, now)
        body = redact_values({"text": answer.text, "blocks": answer.blocks}, self._deps.clean)
        replies.store_reply(tx, row.id, sender.user, sender.channel, sender.response_url, body, now)
