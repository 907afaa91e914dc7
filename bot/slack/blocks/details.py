"""The details of a check: what was asked, expected and seen, when, by whom, and the attachment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.options import status_of
from bot.domain.results import EXCERPT
from bot.slack import text
from bot.slack.blocks import elements

if TYPE_CHECKING:
    from bot.domain.checklist import Check
    from bot.domain.results import Result
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.limits import Block


def details(check: Check, view: ReleaseView) -> list[Block]:
    """All that is known of a check, as the blocks of a modal."""
    state, mark = view.checks[check.id], text.MARKS[status_of(view, check)]
    line = text.outside(text.result_line(view, check), 1_000)
    head = f":{mark}: {text.bold(check.title, 300)}  {text.code(check.id)}\n{line}"
    blocks = [elements.section("check", head)]
    question = state.result.asked if state.result is not None else check.action
    expected = (state.result.expected if state.result is not None else "") or check.expected
    blocks.append(elements.section("asked", f"*Asked*\n{text.code_block(question, 2_000)}"))
    blocks.append(elements.section("expected", f"*Expected*\n{text.outside(expected, 1_500)}"))
    if state.result is not None:
        blocks += _result(state.result)
    if state.waiver is not None:
        who = f"{text.mention(state.waiver.by)}, {text.moment(state.waiver.at)}"
        blocks.append(elements.section("waiver", f"*Waived* by {who}\n{text.outside(state.waiver.reason, 1_500)}"))
    if text.clean(check.runbook):
        line = f"Runbook: {text.runbook(view.checklist.runbook, check.runbook, 600)}"
        blocks.append(elements.context("runbook", line))
    return blocks


def fits(result: Result) -> bool:
    """Whether the details show all of an attachment; where not, it belongs into a file."""
    return result.attachment_length == len(result.attachment) and len(text.escape(result.attachment)) <= EXCERPT


def _result(result: Result) -> list[Block]:
    blocks = [elements.section("seen", f"*Seen*\n{text.code_block(result.seen, 2_500)}")]
    if text.clean(result.hint):
        blocks.append(elements.section("hint", f"*What to do*\n{text.outside(result.hint, 1_500)}"))
    verb = "attested" if result.is_attested else "asked for"
    took = text.duration(result.finished_at - result.started_at)
    when = f"{text.moment(result.finished_at)}, took {took}, {verb} by {text.mention(result.by)}"
    blocks.append(elements.context("when", when))
    if result.attachment.strip():
        name = text.code(result.attachment_name or "attachment", 100)
        excerpt = text.code_block(result.attachment, EXCERPT + 8)
        blocks.append(elements.section("attachment", f"{name}\n{excerpt}"))
    if not fits(result):
        words = f"This is only the beginning. All {result.attachment_length:,} characters are in a file in the thread."
        blocks.append(elements.context("whole", words))
    return blocks
