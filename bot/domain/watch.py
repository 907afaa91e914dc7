"""Watch: the minutes after a deploy. Rows and answers in, readings, alarms and the verdict out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from bot.domain.ids import SYSTEM
from checks.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from bot.domain.checklist import Probe
    from bot.domain.ids import UserId
    from checks.outcome import Answer

MOST_ALARMS = 5  # new ones of one probe in one poll; more than that become a single alarm that stands for all of them
MOST_OF_ID = 200  # characters of a vendor's id that count; it becomes part of a key of the database
CLOCK_NOISE = timedelta(seconds=5)  # a difference between two clocks that means nothing


class WatchState(StrEnum):
    """Where the Watch stands."""

    RUNNING = "running"
    CLEAN = "clean"
    ACCEPTED = "accepted"  # it ended, and people have acknowledged what it had found
    STOPPED = "stopped"  # the release is rolled back


class ProbeStatus(StrEnum):
    """What one poll of one probe found out, and the verdict over all. Cannot tell is never clean (promise P2)."""

    CLEAN = "clean"
    REGRESSED = "regressed"
    CANNOT_TELL = "cannot tell"


class AlarmKind(StrEnum):
    """What an alarm is about."""

    NEW = "new"  # an issue that was not there before
    REGRESSED = "regressed"  # one that was resolved and came back
    FAULT = "fault"  # something is as it must not be, as long as it is so
    SILENT = "silent"  # a probe cannot tell, for so long that a person has to say what now


@dataclass(frozen=True)
class WatchTimes:
    """How the Watch goes about it (configuration)."""

    length: timedelta
    interval: timedelta  # between two polls
    settle_time: timedelta  # after the end: events arrive late, and the last minute must be counted to its end
    no_answer_limit: timedelta  # how long a probe may be unable to tell before people are asked

    @property
    def longest_gap(self) -> timedelta:
        """The longest time between two polls that counts as watched although no process can say that it passed."""
        return self.interval + self.settle_time


@dataclass(frozen=True)
class ProbeFinding:
    """What a probe blames on the release: it becomes an alarm, once."""

    key: str
    short_id: str
    title: str
    permalink: str
    kind: AlarmKind
    covers: tuple[str, ...]  # the keys that it stands for, its own among them
    events: tuple[ProbeFinding, ...] = ()  # that it stands for, where they are too many for an alarm each


@dataclass(frozen=True)
class Alarm:
    """A finding that people were alarmed about."""

    id: int
    issue: str  # the key of the finding
    short_id: str
    title: str
    permalink: str
    kind: str
    at: datetime
    acknowledged_by: UserId | None = None
    acknowledged_at: datetime | None = None
    note: str = ""
    probe: str = ""
    covers: tuple[str, ...] = ()
    series: Mapping[str, Any] | None = None  # the error rate as it was known then, see checks/kinds/sentry_rate.py


@dataclass(frozen=True)
class Reading:
    """What a probe of the Watch said last."""

    probe: str
    status: ProbeStatus
    summary: str
    asked_at: datetime
    last_answer_at: datetime | None  # when it could last tell
    spell: int = 0  # how often it has ceased to be clean: what is acknowledged holds for one spell
    strikes: int = 0  # polls that found fault since it was last clean
    blames: tuple[str, ...] = ()  # keys of what it says now; nothing for a clean one
    wait_until: datetime | None = None  # the vendor asked not to be asked before
    series: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Watch:
    """The Watch of one Release."""

    state: WatchState
    started_at: datetime
    ends_at: datetime
    polls: int
    last_poll_at: datetime | None
    readings: Sequence[Reading] = ()  # one a probe
    alarms: Sequence[Alarm] = ()

    @property
    def open_alarms(self) -> tuple[Alarm, ...]:
        """Alarms that nobody has acknowledged."""
        return tuple(alarm for alarm in self.alarms if alarm.acknowledged_by is None)

    @property
    def verdict(self) -> ProbeStatus | None:
        """The worst status of what nobody has acknowledged: regressed, cannot tell, clean; None before the first poll.

        What people have acknowledged no longer counts; an alarm that is open counts even when its cause is gone.
        """
        if not self.readings:
            return None
        open_statuses = {reading.status for reading in self.readings if not is_answered(reading, self.alarms)}
        if ProbeStatus.REGRESSED in open_statuses or any(alarm.kind != AlarmKind.SILENT for alarm in self.open_alarms):
            return ProbeStatus.REGRESSED
        return ProbeStatus.CANNOT_TELL if open_statuses or self.open_alarms else ProbeStatus.CLEAN

    def reading(self, probe: str) -> Reading | None:
        """Return the latest reading of a probe, or None."""
        return next((reading for reading in self.readings if reading.probe == probe), None)

    def remaining(self, now: datetime) -> timedelta:
        """Time left, never negative."""
        return max(timedelta(0), self.ends_at - now)


def is_answered(reading: Reading, alarms: Collection[Alarm]) -> bool:
    """Return whether a reading lets the watch end: it is clean, or people have acknowledged all its findings."""
    acknowledged_keys = {key for alarm in alarms if alarm.acknowledged_by is not None for key in alarm.covers}
    return reading.status is ProbeStatus.CLEAN or (
        bool(reading.blames) and acknowledged_keys.issuperset(reading.blames)
    )


def judge(
    probe: Probe, before: Reading | None, answer: Answer, at: datetime
) -> tuple[Reading, tuple[ProbeFinding, ...]]:
    """Turn the answer of one poll, asked ``at``, into a reading and what it blames on the release.

    PASS is clean, FAIL is regressed once the probe has said so ``probe.confirm_polls`` times since it was last clean, and
    everything else cannot tell, a FAIL that is not yet confirmed among it.
    """
    is_failure, is_certain = answer.outcome is Outcome.FAIL, answer.outcome in {Outcome.PASS, Outcome.FAIL}
    strikes = 0 if answer.outcome is Outcome.PASS else (before.strikes if before else 0) + is_failure
    if answer.outcome is Outcome.PASS:
        status = ProbeStatus.CLEAN
    else:
        status = ProbeStatus.REGRESSED if is_failure and strikes >= probe.confirm_polls else ProbeStatus.CANNOT_TELL
    is_new_spell = status is not ProbeStatus.CLEAN and (before is None or before.status is ProbeStatus.CLEAN)
    reading = Reading(
        probe=probe.id,
        status=status,
        summary=answer.summary,
        asked_at=at,
        last_answer_at=at if is_certain else before.last_answer_at if before else None,
        spell=(before.spell if before else 0) + is_new_spell,
        strikes=strikes,
        wait_until=None if answer.retry_after is None else at + timedelta(seconds=answer.retry_after),
        series=answer.data.get("series") or (before.series if before else None),
    )
    findings = _findings(probe, reading, answer) if status is ProbeStatus.REGRESSED else ()
    finding_keys = tuple(finding.key for finding in findings)
    return replace(
        reading, blames=finding_keys or ((_silent_key(reading),) if status is ProbeStatus.CANNOT_TELL else ())
    ), findings


def _findings(probe: Probe, reading: Reading, answer: Answer) -> tuple[ProbeFinding, ...]:
    """Return a finding for each event that the answer lists, such as a new issue; else one for the condition as a whole."""
    items = answer.data.get("findings")
    # A plugin need not be type-checked: what is no list of events is a condition like any other.
    if isinstance(items, (list, tuple)) and items and all(isinstance(item, dict) and item.get("id") for item in items):
        return tuple(_event(probe, item) for item in items)
    key = f"{probe.id}:spell {reading.spell}"
    if episode := answer.data.get("episode"):
        key += f"#{episode}"
    link = str(answer.data.get("permalink") or "")
    return (ProbeFinding(key, probe.title, answer.summary, link, AlarmKind.FAULT, (key,)),)


def _event(probe: Probe, item: Mapping[str, Any]) -> ProbeFinding:
    key = f"{probe.id}:{str(item['id'])[:MOST_OF_ID]}"
    return ProbeFinding(
        key=key,
        short_id=str(item.get("shortId") or item["id"]),
        title=str(item.get("title") or "untitled"),
        permalink=str(item.get("permalink") or ""),
        kind=AlarmKind.REGRESSED if item.get("kind") == AlarmKind.REGRESSED else AlarmKind.NEW,
        covers=(key,),
    )


def findings_to_raise(
    findings: Sequence[ProbeFinding], alarms: Collection[Alarm], probe: Probe
) -> tuple[ProbeFinding, ...]:
    """Return the findings that people are to be alarmed about now: none twice, and no flood.

    A condition is not reported again while an alarm about it is open; more than MOST_ALARMS events become one alarm.
    """
    alarm_keys = {key for alarm in alarms for key in alarm.covers}
    probes_with_alarm = {
        alarm.probe for alarm in alarms if alarm.acknowledged_by is None and alarm.kind == AlarmKind.FAULT
    }
    new_findings = [
        item
        for item in findings
        if item.key not in alarm_keys and not (item.kind is AlarmKind.FAULT and probe.id in probes_with_alarm)
    ]
    if len(new_findings) <= MOST_ALARMS:
        return tuple(new_findings)
    key, covers, events = (
        f"{new_findings[0].key}+{len(new_findings) - 1}",
        tuple(item.key for item in new_findings),
        tuple(new_findings),
    )
    return (replace(new_findings[0], key=key, short_id=probe.title, covers=covers, events=events),)


def silence_finding(
    probe: Probe, reading: Reading, watch: Watch, now: datetime, no_answer_limit: timedelta
) -> ProbeFinding | None:
    """Return the finding that a probe has been unable to tell for longer than ``no_answer_limit``, or None."""
    if (
        reading.status is not ProbeStatus.CANNOT_TELL
        or now - (reading.last_answer_at or watch.started_at) < no_answer_limit
    ):
        return None
    key = _silent_key(reading)
    return ProbeFinding(key, probe.title, reading.summary, "", AlarmKind.SILENT, (key,))


def _silent_key(reading: Reading) -> str:
    return f"{reading.probe}:spell {reading.spell}, silent"


def recovered_alarms(watch: Watch) -> tuple[Alarm, ...]:
    """Open alarms about a silence that is over: nobody needs to acknowledge them any more."""
    silent = {reading.probe for reading in watch.readings if reading.status is ProbeStatus.CANNOT_TELL}
    return tuple(alarm for alarm in watch.open_alarms if alarm.kind == AlarmKind.SILENT and alarm.probe not in silent)


class Next(StrEnum):
    """What to do after a poll."""

    CONTINUE = "continue"
    WAIT_FOR_PEOPLE = "wait for people"  # time is over, an alarm is open
    EXTEND = "extend"  # time is over, but not every probe has said after the end that it is clean
    CLOSE = "close"


def after_poll(watch: Watch, now: datetime, settle_time: timedelta) -> Next:
    """Decide from the rows alone.

    A watch closes only when its time is over, no alarm is open, and every probe is acknowledged, or clean when asked
    ``settle_time`` after the end or later.
    """
    if now < watch.ends_at:
        return Next.CONTINUE
    if watch.open_alarms:
        return Next.WAIT_FOR_PEOPLE
    early_readings = (
        reading.asked_at < watch.ends_at + settle_time
        for reading in watch.readings
        if reading.status is ProbeStatus.CLEAN
    )
    return Next.EXTEND if watch.verdict is not ProbeStatus.CLEAN or any(early_readings) else Next.CLOSE


def next_poll(watch: Watch, now: datetime, times: WatchTimes) -> datetime:
    """Return when to poll next: after the usual interval, or when the last events of the watch have arrived."""
    last_events_at = watch.ends_at + times.settle_time
    return min(now + times.interval, last_events_at) if now < last_events_at else now + times.interval


def verdict_at_end(watch: Watch) -> WatchState:
    """How a watch ends that may close. Clean is only what no person had to acknowledge."""
    people = {alarm.acknowledged_by for alarm in watch.alarms} - {SYSTEM}
    return WatchState.ACCEPTED if people else WatchState.CLEAN


def clock_step(wall: timedelta, steady: float) -> timedelta:
    """By how much the clock was set between two polls of one process: forward is positive, zero when it was not.

    ``wall``: what passed by the clock; ``steady``: the seconds that really passed (Clock.steady).
    """
    step = wall - timedelta(seconds=steady)
    return step if abs(step) > CLOCK_NOISE else timedelta(0)


def unwatched_time(wall: timedelta, longest_gap: timedelta) -> timedelta:
    """How much of the time between polls of two processes does not count: only the clock says that it passed.

    ``wall``: what passed by the clock; ``longest_gap``: for so long a watch goes without a poll. What is more may be the clock
    that was set or a time when no replica was up, and neither is watched; a negative one is a clock that was set back.
    """
    step = wall - min(max(wall, timedelta(0)), longest_gap)
    return step if abs(step) > CLOCK_NOISE else timedelta(0)
