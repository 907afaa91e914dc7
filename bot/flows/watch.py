"""Watch: one poll at a time after a deploy; alarms, acknowledgements and the close."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.domain.actor import Actor
from bot.domain.ids import SYSTEM, ReleaseId
from bot.domain.policy import Action
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.domain.watch import Next, Seen, WatchState, after_poll
from bot.errors import StaleButton, Superseded, UnknownThing
from bot.flows.deps import Deps, Job, locked_view, require
from bot.flows.undo import DebtBook
from bot.store import audit, posts, releases, watches, work
from bot.store.pool import Tx
from bot.store.undos import Debtor
from checks.clients import Clients
from checks.contract import Answer, CheckContext, Evidence, Outcome, Subject
from checks.registry import RegistryError
from checks.runner import run_check

logger = logging.getLogger(__name__)

SEEN = {Outcome.PASS: Seen.CLEAN, Outcome.FAIL: Seen.REGRESSED}  # everything else: cannot tell, which is never clean


def execute(deps: Deps, job: Job) -> datetime | None:
    """One poll of the watch of a release (key: its id). Returns when the next one is due; None when the watch is over."""
    release_id = ReleaseId(int(job.claim.key))
    with deps.store.transaction() as tx:
        view = releases.view(tx, release_id, deps.clock.now())
    if view is None or view.release.state is not ReleaseState.WATCHING or view.watch is None:
        return None
    answer = _ask(deps, job, view)
    if job.lost.is_set():
        raise Superseded  # told to stop: that is no answer of the vendor's
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, release_id)
        work.hold(tx, job.claim)
        now = view.now
        if view.release.state is not ReleaseState.WATCHING or view.watch is None:
            return None
        seen = SEEN.get(answer.outcome, Seen.CANNOT_TELL)
        changed = seen is not view.watch.last
        new = _raise_alarms(tx, view, answer, now)
        watches.polled(tx, release_id, seen, answer.summary, now)
        if changed or new:
            audit.write(tx, now, SYSTEM, "watch.polled", release_id, seen=seen, summary=answer.summary, alarms=new)
        due = _decide(tx, deps, release_id)
        posts.touch(tx, release_id)
        return due


def _ask(deps: Deps, job: Job, view: ReleaseView) -> Answer:
    spec = view.checklist.watch
    nothing = Evidence(asked=spec.kind, expected="", seen="")
    target = deps.targets.get(spec.target)
    if target is None:
        return Answer(Outcome.ERROR, f"there is no target {spec.target}", nothing)
    begun = min(
        (step.started_at for step in view.steps if step.started_at is not None), default=view.release.started_at
    )
    known = [alarm.issue for alarm in view.watch.alarms] if view.watch else []
    try:
        kind = deps.registry.get(spec.kind)
        params = deps.registry.validate(spec.kind, {**spec.params, "since": begun, "ignore": known})
    except RegistryError as error:
        return Answer(Outcome.ERROR, str(error), nothing)
    with Clients(target) as clients:
        context = CheckContext(
            check="watch",
            target=target,
            clients=clients,
            undo=DebtBook(deps, Debtor(view.release.id, "watch", spec.kind, spec.target, deps.store.instance)),  # type: ignore[arg-type]
            subject=Subject(view.release.version, view.release.commit, view.release.pinned_image),
            needs={},
            deadline=time.monotonic() + kind.timeout,
            cancelled=job.lost,
            progress=logger.debug,
        )
        return run_check(kind, params, context, redact=deps.clean).answer


def _raise_alarms(tx: Tx, view: ReleaseView, answer: Answer, now: datetime) -> list[str]:
    """Store issues that were not known and owe the channel an alarm for each."""
    raised = []
    for issue in answer.data.get("issues", ()):
        found = _alarm_values(issue)
        alarm_id = watches.alarm(tx, view.release.id, found, now)
        if alarm_id is not None:
            posts.owe(tx, view.release.id, "alarm", str(alarm_id), channel=view.release.channel)
            raised.append(found["short_id"])
    return raised


def _alarm_values(issue: Mapping[str, Any]) -> dict[str, str]:
    return {
        "issue": str(issue["id"]),
        "short_id": str(issue.get("shortId") or issue["id"]),
        "title": str(issue.get("title") or "untitled"),
        "permalink": str(issue.get("permalink") or ""),
        "kind": str(issue.get("kind") or "new"),
    }


def _decide(tx: Tx, deps: Deps, release_id: ReleaseId) -> datetime | None:
    """After a poll: go on, wait for people, watch for longer, or close the release."""
    view = locked_view(tx, deps, release_id)
    watch, now = view.watch, view.now
    if watch is None:
        return None
    what = after_poll(watch, now)
    if what is Next.CLOSE:
        card = posts.find(tx, release_id, "card")
        watches.close(tx, release_id, WatchState.CLEAN)
        releases.move(tx, view.release, ReleaseState.DONE, now)
        posts.owe(tx, release_id, "closeout", channel=view.release.channel, parent=card)
        posts.owe(tx, release_id, "notice", "done", channel=view.release.channel)
        audit.write(tx, now, SYSTEM, "release.done", release_id, polls=watch.polls)
        return None
    if what is Next.EXTEND:
        watches.extend(tx, release_id, now + deps.poll_every)
        return now + deps.poll_every
    if what is Next.WAIT_FOR_PEOPLE:
        return now + deps.poll_every
    return min(now + deps.poll_every, max(watch.ends_at, now))


def acknowledge(tx: Tx, deps: Deps, actor: Actor, alarm_id: int, note: str) -> str:
    """Record that a person has looked at an alarm; the watch can close once all are."""
    release_id = watches.release_of(tx, alarm_id)
    if release_id is None:
        raise UnknownThing("There is no such alarm.")
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.ACKNOWLEDGE)
    if view.release.state is not ReleaseState.WATCHING:
        raise StaleButton(f"{view.release.version} is {view.release.state}: its watch is over.")
    if not watches.acknowledge(tx, alarm_id, by=actor.user, note=note.strip(), at=view.now):
        return "That alarm was acknowledged already."
    work.ask(tx, "watch", release_id)
    posts.touch(tx, release_id)
    audit.write(tx, view.now, actor.user, "watch.acknowledged", release_id, alarm=alarm_id, note=note.strip())
    return "Acknowledged. The watch goes on."
