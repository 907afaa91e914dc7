"""One message a section, in the thread of the card: each check with what was found and its buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.options import UNDER_WAY, UNSETTLED, CheckOption, check_options, is_settled, section_option, status_of
from bot.domain.results import CheckStatus
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.blocks.notices import unknown
from bot.slack.cut import cut_mrkdwn, cut_plain
from bot.slack.payloads import CheckPayload, SectionPayload
from checks.contract import Outcome

if TYPE_CHECKING:
    from bot.domain.checklist import Check, Section
    from bot.domain.posts import SectionPost
    from bot.domain.results import Result
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.elements import Element
    from bot.slack.blocks.limits import Rendered

_WITH_BUTTONS = (limits.MAX_BLOCKS - 2) // 2  # two blocks a check, besides the first and the last
_CHECKS = 7_600  # characters for all checks with buttons
_REST = 900


def render(about: SectionPost, view: ReleaseView) -> Rendered:
    """The message of a section of the checklist."""
    section = view.checklist.section(about.section)
    if section is None:
        return unknown(view, "This section isn't in the checklist of the release.")
    with_buttons = _choose(view, section)
    room = limits.share(_CHECKS, len(with_buttons), at_least=250, at_most=1_200)
    heading = _heading(view, section)
    blocks = [elements.section("section", heading, limit=650, accessory=_button_for_all(view, section))]
    for check in with_buttons:
        blocks.append(elements.section(f"check:{check.id}", _check(view, check, room), limit=room))
        blocks += elements.actions(f"check:{check.id}:buttons", _buttons(view, section, check))
    rest = [check for check in section.checks if check not in with_buttons]
    if rest:
        blocks.append(elements.section("rest", _rest(view, rest), limit=_REST))
    return limits.message(_fallback(view, section), blocks)


def _choose(view: ReleaseView, section: Section) -> list[Check]:
    """The checks that get buttons, in the order of the checklist; where not all fit, those that need somebody first."""
    checks = list(section.checks)
    unsettled_first = sorted(checks, key=lambda check: is_settled(view, check))
    chosen = {check.id for check in unsettled_first[:_WITH_BUTTONS]}
    return [check for check in checks if check.id in chosen]


def _button_for_all(view: ReleaseView, section: Section) -> Element | None:
    """Run all checks of the section again, or cancel those under way; none where nothing of it can run now."""
    payload, option = SectionPayload(release=view.release.id, section=section.id), section_option(view, section)
    if option is CheckOption.CANCEL:
        return elements.button("section.cancel", payload, "Cancel all")
    return elements.button("section.rerun", payload, "Run all") if option is CheckOption.RERUN else None


def _heading(view: ReleaseView, section: Section) -> str:
    words = f"{text.bold(section.title, 150)} {text.progress(view, section)}"
    if section.gate:
        words += ", decides Go or No-Go"
    if section.blocks:
        words += ", blocks the deploy"
    if section.phase == "after":
        words += ", after the deploy"
    if section.runbook:
        words += f"\nRunbook: {text.runbook(view.checklist.runbook, section.runbook, 400)}"
    return words


def _fallback(view: ReleaseView, section: Section) -> str:
    words = f"{text.name(view)}: {text.clean(section.title)} {text.progress(view, section)}"
    unsettled = [
        f"{text.clean(check.title)} ({text.WORDS[status_of(view, check)]})"
        for check in section.checks
        if not is_settled(view, check)
    ]
    return text.escape(cut_plain(f"{words}. Open: {', '.join(unsettled)}" if unsettled else f"{words}.", 600))


def _check(view: ReleaseView, check: Check, room: int) -> str:
    """Mark, title and id on one line, below it what was found and when."""
    mark = text.MARKS[status_of(view, check)]
    head = f":{mark}: {text.bold(check.title, room * 4 // 10)}  {text.code(check.id, 60)}"
    if check.same_as is not None:
        head += f" = {text.code(check.same_as, 60)}"
    return f"{head}\n{_result(view, check, room - len(head) - 1)}"


def _result(view: ReleaseView, check: Check, room: int) -> str:
    status, state = status_of(view, check), view.checks[check.id]
    if status is CheckStatus.WAITING and not text.clean(state.progress):
        return cut_mrkdwn(_waiting_for(view, check), room)
    when = _when(view, check, state.result) if state.result is not None else ""
    if status is CheckStatus.WAIVED and state.waiver is not None:
        when = f" · by {text.mention(state.waiver.by)}, {text.moment(state.waiver.at)}"
    if status in UNDER_WAY:
        when = ""
    line = f"{text.outside(text.result_line(view, check), max(room - len(when), 60))}{when}"
    hint = text.clean(state.result.hint) if state.result is not None and status in UNSETTLED else ""
    if hint and len(line) + 60 < room:
        line += f"\n→ {text.outside(hint, room - len(line) - 3)}"
    return line


def _waiting_for(view: ReleaseView, check: Check) -> str:
    """Waiting for the checks it needs, by name, or for its turn."""
    needed = [view.checklist.check(needs) for needs in check.needs]
    names = [one.title for one in needed if one and status_of(view, one) is not CheckStatus.PASSED]
    return f"waiting for {text.outside(', '.join(names), 200)}" if names else "waiting for its turn"


def _when(view: ReleaseView, check: Check, result: Result) -> str:
    """When it was found, and for a pass until when that counts: times, not ages, as ages in a message grow wrong."""
    words = f" · {text.moment(result.finished_at)}"
    if result.outcome is Outcome.PASS:
        expires_at = result.finished_at + check.max_age
        words += f", {'expired' if view.now > expires_at else 'valid until'} {text.moment(expires_at)}"
    return f"{words}, attested by {text.mention(result.by)}" if result.is_attested else words


def _buttons(view: ReleaseView, section: Section, check: Check) -> list[Element]:
    """Details always; the others where pressing them can have an effect."""
    payload, options = (
        CheckPayload(release=view.release.id, check=check.canonical_id),
        check_options(view, section, check),
    )
    buttons = []
    if CheckOption.ATTEST in options:
        buttons.append(elements.button("check.attest", payload, "Attest", style="primary"))
    if CheckOption.CANCEL in options:
        buttons.append(elements.button("check.cancel", payload, "Cancel"))
    if CheckOption.RERUN in options:
        label = "Run" if status_of(view, check) is CheckStatus.MISSING else "Run again"
        buttons.append(elements.button("check.rerun", payload, label))
    buttons.append(elements.button("check.details", payload, "Details"))
    if CheckOption.WAIVE in options:
        buttons.append(elements.button("check.waive", payload, "Waive"))
    return buttons


def _rest(view: ReleaseView, checks: list[Check]) -> str:
    """The checks for which there is no room, one line each."""
    lines = []
    for check in checks:
        mark = text.MARKS[status_of(view, check)]
        lines.append(f":{mark}: {text.outside(check.title, 100)}  {text.code(check.id, 60)}")
    head = "There is no room for buttons on the rest. `/release check ID` runs one again."
    return f"{head}\n{limits.join_lines(lines, _REST - len(head) - 1)}"
