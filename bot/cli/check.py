"""`release-bot check`: asks checks of the checklist from a terminal, with no Slack and no release."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bot.app import build_target_deps, load_checklist, load_registry
from bot.cli.board import STOPPING, Board, as_json, in_full
from bot.cli.terminal import Commands, database, load_configuration, put, say
from bot.domain.checklist import IN_A_RELEASE, Check, Checklist
from bot.domain.ids import CheckId
from bot.errors import ChecklistError, DatabaseError
from bot.flows.check_run import requirements_of
from bot.flows.deps import StoreDeps, TargetDeps
from bot.flows.local_run import CheckProgress, LocalRun, select_checks
from bot.settings import Settings
from bot.store.migrate import list_missing, migrate
from checks.contract import Outcome

EXIT_FAIL = 1  # known bad
EXIT_UNKNOWN = 2  # could not find out, or a person has to say; also a wrong command line
EXIT_INTERRUPTED = 130


def add_to(commands: Commands) -> None:
    """Add the command."""
    check = commands.add_parser("check", help="run checks from the terminal, without Slack or a release")
    check.add_argument(
        "names", nargs="*", metavar="ID", help="id of a check, of a section, or of a step that runs a check"
    )
    check.add_argument("--all", action="store_true", help="run every check that the bot can answer")
    check.add_argument("--json", action="store_true", help="print the answers as one JSON document at the end")
    check.add_argument("--checklist", metavar="FILE", help="use this checklist, not the configured one")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    settings, redactor = load_configuration(options)
    registry = load_registry()
    checklist = load_checklist(options.checklist or settings.checklist, registry)
    entries = _select(options, checklist)
    out = sys.stderr if options.json else sys.stdout
    start = time.monotonic()
    with (
        _stop_event(silent=out.isatty()) as cancelled,
        _with_store(settings, build_target_deps(settings, registry, redactor.scrub), entries) as deps,
    ):
        board = Board(entries, out, live=out.isatty(), cancelled=cancelled)
        local_run = LocalRun(deps, entries, tell=board.tell, tick=board.tick, cancelled=cancelled)
        progress = local_run.run()
        leftovers = local_run.undo()
    board.finish()
    if options.json:
        put(json.dumps({"checks": [as_json(entry, progress[entry.id]) for entry in entries]}, ensure_ascii=False))
    else:
        _print(entries, progress, time.monotonic() - start)
        if options.all and (others := sum(entry.kind in IN_A_RELEASE for entry in checklist.distinct_checks)):
            put(f"Not counted: {others} more, which a release answers by people or by its announcement.")
    for what in leftovers:
        say(f"release-bot: not put back yet: {what}. The bot tries again, as does the next run of this check.")
    if cancelled.is_set():
        return EXIT_INTERRUPTED
    return EXIT_UNKNOWN if leftovers else _exit_code(progress.values())


def _select(options: argparse.Namespace, checklist: Checklist) -> tuple[Check, ...]:
    """The checks that the command line asks for. Raises ChecklistError when that makes no sense."""
    sections = [section.id for section in checklist.sections]
    if options.all == bool(options.names):
        what = "Use either names or --all, not both." if options.all else "Name checks or sections, or use --all."
        raise ChecklistError(what, hint=f"Sections of {checklist.id}: {', '.join(sections)}.")
    entries = select_checks(checklist, sections if options.all else options.names)
    if not entries:
        raise ChecklistError(
            "That can be answered only in a release.", hint="Start one: there people attest, and the bot announces it."
        )
    return entries


@contextmanager
def _with_store(settings: Settings, deps: TargetDeps, entries: Sequence[Check]) -> Iterator[TargetDeps]:
    """Provide ``deps`` with the bot's database if a check changes data or may disturb a running bot; else unchanged."""
    requirements = [requirements_of(deps, entry) for entry in entries]
    shares = any(one.resources or one.allowances for one in requirements)
    is_there = settings.database_url is not None or (Path(settings.data_dir) / "postgres").exists()
    with ExitStack() as stack:
        if any(one.mutates for one in requirements) or (shares and is_there):
            try:
                store = stack.enter_context(database(settings))
                if settings.database_url is None:
                    migrate(store)
                elif list_missing(store):
                    raise DatabaseError("The bot's database is not up to date.", hint="Run: release-bot migrate")
                store.join()
            except DatabaseError as error:
                say(f"release-bot: {error.user_message} {error.hint}".rstrip())
                say("  Checks that change data are skipped: the bot couldn't record what they change.")
            else:
                yield StoreDeps(**vars(deps), store=store)
                return
        yield deps


@contextmanager
def _stop_event(*, silent: bool) -> Iterator[threading.Event]:
    """Provide an event that the first Ctrl-C or SIGTERM sets; a second one ends the process. ``silent``: print nothing then."""
    cancelled = threading.Event()

    def stop(*_: object) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        cancelled.set()
        if not silent:
            say(STOPPING)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(entries: Sequence[Check], progress: Mapping[CheckId, CheckProgress], seconds: float) -> None:
    """Print the result: the answer of a single check in full, else all that are not PASS, and the counts."""
    alone = len(entries) == 1
    for entry in entries:
        answer = progress[entry.id].answer
        if alone or (answer is not None and answer.outcome is not Outcome.PASS):
            put("\n".join(["", *in_full(entry, progress[entry.id], attachment=alone)][alone:]))
    if not alone:
        counts = Counter(state.answer.outcome for state in progress.values() if state.answer is not None)
        put(f"\n{', '.join(f'{number} {outcome}' for outcome, number in counts.most_common())} in {seconds:.1f} s.")


def _exit_code(progress: Iterable[CheckProgress]) -> int:
    outcomes = {state.outcome for state in progress if state.outcome is not None}
    if Outcome.FAIL in outcomes:
        return EXIT_FAIL
    return 0 if outcomes == {Outcome.PASS} else EXIT_UNKNOWN
