"""How a plan differs from the one that people saw, and what a rollback leaves in place."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.plan import Doubt, LastingChange, Mutation, PlanDifference

MAX_LINES = 8  # differences that a message names
_DOUBTS = {
    Doubt.BY_HAND: "unknown, because it was done by hand: check first",
    Doubt.UNSEEN: "unknown whether it was done: check first",
    Doubt.RUNNING: "may still be running: nobody saw its end. A rollback waits for it and doesn't stop it:"
    " half a migration is worse than a whole one",
}
_IF_SO = {Doubt.BY_HAND: "As planned", Doubt.UNSEEN: "If it was"}


def list_differences(differences: Sequence[PlanDifference]) -> list[str]:
    """The first `MAX_LINES` of them, a clause each, and one that counts the others."""
    more = len(differences) - MAX_LINES
    return [*map(_difference_text, differences[:MAX_LINES]), *([f"and {more} more"] if more > 0 else [])]


def _difference_text(difference: PlanDifference) -> str:
    match (difference.before, difference.current):
        case (None, Mutation() as new):
            return f"{new.what}: {_values(new)} (not shown)"
        case (Mutation() as old, Mutation() as new) if _values(old) == _values(new):
            return f"{new.what}: {new.back} (shown: {old.back})"
        case (Mutation() as old, Mutation() as new):
            return f"{new.what}: {_values(new)} (shown: {_values(old)})"
        case (Mutation() as old, None):
            return f"{old.what}: no longer changes (shown: {_values(old)})"
    raise ValueError(difference)


def _values(change: Mutation) -> str:
    return f"{change.now or 'nothing'} → {change.after}"


def lasting_text(change: LastingChange) -> str:
    """What becomes of it in a rollback, as a clause without its full stop."""
    if change.doubt is None:
        return change.back
    words = _DOUBTS[change.doubt]
    return f"{words}. {_IF_SO[change.doubt]}, it {change.back}" if change.back else words
