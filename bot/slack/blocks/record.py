"""The head of the record, told to the channel at the end of a release: small, and complete, so that it can be copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.slack import text
from bot.slack.blocks import elements, limits

if TYPE_CHECKING:
    from bot.domain.posts import RecordPost
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.limits import Rendered


def render(about: RecordPost, view: ReleaseView) -> Rendered:
    """The announcement of the head with which a release was closed."""
    # What has been: an announcement stays as it is when the release is opened again, and closed at a later row.
    words = f"The record of {text.outside(text.name(view), 150)} was closed at row {about.row}"
    line = f":lock: {words}: `{text.outside(about.head, 64)}`. Verify with `release-bot audit verify`."
    return limits.message(f"{words}.", [elements.context("record", line)])
