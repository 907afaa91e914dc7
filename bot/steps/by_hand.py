"""Done by hand: what a person says to have done is so where nothing of it is left to be changed."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.plan import Mutation
from bot.errors import Contradicted


def refuse_remaining_changes(changes: Sequence[Mutation]) -> None:
    """Raise Contradicted, with what is seen and what is wanted, where a step would still have to make ``changes``."""
    if changes:
        differences = "; ".join(
            f"{change.what} is {change.now or 'not there'}, not {change.after}" for change in changes
        )
        raise Contradicted(differences, hint="Do the rest, or retry the step.")
