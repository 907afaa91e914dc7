"""Modals: the details of a check, and the one form that asks for a reason or a note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.domain.plan import lasting
from bot.domain.results import EXCERPT
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.blocks.plan import lasting_block
from bot.slack.grammar import MAX_REASON, MIN_REASON
from bot.slack.ids import (
    REASON,
    ActionId,
    AlarmPayload,
    CheckPayload,
    MitigationPayload,
    Payload,
    RolePayload,
    StepPayload,
)

if TYPE_CHECKING:
    from bot.domain.checklist import Check
    from bot.domain.results import Result
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.limits import Block


class NothingToShowError(LookupError):
    """The row that a button is about is not in the view any more. The text is for the person."""


@dataclass(frozen=True)
class Form:
    """What a modal that asks for a reason or note says. Title and submit: at most 24 characters."""

    title: str
    submit: str
    label: str
    effect: str  # what happens on submit
    required: bool = True


FORMS: dict[ActionId, Form] = {
    ActionId.CHECK_WAIVE: Form(
        "Waive a check",
        "Waive",
        "Why may the release go without it?",
        "The check counts as let go for this release. Sign-offs given so far become void.",
    ),
    ActionId.CHECK_ATTEST: Form(
        "Attest a check",
        "Attest",
        "What did you look at, and what did you see?",
        "The check passes on your word, under your name.",
    ),
    ActionId.SIGNOFF_DECLINE: Form(
        "Decline",
        "Decline",
        "Why not?",
        "The gate stays closed until this is revoked.",
    ),
    ActionId.STEP_ATTEST: Form(
        "Attest a step",
        "Attest",
        "What was done, and how do you know?",
        "The step counts as done by you, not by the bot.",
    ),
    ActionId.MITIGATION_APPLY: Form(
        "Set it for a while",
        "Set it",
        "What is wrong?",
        "The pods start again with it. You own it and are reminded until it is put back. Nothing is deployed meanwhile.",
    ),
    ActionId.MITIGATION_ATTEST: Form(
        "Put back by hand",
        "Record it",
        "What was put back, and how do you know?",
        "It counts as put back by you, not by the bot. Deploys are no longer held by it.",
    ),
    ActionId.BREAK_GLASS_REVIEW: Form(
        "Review a break-glass",
        "Close the review",
        "Was it right, and what changes now?",
        "Recorded under your name. Whoever broke the glass cannot review it.",
    ),
    ActionId.WATCH_ACKNOWLEDGE: Form(
        "Acknowledge an alarm",
        "Acknowledge",
        "Why may the release stay?",
        "The alarm no longer holds up the end of the watch.",
    ),
    ActionId.WATCH_ROLLBACK: Form(
        "Roll back",
        "Roll back",
        "Why?",
        "Production goes back to what ran before the deploy.",
        required=False,
    ),
    ActionId.RELEASE_ROLLBACK: Form(
        "Roll back",
        "Roll back",
        "Why?",
        "Production goes back to what ran before the deploy.",
        required=False,
    ),
    ActionId.RELEASE_ABORT: Form(
        "Abort",
        "Abort",
        "Why?",
        "The release is closed. Nothing is deployed.",
        required=False,
    ),
}


def modal(action: ActionId, payload: Payload, view: ReleaseView, gives_way: str = "") -> dict[str, Any]:
    """The modal that ``action`` opens, for any action in ``ids.OPENS_MODAL``.

    ``gives_way``: the version of the OPEN release that a rollback of this one aborts.

    callback_id is the action id and private_metadata the payload, so that ``ids.parse`` reads the submission. The input
    has block_id and action_id ``reason``. Raises NothingToShowError when what the button is about is gone.
    """
    about = _about(payload, view)
    if action is ActionId.CHECK_DETAILS:
        return _view(action, payload, "Details", _details(_check(payload, view), view))
    form = FORMS[action]
    effect = form.effect
    left: list[Block] = []
    if action in {ActionId.WATCH_ROLLBACK, ActionId.RELEASE_ROLLBACK}:
        if gives_way:
            effect += (
                f"\n:warning: *{text.outside(gives_way, 100)} is open and will be aborted.* Nothing of it was deployed."
            )
        left = lasting_block("The rollback does not take back", lasting(view.steps, view.checklist.deploy))
    blocks = [elements.section("about", f"{about}\n{effect}"), *left, _input(form)]
    return {**_view(action, payload, form.title, blocks), "submit": elements.plain(form.submit, limits.MAX_MODAL_LABEL)}


def _view(action: ActionId, payload: Payload, title: str, blocks: list[Block]) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": action.value,
        "private_metadata": payload.dump(),
        "title": elements.plain(title, limits.MAX_MODAL_LABEL),
        "close": elements.plain("Close" if action is ActionId.CHECK_DETAILS else "Cancel", limits.MAX_MODAL_LABEL),
        "blocks": blocks[: limits.MAX_MODAL_BLOCKS],
    }


def _input(form: Form) -> Block:
    element: dict[str, Any] = {
        "type": "plain_text_input",
        "action_id": REASON,
        "multiline": True,
        "max_length": MAX_REASON,
    }
    if form.required:
        element["min_length"] = MIN_REASON
    label = elements.plain(form.label, limits.MAX_INPUT_LABEL)
    return {"type": "input", "block_id": REASON, "optional": not form.required, "label": label, "element": element}


def _about(payload: Payload, view: ReleaseView) -> str:
    """What the modal is about, in mrkdwn."""
    release = text.bold(text.name(view), 150)
    if isinstance(payload, CheckPayload):
        check = _check(payload, view)
        found = text.outside(text.result_line(view, check), 500)
        return f"{release}\n{text.bold(check.title, 200)}  {text.code(check.id)}\n{found}"
    if isinstance(payload, RolePayload):
        return f"{release}, as {payload.role.title}"
    if isinstance(payload, StepPayload):
        step = next((step for step in view.steps if step.row == payload.step), None)
        if step is None:
            raise NothingToShowError("This step is no longer part of the release.")
        return f"{release}\n{text.bold(text.step_title(view, step), 200)}"
    if isinstance(payload, MitigationPayload):
        owed = next((entry for entry in view.mitigations if entry.id == payload.mitigation), None)
        if owed is None:
            raise NothingToShowError("This mitigation is no longer known.")
        return f"{release}\n{text.standing_line(owed)}"
    if isinstance(payload, AlarmPayload):
        alarms = view.watch.alarms if view.watch is not None else ()
        alarm = next((alarm for alarm in alarms if alarm.id == payload.alarm), None)
        if alarm is None:
            raise NothingToShowError("This alarm is no longer known.")
        issue = text.link(alarm.permalink, alarm.short_id or alarm.issue)
        return f"{release}\n{issue} {text.outside(alarm.title, 500)}"
    return release


def _check(payload: Payload, view: ReleaseView) -> Check:
    check = view.checklist.check(payload.check) if isinstance(payload, CheckPayload) else None
    if check is None:
        raise NothingToShowError("This check is not in the checklist of the release.")
    return check


def _details(check: Check, view: ReleaseView) -> list[Block]:
    """All that is known of a check: what was asked, expected and seen, when, by whom, and the attachment."""
    known, mark = view.checks[check.id], text.MARKS[text.status_of(view, check)]
    found = text.outside(text.result_line(view, check), 1_000)
    head = f":{mark}: {text.bold(check.title, 300)}  {text.code(check.id)}\n{found}"
    blocks = [elements.section("check", head)]
    asked = known.result.asked if known.result is not None else check.action
    expected = (known.result.expected if known.result is not None else "") or check.expected
    blocks.append(elements.section("asked", f"*Asked*\n{text.code_block(asked, 2_000)}"))
    blocks.append(elements.section("expected", f"*Expected*\n{text.outside(expected, 1_500)}"))
    if known.result is not None:
        blocks += _seen(known.result)
    if known.waiver is not None:
        who = f"{text.mention(known.waiver.by)}, {text.moment(known.waiver.at)}"
        blocks.append(elements.section("waiver", f"*Waived* by {who}\n{text.outside(known.waiver.reason, 1_500)}"))
    if text.clean(check.runbook):
        blocks.append(
            elements.context("runbook", f"Runbook: {text.runbook(view.checklist.runbook, check.runbook, 600)}")
        )
    return blocks


def fits(result: Result) -> bool:
    """Whether the details show all of an attachment; where not, it belongs into a file."""
    return result.attachment_length == len(result.attachment) and len(text.escape(result.attachment)) <= EXCERPT


def _seen(result: Result) -> list[Block]:
    blocks = [elements.section("seen", f"*Seen*\n{text.code_block(result.seen, 2_500)}")]
    if text.clean(result.hint):
        blocks.append(elements.section("hint", f"*What to do*\n{text.outside(result.hint, 1_500)}"))
    verb = "attested" if result.attested else "asked for"
    took = text.duration(result.finished_at - result.started_at)
    when = f"{text.moment(result.finished_at)}, took {took}, {verb} by {text.mention(result.by)}"
    blocks.append(elements.context("when", when))
    if result.attachment.strip():
        name = text.code(result.attachment_name or "attachment", 100)
        shown = text.code_block(result.attachment, EXCERPT + 8)
        blocks.append(elements.section("attachment", f"{name}\n{shown}"))
    if not fits(result):
        words = (
            f"This is the beginning; all {result.attachment_length:,} characters are a file in the release's thread."
        )
        blocks.append(elements.context("whole", words))
    return blocks
