"""Answers that only the person sees who asked: status, history, plan and help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.actions import AttestAction, Notify
from bot.domain.gate import deploy_gate
from bot.domain.options import gravest_status
from bot.domain.release import ReleaseState
from bot.slack import grammar, text
from bot.slack.blocks import card, elements, limits
from bot.slack.cut import cut_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bot.domain.actions import StepSpec
    from bot.domain.checklist import Checklist
    from bot.domain.mitigation import Mitigation
    from bot.domain.release import Release
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.limits import Rendered

_LIST = 2_800


def answer(sentence: str, hint: str = "") -> Rendered:
    """What a flow or an error says, with what to do about it. Escaped here, but for mentions by id and line breaks."""
    words = text.sentence(text.short_digest(sentence), 2_000)
    if not text.clean(hint):
        return limits.message(words, [elements.section("answer", words)])
    advice = text.sentence(hint, 800)
    blocks = [elements.section("answer", words), elements.context("hint", advice)]
    return limits.message(f"{words} {advice}", blocks)


def status(view: ReleaseView | None, permalink: str = "") -> Rendered:
    """Where the release stands and what is missing; ``permalink`` is of its card. None: there is no release."""
    if view is None:
        words = f"No release is open. Type `{grammar.COMMAND} start v4.8.0` to begin one."
        return limits.message(words, [elements.section("status", words)])
    decision = deploy_gate(view)
    mark = text.STATE_MARKS[view.release.state]
    blocks = [
        elements.section("status", f":{mark}: {text.bold(text.name(view), 150)}: {text.state_words(view, text.moment)}")
    ]
    blocks += card.open_mitigation_blocks(view)
    if view.release.state is ReleaseState.OPEN:
        blocks.append(elements.section("gate", card.gate_text(view, decision)))
    lines = []
    for section in view.checklist.sections:
        mark = text.MARKS[gravest_status(view, section)]
        lines.append(f":{mark}: {text.outside(section.title, 100)} {text.progress(view, section)}")
    blocks.append(elements.context("progress", limits.join_lines(lines, limits.MAX_CONTEXT)))
    if permalink:
        blocks.append(elements.context("card", text.link(permalink, "Release card")))
    return limits.message(card.fallback(view, decision), blocks)


def history(releases: Sequence[Release], open_mitigations: Sequence[Mitigation]) -> Rendered:
    """The latest releases, the newest first, one line each; ``standing``: what of any of them is still to be put back."""
    if not releases:
        words = "There are no releases yet."
        return limits.message(words, [elements.section("history", words)])
    lines = [_past(one, [entry for entry in open_mitigations if entry.release_id == one.id]) for one in releases]
    newest = releases[0]
    words = f"{text.count(len(releases), 'release')}. Latest: {newest.version}, {newest.state}"
    if open_mitigations:
        words += (
            f". Still to be put back: {cut_plain(text.clean(', '.join(one.what for one in open_mitigations)), 300)}"
        )
    blocks = [elements.section("history", limits.join_lines(lines, _LIST))]
    return limits.message(text.escape(words), blocks)


def _past(release: Release, open_mitigations: Sequence[Mitigation]) -> str:
    mark = text.STATE_MARKS[release.state]
    when = text.moment(release.closed_at or release.started_at)
    line = f":{mark}: {text.bold(release.version, 40)} {release.state}, {when}, by {text.mention(release.manager)}"
    if text.clean(release.reason):
        line += f": {text.outside(release.reason, 120)}"
    for entry in open_mitigations:
        line += f". Open until {text.mention(entry.owner)} puts {text.outside(entry.what, 100)} back"
    return line


def plan(checklist: Checklist) -> Rendered:
    """The steps of the deploy and of the rollback, and who carries out each."""
    blocks = [
        elements.section("deploy", _steps("Deploy", checklist.deploy)),
        elements.section("rollback", _steps("Rollback", checklist.rollback)),
    ]
    words = f"Plan of {text.clean(checklist.title)}: {text.count(len(checklist.deploy), 'step')} to deploy, "
    words += f"{text.count(len(checklist.rollback), 'step')} to roll back"
    return limits.message(text.escape(cut_plain(words, 500)), blocks)


def _steps(title: str, specs: Sequence[StepSpec]) -> str:
    lines = []
    for number, spec in enumerate(specs, start=1):
        who = "by hand" if isinstance(spec.action, AttestAction) else "the bot"
        who = "the bot's message at the end" if isinstance(spec.action, Notify) else who
        lines.append(f"{number}. {text.outside(spec.title, 150)} ({who})")
    return f"*{title}*\n{limits.join_lines(lines, _LIST)}"


def usage(commands: Iterable[tuple[str, str]]) -> Rendered:
    """The answer to `/release help`: how each command is typed and what it does."""
    rows = list(commands)
    lines = [f"{text.code(f'{grammar.COMMAND} {usage_line}')} {summary}" for usage_line, summary in rows]
    words = "Commands: " + ", ".join(dict.fromkeys(usage_line.split()[0] for usage_line, _ in rows))
    blocks = [elements.section("help", limits.join_lines(lines, _LIST))]
    return limits.message(words, blocks)
