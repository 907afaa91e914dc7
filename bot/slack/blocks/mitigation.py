"""A mitigation: what is changed for a while, who owns it, and the button that puts it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.mitigation import MitigationState
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.blocks.notices import unknown
from bot.slack.payloads import MitigationPayload, StepPayload

if TYPE_CHECKING:
    from bot.domain.mitigation import Mitigation
    from bot.domain.posts import MitigationPost
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.elements import Element
    from bot.slack.blocks.limits import Rendered

MARKS = {
    MitigationState.SETTING: "hourglass_flowing_sand",
    MitigationState.SET: "warning",
    MitigationState.LIFTING: "hourglass_flowing_sand",
    MitigationState.LIFTED: "white_check_mark",
}


def render(about: MitigationPost, view: ReleaseView) -> Rendered:
    """A mitigation, from its beginning to its end."""
    current = next((entry for entry in view.mitigations if entry.id == about.mitigation), None)
    if current is None:
        return unknown(view, "This mitigation isn't part of the release.")
    words = f"{text.outside(current.what, 200)} {text.IN_FORCE[current.state]} ({text.outside(text.name(view), 150)})"
    mark = "x" if current.is_stuck else MARKS[current.state]
    lines = [f":{mark}: {words}", f"Owner: {text.mention(current.owner)}. Why: {text.outside(current.reason, 500)}"]
    if current.is_stuck:
        lines.append(f"It is stuck: {text.outside(current.trouble, 500)}")
    elif current.progress:
        lines.append(text.outside(current.progress, 200))
    elif current.state is MitigationState.SET:
        lines.append(
            f"Next reminder: {text.moment(current.due_at)}. Until it is put back, nothing is deployed and the release stays open."
        )
    elif current.resolved_by is not None and current.resolved_at is not None:
        by_hand = f", by hand: {text.outside(current.note, 500)}" if current.note else "."
        lines.append(f"By {text.mention(current.resolved_by)}, {text.moment(current.resolved_at)}{by_hand}")
    blocks = [
        elements.section("mitigation", "\n".join(lines)),
        *elements.actions("mitigation:buttons", _buttons(view, current)),
    ]
    return limits.message(f"{words}. Owner: {text.mention(current.owner)}", blocks)


def _buttons(view: ReleaseView, entry: Mitigation) -> list[Element]:
    buttons = []
    if entry.is_stuck and entry.state is MitigationState.SETTING:
        payload = StepPayload(release=view.release.id, step=entry.step)
        buttons.append(elements.button("mitigation.apply", payload, "Try again"))
    if entry.is_open and (entry.is_stuck or entry.state is MitigationState.SET):
        resolve = MitigationPayload(release=view.release.id, mitigation=entry.id)
        buttons.append(elements.button("mitigation.resolve", resolve, "Put it back", style="primary"))
        if entry.is_stuck:
            buttons.append(elements.button("mitigation.attest", resolve, "Put back by hand"))
    return buttons
