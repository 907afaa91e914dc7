"""Asks one question of a checklist, whoever wants to know: a release, or a person at a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.domain.checklist import Check
from bot.domain.ids import CheckId
from bot.flows.deps import Asking
from checks.clients import Clients
from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Subject, UndoLog
from checks.registry import RegistryError
from checks.runner import run_check


def answer(
    deps: Asking,
    entry: Check,
    *,
    undo: UndoLog,
    subject: Subject,
    needs: Mapping[str, Mapping[str, Any]],
    cancelled: threading.Event,
    progress: Callable[[str], None],
) -> Answer:
    """Ask, and return what was found out: cut, redacted, and ERROR where it could not be asked. Never raises for that.

    ``needs``: check id -> data of the checks that it needs, all of which passed.
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
    with Clients(target) as clients:
        context = CheckContext(
            check=entry.id,
            target=target,
            clients=clients,
            undo=undo,
            subject=subject,
            needs=needs,
            deadline=time.monotonic() + (entry.timeout or kind.timeout),
            cancelled=cancelled,
            progress=progress,
        )
        return run_check(kind, params, context, redact=deps.clean).answer


def kind_of(deps: Asking, entry: Check) -> Kind | None:
    """The kind of a check; None when there is none of that name, which is answered as ERROR."""
    try:
        return deps.registry.get(entry.kind)
    except RegistryError:
        return None


def touched(deps: Asking, entry: Check) -> set[str]:
    """What no other check may use at the same time."""
    kind = kind_of(deps, entry)
    return {f"{entry.target}/{name}" for name in kind.touches} if kind else set()


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
