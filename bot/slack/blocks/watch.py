"""The watch after a deploy, and its alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.release import MAY_ROLL_BACK
from bot.domain.watch import Next, Seen, WatchState, after_poll
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.blocks.notices import unknown
from bot.slack.ids import ActionId, AlarmPayload, ReleasePayload

if TYPE_CHECKING:
    from bot.domain.view import ReleaseView
    from bot.domain.watch import Alarm, Watch
    from bot.slack.blocks.elements import Element
    from bot.slack.blocks.limits import Rendered

_SEEN_MARKS = {Seen.CLEAN: "white_check_mark", Seen.REGRESSED: "rotating_light", Seen.CANNOT_TELL: "warning"}
_SEEN_WORDS = {Seen.CLEAN: "clean", Seen.REGRESSED: "new errors", Seen.CANNOT_TELL: "could not tell"}
_BAR = 20  # characters
_ALARMS = 2_500


def render(_subject: str, view: ReleaseView) -> Rendered:
    """The one message of the watch, edited at each poll."""
    watch = view.watch
    if watch is None:
        return unknown(view, "The watch has not begun.")
    blocks = [
        elements.section("watch", f"{text.bold(f'Watch of {text.name(view)}', 200)}\n{_standing(view, watch)}"),
        elements.section("poll", _last_poll(watch)),
    ]
    if watch.alarms:
        lines = [_alarm_line(alarm) for alarm in watch.alarms]
        blocks.append(elements.section("alarms", limits.join_lines(lines, _ALARMS)))
    if watch.state is not WatchState.STOPPED:
        blocks += elements.actions("watch:buttons", _rollback(view))
    return limits.message(_fallback(view, watch), blocks)


def _standing(view: ReleaseView, watch: Watch) -> str:
    if watch.state is WatchState.STOPPED:
        return ":leftwards_arrow_with_hook: Stopped: the release is rolled back."
    if watch.state is WatchState.CLEAN:
        length = text.duration(watch.ends_at - watch.started_at)
        return f":white_check_mark: Over after {length}, no alarm is open."
    until = f"until {text.clock_time(watch.ends_at)}, {text.minutes_left(watch.remaining(view.now))}"
    return f":eyes: {until}{_overdue(view, watch)}\n`{bar(view, watch)}`"


def _overdue(view: ReleaseView, watch: Watch) -> str:
    """Why a watch whose time is over is still running."""
    following = after_poll(watch, view.now)
    if following is Next.WAIT_FOR_PEOPLE:
        return ": an alarm is open. Acknowledge it or roll back."
    if following is Next.EXTEND:
        return ", and it goes on until a poll can tell."
    return ""


def bar(view: ReleaseView, watch: Watch) -> str:
    """How much of the watch is over."""
    whole = (watch.ends_at - watch.started_at).total_seconds()
    over = 1 - watch.remaining(view.now).total_seconds() / whole if whole > 0 else 1.0
    share = min(1.0, max(0.0, over))
    full = int(share * _BAR)
    return f"{'▓' * full}{'░' * (_BAR - full)} {int(share * 100)} %"


def _last_poll(watch: Watch) -> str:
    polls = text.count(watch.polls, "poll")
    if watch.last is None or watch.last_poll_at is None:
        return f":white_circle: {polls}, no answer yet"
    said = f": {text.outside(watch.last_summary, 600)}" if text.clean(watch.last_summary) else ""
    line = f":{_SEEN_MARKS[watch.last]}: {polls}, the last at {text.clock_time(watch.last_poll_at)}: "
    line += f"{_SEEN_WORDS[watch.last]}{said}"
    if watch.last is Seen.CANNOT_TELL:
        since = text.clock_time(watch.clear_since) if watch.clear_since is not None else "never"
        line += f"\nLast poll that could tell: {since}"
    return line


def _alarm_line(alarm: Alarm) -> str:
    issue = f"{text.link(alarm.permalink, alarm.short_id or alarm.issue)} {text.outside(alarm.title, 200)}"
    if alarm.acknowledged_by is None:
        return f":rotating_light: {issue}: open"
    return f":ballot_box_with_check: {issue}: acknowledged by {text.mention(alarm.acknowledged_by)}"


def _rollback(view: ReleaseView) -> list[Element]:
    if view.release.state not in MAY_ROLL_BACK:
        return []
    payload = ReleasePayload(release=view.release.id)
    return [elements.button(ActionId.WATCH_ROLLBACK, payload, "Roll back", style="danger")]


def _fallback(view: ReleaseView, watch: Watch) -> str:
    head = f"Watch of {text.name(view)}"
    if watch.state is not WatchState.RUNNING:
        words = "over, no alarm is open" if watch.state is WatchState.CLEAN else "stopped, the release is rolled back"
        return text.escape(f"{head}: {words}")
    words = f"until {text.utc_time(watch.ends_at)}, {text.minutes_left(watch.remaining(view.now))}"
    last = f"last poll {_SEEN_WORDS[watch.last]}" if watch.last is not None else "no poll yet"
    return text.escape(f"{head}: {words}, {last}, {text.count(len(watch.open_alarms), 'open alarm')}")


def render_alarm(subject: str, view: ReleaseView) -> Rendered:
    """The message of the alarm with the id ``subject``, in the channel, where everybody sees it."""
    alarm = next((one for one in view.watch.alarms if str(one.id) == subject), None) if view.watch else None
    if alarm is None:
        return unknown(view, "This alarm is no longer known.")
    issue = text.clean(alarm.title)
    open_ = alarm.acknowledged_by is None
    kind = text.clean(alarm.kind) or "new"
    mark = "rotating_light" if open_ else "ballot_box_with_check"
    first = f"{'Alarm' if open_ else 'Acknowledged alarm'} after the deploy of {text.name(view)}"
    lines = [
        f":{mark}: *{text.link(alarm.permalink, alarm.short_id or alarm.issue)}* {text.outside(issue, 600)}",
        f"{text.outside(kind, 40)} error, seen {text.moment(alarm.at)}",
    ]
    blocks = [elements.header("alarm", first), elements.section("issue", "\n".join(lines))]
    if alarm.acknowledged_by is None:
        people = dict.fromkeys([view.release.deployer or view.release.manager, view.release.manager])
        call = " ".join(text.mention(user) for user in people)
        blocks.append(
            elements.section("call", f"{call}: roll back, or acknowledge it and say why the release may stay.")
        )
        acknowledge = AlarmPayload(release=view.release.id, alarm=alarm.id)
        buttons = [*_rollback(view), elements.button(ActionId.WATCH_ACKNOWLEDGE, acknowledge, "Acknowledge")]
        blocks += elements.actions("alarm:buttons", buttons)
    else:
        at = f", {text.moment(alarm.acknowledged_at)}" if alarm.acknowledged_at else ""
        who = f"Acknowledged by {text.mention(alarm.acknowledged_by)}{at}"
        note = f": {text.outside(alarm.note, 600)}" if text.clean(alarm.note) else ""
        blocks.append(elements.section("acknowledged", f"{who}{note}"))
    named = text.clean(alarm.short_id or alarm.issue)
    return limits.message(text.escape(f"{first}: {limits.cut_plain(f'{named} {issue}', 400)}"), blocks)
