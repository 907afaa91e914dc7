"""Runs checks of a checklist without a release: side by side, what they need first, and everything undone at the end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from bot.domain.actions import RunCheck
from bot.domain.checklist import IN_A_RELEASE, Check, Checklist, check_of_step
from bot.domain.ids import CheckId
from bot.domain.results import RunState
from bot.domain.schedule import decide_turn
from bot.errors import ChecklistError, DatabaseError
from bot.flows.check_context import CheckRun
from bot.flows.check_run import Wait, attempt, requirements_of
from bot.flows.deps import StoreDeps, TargetDeps
from bot.flows.not_run_answers import TERMINAL, not_run_answer, skipped_answer
from bot.flows.undo import list_leftovers, run_lock, undo_leftovers, undo_orphans
from bot.store.pool import Tx
from checks.contract import Answer, Outcome
from checks.spelling import did_you_mean

TICK = 0.2  # seconds between two looks at what may begin now and at whether to stop


@dataclass(frozen=True)
class CheckProgress:
    """How far one check of a local run is."""

    run_state: RunState = RunState.WAITING
    start: float = 0.0  # time.monotonic() of its latest attempt; 0: there was none
    line: str = ""  # what it is doing or waiting for
    answer: Answer | None = None
    seconds: float = 0.0  # that it took

    @property
    def outcome(self) -> Outcome | None:
        """The outcome of the answer; None while there is none."""
        return None if self.answer is None else self.answer.outcome


class LocalRun:
    """One run of some checks.

    ``deps``: with StoreDeps the undo ledger, locks and allowances are in the bot's database, so that this run and a running
    bot do not disturb each other. With plain TargetDeps a check that changes data is answered with ERROR.
    ``entries``: the checks with all that they need, as `select_checks` returns them. ``tell`` is called on every change of
    progress, in any thread; ``tick`` some times a second. Set ``cancelled`` to stop the running checks and begin no other.
    """

    def __init__(
        self,
        deps: TargetDeps,
        entries: Iterable[Check],
        *,
        tell: Callable[[Check, CheckProgress], None],
        tick: Callable[[], None] = lambda: None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._deps, self._entries = deps, tuple(entries)
        self._tell, self._tick = tell, tick
        self._cancelled = cancelled or threading.Event()
        self._progress = {entry.id: CheckProgress() for entry in self._entries}
        self._requirements = {entry.id: requirements_of(deps, entry) for entry in self._entries}
        self._first_attempts: dict[CheckId, float] = {}  # time.monotonic()
        self._next_attempts: dict[CheckId, float] = {}  # time.monotonic(); a check that is not there may begin at once
        self._ended: queue.SimpleQueue[tuple[Check, Answer | Wait | BaseException]] = queue.SimpleQueue()
        self._fault: BaseException | None = None

    def run(self) -> dict[CheckId, CheckProgress]:
        """Run all checks and return the answer of each. A fault of the bot itself is raised once all have ended."""
        if isinstance(self._deps, StoreDeps):
            undo_orphans(self._deps)  # of an earlier run that was killed
        while True:
            for entry in self._entries:
                if self._progress[entry.id].run_state is RunState.WAITING:
                    self._take_turn(entry)
            self._tick()
            if all(progress.run_state is RunState.IDLE for progress in self._progress.values()):
                break
            self._await_end()
        if self._fault is not None:
            raise self._fault
        return self._progress

    def undo(self) -> list[str]:
        """Try again to undo what these checks left changed; return what is still changed, for people."""
        if not isinstance(self._deps, StoreDeps):
            return []
        leftovers = []
        for entry in self._entries:
            if self._requirements[entry.id].mutates:
                with self._deps.store.lock([run_lock(None, entry.id)], by=f"{TERMINAL}{entry.id}") as lock:
                    leftovers += (undo_leftovers if lock.acquired else list_leftovers)(self._deps, None, entry.id)
        return leftovers

    def _take_turn(self, entry: Check) -> None:
        """Let a check that waits begin, be skipped, or wait on."""
        if self._cancelled.is_set():
            self._answer(entry, not_run_answer(entry, "cancelled before it started"))
            return
        turn = decide_turn(entry, self._progress, self._entries, lambda check: self._requirements[check.id])
        if turn.failed_need is not None:
            outcome = self._progress[turn.failed_need].outcome
            self._answer(entry, skipped_answer(entry, turn.failed_need, outcome, then="then run this check again"))
        elif turn.may_begin and time.monotonic() >= self._next_attempts.get(entry.id, 0.0):
            self._first_attempts.setdefault(entry.id, time.monotonic())
            self._set(entry, replace(self._progress[entry.id], run_state=RunState.RUNNING, start=time.monotonic()))
            threading.Thread(target=self._attempt, args=[entry], name=entry.id, daemon=True).start()

    def _await_end(self) -> None:
        """Wait a moment for an attempt to end."""
        try:
            entry, result = self._ended.get(timeout=TICK)
        except queue.Empty:
            return
        progress = self._progress[entry.id]
        if isinstance(result, Answer):
            self._answer(entry, result)
        elif isinstance(result, Wait):
            pause = (result.until - self._deps.clock.now()).total_seconds()
            self._next_attempts[entry.id] = time.monotonic() + pause
            line = result.line or "waiting for the running bot"
            self._set(entry, replace(progress, run_state=RunState.WAITING, line=line))
        else:
            self._fault = self._fault or result
            self._cancelled.set()
            self._set(entry, replace(progress, run_state=RunState.IDLE))

    def _attempt(self, entry: Check) -> None:
        needs: dict[str, Mapping[str, Any]] = {
            need: answer.data for need in entry.needs if (answer := self._progress[need].answer) is not None
        }
        run = CheckRun(
            release_id=None,
            name=f"{TERMINAL}{entry.id}",
            cancelled=self._cancelled,
            progress=lambda line: self._set(
                entry, replace(self._progress[entry.id], line=self._deps.clean(" ".join(line.split())))
            ),
            needs=needs,
            begin=partial(self._begin, entry),
        )
        waiting_time = timedelta(seconds=time.monotonic() - self._first_attempts[entry.id])
        try:
            self._ended.put((entry, attempt(self._deps, entry, run, waiting_time)))
        except DatabaseError as error:
            self._ended.put((entry, not_run_answer(entry, error.user_message, error.hint)))
        # The seam of the threads: a fault of the bot must reach the person, not end in a thread that nobody hears.
        except BaseException as fault:  # noqa: BLE001  raised again in run()
            self._ended.put((entry, fault))

    def _begin(self, entry: Check, _: Tx, run: CheckRun) -> CheckRun:
        """Stop showing what it has waited for."""
        self._set(entry, replace(self._progress[entry.id], start=time.monotonic(), line=""))
        return run

    def _answer(self, entry: Check, answer: Answer) -> None:
        progress = self._progress[entry.id]
        seconds = time.monotonic() - progress.start if progress.run_state is RunState.RUNNING else 0.0
        self._set(entry, CheckProgress(RunState.IDLE, progress.start, answer=answer, seconds=seconds))

    def _set(self, entry: Check, progress: CheckProgress) -> None:
        self._progress[entry.id] = progress
        self._tell(entry, progress)


def select_checks(checklist: Checklist, names: Iterable[str]) -> tuple[Check, ...]:
    """Return the checks of these ids, sections and `run_check` steps, and all that they need, in the order of the file.

    Of sections, checks that only a release can answer are left out. Raises ChecklistError for an unknown name.
    """
    steps = {
        CheckId(step.id): check_of_step(step.id, step.title, step.action)
        for step in (*checklist.deploy, *checklist.rollback)
        if isinstance(step.action, RunCheck)
    }
    entries = {entry.id: entry for entry in (*checklist.distinct_checks, *steps.values())}
    check_ids: set[CheckId] = set()
    for name in names:
        if section := checklist.section(name):
            lines = [entries[line.canonical_id] for line in section.checks]
            check_ids |= {entry.id for entry in lines if entry.kind not in IN_A_RELEASE}
        elif line := checklist.check(name):
            check_ids.add(line.canonical_id)
        elif name in steps:
            check_ids.add(CheckId(name))
        else:
            names_of_all = [*entries, *(section.id for section in checklist.sections)]
            sections = ", ".join(section.id for section in checklist.sections)
            raise ChecklistError(
                f"{checklist.id} has no check or section {name!r}{did_you_mean(name, names_of_all)}",
                hint=f"Sections: {sections}.",
            )
    while new_ids := {need for check_id in check_ids for need in entries[check_id].needs} - check_ids:
        check_ids |= new_ids
    return tuple(entry for check_id, entry in entries.items() if check_id in check_ids)
