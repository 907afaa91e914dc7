"""The release card: the one message in the channel that says where a release stands and what may be done."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bot.domain.gate import deploy_gate, missing_approvals, non_blocking_failures, valid_approvals
from bot.domain.options import approvers, can_revoke, can_sign, gravest_status, status_of
from bot.domain.release import MAY_ROLL_BACK, ReleaseState
from bot.domain.results import CheckStatus
from bot.domain.signoff import Purpose, Verdict
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.payloads import ReleasePayload, RolePayload
from bot.texts.gate import count_failures, name_failures, reason_text

if TYPE_CHECKING:
    from bot.domain.checklist import Check
    from bot.domain.gate import Decision
    from bot.domain.policy import Role
    from bot.domain.posts import CardPost
    from bot.domain.signoff import SignOff
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.elements import Element
    from bot.slack.blocks.limits import Block, Rendered

# Shares of limits.MAX_MESSAGE_TEXT; with heading, names of fields, labels and the question they stay below it.
_FIELD = 330  # each of nine; only the two links come near it
_STATE = 700
_MITIGATIONS_LIMIT = 700
_TABLE = 2_800
_PROGRESS = 800
_SIGNOFF = 450  # each of three
_GATE = 1_400
_MAX_FAILURES = 3  # lines that hold nothing up and have not passed, named where a deploy is open
_TABLE_ROWS = 60  # of checks; with more a cell would be too short to say anything


def render(_about: CardPost, view: ReleaseView) -> Rendered:
    """The card: there is one a release."""
    decision = deploy_gate(view)
    is_open = view.release.state is ReleaseState.OPEN
    blocks = [
        elements.header("head", text.name(view)),
        elements.fields("release", _facts(view), limit=_FIELD),
        elements.section("state", _state(view), limit=_STATE),
        *open_mitigation_blocks(view),
        _go_no_go(view),
        *_progress(view),
        *(block for role in view.policy.roles for block in _signoff(view, role)),
    ]
    if is_open:
        blocks.append(elements.section("gate", gate_text(view, decision), limit=_GATE))
    blocks += elements.actions("release:buttons", _buttons(view, decision))
    return limits.message(fallback(view, decision), blocks)


def fallback(view: ReleaseView, decision: Decision) -> str:
    """The state as a notification shows it, escaped."""
    words = text.state_line(view)
    if view.release.state is not ReleaseState.OPEN:
        return words
    words += f". {_count_passes(view)}"
    if decision.lacks_only_approvals:
        return f"{words}. {_missing_people(view)}"
    words += f". {text.verdict(decision)}"
    reasons = "; ".join(map(reason_text, decision.reasons))
    if reasons:
        return f"{words}: {text.outside(reasons, 600)}"
    failures = name_failures(non_blocking_failures(view), _MAX_FAILURES)
    return f"{words}. {text.outside(failures, 600)}." if failures else f"{words}."


def _count_passes(view: ReleaseView) -> str:
    """How many of the checks that decide have passed, and how many are waived."""
    counted = Counter(status_of(view, check) for check in view.checklist.gate_checks)
    words = f"{counted[CheckStatus.PASSED]} of {text.count(counted.total(), 'check')} passed"
    return f"{words}, {counted[CheckStatus.WAIVED]} waived" if counted[CheckStatus.WAIVED] else words


def _facts(view: ReleaseView) -> list[tuple[str, str]]:
    release = view.release
    facts = [
        ("Version", text.code(release.version)),
        ("Date", text.day(release.started_at)),
        ("Release Manager", text.mention(release.manager)),
        ("Runbook", text.link(view.checklist.runbook, "Runbook", _FIELD - 20)),
        ("Release notes", text.link(release.notes_url, "Release notes", _FIELD - 20)),
        ("Commit", text.code(release.commit[:12])),
        ("Image", text.code(text.short_digest(release.pinned_image), _FIELD - 20)),
        ("Policy", text.code(release.policy_digest[:12])),
    ]
    if release.deployer is not None:
        facts.append(("Deployed by", text.mention(release.deployer)))
    return facts


def _state(view: ReleaseView) -> str:
    mark = text.STATE_MARKS[view.release.state]
    line = f":{mark}: *State*\n{text.state_words(view, text.moment)}"
    if view.release.state in {ReleaseState.DEPLOY_FAILED, ReleaseState.ROLLBACK_FAILED}:
        line += "\nRetry the step in the thread, or roll back."
    if view.break_glass is not None:
        reviewer = view.break_glass.reviewed_by
        review = f"reviewed by {text.mention(reviewer)}" if reviewer else "not reviewed yet"
        line += f"\n:rotating_light: Break-glass by {text.mention(view.break_glass.by)}, {review}"
    if view.freeze is not None:
        until = text.frozen_until(view.freeze)
        line += f"\n:snowflake: Deploys are frozen until {until}: {text.outside(view.freeze.reason, 120)}"
    return line


def open_mitigation_blocks(view: ReleaseView) -> list[Block]:
    """What keeps an ended release open, if anything does."""
    lines = [text.mitigation_line(entry) for entry in view.open_mitigations]
    return (
        [elements.section("standing", limits.join_lines(lines, _MITIGATIONS_LIMIT), limit=_MITIGATIONS_LIMIT)]
        if lines
        else []
    )


def _go_no_go(view: ReleaseView) -> Block:
    """The table. The result stands before what was expected, because a phone shows the first columns."""
    checks = view.checklist.gate_checks
    visible_checks = checks if len(checks) <= _TABLE_ROWS else checks[: _TABLE_ROWS - 1]
    room = limits.share(_TABLE - 100, len(visible_checks) + 1, at_least=30, at_most=240)
    rows = [[elements.cell(heading, 20) for heading in ("#", "Check", "Result", "Expected")]]
    rows += [_row(view, number, check, room) for number, check in enumerate(visible_checks, start=1)]
    if hidden_count := len(checks) - len(visible_checks):
        rest = f"… and {hidden_count} more, see the thread"
        rows.append([elements.cell(words, 40) for words in ("…", rest, "", "")])
    return elements.table("go_no_go", rows, wrapped=(False, True, True, True))


def _row(view: ReleaseView, number: int, check: Check, room: int) -> list[Element]:
    result = text.result_line(view, check)
    return [
        elements.cell(str(number), 4),
        elements.cell(text.clean(check.title), room * 3 // 10),
        elements.marked_cell(text.MARKS[status_of(view, check)], result, room * 4 // 10),
        elements.cell(text.clean(check.expected), room * 2 // 10),
    ]


def _progress(view: ReleaseView) -> list[Block]:
    """One line for each of the other sections: how far it is and what stands in its way."""
    lines = []
    for section in view.checklist.sections:
        if section.gate:
            continue
        mark = text.MARKS[gravest_status(view, section)]
        lines.append(f":{mark}: {text.outside(section.title, 80)} {text.progress(view, section)}")
    return [elements.context("progress", limits.join_lines(lines, _PROGRESS))] if lines else []


def _signoff(view: ReleaseView, role: Role) -> list[Block]:
    role_signoffs = [one for one in view.signoffs if one.role is role and one.purpose is Purpose.DEPLOY]
    needed_count = view.policy.min_approvals(role)
    need = "optional" if not needed_count else "required" if needed_count == 1 else f"{needed_count} people required"
    title = f"*{role.title}* ({need})"
    name = f"signoff:{role}"
    lines = [_signature(view, one) for one in role_signoffs] or [":white_circle: Not signed yet"]
    return [
        elements.section(name, limits.join_lines([title, *lines], _SIGNOFF), limit=_SIGNOFF),
        *elements.actions(f"{name}:buttons", _signoff_buttons(view, role)),
    ]


def _signature(view: ReleaseView, signoff: SignOff) -> str:
    who, at = text.mention(signoff.by), text.moment(signoff.at)
    if signoff.verdict is Verdict.DECLINE:
        return f":x: Declined by {who}, {at}: {text.outside(signoff.reason, 200)}"
    if view.release.state is ReleaseState.OPEN and signoff.fingerprint != view.fingerprint:
        return f":warning: Void: {who} approved it {at}, and it has changed since. Sign again."
    if view.release.state is ReleaseState.OPEN and signoff not in valid_approvals(view, signoff.role):
        return f":alarm_clock: Expired: {who} approved it {at}. Sign again."
    return f":white_check_mark: Approved by {who}, {at}"


def _signoff_buttons(view: ReleaseView, role: Role) -> list[Element]:
    payload = RolePayload(release=view.release.id, role=role)
    buttons = []
    if can_sign(view, role):
        buttons.append(elements.button("signoff.approve", payload, "Approve", style="primary"))
        buttons.append(elements.button("signoff.decline", payload, "Decline"))
    if can_revoke(view, role):
        buttons.append(elements.button("signoff.revoke", payload, "Revoke"))
    return buttons


def _missing_people(view: ReleaseView) -> str:
    """Whose approvals are missing, in a sentence; empty when none is."""
    roles = [
        role.title if number == 1 else f"{number} people of {role.title}" for role, number in missing_approvals(view)
    ]
    return f"Waiting for {' and '.join(roles)}." if roles else ""


def gate_text(view: ReleaseView, decision: Decision) -> str:
    """What the gate says now, with every reason by name."""
    if decision.lacks_only_approvals:
        return f":hourglass_flowing_sand: {_count_passes(view)}. {_missing_people(view)}"
    if not decision.is_open:
        lines = [f"• {text.outside(reason_text(reason), 200)}" for reason in decision.reasons]
        head = f":no_entry: *No-Go* for {text.count(len(lines), 'reason')}. {_missing_people(view)}".rstrip()
        return f"{head}\n{limits.join_lines(lines, _GATE - 160)}"
    words = ":large_green_circle: *Go*: ready to deploy."
    if failures := non_blocking_failures(view):
        words = f":large_yellow_circle: *Go*, but {count_failures(failures)}:"
        lines = [f"• {text.outside(reason_text(line), 200)}" for line in failures]
        if len(lines) > _MAX_FAILURES:
            lines = [*lines[:_MAX_FAILURES], f"• … and {len(lines) - _MAX_FAILURES} more, see the thread"]
        words += f"\n{limits.join_lines(lines, _GATE - 400)}"
    people = approvers(view)
    if view.policy.four_eyes and len(people) == 1:
        words += f"\n{text.mention(people.pop())} approved, so someone else must deploy."
    return words


def _buttons(view: ReleaseView, decision: Decision) -> list[Element]:
    payload, version = ReleasePayload(release=view.release.id), view.release.version
    buttons = []
    if decision.is_open:
        failures = text.clean(name_failures(non_blocking_failures(view), _MAX_FAILURES))
        question = elements.confirm(
            f"Deploy {version}?",
            f"Production will run {text.short_digest(view.release.pinned_image)}. {failures}".strip(),
            "Deploy",
            "Not now",
        )
        buttons.append(elements.button("release.deploy", payload, "Deploy", style="primary", confirm=question))
    if view.may_abort:
        buttons.append(elements.button("release.abort", payload, "Abort"))
    if view.release.state in MAY_ROLL_BACK:
        buttons.append(elements.button("release.rollback", payload, "Roll back", style="danger"))
    return buttons
