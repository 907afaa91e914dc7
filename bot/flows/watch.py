"""Watch: one poll at a time after a deploy; its probes side by side, alarms, acknowledgements and the close."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeAlias

from bot.domain import watch as rules
from bot.domain.actor import Actor
from bot.domain.checklist import Probe
from bot.domain.events import RaisedAlarm, ReleaseDone, WatchAcknowledged, WatchClockSet, WatchNotWatched, WatchPolled
from bot.domain.ids import SYSTEM, ReleaseId
from bot.domain.policy import Action
from bot.domain.posts import AlarmPost, CloseoutPost, DoneNotice
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.domain.watch import Alarm, Next, ProbeFinding, Watch
from bot.errors import StaleButton, Superseded, UnknownThing
from bot.flows import picture
from bot.flows.check_context import CheckRun
from bot.flows.check_run import run_to_end, subject_of
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, Job, locked_view, require
from bot.store import posts, releases, watches, work
from bot.store.pool import Tx
from bot.texts.watch import alarm_title
from checks.contract import Answer, Subject

logger = logging.getLogger(__name__)

ProbeAnswers: TypeAlias = Sequence[tuple[Probe, Answer]]
_RECOVERY_NOTE = "The probe recovered."  # the note of an alarm about a silence that is over


def execute(deps: Deps, job: Job) -> datetime | None:
    """One poll of the watch of a release (key: its id). Returns when the next one is due; None when the watch is over."""
    release_id = ReleaseId(int(job.claim.key))
    at, steady = deps.clock.now(), deps.clock.steady()
    with deps.store.transaction() as tx:
        view = releases.view(tx, release_id, at)
        if view is None or view.release.state is not ReleaseState.WATCHING or view.watch is None:
            return None
        subject = subject_of(tx, view)
    probe_answers = _run_probes(deps, job, view, subject, at)
    if job.cancelled.is_set():
        raise Superseded  # told to stop: that is no answer of the vendor's
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, release_id)
        work.ensure_claim(tx, job.claim)
        if view.release.state is not ReleaseState.WATCHING or view.watch is None:
            return None
        _record_poll(tx, deps, release_id, at, steady)
        new_alarms, recovered_alarms = _store_answers(tx, deps, view, probe_answers, at)
        watch = _read_watch(tx, release_id)
        if watch.verdict is not view.watch.verdict or new_alarms:
            probes = {reading.probe: f"{reading.status}: {reading.summary}" for reading in watch.readings}
            event = WatchPolled(seen=watch.verdict, probes=probes, raised=new_alarms)
            new_posts = [AlarmPost(alarm=alarm.id) for alarm in new_alarms]
            commit_change(tx, release_id, event, at=at, by=SYSTEM, new_posts=new_posts)
        for alarm in recovered_alarms:
            commit_change(tx, release_id, WatchAcknowledged(alarm=alarm.id, note=_RECOVERY_NOTE), at=at, by=SYSTEM)
        due = _close_or_go_on(tx, deps, release_id)
        posts.mark_stale(tx, release_id)
        return due


def _read_watch(tx: Tx, release_id: ReleaseId) -> Watch:
    """The watch of a release. Raises UnknownThing when it has none."""
    watch = watches.get(tx, release_id)
    if watch is None:
        raise UnknownThing("This release has no watch.")
    return watch


def _record_poll(tx: Tx, deps: Deps, release_id: ReleaseId, at: datetime, steady: float) -> None:
    """Record a poll, and move the end of the watch by the time since the last poll that was not proved to be watched.

    A process that polled before measures that time by its steady clock; a new one can only compare the times of day.
    """
    before = watches.last_seen(tx, release_id, deps.store.instance)
    kind: type[WatchClockSet | WatchNotWatched]
    if before.own is not None:
        kind, step = WatchClockSet, rules.clock_step(at - before.own[0], steady - before.own[1])
    else:
        kind, step = WatchNotWatched, rules.unwatched_time(at - before.anybody, deps.watch.longest_gap)
    watches.record_poll(tx, release_id, at, instance=deps.store.instance, steady=steady, step=step)
    if step:
        seconds = round(step.total_seconds())
        watch = _read_watch(tx, release_id)
        event = kind(seconds=seconds, started_at=watch.started_at, ends_at=watch.ends_at)
        commit_change(tx, release_id, event, at=at, by=SYSTEM)
        logger.warning("%s: the end of the watch moved along by %d s", event.event_name, seconds)


# --- running the probes


def _run_probes(deps: Deps, job: Job, view: ReleaseView, subject: Subject, at: datetime) -> ProbeAnswers:
    """Run all probes that are due, at once, and return their answers."""
    watch = view.watch
    due = []
    for probe in view.checklist.watch.probes:
        reading = watch.reading(probe.id) if watch else None
        if reading is None or reading.wait_until is None or reading.wait_until <= at:
            due.append(probe)
    if not due:
        return []
    with ThreadPoolExecutor(max_workers=len(due), thread_name_prefix="probe") as pool:
        run = partial(_run_probe, deps, job, view, subject)
        futures = [pool.submit(contextvars.copy_context().run, run, probe) for probe in due]
        return [(probe, future.result()) for probe, future in zip(due, futures, strict=True)]


def _run_probe(deps: Deps, job: Job, view: ReleaseView, subject: Subject, probe: Probe) -> Answer:
    run = CheckRun(
        release_id=view.release.id, name=probe.id, cancelled=job.cancelled, progress=logger.debug, subject=subject
    )
    return run_to_end(deps, probe.as_check, run)


# --- storing what they found


def _store_answers(
    tx: Tx, deps: Deps, view: ReleaseView, probe_answers: ProbeAnswers, at: datetime
) -> tuple[list[RaisedAlarm], tuple[Alarm, ...]]:
    """Store the reading of each probe, and raise an alarm for each new finding.

    Returns the new alarms, as the record has them, and the alarms about a silence that has ended.
    """
    release_id = view.release.id
    earlier = _read_watch(tx, release_id)
    findings: dict[str, tuple[ProbeFinding, ...]] = {}
    for probe, answer in probe_answers:
        reading, findings[probe.id] = rules.judge(probe, earlier.reading(probe.id), answer, at)
        watches.store_reading(tx, release_id, reading)
    watch = _read_watch(tx, release_id)
    series = next((reading.series for reading in watch.readings if reading.series), None)
    new_alarms = []
    for probe in view.checklist.watch.probes:
        to_raise = list(rules.findings_to_raise(findings.get(probe.id, ()), watch.alarms, probe))
        current = watch.reading(probe.id)  # one that may not be asked yet is silent too
        if current and (question := rules.silence_finding(probe, current, watch, at, deps.watch.no_answer_limit)):
            to_raise += rules.findings_to_raise([question], watch.alarms, probe)
        for finding in (replace(one, title=alarm_title(one)) for one in to_raise):
            alarm_id = watches.raise_alarm(tx, release_id, probe.id, finding, at, series)
            if alarm_id is not None:
                picture.ask_for(tx, release_id, picture.RATE, str(alarm_id))
                new_alarms.append(_record_of_alarm(alarm_id, probe, finding))
    recovered_alarms = rules.recovered_alarms(watch)
    for alarm in recovered_alarms:
        watches.acknowledge(tx, alarm.id, by=SYSTEM, note=_RECOVERY_NOTE, at=at)
    return new_alarms, recovered_alarms


def _record_of_alarm(alarm_id: int, probe: Probe, finding: ProbeFinding) -> RaisedAlarm:
    """Return an alarm as the record has it."""
    return RaisedAlarm(
        id=alarm_id, probe=probe.id, issue=finding.key, short_id=finding.short_id, title=finding.title,
        permalink=finding.permalink, kind=finding.kind,
    )  # fmt: skip


def _close_or_go_on(tx: Tx, deps: Deps, release_id: ReleaseId) -> datetime | None:
    """Decide after a poll: return when to poll again, or close the watch and the release and return None."""
    view = locked_view(tx, deps, release_id)
    watch, now = view.watch, view.now
    if watch is None:
        return None
    if rules.after_poll(watch, now, deps.watch.settle_time) is not Next.CLOSE:
        return rules.next_poll(watch, now, deps.watch)
    state = rules.verdict_at_end(watch)
    watches.close(tx, release_id, state)
    releases.move(tx, view.release, ReleaseState.DONE, now)
    picture.ask_for(tx, release_id, picture.TIMELINE, ReleaseState.DONE)
    event = ReleaseDone(polls=watch.polls, watch=state)
    commit_change(tx, release_id, event, at=now, by=SYSTEM, new_posts=[CloseoutPost(), DoneNotice()])
    return None


def hasten(deps: Deps) -> None:
    """Make a poll due now if it is further away than polls ever are: the database's clock was set back."""
    with deps.store.transaction() as tx:
        work.bring_forward(tx, "watch", deps.watch.longest_gap)


def acknowledge(tx: Tx, deps: Deps, actor: Actor, alarm_id: int, note: str) -> str:
    """Record that ``actor`` has looked at an alarm, and return the answer for them; a watch closes once all are acknowledged."""
    release_id = watches.release_of(tx, alarm_id)
    if release_id is None:
        raise UnknownThing("There is no such alarm.")
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.ACKNOWLEDGE)
    if view.release.state is not ReleaseState.WATCHING:
        raise StaleButton(f"{view.release.version} is {view.release.state}: its watch is over.")
    if not watches.acknowledge(tx, alarm_id, by=actor.user, note=deps.clean(note.strip()), at=view.now):
        return "That alarm is already acknowledged."
    work.enqueue(tx, "watch", release_id)
    event = WatchAcknowledged(alarm=alarm_id, note=deps.clean(note.strip()))
    commit_change(tx, release_id, event, at=view.now, by=actor.user)
    return "Acknowledged. The watch continues."
