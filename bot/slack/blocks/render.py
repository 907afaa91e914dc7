"""The one table from the kind of a Post to its renderer (promise P8: a message is a pure function of rows)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.slack.blocks import break_glass, card, closeout, mitigation, notices, record, sections, steps, watch
from bot.slack.blocks.limits import Rendered

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.domain.view import ReleaseView

__all__ = ["RENDERERS", "Rendered", "render"]

RENDERERS: dict[str, Callable[[str, ReleaseView], Rendered]] = {
    "card": card.render,
    "section": sections.render,  # subject: the id of the section
    "steps": steps.render,  # deploy or rollback
    "watch": watch.render,
    "alarm": watch.render_alarm,  # the id of the alarm
    "mitigation": mitigation.render,  # its id
    "break_glass": break_glass.render,
    "closeout": closeout.render,
    "record": record.render,  # ROW:HASH
    "reminder": notices.render_reminder,  # ROLE:USER:ROUND
    "notice": notices.render,  # its subjects: see there
}


def render(kind: str, subject: str, view: ReleaseView) -> Rendered:
    """The message of the Post ``kind`` and ``subject`` as it is to stand now. Raises KeyError for an unknown kind."""
    return RENDERERS[kind](subject, view)
