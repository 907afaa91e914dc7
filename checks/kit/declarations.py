"""What a migration file of the product says of itself: ``-- migration: additive`` in its first lines."""

from __future__ import annotations

import re
from enum import StrEnum

_DECLARATION = re.compile(r"^--\s*migration:\s*([a-z]+)", re.MULTILINE | re.IGNORECASE)
_HEAD = 2_000  # characters at the top of a file in which the declaration stands
HOW_TO_DECLARE = "Put `-- migration: additive`, `reversible` or `breaking` into its first lines."


class MigrationKind(StrEnum):
    """What a migration does to what runs now."""

    ADDITIVE = "additive"  # what runs now works with it
    REVERSIBLE = "reversible"  # what runs now works with it, and it can be taken back by hand
    BREAKING = "breaking"  # what runs now may not work with it


def declared(text: str) -> MigrationKind | None:
    """What the ``text`` of a file declares; None when it says nothing or something unknown."""
    match = _DECLARATION.search(text[:_HEAD])
    word = match[1].lower() if match else ""
    return MigrationKind(word) if word in set(MigrationKind) else None
