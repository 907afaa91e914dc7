"""The plan before anything happens: each step with every value now and after, what takes it back, and what nothing does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.actions import AttestAction, Notify, RunCheck
from bot.domain.plan import PlanKind, Way
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.cut import cut_plain
from bot.texts.plan import lasting_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.domain.plan import LastingChange, Mutation, PlannedStep
    from bot.slack.blocks.limits import Block, Rendered

_ROOM = 9_000  # characters for all steps that change something
_QUIET = 1_500  # and for those that do not, and for any other list
_VALUE = 140
_BY_HAND = "By hand: the bot doesn't know what these change, and a rollback leaves them in place"
MARKS = {
    Way.BACK: "leftwards_arrow_with_hook",
    Way.COMPATIBLE: "pushpin",
    Way.UNKNOWN: "grey_question",
    Way.FINAL: "warning",
}


def plan_message(name: str, steps: Sequence[PlannedStep], lasting_changes: Sequence[LastingChange] = ()) -> Rendered:
    """The plan of ``name``, a release with its product. ``left``: what a rollback would leave of what is done already."""
    deploy = [step for step in steps if step.plan is PlanKind.DEPLOY]
    changes = [change for step in deploy for change in step.changes]
    final = sum(change.way is Way.FINAL for change in changes)
    unknown = sum(bool(step.trouble) for step in deploy)
    words = f"Plan of {name}: {text.count(len(deploy), 'step')}, {text.count(len(changes), 'change')}"
    if final:
        words += f", {final} can't be undone"
    if unknown:
        words += f". The bot can't read what {text.count(unknown, 'step')} would change"
    blocks = [
        elements.section("plan", text.bold(words, 400)),
        *lasting_block("A rollback leaves in place", lasting_changes),
    ]
    loud = [(number, step) for number, step in enumerate(deploy, start=1) if step.changes or step.trouble]
    room = limits.share(_ROOM, min(len(loud), limits.MAX_BLOCKS - 8), at_least=200, at_most=2_000)
    blocks += [
        elements.section(f"step:{number}", _step(number, step, room), limit=room)
        for number, step in loud[: limits.MAX_BLOCKS - 8]
    ]
    rest = [(number, step) for number, step in enumerate(deploy, start=1) if not step.changes and not step.trouble]
    for block_id, title, by_hand in (("by_hand", _BY_HAND, True), ("quiet", "Changes nothing", False)):
        lines = [f"{n}. {_title(step)}{_who(step)}" for n, step in rest if _is_by_hand(step) is by_hand]
        blocks += _list(block_id, title, lines)
    rollback = [step for step in steps if step.plan is PlanKind.ROLLBACK]
    blocks += _list(
        "rollback", "A rollback", [f"{number}. {_title(step)}{_who(step)}" for number, step in enumerate(rollback, 1)]
    )
    if changes:
        blocks.append(elements.context("marks", _legend(changes)))
    return limits.message(text.escape(cut_plain(words, 500)), blocks)


def lasting_block(title: str, lasting_changes: Sequence[LastingChange], room: int = _QUIET) -> list[Block]:
    """What a rollback leaves as it is, as `bot.domain.plan.lasting` gives it, in ``room`` characters; nothing: no block."""
    lines = [
        f":{MARKS[change.way]}: {text.outside(change.what, _VALUE)}: {text.outside(lasting_text(change), 200)}"
        for change in lasting_changes
    ]
    return _list("lasting", title, lines, room)


def _list(block_id: str, title: str, lines: list[str], room: int = _QUIET) -> list[Block]:
    return [elements.section(block_id, f"*{title}*\n{limits.join_lines(lines, room)}")] if lines else []


def _title(step: PlannedStep) -> str:
    return text.outside(step.spec.title, 150)


def _is_by_hand(step: PlannedStep) -> bool:
    return isinstance(step.spec.action, AttestAction)


def _who(step: PlannedStep) -> str:
    if _is_by_hand(step):
        return " (by hand)"
    if isinstance(step.spec.action, Notify):
        return " (the bot's message at the end)"
    return " (checks)" if isinstance(step.spec.action, RunCheck) else ""


def _step(number: int, step: PlannedStep, room: int) -> str:
    lines = [f"{number}. {text.bold(step.spec.title, 160)}"]
    if step.trouble:
        lines.append(f":x: the bot can't read what it would change: {text.outside(step.trouble, 400)}")
    for change in step.changes:
        now = text.outside(text.short_digest(change.now), _VALUE) if change.now else "nothing"
        after = text.outside(text.short_digest(change.after), _VALUE)
        lines.append(f"{text.outside(change.what, _VALUE)}: {now} → *{after}*")
        lines.append(f":{MARKS[change.way]}: {text.outside(text.short_digest(change.back), 200)}")
    return limits.join_lines(lines, room)


def _legend(changes: Sequence[Mutation]) -> str:
    words = {
        Way.BACK: "a rollback undoes it",
        Way.COMPATIBLE: "stays, and does no harm",
        Way.UNKNOWN: "unknown: check by hand",
        Way.FINAL: "can't be undone",
    }
    ways = [way for way in Way if any(change.way is way for change in changes)]
    return "   ".join(f":{MARKS[way]}: {words[way]}" for way in ways)
