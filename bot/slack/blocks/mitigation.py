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
    found = next((entry for entry in view.mitigations if entry.id == about.mitigation), None)
    if found is None:
        return unknown(view, "This mitigation isn't part of the release.")
    words = f"{text.outside(found.what, 200)} {text.IN_FORCE[found.state]} ({text.outside(text.name(view), 150)})"
    mark = "x" if found.is_stuck else MARKS[found.state]
    lines = [f":{mark}: {words}", f"Owner: {text.mention(found.owner)}. Why: {text.outside(found.reason, 500)}"]
    if found.is_stuck:
        lines.append(f"It is stuck: {text.outside(found.trouble, 500)}")
    elif found.progress:
        lines.append(text.outside(found.progress, 200))
    elif found.state is MitigationState.SET:
        lines.append(
            f"Next reminder: {text.moment(found.due_at)}. Until it is put back, nothing is deployed and the release stays open."
        )
    elif found.resolved_by is not None and found.resolved_at is not None:
        by_hand = f", by hand: {text.outside(found.note, 500)}" if found.note else "."
        lines.append(f"By {text.mention(found.resolved_by)}, {text.moment(found.resolved_at)}{by_hand}")
    blocks = [
        elements.section("mitigation", "\n".join(lines)),
        *elements.actions("mitigation:buttons", _buttons(view, found)),
    ]
    return limits.message(f"{words}. Owner: {text.mention(found.owner)}", blocks)


def _buttons(view: ReleaseView, found: Mitigation) -> list[Element]:
    buttons = []
    if found.is_stuck and found.state is MitigationState.SETTING:
        payload = StepPayload(release=view.release.id, step=found.step)
        buttons.append(elements.button("mitigation.apply", payload, "Try again"))
    if found.is_open and (found.is_stuck or found.state is MitigationState.SET):
        resolve = MitigationPayload(release=view.release.id, mitigation=found.id)
        buttons.append(elements.button("mitigation.resolve", resolve, "Put it back", style="primary"))
        if found.is_stuck:
            buttons.append(elements.button("mitigation.attest", resolve, "Put back by hand"))
    return buttons
