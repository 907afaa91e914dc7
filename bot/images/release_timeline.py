"""The timeline of a release: its checks, signatures, deploy, watch, close-out and rollback, as its rows have them."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from bot.domain.actions import Notify
from bot.domain.plan import PlanKind, StepState
from bot.domain.signoff import Purpose, Verdict
from bot.images.canvas import AMBER, BLUE, GREEN, GREY, PURPLE, RED
from bot.images.timeline import Group, Mark, Sign, Span, TimelineRow, timeline
from checks.contract import Outcome

if TYPE_CHECKING:
    from bot.domain.checklist import Phase, Section
    from bot.domain.plan import Step
    from bot.domain.view import ReleaseView

_OUTCOMES = {Outcome.PASS: GREEN, Outcome.FAIL: RED, Outcome.ERROR: AMBER, Outcome.INCONCLUSIVE: AMBER}
_LEGEND = (
    Sign(GREEN, "good"),
    Sign(RED, "failed, declined, alarm"),
    Sign(AMBER, "doubtful"),
    Sign(PURPLE, "waived, acknowledged"),
    Sign(GREY, "stopped"),
)
_STEPS = {StepState.DONE: GREEN, StepState.FAILED: RED, StepState.RUNNING: BLUE, StepState.CANCELLED: GREY}


def release_timeline(view: ReleaseView) -> bytes | None:
    """Return the picture as PNG; None for a release in which nothing has happened yet."""
    groups = [group for group in _groups(view) if any(row.moments for row in group.rows)]
    if not groups:
        return None
    release = view.release
    return timeline(f"{view.checklist.title} {release.version}", _subtitle(view), groups, _LEGEND)


def _subtitle(view: ReleaseView) -> str:
    release = view.release
    begin, end = release.started_at.astimezone(UTC), (release.closed_at or view.now).astimezone(UTC)
    day = "" if begin.date() == end.date() else f"{end:%Y-%m-%d} "
    state = str(release.state).lower().replace("_", " ")
    return f"{state[:1].upper()}{state[1:]}. {begin:%Y-%m-%d %H:%M} to {day}{end:%H:%M} UTC"


def _groups(view: ReleaseView) -> list[Group]:
    watch = Group("Watch", (_watch(view),)) if view.watch else None
    return [
        Group("Checks", _sections(view, "before")),
        Group("Sign-offs", _signoffs(view)),
        Group("Deploy", _steps(view, PlanKind.DEPLOY)),
        *([watch] if watch else []),
        Group("Close-out", _sections(view, "after")),
        Group("Rollback", _steps(view, PlanKind.ROLLBACK)),
    ]


def _sections(view: ReleaseView, phase: Phase) -> tuple[TimelineRow, ...]:
    rows = (_section(view, section) for section in view.checklist.sections if section.phase == phase)
    return tuple(row for row in rows if row.moments)


def _section(view: ReleaseView, section: Section) -> TimelineRow:
    """One row a section: a bar for each check that the bot ran, a mark for each that a person attested or waived."""
    spans, marks = [], []
    for check in section.checks:
        status = view.checks[check.same_as or check.id]
        if status.waiver is not None:
            marks.append(Mark(status.waiver.at, PURPLE))
        if status.result is not None and check.same_as is None:
            color = _OUTCOMES[status.result.outcome]
            if status.result.is_attested:
                marks.append(Mark(status.result.finished_at, color))
            else:
                spans.append(Span(status.result.started_at, status.result.finished_at, color))
    spans.sort(key=lambda span: span.end - span.begin, reverse=True)  # the short ones on top of the long ones
    results = [view.checks[check.same_as or check.id].result for check in section.checks]
    good = sum(result is not None and result.outcome is Outcome.PASS for result in results)
    return TimelineRow(section.title, tuple(spans), tuple(marks), f"{good} of {len(section.checks)} passed")


def _signoffs(view: ReleaseView) -> tuple[TimelineRow, ...]:
    rows = []
    for signoff in sorted(view.signoffs, key=lambda signoff: signoff.at):
        yes = signoff.verdict is Verdict.APPROVE
        what = "rollback" if signoff.purpose is Purpose.ROLLBACK else "deploy"
        words = f"{'approved' if yes else 'declined'} the {what}"
        rows.append(TimelineRow(signoff.role.title, marks=(Mark(signoff.at, GREEN if yes else RED),), words=words))
    return tuple(rows)


def _steps(view: ReleaseView, plan: PlanKind) -> tuple[TimelineRow, ...]:
    steps = sorted((step for step in view.steps if step.plan is plan), key=lambda step: step.ordinal)
    return tuple(_step(view, step) for step in steps if not _is_notice(view, step))


def _is_notice(view: ReleaseView, step: Step) -> bool:
    """Whether a step is the bot's own message: it takes no time, so it has no row."""
    spec = view.checklist.step(step.id)
    return spec is not None and isinstance(spec.action, Notify)


def _step(view: ReleaseView, step: Step) -> TimelineRow:
    spec = view.checklist.step(step.id)
    name = spec.title if spec else step.id
    end = step.finished_at or (view.now if step.state is StepState.RUNNING else None)
    if step.state is StepState.ATTESTED and end is not None:
        return TimelineRow(name, marks=(Mark(end, GREEN),), words="attested")
    words = {StepState.TO_ATTEST: "not attested", StepState.PENDING: "not begun"}.get(step.state, "")
    if step.started_at is None or end is None:
        return TimelineRow(name, words=words or str(step.state))
    took = "" if step.state is StepState.RUNNING else f" in {_took(end - step.started_at)}"
    return TimelineRow(name, (Span(step.started_at, end, _STEPS.get(step.state, GREY)),), words=f"{step.state}{took}")


def _watch(view: ReleaseView) -> TimelineRow:
    watch = view.watch
    if watch is None:
        return TimelineRow("Watch")
    end = min(view.release.closed_at or view.now, view.now)
    rollback_starts = [step.started_at for step in view.steps if step.plan is PlanKind.ROLLBACK and step.started_at]
    end = min([end, *rollback_starts])
    marks = [Mark(alarm.at, RED) for alarm in watch.alarms]
    marks += [Mark(alarm.acknowledged_at, PURPLE) for alarm in watch.alarms if alarm.acknowledged_at]
    alarms = f", {len(watch.alarms)} {'alarm' if len(watch.alarms) == 1 else 'alarms'}" if watch.alarms else ""
    color = AMBER if watch.alarms else GREEN
    span = Span(watch.started_at, max(end, watch.started_at), color)
    return TimelineRow(f"{watch.polls} polls", (span,), tuple(marks), f"{watch.state}{alarms}")


def _took(length: timedelta) -> str:
    seconds = round(length.total_seconds())
    if not seconds:
        return "under 1 s"
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"  # noqa: PLR2004  two minutes
