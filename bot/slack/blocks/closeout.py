"""The close-out: what was done, what was waived, what is still open, and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.options import gravest_status, is_settled, status_of
from bot.domain.plan import PlanKind, StepState
from bot.domain.results import CheckStatus
from bot.slack import text
from bot.slack.blocks import break_glass, elements, limits

if TYPE_CHECKING:
    from datetime import datetime

    from bot.domain.mitigation import Mitigation
    from bot.domain.plan import Step
    from bot.domain.posts import CloseoutPost
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.limits import Block, Rendered

_LIST = 1_800  # each of three


def render(_about: CloseoutPost, view: ReleaseView) -> Rendered:
    """The close-out of the release."""
    done_lines, waived_lines, still_open = _done_lines(view), _waived_lines(view), _still_open(view)
    blocks = [
        elements.section("closeout", f"{text.bold(f'Close-out of {text.name(view)}', 200)}\n{_durations(view)}"),
        *_list("done", "Done", done_lines),
        *_list("waived", "Waived", waived_lines),
        *_list("open", "Still open", still_open),
    ]
    blocks += elements.actions("closeout:buttons", break_glass.buttons(view))
    if picture := view.pictures.get(("timeline", view.release.state)):
        blocks.append(elements.picture("timeline", picture, f"Timeline of {text.name(view)}"))
    words = f"Close-out of {text.name(view)}: {view.release.state}, {len(waived_lines)} waived, "
    words += f"{len(still_open)} still open" if still_open else "nothing still open"
    return limits.message(text.escape(words), blocks)


def _list(block_id: str, title: str, lines: list[str]) -> list[Block]:
    return [elements.section(block_id, f"*{title}*\n{limits.join_lines(lines, _LIST)}")] if lines else []


def _done_lines(view: ReleaseView) -> list[str]:
    lines = []
    for section in view.checklist.sections:
        mark = text.MARKS[gravest_status(view, section)]
        lines.append(f":{mark}: {text.outside(section.title, 100)} {text.progress(view, section)}")
    broken = view.break_glass
    if broken is not None and broken.reviewed_by is not None:
        lines.append(f":white_check_mark: Break-glass reviewed by {text.mention(broken.reviewed_by)}")
    lines += [_put_back(entry) for entry in view.mitigations if not entry.is_open]
    for step in sorted(view.steps, key=lambda step: (step.plan, step.ordinal)):
        if step.state in {StepState.DONE, StepState.ATTESTED} and not step.is_unconfirmed:
            by = f", attested by {text.mention(step.by)}" if step.state is StepState.ATTESTED and step.by else ""
            lines.append(f":white_check_mark: {text.outside(text.step_title(view, step), 100)}{by}")
    return lines


def _put_back(entry: Mitigation) -> str:
    words = (
        f"{text.outside(entry.what, 150)}: since {text.moment(entry.begun_at)}, owned by {text.mention(entry.owner)}"
    )
    by = f" by {text.mention(entry.resolved_by)}" if entry.resolved_by is not None else ""
    at = f", {text.moment(entry.resolved_at)}" if entry.resolved_at is not None else ""
    by_hand = f", by hand: {text.outside(entry.note, 200)}" if entry.note else ""
    return f":white_check_mark: {words}; put back{by}{at}{by_hand}"


def _waived_lines(view: ReleaseView) -> list[str]:
    lines = []
    for check in view.checklist.distinct_checks:
        waiver = view.checks[check.id].waiver
        if waiver is not None and status_of(view, check) is not CheckStatus.PASSED:
            who = f"{text.mention(waiver.by)}, {text.moment(waiver.at)}"
            lines.append(f":fast_forward: {text.outside(check.title, 100)}: {text.outside(waiver.reason, 300)} ({who})")
    return lines


def _still_open(view: ReleaseView) -> list[str]:
    """Mitigations not put back, a break-glass without a review, steps not attested or not confirmed, later checks not passed."""
    open_lines = [text.mitigation_line(entry) for entry in view.open_mitigations]
    open_steps = [
        step
        for step in view.steps
        if step.is_unconfirmed or (step.state is StepState.TO_ATTEST and not view.is_optional(step))
    ]
    if view.break_glass is not None and view.break_glass.reviewed_by is None:
        who = text.mention(view.break_glass.by)
        open_lines.append(f":rotating_light: Break-glass by {who}: someone else still has to review it")
    lines = open_lines + [_open_step(view, step) for step in open_steps]
    for section in view.checklist.sections:
        for check in section.checks if section.phase == "after" else ():
            if check.same_as is not None:
                continue  # its original is on the list
            if not is_settled(view, check):
                status = status_of(view, check)
                lines.append(f":{text.MARKS[status]}: {text.outside(check.title, 150)}: {text.WORDS[status]}")
    return lines


def _open_step(view: ReleaseView, step: Step) -> str:
    title = text.outside(text.step_title(view, step), 150)
    if step.is_unconfirmed:
        by = text.mention(step.by) if step.by is not None else "somebody"
        return f":{text.UNCONFIRMED_MARK}: {title}: done by hand by {by}, {text.outside(step.summary, 300)}"
    if view.is_announcement(step):
        return f":hourglass_flowing_sand: {title}: {text.NOT_THERE}"
    return f":raised_hand: {title}: not attested yet"


def _durations(view: ReleaseView) -> str:
    """How long it took: to the deploy, the steps, the watch, and in all, as far as it came."""
    release = view.release
    starts = [step.started_at for step in view.steps if step.plan is PlanKind.DEPLOY and step.started_at is not None]
    started_at = min(starts, default=None)
    parts = [
        _between("from start to deploy", release.started_at, started_at),
        _between("for the deploy", started_at, release.deployed_at),
        _between("of watch", *((view.watch.started_at, view.watch.ends_at) if view.watch else (None, None))),
        _between("in all", release.started_at, release.closed_at),
    ]
    durations = ", ".join(part for part in parts if part)
    return f"Took {durations}." if durations else "Nothing was deployed."


def _between(what: str, begin: datetime | None, end: datetime | None) -> str:
    return f"{text.duration(end - begin)} {what}" if begin is not None and end is not None else ""
