"""What the doctor found, as an answer to the person who asked: first what is to be put right, with how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.slack import text
from bot.slack.blocks import elements, limits
from checks.checkup.finding import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.flows.configuration_needs import PartFinding
    from bot.slack.blocks.limits import Block, Rendered

_MAX_FINDINGS = (
    10  # things to be put right, of which each has a paragraph: what is refused before what is not configured
)
_GOOD = 2_000  # characters of all that works
_MAX_LINES = 6  # lines of the checklist that one of them names
_MARKS = {State.OK: "white_check_mark", State.NOTE: "information_source"}


def findings(parts: Sequence[PartFinding]) -> Rendered:
    """Every finding; what to add somewhere stands ready to be copied."""
    bad = sorted((one for one in parts if not one.finding.good), key=lambda one: one.finding.state is State.UNSET)
    words = f"Needs attention: {len(bad)} of {len(parts)}." if bad else "Everything this checklist needs works."
    room = limits.share(7_000, min(len(bad), _MAX_FINDINGS), at_least=600, at_most=1_200)
    blocks = [elements.section("doctor", words)]
    blocks += [_bad(f"bad:{number}", one, room) for number, one in enumerate(bad[:_MAX_FINDINGS])]
    if len(bad) > _MAX_FINDINGS:
        rest = f"… and {text.count(len(bad) - _MAX_FINDINGS, 'thing')} more: `release-bot doctor` lists them all."
        blocks.append(elements.context("more", rest))
    good = [f":{_MARKS[one.finding.state]}: {_words(one, 250)}" for one in parts if one.finding.good]
    if good:
        blocks.append(elements.section("good", limits.join_lines(good, _GOOD)))
    return limits.message(f"{words} {', '.join(dict.fromkeys(_part(one) for one in bad))}".rstrip(), blocks)


def _part(one: PartFinding) -> str:
    return text.outside(one.part, 60)


def _words(one: PartFinding, room: int) -> str:
    hint = f" {text.outside(one.finding.hint, room)}" if one.finding.hint else ""
    return f"*{_part(one)}*: {text.outside(one.finding.what, room)}.{hint}"


def _bad(block_id: str, one: PartFinding, room: int) -> Block:
    finding = one.finding
    lines = [f":x: {_words(one, room // 4)}"]  # what and hint, who needs it, what to copy: four of about a size
    if finding.lines:
        more = f" and {len(finding.lines) - _MAX_LINES} more" if len(finding.lines) > _MAX_LINES else ""
        lines.append(f"Needed by {text.outside(', '.join(finding.lines[:_MAX_LINES]), room // 4)}{more}.")
    if finding.rule:
        lines.append(text.code_block(finding.rule, room // 4))
    return elements.section(block_id, "\n".join(lines))
