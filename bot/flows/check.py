"""Checks of a release: ask for runs, carry one out, waive one, attest one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

from bot.domain.actor import Actor
from bot.domain.checklist import ANNOUNCED, ATTEST, Check, Checklist
from bot.domain.events import CheckAnswered, CheckAttested, CheckCancelled, CheckRequested, CheckWaived
from bot.domain.gate import lines_of, waivable
from bot.domain.ids import CheckId, ReleaseId, UserId
from bot.domain.policy import Action
from bot.domain.posts import DoneNotice
from bot.domain.release import ReleaseState
from bot.domain.results import Running, Waiver
from bot.domain.view import ReleaseView
from bot.errors import InvalidInput, RefusedError, StaleButton, Superseded, UnknownThing
from bot.flows import expiry, question, sign
from bot.flows.allowance import spend, used_up
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, Job, locked_view, require
from bot.flows.question import kind_of
from bot.flows.undo import StoredUndoLedger, settle_debts
from bot.store import checks, posts, steps, work
from bot.store.pool import Hold, Tx
from bot.store.undos import UndoOrigin
from checks.contract import Answer, Evidence, Outcome, Subject

logger = logging.getLogger(__name__)

BUSY = timedelta(seconds=0.5)  # how long to wait for another check to leave what this one touches


def ask_for(tx: Tx, view: ReleaseView, wanted: Iterable[CheckId], by: UserId) -> list[CheckId]:
    """Ask for runs of ``wanted`` and of what depends on them; returns the checks that were asked for.

    Left out are attestations, which only a person answers, and checks of the other phase.
    """
    chosen = set(wanted)
    for check_id in list(chosen):
        chosen |= set(view.checklist.dependents(check_id))
    asked = [entry.id for entry in _runnable(view) if entry.id in chosen]
    for check_id in asked:
        checks.request(tx, view.release.id, check_id, by, view.now)
        work.ask(tx, "check", _key(view.release.id, check_id))
    return asked


def _runnable(view: ReleaseView) -> list[Check]:
    """The checks that the bot itself can answer in the state of the release."""
    phase = view.phase
    asked = () if phase is None else view.checklist.asked_in(phase)
    return [entry for entry in asked if entry.kind != ATTEST and view.due(entry)]


def rerun(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, what: str) -> str:
    """Run a check, a section or ``all`` again. Raises NotAllowed, StaleButton or UnknownThing."""
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.CHECK)
    wanted = _named(view, what)
    ours = [check_id for check_id in wanted if _entry(view, check_id).kind != ATTEST]
    if wanted and not ours:
        raise InvalidInput(f"{what} is for a person to answer.", hint="Press Attest next to it.")
    if ours and not any(view.due(_entry(view, check_id)) for check_id in ours):
        raise InvalidInput(f"{what} is not due yet.", hint="The bot announces the release by itself at its end.")
    now = {entry.id for entry in _runnable(view)}
    if not now & set(ours):
        raise _closed(view)
    idle = [check_id for check_id in ours if check_id in now and view.checks[check_id].running is Running.IDLE]
    if not idle:
        return "That is running already."
    asked = ask_for(tx, view, idle, actor.user)
    if any(_entry(view, check_id).kind == ANNOUNCED for check_id in asked):
        posts.doubt(tx, release_id, DoneNotice())
    commit_change(tx, release_id, CheckRequested(checks=asked), at=view.now, by=actor.user)
    return f"Running {asked[0] if len(asked) == 1 else f'{len(asked)} checks'} again."


def cancel(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, what: str) -> str:
    """Stop the checks of ``what`` (a check, a section or ``all``) that run or wait, and those that wait for them.

    What they had found before stands; what they have changed is put back by the run itself, else by the sweep.
    Raises NotAllowed or UnknownThing.
    """
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.CHECK)
    wanted = set(_named(view, what))
    under_way = {check_id for check_id in wanted if view.checks[check_id].running is not Running.IDLE}
    for check_id in tuple(under_way):
        under_way |= {
            other for other in view.checklist.dependents(check_id) if view.checks[other].running is Running.WAITING
        }
    if not under_way:
        return "Nothing of that runs or waits."
    stopped = [entry.id for entry in view.checklist.asked if entry.id in under_way]
    for check_id in stopped:
        work.drop(tx, "check", _key(release_id, check_id))
        checks.ended(tx, release_id, check_id)
    commit_change(tx, release_id, CheckCancelled(checks=stopped), at=view.now, by=actor.user)
    return f"Cancelled {stopped[0] if len(stopped) == 1 else f'{len(stopped)} checks'}."


def _named(view: ReleaseView, what: str) -> list[CheckId]:
    """The checks that a person means by an id, a section or ``all``. Raises UnknownThing."""
    if what == "all":
        return [entry.id for entry in view.checklist.asked]
    if section := view.checklist.section(what):
        return [entry.asked_as for entry in section.checks]
    if entry := view.checklist.check(what):
        return [entry.asked_as]
    names = ", ".join(section.id for section in view.checklist.sections)
    raise UnknownThing(f"There is no check or section {what!r}.", hint=f"Sections: {names}. Or `/release check all`.")


def waive(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, check_id: CheckId, reason: str) -> str:
    """Let one check go for this release. Voids the sign-offs, as they were for something else (promise P4)."""
    view = locked_view(tx, deps, release_id)
    entry = _entry(view, check_id)
    lines = lines_of(view, entry.id)
    require(view.policy, actor, Action.WAIVE, *(lines if waivable(view, entry) else ()))
    _only_open(view)
    if not waivable(view, entry):
        raise RefusedError(f"{entry.title} can never be waived.", hint="It decides Go or No-Go: make it pass.")
    if not reason.strip():
        raise InvalidInput("A waiver needs a reason.")
    if not checks.waive(tx, release_id, Waiver(entry.id, actor.user, reason.strip(), view.now)):
        return f"{entry.title} was waived already."
    sign.void_outdated(tx, deps, release_id, f"{entry.title} was waived")
    waived = CheckWaived(check=entry.id, reason=reason.strip())
    commit_change(tx, release_id, waived, at=view.now, by=actor.user)
    return f"{entry.title} is waived for {view.release.version}."


def attest(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, check_id: CheckId, note: str) -> str:
    """Record that a person has checked it: a PASS with a name and a note, for checks that only a person can answer.

    Those of before the deploy are closed with it: what it went past is not made good afterwards.
    """
    view = locked_view(tx, deps, release_id)
    entry = _entry(view, check_id)
    require(view.policy, actor, Action.ATTEST, *lines_of(view, entry.id))
    if entry.kind != ATTEST:
        raise RefusedError(f"{entry.title} is asked by the bot, not by people.", hint="Run it again, or waive it.")
    if view.release.state in {ReleaseState.ABORTED, ReleaseState.ROLLED_BACK}:
        raise StaleButton
    if entry in view.checklist.asked_in("before") and view.release.state is not ReleaseState.OPEN:
        raise _closed(view)
    if not note.strip():
        raise InvalidInput("An attestation needs a note: what did you look at?")
    found = note.strip()
    asked = entry.action or entry.title
    answer = Answer(
        Outcome.PASS,
        found,
        Evidence(asked, entry.expected or "a person says yes", f"attested by {actor.user}: {found}"),
    )
    mark = checks.record(
        tx, release_id, entry.id, answer, by=actor.user, started_at=view.now, finished_at=view.now, attested=True
    )
    expiry.arm(tx, release_id, view.now + entry.max_age)
    ask_for(tx, view, view.checklist.dependents(entry.id), actor.user)
    attested = CheckAttested(check=entry.id, note=found, evidence=mark)
    commit_change(tx, release_id, attested, at=view.now, by=actor.user)
    return f"Recorded: {entry.title}."


def execute(deps: Deps, job: Job) -> datetime | None:
    """Carry out one asked-for run (key ``release/check``) and store its result. Returns when to look again, or None.

    A check whose time is over (the release has moved on) is not run. After a crash it is run anew, once what it had left
    behind is put back.
    """
    release_id, check_id = _parse(job.claim.key)
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, release_id)
        work.ensure_claim(tx, job.claim)
        entry = _entry(view, check_id)
        if entry not in _runnable(view) or view.checks[check_id].running is Running.IDLE:
            checks.ended(tx, release_id, check_id)
            return None
    if any(view.checks[needed].running is not Running.IDLE for needed in entry.needs):
        return None  # asked for again when the needed one is done
    unmet = [
        needed for needed in entry.needs if (r := view.checks[needed].result) is None or r.outcome is not Outcome.PASS
    ]
    started = deps.clock.now()
    if unmet:
        result = view.checks[unmet[0]].result
        answer = question.not_run(
            entry, unmet[0], result.outcome if result else None, then="this one runs again by itself when that one does"
        )
        _store(deps, job, view, entry, answer, started)
        return None
    with ExitStack() as held:
        hold, holders = held.enter_context(question.holding(deps, entry, release_id, entry.id))
        if not hold:
            return _held_up(deps, job, view, entry, holders)
        debts = settle_debts(deps, release_id, check_id)
        with deps.store.transaction() as tx:
            work.ensure_claim(tx, job.claim)
            if not debts and (until := _waits(tx, deps, view, entry)):
                return until
            checks.running(tx, release_id, check_id)
            posts.mark_stale(tx, release_id)
        answer = question.still_in_debt(entry, debts) if debts else _answer(deps, job, view, entry, held, hold)
    if job.lost.is_set():
        raise Superseded  # told to stop: what it says now is no answer, and whoever takes it up asks anew
    _store(deps, job, view, entry, answer, started)
    return None


def _held_up(deps: Deps, job: Job, view: ReleaseView, entry: Check, holders: list[str]) -> datetime | None:
    """Wait for another check to let go of what this one needs; when to look again.

    ``holders``: those that did not stop in time. For them it waits no longer than it may take itself: ERROR, and None.
    """
    release_id, now = view.release.id, deps.clock.now()
    with deps.store.transaction() as tx:
        work.ensure_claim(tx, job.claim)
        until = checks.requested_at(tx, release_id, entry.id) + question.patience(deps, entry)
        if holders and now < until and checks.waits(tx, release_id, entry.id, question.waits_for(holders)):
            posts.mark_stale(tx, release_id)
    if not holders or now < until:
        return now + BUSY
    _store(deps, job, view, entry, question.held_up(entry, holders), now)
    return None


def _waits(tx: Tx, deps: Deps, view: ReleaseView, entry: Check) -> datetime | None:
    """Use up what a run takes; until when it waits, and the message says so, where nothing is left of it."""
    kind = kind_of(deps, entry)
    until = spend(tx, deps, kind, entry.target) if kind else None
    if kind and until:
        line = f"{used_up(kind, entry.target, until)}, then it goes on by itself"
        if checks.waits(tx, view.release.id, entry.id, line):
            posts.mark_stale(tx, view.release.id)
    return until


def _answer(deps: Deps, job: Job, view: ReleaseView, entry: Check, held: ExitStack, hold: Hold) -> Answer:
    release = view.release
    origin = UndoOrigin(release.id, entry.id, entry.kind, entry.target, deps.store.instance)
    with deps.store.transaction() as tx:
        previous = steps.previous_version(tx, release.id)
        announced = posts.place_of(tx, release.id, DoneNotice())
    return question.answer(
        deps,
        entry,
        undo=StoredUndoLedger(deps, origin),
        subject=Subject(release.version, release.commit, release.pinned_image, previous=previous, announced=announced),
        needs={needed: result.data for needed in entry.needs if (result := view.checks[needed].result) is not None},
        cancelled=job.lost,
        progress=_progress(deps, release.id, entry.id),
        held=held,
        hold=hold,
    )


def _progress(deps: Deps, release_id: ReleaseId, check_id: CheckId) -> Any:
    def say(line: str) -> None:
        with deps.store.transaction() as tx:
            if checks.progress(tx, release_id, check_id, deps.clean(line, 200)):
                posts.mark_stale(tx, release_id)

    return say


def _store(deps: Deps, job: Job, view: ReleaseView, entry: Check, answer: Answer, started: datetime) -> None:
    """Store the result unless the run is no longer wanted, and let the checks that waited for it go on."""
    release_id = view.release.id
    with deps.store.transaction() as tx:
        current = locked_view(tx, deps, release_id)
        again = work.ensure_claim(tx, job.claim)
        now = current.now
        if entry not in _runnable(current):
            checks.ended(tx, release_id, entry.id)
            return
        by = checks.requester(tx, release_id, entry.id)
        mark = checks.record(tx, release_id, entry.id, answer, by=by, started_at=started, finished_at=now)
        if answer.outcome is Outcome.PASS:
            expiry.arm(tx, release_id, now + entry.max_age)
        checks.ended(tx, release_id, entry.id, again=again)
        left = question.in_use(deps, entry)
        for other in current.checklist.asked:
            if current.checks[other.id].running is Running.WAITING and (
                entry.id in other.needs or left.apart_from(question.in_use(deps, other))
            ):
                work.ask(tx, "check", _key(release_id, other.id))
        answered = CheckAnswered(
            check=entry.id, outcome=answer.outcome, summary=answer.summary, evidence=mark, started_at=started
        )
        commit_change(tx, release_id, answered, at=now, by=by)


def _only_open(view: ReleaseView) -> None:
    if view.release.state is not ReleaseState.OPEN:
        raise StaleButton(
            f"{view.release.version} is {view.release.state}: its checks are closed.", hint="Nothing was changed."
        )


def _closed(view: ReleaseView) -> StaleButton:
    return StaleButton(
        f"{view.release.version} is {view.release.state}: these checks are closed.", hint="Nothing was changed."
    )


def _entry(view: ReleaseView, check_id: str) -> Check:
    """The check that is asked under the id of a line. Raises UnknownThing."""
    line = view.checklist.check(check_id)
    entry = line and view.checklist.check(line.asked_as)
    if entry is None:
        raise UnknownThing(f"There is no check {check_id!r} in this release.")
    return entry


def _key(release_id: ReleaseId, check_id: CheckId) -> str:
    return f"{release_id}/{check_id}"


def _parse(key: str) -> tuple[ReleaseId, CheckId]:
    release_id, _, check_id = key.partition("/")
    return ReleaseId(int(release_id)), CheckId(check_id)


def cancel_all(tx: Tx, release_id: ReleaseId, checklist: Checklist) -> None:
    """Take back every asked-for run: what runs is told to stop, what waits does not start."""
    work.drop(tx, "check", *(_key(release_id, entry.id) for entry in checklist.asked))
    checks.idle_all(tx, release_id)
