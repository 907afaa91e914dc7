"""Checks of a release as people deal with them: run, cancel, waive and attest one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

from bot.domain.actor import Actor
from bot.domain.checklist import ANNOUNCED_KIND, ATTEST_KIND, Check, Checklist
from bot.domain.events import CheckAttested, CheckCancelled, CheckRequested, CheckWaived
from bot.domain.gate import is_waivable, lines_of
from bot.domain.ids import CheckId, ReleaseId, UserId
from bot.domain.policy import Action
from bot.domain.posts import DoneNotice
from bot.domain.release import ReleaseState
from bot.domain.results import RunState, Waiver
from bot.domain.schedule import find_woken
from bot.domain.view import ReleaseView
from bot.errors import InvalidInput, RefusedError, StaleButton, UnknownThing
from bot.flows import expiry, sign
from bot.flows.check_run import requirements_of
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, require
from bot.store import checks, posts, work
from bot.store.pool import Tx
from checks.contract import Answer, Evidence, Outcome

QUEUE = "check"


def request_runs(tx: Tx, view: ReleaseView, check_ids: Iterable[CheckId], by: UserId) -> list[CheckId]:
    """Request runs of ``check_ids`` and of what depends on them; returns the checks of which a run was requested.

    Left out are attestations, which only a person answers, and checks of the other phase.
    """
    ids = set(check_ids)
    for check_id in list(ids):
        ids |= set(view.checklist.dependents(check_id))
    run_ids = [entry.id for entry in list_runnable(view) if entry.id in ids]
    for check_id in run_ids:
        checks.request(tx, view.release.id, check_id, by, view.now)
        work.enqueue(tx, QUEUE, queue_key(view.release.id, check_id))
    return run_ids


def wake_waiting(tx: Tx, deps: Deps, view: ReleaseView, finished: Check, *, but: Collection[CheckId] = ()) -> None:
    """Have each check that waited for ``finished`` look again whether it may begin, except those of ``but``."""
    requirements = partial(requirements_of, deps)
    for check_id in find_woken(finished, view.checks, view.checklist.distinct_checks, requirements):
        if check_id not in but:
            work.enqueue(tx, QUEUE, queue_key(view.release.id, check_id))


def list_runnable(view: ReleaseView) -> list[Check]:
    """Return the checks that the bot itself can answer in the state that the release is in."""
    phase = view.phase
    entries = () if phase is None else view.checklist.distinct_checks_in(phase)
    return [entry for entry in entries if entry.kind != ATTEST_KIND and view.due(entry)]


def rerun(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, what: str) -> str:
    """Run a check, a section or ``all`` again, and return the answer for ``actor``.

    Raises NotAllowed, UnknownThing, StaleButton when their phase is over, and InvalidInput for what the bot cannot run now.
    """
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.CHECK)
    ids = _select(view, what)
    ours = [check_id for check_id in ids if find_check(view, check_id).kind != ATTEST_KIND]
    if ids and not ours:
        raise InvalidInput(f"{what} needs a person's answer.", hint="Press Attest next to it.")
    if ours and not any(view.due(find_check(view, check_id)) for check_id in ours):
        raise InvalidInput(f"{what} is not due yet.", hint="The bot announces the release when it is done.")
    runnable = {entry.id for entry in list_runnable(view)}
    if not runnable & set(ours):
        raise _closed_error(view)
    idle = [check_id for check_id in ours if check_id in runnable and view.checks[check_id].run_state is RunState.IDLE]
    if not idle:
        return "That's already running."
    run_ids = request_runs(tx, view, idle, actor.user)
    if any(find_check(view, check_id).kind == ANNOUNCED_KIND for check_id in run_ids):
        posts.recheck(tx, release_id, DoneNotice())
    commit_change(tx, release_id, CheckRequested(checks=run_ids), at=view.now, by=actor.user)
    return f"Running {run_ids[0] if len(run_ids) == 1 else f'{len(run_ids)} checks'} again."


def cancel(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, what: str) -> str:
    """Stop the checks of ``what`` (a check, a section or ``all``) that run or wait, and those that wait for them.

    What they had found before stands; what they have changed is put back by the run itself, else by the sweep.
    Raises NotAllowed or UnknownThing.
    """
    view = locked_view(tx, deps, release_id)
    require(view.policy, actor, Action.CHECK)
    under_way = {check_id for check_id in _select(view, what) if view.checks[check_id].run_state is not RunState.IDLE}
    for check_id in tuple(under_way):
        under_way |= {
            other for other in view.checklist.dependents(check_id) if view.checks[other].run_state is RunState.WAITING
        }
    if not under_way:
        return "Nothing of that is running or waiting."
    entries = [entry for entry in view.checklist.distinct_checks if entry.id in under_way]
    for entry in entries:
        work.drop(tx, QUEUE, queue_key(release_id, entry.id))
        checks.mark_ended(tx, release_id, entry.id)
    for entry in entries:
        wake_waiting(tx, deps, view, entry, but=under_way)
    ids = [entry.id for entry in entries]
    commit_change(tx, release_id, CheckCancelled(checks=ids), at=view.now, by=actor.user)
    return f"Cancelled {ids[0] if len(ids) == 1 else f'{len(ids)} checks'}."


def _select(view: ReleaseView, what: str) -> list[CheckId]:
    """The checks that a person means by an id, a section or ``all``. Raises UnknownThing."""
    if what == "all":
        return [entry.id for entry in view.checklist.distinct_checks]
    if section := view.checklist.section(what):
        return [entry.canonical_id for entry in section.checks]
    if entry := view.checklist.check(what):
        return [entry.canonical_id]
    names = ", ".join(section.id for section in view.checklist.sections)
    raise UnknownThing(f"There is no check or section {what!r}.", hint=f"Sections: {names}. Or `/release check all`.")


def waive(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, check_id: CheckId, reason: str) -> str:
    """Waive one check for this release, and return the answer for ``actor``.

    The sign-offs are void then, because they were given for other waivers (promise P4). Raises NotAllowed, RefusedError for a
    check that may not be waived, InvalidInput without a reason, StaleButton.
    """
    view = locked_view(tx, deps, release_id)
    entry = find_check(view, check_id)
    lines = lines_of(view, entry.id)
    require(view.policy, actor, Action.WAIVE, *(lines if is_waivable(view, entry) else ()))
    if view.release.state is not ReleaseState.OPEN:
        raise _closed_error(view)
    if not is_waivable(view, entry):
        raise RefusedError(f"{entry.title} can't be waived.", hint="It decides Go or No-Go: make it pass.")
    if not reason.strip():
        raise InvalidInput("A waiver needs a reason.")
    if not checks.waive(tx, release_id, Waiver(entry.id, actor.user, reason.strip(), view.now)):
        return f"{entry.title} is already waived."
    sign.void_outdated(tx, deps, release_id, f"{entry.title} was waived")
    event = CheckWaived(check=entry.id, reason=reason.strip())
    commit_change(tx, release_id, event, at=view.now, by=actor.user)
    return f"{entry.title} is waived for {view.release.version}."


def attest(tx: Tx, deps: Deps, actor: Actor, release_id: ReleaseId, check_id: CheckId, note: str) -> str:
    """Record a PASS by ``actor`` with their note for a check that only a person can answer; return the answer for them.

    Checks of the phase before the deploy can be attested only until the deploy begins. Raises NotAllowed, RefusedError for a
    check that the bot asks, InvalidInput without a note, StaleButton.
    """
    view = locked_view(tx, deps, release_id)
    entry = find_check(view, check_id)
    require(view.policy, actor, Action.ATTEST, *lines_of(view, entry.id))
    if entry.kind != ATTEST_KIND:
        raise RefusedError(f"{entry.title} is checked by the bot, not by people.", hint="Run it again, or waive it.")
    if view.release.state in {ReleaseState.ABORTED, ReleaseState.ROLLED_BACK}:
        raise StaleButton
    if entry in view.checklist.distinct_checks_in("before") and view.release.state is not ReleaseState.OPEN:
        raise _closed_error(view)
    if not note.strip():
        raise InvalidInput("An attestation needs a note: what did you look at?")
    note = note.strip()
    evidence = Evidence(
        entry.action or entry.title, entry.expected or "a person says yes", f"attested by {actor.user}: {note}"
    )
    answer = Answer(Outcome.PASS, note, evidence)
    digest = checks.record(
        tx, release_id, entry.id, answer, by=actor.user, started_at=view.now, finished_at=view.now, is_attested=True
    )
    expiry.schedule(tx, release_id, view.now + entry.max_age)
    request_runs(tx, view, view.checklist.dependents(entry.id), actor.user)
    event = CheckAttested(check=entry.id, note=note, evidence=digest)
    commit_change(tx, release_id, event, at=view.now, by=actor.user)
    return f"Recorded: {entry.title}."


def _closed_error(view: ReleaseView) -> StaleButton:
    return StaleButton(
        f"{view.release.version} is {view.release.state}: these checks are closed.", hint="Nothing was changed."
    )


def find_check(view: ReleaseView, check_id: str) -> Check:
    """Return the check behind a line of the checklist: the line's own, or the one that it repeats. Raises UnknownThing."""
    line = view.checklist.check(check_id)
    entry = line and view.checklist.check(line.canonical_id)
    if entry is None:
        raise UnknownThing(f"There is no check {check_id!r} in this release.")
    return entry


def queue_key(release_id: ReleaseId, check_id: CheckId) -> str:
    """Return the key under which the run of a check is in the work queue."""
    return f"{release_id}/{check_id}"


def cancel_all(tx: Tx, release_id: ReleaseId, checklist: Checklist) -> None:
    """Cancel every requested run of a release: what runs is told to stop, what waits does not start."""
    work.drop(tx, QUEUE, *(queue_key(release_id, entry.id) for entry in checklist.distinct_checks))
    checks.mark_all_idle(tx, release_id)
