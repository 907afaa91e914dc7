"""Asks one question of a checklist, whoever wants to know: a release, or a person at a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from bot.domain.checklist import Check
from bot.domain.ids import CheckId, ReleaseId
from bot.flows.deps import Asking, Recording
from bot.flows.undo import run_of
from bot.store.pool import Hold
from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Subject, UndoLedger
from checks.registry import RegistryError
from checks.runner import run_check
from clients.connections import Clients

TERMINAL = "release-bot check "  # how a run at a terminal is called, with the id of the check


def answer(
    deps: Asking,
    entry: Check,
    *,
    undo: UndoLedger,
    subject: Subject,
    needs: Mapping[str, Mapping[str, Any]],
    cancelled: threading.Event,
    progress: Callable[[str], None],
    held: ExitStack,
    hold: Hold,
) -> Answer:
    """Ask, and return what was found out: cut, redacted, and ERROR where it could not be asked. Never raises for that.

    ``needs``: check id -> data of the checks that it needs, all of which passed. ``held``: what the run has in use, ``hold``
    among it; where the check does not stop in time it is left to the check, and ``held`` is empty then.
    """
    target = deps.targets.get(entry.target)
    if target is None:
        hint = f"Set targets.{entry.target} in release-bot.yml."
        return not_asked(entry, f"there is no target {entry.target}", hint)
    try:
        kind = deps.registry.get(entry.kind)
        params = deps.registry.validate(entry.kind, entry.params)
    except RegistryError as error:
        return not_asked(entry, str(error), "")
    context = CheckContext(
        check=entry.id,
        target=target,
        clients=held.enter_context(Clients(target)),
        undo=undo,
        subject=subject,
        needs=needs,
        deadline=time.monotonic() + (entry.timeout or kind.timeout),
        cancelled=cancelled,
        progress=progress,
    )
    result = run_check(kind, params, context, redact=deps.clean, held=held)
    if result.stopped:
        return result.answer
    hold.outlives()
    if not hold.by.startswith(TERMINAL) or not (kind.mutates or kind.touches or kind.reads):
        return result.answer
    left = " What it changed is put back by the bot, or by its next run." if kind.mutates else ""
    return replace(result.answer, hint=f"It ends with this command.{left}")


def kind_of(deps: Asking, entry: Check) -> Kind | None:
    """The kind of a check; None when there is none of that name, which is answered as ERROR."""
    try:
        return deps.registry.get(entry.kind)
    except RegistryError:
        return None


class InUse(NamedTuple):
    """What a check has in use while it runs: alone, or beside others that only look at it."""

    alone: frozenset[str]
    shared: frozenset[str]

    def apart_from(self, other: InUse) -> bool:
        """Whether the two must not run at the same time."""
        return bool(self.alone & (other.alone | other.shared) or self.shared & other.alone)


def in_use(deps: Asking, entry: Check) -> InUse:
    """What the check has in use, by names in the store."""
    kind = kind_of(deps, entry)
    alone, shared = (kind.touches, kind.reads) if kind is not None else ((), ())
    return InUse(*(frozenset(f"{entry.target}/{name}" for name in names) for names in (alone, shared)))


@contextmanager
def holding(deps: Recording, entry: Check, release_id: ReleaseId | None, by: str) -> Iterator[tuple[Hold, list[str]]]:
    """Hold what the check has in use and, where it may owe something, its own run; beside it, who did not stop and has it."""
    kind, used = kind_of(deps, entry), in_use(deps, entry)
    alone = used.alone | ({run_of(release_id, entry.id)} if kind is not None and kind.mutates else set())
    with deps.store.exclusive(alone, shared=used.shared, by=by) as hold:
        yield hold, [] if hold else deps.store.outlived(alone | used.shared)


def patience(deps: Asking, entry: Check) -> timedelta:
    """How long a check waits for one that did not stop: as long as it may take itself."""
    kind = kind_of(deps, entry)
    return timedelta(seconds=entry.timeout or (kind.timeout if kind else 0.0))


def waits_for(holders: Sequence[str]) -> str:
    """What a check waits for, in a line for people."""
    return f"waits for {', '.join(holders)}, which did not stop in time"


def held_up(entry: Check, holders: Sequence[str]) -> Answer:
    """The answer where another check has what this one needs, and neither ends nor lets go of it."""
    names = ", ".join(holders)
    if set(holders) == {entry.id}:
        why = "not run: its last run did not stop, and still has in use what it needs"
    else:
        why = f"not run: {names} did not stop, and still has in use what this check needs"
    commands = [name for name in holders if name.startswith(TERMINAL)]
    what = f"End `{commands[0]}` at its terminal" if commands else "Restart the bot"
    return not_asked(entry, why, f"{what}: that ends {names}, and what it changed is put back. Then run this again.")


def not_run(entry: Check, needed: CheckId, outcome: Outcome | None, *, then: str) -> Answer:
    """The answer where something that it needs has not passed; ``then``: what happens once that does."""
    return not_asked(
        entry, f"not run: it needs {needed}, which is {outcome or 'not run'}", f"Make {needed} pass first; {then}."
    )


def still_in_debt(entry: Check, debts: Sequence[str]) -> Answer:
    """The answer where an earlier run has left something changed that cannot be put back yet."""
    hint = "The bot tries again every few seconds. Make that system answer, then run the check again."
    return not_asked(entry, f"not run: an earlier run could not put back yet: {', '.join(debts)}", hint)


def not_asked(entry: Check, why: str, hint: str) -> Answer:
    """ERROR with no evidence: nobody was asked."""
    evidence = Evidence(entry.action or entry.title, entry.expected, "nothing: it was not run")
    return Answer(Outcome.ERROR, why, evidence, hint=hint)
