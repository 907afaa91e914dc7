"""Dispatch: one stored command or click becomes one effect and one answer, in one transaction."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime

from slack_sdk import WebClient

from bot.domain.actor import Actor
from bot.domain.events import ClickRefused, CommandRefused
from bot.domain.ids import ReleaseId
from bot.domain.plan import lasting
from bot.domain.policy import Action
from bot.domain.posts import CardPost
from bot.domain.signoff import Verdict
from bot.domain.view import ReleaseView
from bot.errors import IdentityUnknown, InvalidInput, RefusedError, StaleButton, UnknownThing, VendorError
from bot.flows import (
    abort,
    bind,
    break_glass,
    check,
    deploy,
    doctor,
    freeze,
    mitigation,
    plan,
    rollback,
    shown,
    sign,
    start,
    status,
    watch,
)
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, Job, require
from bot.slack import checkup, evidence, grammar, report
from bot.slack.blocks import modals
from bot.slack.blocks import status as answers
from bot.slack.blocks.limits import Rendered
from bot.slack.blocks.plan import planned
from bot.slack.client import SlackError, slack_call
from bot.slack.delivery import Sender, click_in, note_in, sender_of
from bot.slack.identity import Identity
from bot.slack.ids import (
    OPENS_MODAL,
    ActionId,
    AlarmPayload,
    CheckPayload,
    Click,
    MalformedClickError,
    MitigationPayload,
    RolePayload,
    SectionPayload,
    StepPayload,
)
from bot.slack.ids import parse as parse_click
from bot.store import inbox, mitigations, posts, releases, replies, steps, watches
from bot.store.inbox import InboxRow
from bot.store.pool import Tx
from checks.runner import redact_values

logger = logging.getLogger(__name__)

GIVE_UP_AFTER = 5  # attempts at a delivery whose handling fails for an unknown reason


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
            answer = self._handle(row, sender)
        except (RefusedError, VendorError) as error:
            self._refuse(row, sender, error)
            return None
        if answer is not None:
            self._finish(row, sender, answer, "done")
        return None

    def give_up(self, job: Job, error: Exception) -> None:
        """Answer a delivery that could not be handled after all attempts, with a reference to the log."""
        reference = uuid.uuid4().hex[:8]
        logger.error("gave up on inbox %s, reference %s: %s", job.claim.key, reference, type(error).__name__)
        with self._deps.store.transaction() as tx:
            row = inbox.get(tx, int(job.claim.key))
        if row is not None and row.handled_at is None:
            shown = answers.answer(
                "Something went wrong in the bot, and nothing was changed by this.",
                f"Tell your platform team the reference {reference}.",
            )
            self._finish(row, sender_of(row, self._deps.channel), shown, f"failed {reference}")

    # --- what was asked

    def _handle(self, row: InboxRow, sender: Sender) -> Rendered | None:
        """Carry it out. Returns the answer that is still to be stored; None when the effect has stored it."""
        if row.kind == "command":
            return self._command(row, sender)
        click = self._read_click(row)
        if row.kind == "action" and click.action in OPENS_MODAL:
            self._identity.member(sender.user)  # the form shows evidence, and outsiders can press buttons too
            return self._open_modal(row, sender, click)
        note = note_in(row) if row.kind == "view" else ""
        actor = self._identity.actor(sender.user)
        warning = ""
        if click.action is ActionId.RELEASE_DEPLOY:
            warning = self._before_deploy(actor, ReleaseId(click.payload.release), Action.DEPLOY)
        saw = ""
        if click.action is ActionId.STEP_ATTEST and isinstance(click.payload, StepPayload):
            saw = deploy.before_attest(self._deps, actor, click.payload.step)
        with self._deps.store.transaction() as tx:
            if row.kind == "action":
                self._only_own_message(tx, row, click)
            self._only_of_release(tx, click)
            said = f"{self._act(tx, actor, click, note, saw)}\n{warning}".rstrip()
            self._close(tx, row, sender, answers.answer(self._deps.clean(said)), "done")
        return None

    def _command(self, row: InboxRow, sender: Sender) -> Rendered | None:
        command = grammar.parse(row.body.get("text") or "")
        if isinstance(command, grammar.Malformed):
            self._refuse(row, sender, InvalidInput(command.wrong), answers.malformed(command))
            return None
        if isinstance(command, grammar.Help):
            return answers.usage()
        actor = self._identity.actor(sender.user)
        if isinstance(command, grammar.ShowPlan):
            return self._plan(row, sender, actor)
        if isinstance(command, grammar.Status | grammar.History):
            with self._deps.store.transaction() as tx:
                return self._look(tx, command)
        resolved, warning = None, ""
        if isinstance(command, grammar.Start):
            require(self._deps.policy, actor, Action.START)  # before anybody is asked what the version means
            warning = checkup.may_begin_in(self._client, self._deps.channel, self._deps.shared_channel)
            resolved = start.resolve(self._deps, command.version)
        if isinstance(command, grammar.Deploy | grammar.BreakGlass):
            with self._deps.store.transaction() as tx:
                meant = status.release_of(tx, self._deps)
            action = Action.DEPLOY if isinstance(command, grammar.Deploy) else Action.BREAK_GLASS
            warning = self._before_deploy(actor, meant.id, action)
        with self._deps.store.transaction() as tx:
            if isinstance(command, grammar.Start) and resolved is not None:
                said = start.open_release(
                    tx, self._deps, actor, command.version, command.notes_url, resolved, because=command.because
                )
            elif isinstance(command, grammar.Doctor):
                said = doctor.ask(tx, self._deps, row.id)
            elif isinstance(command, grammar.Report):
                release = status.release_of(tx, self._deps, str(command.version) if command.version else None)
                view = status.view(tx, self._deps, release.id)
                said = report.share(tx, view, actor, self._deps.redact, row.id)
            else:
                said = self._change(tx, actor, command)
            self._close(tx, row, sender, answers.answer(self._deps.clean(f"{said}\n{warning}".rstrip())), "done")
        return None

    def _before_deploy(self, actor: Actor, release_id: ReleaseId, action: Action) -> str:
        """Ask what only the outside knows, for somebody who may deploy; what is to be said of who reads the channel now."""
        bind.before_deploy(self._deps, actor, release_id, action)
        shown.before_deploy(self._deps, actor, release_id, action)
        with self._deps.store.transaction() as tx:
            channel = status.view(tx, self._deps, release_id).release.channel
        return checkup.may_begin_in(self._client, channel, self._deps.shared_channel, "nothing is deployed from there")

    def _plan(self, row: InboxRow, sender: Sender, actor: Actor) -> Rendered | None:
        """What the release that is under way would change now; with none, the steps of the checklist."""
        with self._deps.store.transaction() as tx:
            release = releases.active(tx, self._deps.environment)
            view = None if release is None else status.view(tx, self._deps, release.id)
        if release is None or view is None:
            return answers.plan(self._deps.checklist)
        found, name = plan.of_release(self._deps, release), f"{self._deps.checklist.title} {release.version}"
        answer = planned(name, found, lasting(view.steps, view.checklist.deploy))
        with self._deps.store.transaction() as tx:
            self._close(tx, row, sender, answer, "done")
            shown.keep(tx, self._deps, actor, release, found)
        return None

    def _look(self, tx: Tx, command: grammar.Status | grammar.History) -> Rendered:
        """Commands that only read."""
        if isinstance(command, grammar.History):
            return answers.history(status.history(tx, self._deps), status.standing(tx, self._deps))
        release = status.release_of(tx, self._deps, str(command.version) if command.version else None)
        view = status.view(tx, self._deps, release.id)
        return answers.status(view, self._permalink(tx, release.id))

    def _change(self, tx: Tx, actor: Actor, command: grammar.Command) -> str:
        """Commands that change something; all but start, rollback and the freezes are about the release that is under way."""
        deps = self._deps
        if isinstance(command, grammar.StartFreeze):
            until = deps.clock.now() + command.duration if command.duration else None
            return freeze.freeze(tx, deps, actor, until, command.reason)
        if isinstance(command, grammar.LiftFreeze):
            return freeze.unfreeze(tx, deps, actor)
        if isinstance(command, grammar.Rollback):
            return rollback.rollback(tx, deps, actor, status.to_roll_back(tx, deps).id, command.reason)
        release = status.release_of(tx, deps)
        match command:
            case grammar.RunChecks():
                return check.rerun(tx, deps, actor, release.id, command.what)
            case grammar.CancelChecks():
                return check.cancel(tx, deps, actor, release.id, command.what)
            case grammar.Deploy():
                return deploy.deploy(tx, deps, actor, release.id)
            case grammar.BreakGlass():
                return break_glass.deploy_anyway(tx, deps, actor, release.id, command.reason)
            case grammar.Abort():
                return abort.abort(tx, deps, actor, release.id, command.reason)
        raise InvalidInput

    # --- clicks

    def _read_click(self, row: InboxRow) -> Click:
        if row.kind == "view":
            view = row.body["view"]
            callback, value = view.get("callback_id", ""), view.get("private_metadata", "")
        else:
            pressed = row.body["actions"][0]
            callback, value = pressed.get("action_id", ""), pressed.get("value")
        try:
            return parse_click(callback, value)
        except MalformedClickError as error:
            raise StaleButton(
                f"The bot never made that button: {error}.", hint="Nothing was done. Use the newest message."
            ) from error

    def _only_own_message(self, tx: Tx, row: InboxRow, click: Click) -> None:
        """A button acts only where the bot has put it: on a message of the very release that it names."""
        container = row.body.get("container", {})
        post = posts.by_message(tx, str(container.get("channel_id", "")), str(container.get("message_ts", "")))
        if post is None or post.release_id != click.payload.release:
            raise StaleButton(
                "That button does not belong to this message.", hint="Nothing was done. Use the newest message."
            )

    def _only_of_release(self, tx: Tx, click: Click) -> None:
        """A step or an alarm is acted on only as part of the release that the button names."""
        named: ReleaseId | None = ReleaseId(click.payload.release)
        found = named
        if isinstance(click.payload, StepPayload):
            step = steps.get(tx, click.payload.step)
            found = step[0] if step is not None else None
        elif isinstance(click.payload, AlarmPayload):
            found = watches.release_of(tx, click.payload.alarm)
        elif isinstance(click.payload, MitigationPayload):
            owed = mitigations.get(tx, click.payload.mitigation)
            found = owed.release_id if owed is not None else None
        if found != named:
            raise StaleButton("That belongs to another release.", hint="Nothing was done. Use the newest message.")

    def _open_modal(self, row: InboxRow, sender: Sender, click: Click) -> Rendered | None:
        """Open the form soon: its trigger lives for three seconds. Whose role may submit it is asked at the submission."""
        with self._deps.store.transaction() as tx:
            self._only_own_message(tx, row, click)
            shown = status.view(tx, self._deps, ReleaseId(click.payload.release))
            other = status.gives_way(tx, shown.release)
        try:
            view = modals.modal(click.action, click.payload, shown, gives_way=other.version if other else "")
        except modals.NothingToShowError as error:
            raise UnknownThing(str(error)) from error
        self._owe_whole(click, shown)
        try:
            with slack_call("views.open"):
                self._client.views_open(trigger_id=sender.trigger, view=redact_values(view, self._deps.redact))
        except SlackError as error:
            if error.code == "exchanged_trigger_id":  # opened by an attempt that died before it was written down
                self._close_silently(row)
                return None
            if error.code in {"expired_trigger_id", "trigger_expired", "invalid_trigger_id"}:
                return answers.answer(
                    "That took too long, so Slack did not open the form.", "Please press the button again."
                )
            raise
        self._close_silently(row)
        return None

    def _owe_whole(self, click: Click, shown: ReleaseView) -> None:
        """What the details have no room for is owed to the thread."""
        if click.action is not ActionId.CHECK_DETAILS or not isinstance(click.payload, CheckPayload):
            return
        check, known = shown.checklist.check(click.payload.check), shown.checks.get(click.payload.check)
        if check is not None and known is not None and known.result is not None:
            with self._deps.store.transaction() as tx:
                evidence.share(tx, shown, check, known.result)

    def _close_silently(self, row: InboxRow) -> None:
        """The form is the answer."""
        with self._deps.store.transaction() as tx:
            inbox.handled(tx, row.id, "form opened", self._deps.clock.now())

    def _act(self, tx: Tx, actor: Actor, click: Click, note: str, saw: str) -> str:  # noqa: C901, PLR0912  a table, one row an action
        """The flow of each action; the table that tells what a button does."""
        deps, release_id = self._deps, ReleaseId(click.payload.release)
        match click.action, click.payload:
            case ActionId.CHECK_RERUN, CheckPayload(check=check_id):
                return check.rerun(tx, deps, actor, release_id, check_id)
            case ActionId.CHECK_CANCEL, CheckPayload(check=check_id):
                return check.cancel(tx, deps, actor, release_id, check_id)
            case ActionId.SECTION_RERUN, SectionPayload(section=section):
                return check.rerun(tx, deps, actor, release_id, section)
            case ActionId.SECTION_CANCEL, SectionPayload(section=section):
                return check.cancel(tx, deps, actor, release_id, section)
            case ActionId.CHECK_WAIVE, CheckPayload(check=check_id):
                return check.waive(tx, deps, actor, release_id, check_id, note)
            case ActionId.CHECK_ATTEST, CheckPayload(check=check_id):
                return check.attest(tx, deps, actor, release_id, check_id, note)
            case ActionId.SIGNOFF_APPROVE, RolePayload(role=role):
                link = self._permalink(tx, release_id)
                return sign.sign(
                    tx, deps, actor, release_id, role=role, verdict=Verdict.APPROVE, reason="", permalink=link
                )
            case ActionId.SIGNOFF_DECLINE, RolePayload(role=role):
                link = self._permalink(tx, release_id)
                return sign.sign(
                    tx, deps, actor, release_id, role=role, verdict=Verdict.DECLINE, reason=note, permalink=link
                )
            case ActionId.SIGNOFF_REVOKE, RolePayload(role=role):
                return sign.revoke(tx, deps, actor, release_id, role)
            case ActionId.RELEASE_DEPLOY, _:
                return deploy.deploy(tx, deps, actor, release_id)
            case ((ActionId.RELEASE_ROLLBACK | ActionId.WATCH_ROLLBACK), _):
                return rollback.rollback(tx, deps, actor, release_id, note)
            case ActionId.RELEASE_ABORT, _:
                return abort.abort(tx, deps, actor, release_id, note)
            case ActionId.STEP_RETRY, StepPayload(step=step):
                return deploy.retry(tx, deps, actor, step)
            case ActionId.STEP_CANCEL, StepPayload(step=step):
                return deploy.cancel(tx, deps, actor, step)
            case ActionId.STEP_ATTEST, StepPayload(step=step):
                return deploy.attest(tx, deps, actor, step, note, saw)
            case ActionId.MITIGATION_APPLY, StepPayload(step=step):
                return mitigation.apply(tx, deps, actor, step, note)
            case ActionId.MITIGATION_RESOLVE, MitigationPayload(mitigation=row_id):
                return mitigation.resolve(tx, deps, actor, row_id)
            case ActionId.MITIGATION_ATTEST, MitigationPayload(mitigation=row_id):
                return mitigation.attest(tx, deps, actor, row_id, note)
            case ActionId.BREAK_GLASS_REVIEW, _:
                return break_glass.review(tx, deps, actor, release_id, note)
            case ActionId.WATCH_ACKNOWLEDGE, AlarmPayload(alarm=alarm):
                return watch.acknowledge(tx, deps, actor, alarm, note)
        logger.warning("no flow for %s", click.action)
        raise StaleButton

    def _permalink(self, tx: Tx, release_id: ReleaseId) -> str:
        """The permalink of the card, which is the message that is signed."""
        card = posts.find(tx, release_id, CardPost())
        post = posts.get(tx, card) if card is not None else None
        return post.permalink if post else ""

    # --- answers

    def _refuse(
        self, row: InboxRow, sender: Sender, error: RefusedError | VendorError, answer: Rendered | None = None
    ) -> None:
        """Say why nothing was done (``answer``: in better words than the error's), and put it on record."""
        what = row.body.get("text", "") if row.kind == "command" else click_in(row)
        now, clean = self._deps.clock.now(), self._deps.clean
        kind = CommandRefused if row.kind == "command" else ClickRefused
        if isinstance(error, IdentityUnknown):
            logger.warning("cannot tell who %s is: %s", sender.user, error)
        with self._deps.store.transaction() as tx:
            shown = answer or answers.answer(clean(error.user_message), clean(error.hint))
            self._close(tx, row, sender, shown, f"refused: {type(error).__name__}")
            refused = kind(what=clean(str(what), 500), why=clean(error.user_message, 1000), reason=type(error).__name__)
            commit_change(tx, self._about(tx, row), refused, at=now, by=sender.user)

    def _about(self, tx: Tx, row: InboxRow) -> ReleaseId | None:
        """The release in whose record a refusal stands: that of the button, or the one under way; None: there is none."""
        if row.kind == "command":
            found = releases.active(tx, self._deps.environment)
        else:
            try:
                found = releases.get(tx, ReleaseId(self._read_click(row).payload.release))
            except StaleButton:
                found = None  # no button of ours
        return None if found is None else found.id

    def _finish(self, row: InboxRow, sender: Sender, answer: Rendered, outcome: str) -> None:
        with self._deps.store.transaction() as tx:
            self._close(tx, row, sender, answer, outcome)

    def _close(self, tx: Tx, row: InboxRow, sender: Sender, answer: Rendered, outcome: str) -> None:
        """Mark the delivery as handled and owe its sender the answer, in the transaction of the effect."""
        now = self._deps.clock.now()
        inbox.handled(tx, row.id, outcome, now)
        body = redact_values({"text": answer.text, "blocks": answer.blocks}, self._deps.clean)
        replies.put(tx, row.id, sender.user, sender.channel, sender.response_url, body, now)
