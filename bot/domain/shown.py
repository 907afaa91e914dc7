"""Shown: a plan as people have seen it, its digest, and in what another look at it differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.domain.ids import StepId
from bot.domain.model import digest_of
from bot.domain.plan import Mutation

Shown = Mapping[StepId, Sequence[Mutation] | None]  # by step of the deploy: what it changes; None: nobody could say
NAMED = 8  # differences that a message names


def body(plan: Shown) -> dict[str, Any]:
    """As JSON, of the steps that change something; ``of`` reads it back."""
    told = {step: None if changes is None else [change.body for change in changes] for step, changes in plan.items()}
    return {step: changes for step, changes in told.items() if changes != []}


def of(stored: Mapping[str, Any]) -> Shown:
    """Read what ``body`` gave."""
    return {
        StepId(step): None if changes is None else tuple(Mutation.of(change) for change in changes)
        for step, changes in stored.items()
    }


def digest(plan: Shown) -> str:
    """The same for the same changes of the same steps."""
    return digest_of(body(plan))


def differences(shown: Shown, now: Shown) -> list[str]:
    """In what the steps of ``now`` are not as they were shown, one line a change; empty: in nothing.

    A step that is not in ``now`` is none of them, nor one that nobody can say anything of.
    """
    return [
        line for step, changes in now.items() if changes is not None for line in _unlike(shown.get(step) or (), changes)
    ]


def listed(lines: Sequence[str]) -> Sequence[str]:
    """As many of the ``lines`` as a message names, and how many more there are."""
    more = len(lines) - NAMED
    return [*lines[:NAMED], f"and {more} more"] if more > 0 else lines


def _unlike(shown: Sequence[Mutation], now: Sequence[Mutation]) -> Iterator[str]:
    was = {change.what: change for change in shown}
    for change in now:
        old = was.pop(change.what, None)
        if old is None:
            yield f"{change.what}: {_values(change)} (not shown)"
        elif _values(old) != _values(change):
            yield f"{change.what}: {_values(change)} (shown: {_values(old)})"
        elif old != change:
            yield f"{change.what}: {change.back} (shown: {old.back})"
    for old in was.values():
        yield f"{old.what}: no change any more (shown: {_values(old)})"


def _values(change: Mutation) -> str:
    return f"{change.now or 'nothing'} → {change.after}"
