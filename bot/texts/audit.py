"""What is wrong with a record that does not verify."""

from __future__ import annotations

from bot.domain.audit import Clue, RecordBreak

_CLUES = {
    Clue.OTHER_HASH: "another hash was announced for it: it was rewritten",
    Clue.WRONG_HASH: "its hash doesn't match its content",
    Clue.NOT_CHAINED: "it isn't chained to the row before it: one of the two was changed",
    Clue.OTHER_ROW: "row {detail} is in its place",
    Clue.LATER_ROW: "a later row belongs in its place",
    Clue.GAP: "the next row that is there is {detail}",
    Clue.RENUMBERED: "it was removed, and later rows were renumbered",
    Clue.END_MISSING: "rows up to {detail} were announced, the record ends at {last}",
    Clue.HEAD_MISSING: "no row has the head {detail}: rows were cut off, or all were rewritten",
}


def break_text(record_break: RecordBreak) -> str:
    """The fault and by what it shows, as a clause without a full stop."""
    return f"{record_break.fault}: {_CLUES[record_break.clue].format(detail=record_break.detail, last=record_break.seq - 1)}"
