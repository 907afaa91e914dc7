"""Modals: the form that asks for a reason or a note, and the one that only shows something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bot.errors import UnknownThing
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.grammar import MAX_REASON, MIN_REASON
from bot.slack.payloads import (
    REASON,
    AlarmPayload,
    CheckPayload,
    MitigationPayload,
    Payload,
    RolePayload,
    StepPayload,
)

if TYPE_CHECKING:
    from bot.domain.checklist import Check
    from bot.domain.ids import CheckId
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.limits import Block
    from bot.store.pool import Tx

P = TypeVar("P", bound=Payload)


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a modal that asks for a reason or note says. Title and submit: at most 24 characters."""

    title: str
    submit: str
    label: str
    effect: str  # what happens on submit
    required: bool = True
    warning: Callable[[Tx, ReleaseView], str] = lambda _tx, _view: ""  # in mrkdwn; what the view alone does not tell
    more: Callable[[ReleaseView], list[Block]] = lambda _view: []  # between the effect and the input

    def prepare(self, tx: Tx, _payload: Payload, view: ReleaseView) -> str:
        """Read the warning."""
        return self.warning(tx, view)

    def render(self, button_id: str, payload: Payload, view: ReleaseView, warning: str = "") -> dict[str, Any]:
        """The modal, whose submission reads as the button that opened it. Raises UnknownThing when its subject is gone."""
        words = "\n".join(part for part in (about(payload, view), self.effect, warning) if part)
        blocks = [elements.section("about", words), *self.more(view), self._input()]
        submit = elements.plain(self.submit, limits.MAX_MODAL_LABEL)
        return {**_modal(button_id, payload, self.title, "Cancel", blocks), "submit": submit}

    def _input(self) -> Block:
        element = {"type": "plain_text_input", "action_id": REASON, "multiline": True, "max_length": MAX_REASON}
        if self.required:
            element["min_length"] = MIN_REASON
        label = elements.plain(self.label, limits.MAX_INPUT_LABEL)
        return {"type": "input", "block_id": REASON, "optional": not self.required, "label": label, "element": element}


@dataclass(frozen=True, kw_only=True)
class Details(Generic[P]):
    """A modal that only shows something."""

    title: str
    blocks: Callable[[P, ReleaseView], list[Block]]
    share: Callable[[Tx, P, ReleaseView], None]  # enqueues what the modal has no room for

    def prepare(self, tx: Tx, payload: P, view: ReleaseView) -> str:
        """Enqueue what the modal has no room for."""
        self.share(tx, payload, view)
        return ""

    def render(self, button_id: str, payload: P, view: ReleaseView, _warning: str = "") -> dict[str, Any]:
        """The modal. Raises UnknownThing when its subject is gone."""
        return _modal(button_id, payload, self.title, "Close", self.blocks(payload, view))


def _modal(button_id: str, payload: Payload, title: str, close: str, blocks: list[Block]) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": button_id,
        "private_metadata": payload.dump(),
        "title": elements.plain(title, limits.MAX_MODAL_LABEL),
        "close": elements.plain(close, limits.MAX_MODAL_LABEL),
        "blocks": blocks[: limits.MAX_MODAL_BLOCKS],
    }


@singledispatch
def about(payload: Payload, view: ReleaseView) -> str:  # noqa: ARG001  the payloads below need it
    """What a form is about, in mrkdwn. Raises UnknownThing when that is gone."""
    return text.bold(text.name(view), 150)


@about.register(RolePayload)
def _about_role(payload: RolePayload, view: ReleaseView) -> str:
    return f"{text.bold(text.name(view), 150)}, as {payload.role.title}"


@about.register(CheckPayload)
def _about_check(payload: CheckPayload, view: ReleaseView) -> str:
    check = check_of(payload.check, view)
    result = text.outside(text.result_line(view, check), 500)
    return f"{text.bold(text.name(view), 150)}\n{text.bold(check.title, 200)}  {text.code(check.id)}\n{result}"


@about.register(StepPayload)
def _about_step(payload: StepPayload, view: ReleaseView) -> str:
    step = next((step for step in view.steps if step.row == payload.step), None)
    if step is None:
        raise UnknownThing("This step is no longer part of the release.")
    return f"{text.bold(text.name(view), 150)}\n{text.bold(text.step_title(view, step), 200)}"


@about.register(MitigationPayload)
def _about_mitigation(payload: MitigationPayload, view: ReleaseView) -> str:
    mitigation = next((entry for entry in view.mitigations if entry.id == payload.mitigation), None)
    if mitigation is None:
        raise UnknownThing("This mitigation is no longer part of the release.")
    return f"{text.bold(text.name(view), 150)}\n{text.mitigation_line(mitigation)}"


@about.register(AlarmPayload)
def _about_alarm(payload: AlarmPayload, view: ReleaseView) -> str:
    alarms = view.watch.alarms if view.watch is not None else ()
    alarm = next((alarm for alarm in alarms if alarm.id == payload.alarm), None)
    if alarm is None:
        raise UnknownThing("This alarm is no longer part of the release.")
    issue = text.link(alarm.permalink, alarm.short_id or alarm.issue)
    return f"{text.bold(text.name(view), 150)}\n{issue} {text.outside(alarm.title, 500)}"


def check_of(check_id: CheckId, view: ReleaseView) -> Check:
    """A check of the release's checklist. Raises UnknownThing."""
    check = view.checklist.check(check_id)
    if check is None:
        raise UnknownThing("This check isn't in the checklist of the release.")
    return check
