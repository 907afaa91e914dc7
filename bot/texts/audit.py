"""What is wrong with a record that does not verify."""

from __future__ import annotations

from bot.domain.audit import Break, Clue

_CLUES = {
    Clue.OTHER_HASH: "another hash was announced for it: it was written anew",
    Clue.WRONG_HASH: "its hash does not fit what it says",
    Clue.NOT_CHAINED: "it is not chained to the row before it: one of the two was changed",
    Clue.OTHER_ROW: "row {found} is in its place",
    Clue.LATER_ROW: "a later row belongs in its place",
    Clue.GAP: "the next row that is there is {found}",
    Clue.RENUMBERED: "it was taken out, and the rows behind it were renumbered",
    Clue.END_MISSING: "rows up to {found} were announced, the record ends at {last}",
    Clue.HEAD_MISSING: "no row has the head {found}: rows were cut off, or all written anew",
}


def break_text(broken: Break) -> str:
    """The fault and by what it shows, as a clause without a full stop."""
    return f"{broken.fault}: {_CLUES[broken.clue].format(found=broken.found, last=broken.seq - 1)}"
