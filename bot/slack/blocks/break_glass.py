"""A break-glass: who deployed past the gate, why, past what, and the button of its review."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.break_glass import REVIEWED_IN
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.blocks.notices import unknown
from bot.slack.payloads import ReleasePayload

if TYPE_CHECKING:
    from bot.domain.posts import BreakGlassPost
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.elements import Element
    from bot.slack.blocks.limits import Rendered

_REASONS_LIMIT = 1_500


def render(_about: BreakGlassPost, view: ReleaseView) -> Rendered:
    """The break-glass of the release. It pages the channel: everybody has to know at once."""
    usage = view.break_glass
    if usage is None:
        return unknown(view, "The deploy went through the gate.")
    words = f"Break-glass: {text.mention(usage.by)} deploys {text.outside(text.name(view), 150)} past the gate"
    why = text.outside(usage.reason, 700)
    passed = limits.join_lines([f"• {text.outside(one.text, 200)}" for one in usage.overridden_reasons], _REASONS_LIMIT)
    if usage.reviewed_by is not None and usage.reviewed_at is not None:
        who = f"{text.mention(usage.reviewed_by)}, {text.moment(usage.reviewed_at)}"
        after = f":white_check_mark: Reviewed by {who}: {text.outside(usage.review_note, 700)}"
    else:
        after = ":mag: Someone else reviews it once the release is over."
    blocks = [
        elements.section("break_glass", f":rotating_light: <!channel> *{words}*\nWhy: {why}"),
        elements.section("passed", f"*Overridden*\n{passed}"),
        elements.section("review", after),
        *elements.actions("break_glass:buttons", buttons(view)),
    ]
    return limits.message(f"<!channel> {words}: {why}", blocks)


def buttons(view: ReleaseView) -> list[Element]:
    """The button of the review, while it can be pressed."""
    usage = view.break_glass
    if usage is None or usage.reviewed_by is not None or view.release.state not in REVIEWED_IN:
        return []
    payload = ReleasePayload(release=view.release.id)
    return [elements.button("break_glass.review", payload, "Review", style="primary")]
