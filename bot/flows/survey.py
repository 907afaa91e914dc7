"""Asks checks of a checklist without a release: side by side, what they need first, and all put back at the end."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from bot.domain.actions import RunCheck
from bot.domain.checklist import IN_A_RELEASE, Check, Checklist
from bot.domain.ids import CheckId
from bot.errors import ChecklistError, DatabaseError
from bot.flows import question
from bot.flows.allowance import spend, used_up
from bot.flows.check import BUSY
from bot.flows.deps import Asking, Recording
from bot.flows.undo import StoredUndoLedger, run_of, settle_debts, settle_orphans, unsettled
from bot.store.pool import Hold
from bot.store.undos import UndoOrigin
from checks.contract import Answer, CheckError, Outcome, Subject
from checks.spelling import did_you_mean

LOOK = 0.2  # seconds between two looks at what may begin now and at whether to stop
NO_RECORD = "the bot's database is needed to write down what must be put back"

logger = logging.getLogger(__name__)


class Progress(NamedTuple):
    """How far one check is. Nothing set: it has not begun."""

    begun: float = 0.0  # time.monotonic()
    line: str = ""  # what it is doing or waiting for
    answer: Answer | None = None
    seconds: float = 0.0  # that it took


class Survey:
    """One run of some checks.

    ``deps``: a Recording keeps debts, what is in use and what is used up in the bot's database, so that a bot which runs
    at the same time keeps out of the way. With plain Asking a check that changes data is not run: ERROR.
    ``entries``: with all that they need, as `chosen` gives them. ``tell`` hears of every change, in any thread; ``tick``
    is called some times a second. ``cancelled``: set it, and what runs is told to stop, the rest does not begin.
    """

    def __init__(
        self,
        deps: Asking,
        entries: Iterable[Check],
        *,
        tell: Callable[[Check, Progress], None],
        tick: Callable[[], None] = lambda: None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._deps, self._entries = deps, tuple(entries)
        self._tell, self._tick = tell, tick
        self._cancelled = cancelled or threading.Event()
        self._progress = {entry.id: Progress() for entry in self._entries}
        self._ended: queue.SimpleQueue[tuple[Check, BaseException | None]] = queue.SimpleQueue()
        self._fault: BaseException | None = None

    def run(self) -> dict[CheckId, Progress]:
        """Ask them all; every one has an answer then. Raises what is a fault of the bot itself, once all have ended."""
        if isinstance(self._deps, Recording):
            settle_orphans(self._deps)  # of an earlier run that was killed
        waiting, running = list(self._entries), list[Check]()
        while waiting or running:
            for entry in list(waiting):
                if self._answered_unasked(entry):
                    waiting.remove(entry)
                elif self._may_begin(entry, running):
                    waiting.remove(entry)
                    running.append(entry)
                    threading.Thread(target=self._thread, args=[entry], name=entry.id, daemon=True).start()
            self._tick()
            if running:
                self._await(running)
        if self._fault is not None:
            raise self._fault
        return self._progress

    def put_back(self) -> list[str]:
        """Try again to put back what these checks could not; returns what is still as they left it."""
        if not isinstance(self._deps, Recording):
            return []
        left = []
        for entry in self._entries:
            kind = question.kind_of(self._deps, entry)
            if kind is not None and kind.mutates:
                with self._deps.store.exclusive([run_of(None, entry.id)], by=f"{question.TERMINAL}{entry.id}") as free:
                    left += (settle_debts if free else unsettled)(self._deps, None, entry.id)
        return left

    def _await(self, running: list[Check]) -> None:
        """Wait a moment for one to end."""
        try:
            entry, fault = self._ended.get(timeout=LOOK)
        except queue.Empty:
            return
        running.remove(entry)
        if fault is not None:
            self._fault = self._fault or fault
            self._cancelled.set()

    def _answered_unasked(self, entry: Check) -> bool:
        """Whether it got its answer because nobody is to be asked any more: cancelled, or a needed one did not pass."""
        if self._cancelled.is_set():
            self._answered(entry, question.not_asked(entry, "cancelled before it began", ""))
            return True
        for needed in entry.needs:
            answer = self._progress[needed].answer
            if answer is not None and answer.outcome is not Outcome.PASS:
                self._answered(entry, question.not_run(entry, needed, answer.outcome, then="then run this one again"))
                return True
        return False

    def _may_begin(self, entry: Check, running: list[Check]) -> bool:
        wanted = question.in_use(self._deps, entry)
        free = not any(wanted.apart_from(question.in_use(self._deps, other)) for other in running)
        return free and all(self._progress[needed].answer is not None for needed in entry.needs)

    def _thread(self, entry: Check) -> None:
        try:
            begun = time.monotonic()
            self._set(entry, Progress(begun=begun))
            answer = self._ask(entry)
            self._set(entry, Progress(begun=begun, answer=answer, seconds=time.monotonic() - begun))
        # The seam of the threads: a fault of the bot must reach the person, not end in a thread that nobody hears.
        except BaseException as fault:  # noqa: BLE001  raised again in run()
            self._ended.put((entry, fault))
        else:
            self._ended.put((entry, None))

    def _ask(self, entry: Check) -> Answer:
        deps, by = self._deps, f"{question.TERMINAL}{entry.id}"
        if not isinstance(deps, Recording):
            kind = question.kind_of(deps, entry)
            if kind is not None and kind.mutates:
                return question.not_asked(entry, f"not run: {NO_RECORD}", "")
            with ExitStack() as held:
                return self._answer(entry, _RefusingLedger(), held, Hold(None, by))
        try:
            while not self._cancelled.is_set():
                with ExitStack() as held:
                    hold, holders = held.enter_context(question.holding(deps, entry, None, by))
                    if holders and self._waited(entry):
                        return question.held_up(entry, holders)
                    wait = self._why_wait(deps, entry) if hold else (BUSY.total_seconds(), _waits_for(holders))
                    if wait is None:
                        return self._ask_alone(deps, entry, held, hold)
                self._set(entry, self._progress[entry.id]._replace(line=wait[1]))
                self._cancelled.wait(wait[0])
        except DatabaseError as error:
            return question.not_asked(entry, error.user_message, error.hint)
        return question.not_asked(entry, "cancelled before it began", "")

    def _waited(self, entry: Check) -> bool:
        """Whether it has waited for as long as it may take itself."""
        seconds = time.monotonic() - self._progress[entry.id].begun
        return seconds >= question.patience(self._deps, entry).total_seconds()

    def _why_wait(self, deps: Recording, entry: Check) -> tuple[float, str] | None:
        """Seconds and reason when what it uses up is used up; else it is counted as used once more."""
        kind = question.kind_of(deps, entry)
        if kind is None:
            return None  # answered as ERROR
        with deps.store.transaction() as tx:
            until = spend(tx, deps, kind, entry.target)
        if until is None:
            return None
        seconds = max(LOOK, (until - deps.clock.now()).total_seconds())
        return seconds, f"{used_up(kind, entry.target, until)}, then it goes on by itself"

    def _ask_alone(self, deps: Recording, entry: Check, held: ExitStack, hold: Hold) -> Answer:
        if debts := settle_debts(deps, None, entry.id):
            return question.still_in_debt(entry, debts)
        origin = UndoOrigin(None, entry.id, entry.kind, entry.target, deps.store.instance)
        return self._answer(entry, StoredUndoLedger(deps, origin), held, hold)

    def _answer(self, entry: Check, undo: _RefusingLedger | StoredUndoLedger, held: ExitStack, hold: Hold) -> Answer:
        needs: dict[str, Mapping[str, Any]] = {
            needed: answer.data for needed in entry.needs if (answer := self._progress[needed].answer) is not None
        }
        return question.answer(
            self._deps,
            entry,
            undo=undo,
            subject=Subject(),
            needs=needs,
            cancelled=self._cancelled,
            progress=lambda line: self._set(
                entry, self._progress[entry.id]._replace(line=self._deps.clean(" ".join(line.split())))
            ),
            held=held,
            hold=hold,
        )

    def _answered(self, entry: Check, answer: Answer) -> None:
        self._set(entry, Progress(answer=answer))

    def _set(self, entry: Check, progress: Progress) -> None:
        self._progress[entry.id] = progress
        self._tell(entry, progress)


def _waits_for(holders: list[str]) -> str:
    return question.waits_for(holders) if holders else "waits for the running bot"


class _RefusingLedger:
    """The UndoLedger of a check that changes nothing: it refuses."""

    def record(self, what: str, payload: Mapping[str, Any]) -> str:  # noqa: ARG002  part of the protocol
        """Raise CheckError: a kind that has something to put back says mutates."""
        raise CheckError(f"{what} is not changed: the kind has not said that it changes data")

    def settle(self, undo_id: str) -> None:
        """Nothing was recorded."""


def chosen(checklist: Checklist, names: Iterable[str]) -> tuple[Check, ...]:
    """The checks of these ids, sections and asking steps, and all that they need, in the order of the file.

    Lines that only a release has answered are left out of sections. Raises ChecklistError for a name that is not there.
    """
    steps = {
        step.id: _of_step(step.id, step.title, step.action)
        for step in (*checklist.deploy, *checklist.rollback)
        if isinstance(step.action, RunCheck)
    }
    asked = {entry.id: entry for entry in (*checklist.asked, *steps.values())}
    wanted: set[CheckId] = set()
    for name in names:
        if section := checklist.section(name):
            lines = [asked[line.asked_as] for line in section.checks]
            wanted |= {entry.id for entry in lines if entry.kind not in IN_A_RELEASE}
        elif line := checklist.check(name):
            wanted.add(line.asked_as)
        elif name in steps:
            wanted.add(CheckId(name))
        else:
            known = [*asked, *(section.id for section in checklist.sections)]
            sections = ", ".join(section.id for section in checklist.sections)
            raise ChecklistError(
                f"{checklist.id} has no check or section {name!r}{did_you_mean(name, known)}",
                hint=f"Sections: {sections}.",
            )
    while more := {needed for check_id in wanted for needed in asked[check_id].needs} - wanted:
        wanted |= more
    return tuple(entry for check_id, entry in asked.items() if check_id in wanted)


def _of_step(step_id: str, title: str, action: RunCheck) -> Check:
    values = action.model_dump(include={"kind", "target", "params", "timeout"})
    return Check(id=CheckId(step_id), title=title, **values)
