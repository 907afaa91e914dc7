"""The watch after a deploy, and its alarms."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from bot.domain.ids import SYSTEM
from bot.domain.plan import lasting_changes
from bot.domain.release import MAY_ROLL_BACK, ReleaseState
from bot.domain.watch import AlarmKind, Next, ProbeStatus, WatchState, after_poll, is_answered
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.blocks.notices import unknown
from bot.slack.blocks.plan import lasting_block
from bot.slack.cut import cut_plain
from bot.slack.payloads import AlarmPayload, ReleasePayload

if TYPE_CHECKING:
    from bot.domain.checklist import Probe
    from bot.domain.posts import AlarmPost, WatchPost
    from bot.domain.view import ReleaseView
    from bot.domain.watch import Alarm, Watch
    from bot.slack.blocks.elements import Element
    from bot.slack.blocks.limits import Rendered

_SEEN_MARKS = {
    ProbeStatus.CLEAN: "white_check_mark",
    ProbeStatus.REGRESSED: "rotating_light",
    ProbeStatus.CANNOT_TELL: "warning",
}
_SEEN_WORDS = {ProbeStatus.CLEAN: "clean", ProbeStatus.REGRESSED: "regressed", ProbeStatus.CANNOT_TELL: "no data"}
_ENDINGS = {
    WatchState.CLEAN: (":white_check_mark:", "clean, no alarm"),
    WatchState.ACCEPTED: (":ballot_box_with_check:", "every alarm was acknowledged"),
    WatchState.STOPPED: (":leftwards_arrow_with_hook:", "stopped, the release is rolled back"),
}
_KINDS = {
    AlarmKind.NEW: "New error",
    AlarmKind.REGRESSED: "Error that came back",
    AlarmKind.FAULT: "Fault",
    AlarmKind.SILENT: "No answer",
}
_BAR = 20  # characters
_ALARMS = 2_500
_PROBES = 4_000


def render(_about: WatchPost, view: ReleaseView) -> Rendered:
    """The one message of the watch, edited at each poll."""
    watch = view.watch
    if watch is None:
        return unknown(view, "The watch hasn't started.")
    blocks = [
        elements.section("watch", f"{text.bold(f'Watch of {text.name(view)}', 200)}\n{_state_words(view, watch)}")
    ]
    probes = view.checklist.watch.probes
    room = limits.share(_PROBES, len(probes), at_least=120, at_most=700)
    lines = [_probe_line(probe, watch, room) for probe in probes]
    blocks.append(elements.section("probes", limits.join_lines(lines, limits.MAX_SECTION)))
    if watch.alarms:
        lines = [_alarm_line(watch, alarm) for alarm in watch.alarms]
        blocks.append(elements.section("alarms", f"*Alarms*\n{limits.join_lines(lines, _ALARMS)}"))
    if watch.state is not WatchState.STOPPED:
        blocks += elements.actions("watch:buttons", _rollback(view))
    return limits.message(_fallback(view, watch), blocks)


def _state_words(view: ReleaseView, watch: Watch) -> str:
    if watch.state in _ENDINGS:
        mark, words = _ENDINGS[watch.state]
        length = (
            "" if watch.state is WatchState.STOPPED else f" after {text.duration(watch.ends_at - watch.started_at)}"
        )
        return f"{mark} Over{length}: {words}."
    mark = "hourglass_flowing_sand" if watch.verdict is None else _SEEN_MARKS[watch.verdict]
    verdict = "no answer yet" if watch.verdict is None else _SEEN_WORDS[watch.verdict]
    until = f"until {text.clock_time(watch.ends_at)}, {text.minutes_left(watch.remaining(view.now))}"
    poll_words = "" if watch.last_poll_at is None else f", asked {text.clock_time(watch.last_poll_at)}"
    return f":{mark}: *{verdict}*{poll_words}\n:eyes: {until}{_overdue(view, watch)}\n`{bar(view, watch)}`"


def _overdue(view: ReleaseView, watch: Watch) -> str:
    """Why a watch whose time is over is still running."""
    following = after_poll(watch, view.now, timedelta(0))
    if following is Next.WAIT_FOR_PEOPLE:
        return ": an alarm is open. Acknowledge it, or roll back."
    if following is Next.EXTEND and watch.verdict is not ProbeStatus.CLEAN:
        return ", extended until every probe has data."
    return "" if following is Next.CONTINUE else ", waiting for the last events."


def bar(view: ReleaseView, watch: Watch) -> str:
    """How much of the watch is over."""
    whole = (watch.ends_at - watch.started_at).total_seconds()
    over = 1 - watch.remaining(view.now).total_seconds() / whole if whole > 0 else 1.0
    share = min(1.0, max(0.0, over))
    full = int(share * _BAR)
    return f"{'▓' * full}{'░' * (_BAR - full)} {int(share * 100)} %"


def _probe_line(probe: Probe, watch: Watch, limit: int) -> str:
    title = text.outside(probe.title, 150)
    reading = watch.reading(probe.id)
    if reading is None:
        return f":white_circle: *{title}*: no reading yet"
    probe_summary = text.outside(reading.summary, limit)
    if reading.status is not ProbeStatus.CLEAN and is_answered(reading, watch.alarms):
        return f":ballot_box_with_check: *{title}*: acknowledged: {probe_summary}"
    line = f":{_SEEN_MARKS[reading.status]}: *{title}*: {probe_summary}"
    if reading.status is ProbeStatus.CANNOT_TELL:
        line += f" (last data: {text.clock_time(reading.last_answer_at) if reading.last_answer_at else 'never'}"
        line += f"; asked to wait until {text.clock_time(reading.wait_until)})" if reading.wait_until else ")"
    return line


def _alarm_line(watch: Watch, alarm: Alarm) -> str:
    issue = f"{text.link(alarm.permalink, alarm.short_id or alarm.issue)} {text.outside(alarm.title, 200)}"
    if alarm.acknowledged_by is None:
        return f":rotating_light: {issue}: {'not answered' if watch.state in _ENDINGS else 'open'}"
    by = text.mention(alarm.acknowledged_by)
    ending = "recovered" if alarm.acknowledged_by == SYSTEM else f"acknowledged by {by}"
    return f":ballot_box_with_check: {issue}: {ending}"


def _rollback(view: ReleaseView) -> list[Element]:
    if view.release.state not in MAY_ROLL_BACK:
        return []
    payload = ReleasePayload(release=view.release.id)
    return [elements.button("watch.rollback", payload, "Roll back", style="danger")]


def _fallback(view: ReleaseView, watch: Watch) -> str:
    head = f"Watch of {text.name(view)}"
    if watch.state in _ENDINGS:
        return text.escape(f"{head}: over, {_ENDINGS[watch.state][1]}")
    words = f"until {text.utc_time(watch.ends_at)}, {text.minutes_left(watch.remaining(view.now))}"
    verdict = "no answer yet" if watch.verdict is None else _SEEN_WORDS[watch.verdict]
    return text.escape(f"{head}: {verdict}, {words}, {text.count(len(watch.open_alarms), 'open alarm')}")


def render_alarm(about: AlarmPost, view: ReleaseView) -> Rendered:
    """The message of an alarm, in the channel, where everybody sees it."""
    alarm = next((one for one in view.watch.alarms if one.id == about.alarm), None) if view.watch else None
    if alarm is None:
        return unknown(view, "This alarm is no longer part of the release.")
    issue = text.clean(alarm.title)
    open_ = alarm.acknowledged_by is None
    kind = _KINDS.get(AlarmKind(alarm.kind), "Fault") if alarm.kind in set(AlarmKind) else text.outside(alarm.kind, 40)
    mark = "rotating_light" if open_ else "ballot_box_with_check"
    first = f"{'Alarm' if open_ else 'Acknowledged alarm'} after the deploy of {text.name(view)}"
    lines = [
        f":{mark}: *{text.link(alarm.permalink, alarm.short_id or alarm.issue)}* {text.outside(issue, 600)}",
        f"{kind}, seen {text.moment(alarm.at)}",
    ]
    blocks = [elements.header("alarm", first), elements.section("issue", "\n".join(lines))]
    if plot := view.pictures.get(("rate", str(about.alarm))):
        blocks.append(
            elements.picture("rate", plot, f"Errors a minute before and after the deploy of {text.name(view)}")
        )
    if open_ and view.release.state is not ReleaseState.WATCHING:
        ending = f"Nobody acknowledged it during the watch ({view.release.state})."
        blocks.append(elements.section("call", ending))
    elif open_:
        people = dict.fromkeys([view.release.deployer or view.release.manager, view.release.manager])
        call = " ".join(text.mention(user) for user in people)
        blocks.append(elements.section("call", f"{call}: {_WAYS_ON[alarm.kind == AlarmKind.SILENT]}"))
        acknowledge = AlarmPayload(release=view.release.id, alarm=alarm.id)
        if view.release.state in MAY_ROLL_BACK:
            left = lasting_changes(view.steps, view.checklist.deploy)
            blocks += lasting_block("A rollback leaves in place", left)
        buttons = [*_rollback(view), elements.button("watch.acknowledge", acknowledge, "Acknowledge")]
        blocks += elements.actions("alarm:buttons", buttons)
    else:
        blocks.append(elements.section("acknowledged", _acknowledgement(alarm)))
    alarm_name = text.clean(alarm.short_id or alarm.issue)
    return limits.message(text.escape(f"{first}: {cut_plain(f'{alarm_name} {issue}', 400)}"), blocks)


_WAYS_ON = {
    False: "roll back, or acknowledge it with the reason why the release may stay.",
    True: "check by hand, then acknowledge with a note, or roll back. Clears itself when the probe recovers.",
}


def _acknowledgement(alarm: Alarm) -> str:
    at = f", {text.moment(alarm.acknowledged_at)}" if alarm.acknowledged_at else ""
    note = text.outside(alarm.note, 600) if text.clean(alarm.note) else ""
    if alarm.acknowledged_by == SYSTEM:
        return f"Resolved{at}: {note}"
    who = f"Acknowledged by {text.mention(alarm.acknowledged_by or SYSTEM)}{at}"
    return f"{who}: {note}" if note else who
