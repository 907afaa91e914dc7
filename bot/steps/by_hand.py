"""Confirms a step that a person did by hand: the step itself would have nothing left to change."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.plan import Mutation
from bot.errors import Contradicted


def refuse_remaining_changes(changes: Sequence[Mutation]) -> None:
    """Raise Contradicted, with what is there and what should be, if a step would still have to make ``changes``."""
    if changes:
        differences = "; ".join(
            f"{change.what} is {change.now or 'not there'}, not {change.after}" for change in changes
        )
        raise Contradicted(differences, hint="Do the rest, or retry the step.")
