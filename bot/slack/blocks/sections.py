"""One message a section, in the thread of the card: each check with what was found and its buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.checklist import ATTEST_KIND
from bot.domain.gate import is_waivable
from bot.domain.release import ReleaseState
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

# A waiver stands in for a result that is there and not good, or for none; a pass that is too old is run again.
_WAIVABLE = {CheckStatus.FAILED, CheckStatus.ERROR, CheckStatus.INCONCLUSIVE, CheckStatus.MISSING}
_AFTER_OPEN = set(ReleaseState) - {ReleaseState.OPEN, ReleaseState.ABORTED, ReleaseState.ROLLED_BACK}
_UNDER_WAY = {CheckStatus.RUNNING, CheckStatus.WAITING}
_OPEN = {CheckStatus.INCONCLUSIVE, CheckStatus.EXPIRED, CheckStatus.FAILED, CheckStatus.ERROR}


def render(about: SectionPost, view: ReleaseView) -> Rendered:
    """The message of a section of the checklist."""
    section = view.checklist.section(about.section)
    if section is None:
        return unknown(view, "This section is not in the checklist of the release.")
    through, total = text.progress(view, section)
    with_buttons = _choose(view, section)
    room = limits.share(_CHECKS, len(with_buttons), at_least=250, at_most=1_200)
    heading = _heading(view, section, through, total)
    blocks = [elements.section("section", heading, limit=650, accessory=_button_for_all(view, section))]
    for check in with_buttons:
        blocks.append(elements.section(f"check:{check.id}", _check(view, check, room), limit=room))
        blocks += elements.actions(f"check:{check.id}:buttons", _buttons(view, section, check))
    rest = [check for check in section.checks if check not in with_buttons]
    if rest:
        blocks.append(elements.section("rest", _rest(view, rest), limit=_REST))
    return limits.message(_fallback(view, section, through, total), blocks)


def _choose(view: ReleaseView, section: Section) -> list[Check]:
    """The checks that get buttons, in the order of the checklist; where not all fit, those that need somebody first."""
    checks = list(section.checks)
    open_first = sorted(checks, key=lambda check: text.lets_through(view, check, text.status_of(view, check)))
    with_buttons = {check.id for check in open_first[:_WITH_BUTTONS]}
    return [check for check in checks if check.id in with_buttons]


def _button_for_all(view: ReleaseView, section: Section) -> Element | None:
    """Run all checks of the section again, or cancel those under way; none where nothing of it can run now."""
    ours = [check for check in section.checks if check.kind != ATTEST_KIND and view.due(check)]
    if not ours or section.phase != view.phase:
        return None
    payload = SectionPayload(release=view.release.id, section=section.id)
    if any(text.status_of(view, check) in _UNDER_WAY for check in ours):
        return elements.button("section.cancel", payload, "Cancel all")
    return elements.button("section.rerun", payload, "Run all")


def _heading(view: ReleaseView, section: Section, through: int, total: int) -> str:
    words = f"{text.bold(section.title, 150)} {through}/{total}"
    if section.gate:
        words += ", decides Go or No-Go"
    if section.blocks:
        words += ", blocks the deploy"
    if section.phase == "after":
        words += ", after the deploy"
    if section.runbook:
        words += f"\nRunbook: {text.runbook(view.checklist.runbook, section.runbook, 400)}"
    return words


def _fallback(view: ReleaseView, section: Section, through: int, total: int) -> str:
    words = f"{text.name(view)}: {text.clean(section.title)} {through}/{total}"
    blocking = []
    for check in section.checks:
        counts_as = text.status_of(view, check)
        if not text.lets_through(view, check, counts_as):
            blocking.append(f"{text.clean(check.title)} ({text.WORDS[counts_as]})")
    return text.escape(cut_plain(f"{words}. Open: {', '.join(blocking)}" if blocking else f"{words}.", 600))


def _check(view: ReleaseView, check: Check, room: int) -> str:
    """Mark, title and id on one line, below it what was found and when."""
    mark = text.MARKS[text.status_of(view, check)]
    head = f":{mark}: {text.bold(check.title, room * 4 // 10)}  {text.code(check.id, 60)}"
    if check.same_as is not None:
        head += f" = {text.code(check.same_as, 60)}"
    return f"{head}\n{_answer_words(view, check, room - len(head) - 1)}"


def _answer_words(view: ReleaseView, check: Check, room: int) -> str:
    counts_as, state = text.status_of(view, check), view.checks[check.id]
    if counts_as is CheckStatus.WAITING and not text.clean(state.progress):
        return cut_mrkdwn(_waiting_for(view, check), room)
    when = _when(view, check, state.result) if state.result is not None else ""
    if counts_as is CheckStatus.WAIVED and state.waiver is not None:
        when = f" · by {text.mention(state.waiver.by)}, {text.moment(state.waiver.at)}"
    if counts_as in _UNDER_WAY:
        when = ""
    line = f"{text.outside(text.result_line(view, check), max(room - len(when), 60))}{when}"
    hint = text.clean(state.result.hint) if state.result is not None and counts_as in _OPEN else ""
    if hint and len(line) + 60 < room:
        line += f"\n→ {text.outside(hint, room - len(line) - 3)}"
    return line


def _waiting_for(view: ReleaseView, check: Check) -> str:
    """Waiting for the checks it needs, by name, or for its turn."""
    needed_checks = [view.checklist.check(needs) for needs in check.needs]
    names = [one.title for one in needed_checks if one and text.status_of(view, one) is not CheckStatus.PASSED]
    return f"waiting for {text.outside(', '.join(names), 200)}" if names else "waiting for its turn"


def _when(view: ReleaseView, check: Check, result: Result) -> str:
    """When it was found, and for a pass until when that counts: times, not ages, as ages in a message grow wrong."""
    words = f" · {text.moment(result.finished_at)}"
    if result.outcome is Outcome.PASS:
        counts = "counted" if view.now > result.finished_at + check.max_age else "counts"
        words += f", {counts} until {text.moment(result.finished_at + check.max_age)}"
    return f"{words}, attested by {text.mention(result.by)}" if result.is_attested else words


def _buttons(view: ReleaseView, section: Section, check: Check) -> list[Element]:
    """Details always; the others where pressing them can have an effect."""
    payload = CheckPayload(release=view.release.id, check=check.canonical_id)
    counts_as, state = text.status_of(view, check), view.release.state
    runs_now = section.phase == view.phase and view.due(check)
    buttons = []
    if check.kind == ATTEST_KIND:
        if counts_as in _OPEN and (runs_now or (section.phase == "after" and state in _AFTER_OPEN)):
            buttons.append(elements.button("check.attest", payload, "Attest", style="primary"))
    elif runs_now and counts_as in _UNDER_WAY:
        buttons.append(elements.button("check.cancel", payload, "Cancel"))
    elif runs_now:
        label = "Run" if counts_as is CheckStatus.MISSING else "Run again"
        buttons.append(elements.button("check.rerun", payload, label))
    buttons.append(elements.button("check.details", payload, "Details"))
    if state is ReleaseState.OPEN and runs_now and is_waivable(view, check) and counts_as in _WAIVABLE:
        buttons.append(elements.button("check.waive", payload, "Waive"))
    return buttons


def _rest(view: ReleaseView, checks: list[Check]) -> str:
    """The checks for which there is no room, one line each."""
    lines = []
    for check in checks:
        mark = text.MARKS[text.status_of(view, check)]
        lines.append(f":{mark}: {text.outside(check.title, 100)}  {text.code(check.id, 60)}")
    head = "There is no room for buttons on the rest. `/release check ID` runs one again."
    return f"{head}\n{limits.join_lines(lines, _REST - len(head) - 1)}"
