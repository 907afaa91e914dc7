"""Shows the progress of checks, as a live table on a terminal or else as plain lines, and single answers in full."""

from __future__ import annotations

import shutil
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from bot.domain.checklist import Check
from bot.domain.results import RunState
from bot.flows.local_run import CheckProgress
from checks.contract import Answer, Outcome

STOPPING = "Stopping once every change is put back. Press Ctrl-C again to leave that to the bot."
REDRAW = 0.1  # seconds between two drawings at least
MARKS = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.ERROR: "!", Outcome.INCONCLUSIVE: "?"}
_CLEAR = "\x1b[J"  # ECMA-48: erase to the end of the screen
_UP = "\x1b[{}F"  # ECMA-48: to the beginning of the line that many lines up


class Board:
    """The checks of one run, in order. Its methods may be called from any thread.

    ``live``: the output is a terminal, whose lines can be overwritten. Once ``cancelled`` is set, the table says so. The table
    of a single check is removed at the end, because its answer is shown in full.
    """

    def __init__(self, entries: Sequence[Check], out: TextIO, *, live: bool, cancelled: threading.Event) -> None:
        self._entries, self._out, self._live, self._cancelled = tuple(entries), out, live, cancelled
        self._wide = max((len(entry.id) for entry in entries), default=0)
        self._lock = threading.Lock()
        self._drawn, self._drawn_at = 0, 0.0  # lines, and time.monotonic()
        self._states: dict[str, CheckProgress] = {entry.id: CheckProgress() for entry in entries}

    def tell(self, entry: Check, progress: CheckProgress) -> None:
        """Store the progress of a check; without a terminal, print its line once it has an answer."""
        with self._lock:
            self._states[entry.id] = progress
            if not self._live and progress.answer is not None and len(self._entries) > 1:
                self._write([self._row(entry, width=0)])

    def tick(self) -> None:
        """Draw the table again if the last drawing is old enough."""
        with self._lock:
            if self._live and time.monotonic() - self._drawn_at >= REDRAW:
                self._draw(self._screen())

    def finish(self) -> None:
        """Draw the whole table for the last time, and leave it on the terminal."""
        with self._lock:
            if self._live:
                whole = [self._row(entry, width=_columns()) for entry in self._entries]
                self._draw(whole if len(whole) > 1 else [])
                self._drawn = 0

    def _screen(self) -> list[str]:
        """Return the lines of the table that fit: every check, or only those that run, and a last line with the count."""
        rows = [self._row(entry, width=_columns()) for entry in self._entries]
        room = shutil.get_terminal_size().lines - 2
        if len(rows) > room:
            rows = [self._row(entry, width=_columns()) for entry in self._entries if self._is_running(entry)][:room]
        answer_count = sum(state.answer is not None for state in self._states.values())
        foot = (
            STOPPING
            if self._cancelled.is_set()
            else f"{answer_count} of {len(self._entries)} done. Press Ctrl-C to stop."
        )
        return [*rows, foot[: _columns()]]

    def _is_running(self, entry: Check) -> bool:
        return self._states[entry.id].run_state is RunState.RUNNING

    def _draw(self, lines: list[str]) -> None:
        self._out.write((_UP.format(self._drawn) if self._drawn else "") + _CLEAR)
        self._write(lines)
        self._drawn, self._drawn_at = len(lines), time.monotonic()

    def _write(self, lines: list[str]) -> None:
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()

    def _row(self, entry: Check, *, width: int) -> str:
        """Return one check as a line of at most ``width`` characters; 0: without a limit."""
        state = self._states[entry.id]
        if state.answer is not None:
            mark, word, text = MARKS[state.answer.outcome], str(state.answer.outcome), state.answer.summary
            seconds = state.seconds
        elif state.run_state is RunState.RUNNING:
            mark, word, text, seconds = "…", "running", state.line, time.monotonic() - state.start
        else:
            mark, word, text, seconds = "·", "waiting", state.line, 0.0
        timing = f"{seconds:6.1f} s" if seconds else " " * 8
        line = f"{mark} {word:<12} {entry.id:<{self._wide}} {timing}  {text}".rstrip()
        return line if not width or len(line) <= width else f"{line[: width - 1]}…"


def _columns() -> int:
    return shutil.get_terminal_size().columns


def in_full(entry: Check, progress: CheckProgress, *, attachment: bool = True) -> Iterator[str]:
    """Return one check with its evidence as lines."""
    answer = progress.answer
    if answer is None:
        return
    yield f"{MARKS[answer.outcome]} {answer.outcome}  {entry.id}  {entry.title}  ({progress.seconds:.1f} s on {entry.target})"
    yield f"  {answer.summary}"
    for name, text in _evidence(answer):
        yield from textwrap.indent(text, " " * 12).replace(" " * 12, f"  {name:<10}", 1).splitlines()
    if attachment and answer.evidence.attachment:
        yield f"  {answer.evidence.attachment_name or 'attachment'}:"
        yield from textwrap.indent(answer.evidence.attachment, "    ").splitlines()
    if answer.hint:
        yield f"  {'to do':<10}{answer.hint}"


def _evidence(answer: Answer) -> list[tuple[str, str]]:
    evidence = answer.evidence
    labelled_texts = [("asked", evidence.asked), ("expected", evidence.expected), ("seen", evidence.seen)]
    return [(name, text) for name, text in labelled_texts if text.strip()]


def as_json(entry: Check, progress: CheckProgress) -> dict[str, Any]:
    """One check as JSON values."""
    answer = progress.answer
    if answer is None:
        return {"check": entry.id, "outcome": None}
    evidence = answer.evidence
    return {
        "check": entry.id,
        "title": entry.title,
        "kind": entry.kind,
        "target": entry.target,
        "outcome": str(answer.outcome),
        "summary": answer.summary,
        "hint": answer.hint,
        "seconds": round(progress.seconds, 3),
        "asked": evidence.asked,
        "expected": evidence.expected,
        "seen": evidence.seen,
        "attachment": evidence.attachment,
        "attachment_name": evidence.attachment_name,
        "data": dict(answer.data),
    }
