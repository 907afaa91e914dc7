"""AuditEvent: one append-only line, chained by hash to the one before it; and what is wrong with a chain (promise P9)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from bot.domain.model import canonical, digest_of

GENESIS = "0" * 64  # what the first row is chained to
_MAX_RENUMBERING = 1_000  # rows that may have been taken out and closed up for this still to be recognised


@dataclass(frozen=True)
class AuditEvent:
    """One line of the record."""

    seq: int
    at: datetime
    actor: str  # Slack user id, or system
    event: str  # a name of `bot.domain.events`
    release: int | None
    body: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True)
class Head:
    """The newest row at some moment. Its hash stands for every row up to it."""

    seq: int | None  # None: only the hash is known, as when a person copied it
    hash: str


class RecordFault(StrEnum):
    """What can be wrong with a record."""

    CHANGED = "changed"
    MISSING = "missing"
    REORDERED = "reordered"
    TRUNCATED = "truncated"


class Clue(StrEnum):
    """By what a fault shows. The words are in `bot/texts/audit.py`."""

    OTHER_HASH = "other hash"  # than was announced
    WRONG_HASH = "wrong hash"  # for what the row says
    NOT_CHAINED = "not chained"
    OTHER_ROW = "other row"  # is in its place
    LATER_ROW = "later row"  # is chained to the row before it
    GAP = "gap"
    RENUMBERED = "renumbered"
    END_MISSING = "end missing"
    HEAD_MISSING = "head missing"


_FAULTS = {
    Clue.OTHER_HASH: RecordFault.CHANGED,
    Clue.WRONG_HASH: RecordFault.CHANGED,
    Clue.NOT_CHAINED: RecordFault.CHANGED,
    Clue.OTHER_ROW: RecordFault.REORDERED,
    Clue.LATER_ROW: RecordFault.REORDERED,
    Clue.GAP: RecordFault.MISSING,
    Clue.RENUMBERED: RecordFault.MISSING,
    Clue.END_MISSING: RecordFault.TRUNCATED,
    Clue.HEAD_MISSING: RecordFault.TRUNCATED,
}


@dataclass(frozen=True)
class RecordBreak:
    """The first thing that does not fit: at which row, and by what it shows."""

    seq: int
    clue: Clue
    detail: int | str = ""  # the row that is there, the last one that was announced, or the head that is not there

    @property
    def fault(self) -> RecordFault:
        """The kind of damage that the clue points to."""
        return _FAULTS[self.clue]


@dataclass(frozen=True)
class RecordExamination:
    """What a look at the whole record found."""

    rows: int
    head: str  # of the last row that was seen; GENESIS when there is none
    first_break: RecordBreak | None


def as_stored(value: Any) -> Any:
    """A value as it comes back from the database: JSON's types only, and a whole float as the integer that it is there."""
    match value:
        case datetime():
            return value.isoformat()
        case bool() | None:
            return value
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {str(key): as_stored(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [as_stored(item) for item in value]
        case _:
            return value


def chain_hash(
    previous: str, seq: int, at: datetime, actor: str, event: str, release: int | None, body: Mapping[str, Any]
) -> str:
    """sha256 in hex over the previous hash and the canonical JSON of the row, with a digest for each value of its body.

    So a row still proves who, when, what and all other values where one must not be shown (bot/evidence/FORMAT.md).
    """
    head = _head(seq, at, actor, event, release)
    return _chain(previous, {**head, "digests": {key: digest_of(value) for key, value in body.items()}})


def first_form_hash(event: AuditEvent, seq: int | None = None) -> str:
    """Return the hash in its first form, over the body as a whole, which the oldest rows of a record may have."""
    head = _head(event.seq if seq is None else seq, event.at, event.actor, event.event, event.release)
    return _chain(event.previous, {**head, "body": event.body})


def _head(seq: int, at: datetime, actor: str, event: str, release: int | None) -> dict[str, Any]:
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    return {"seq": seq, "at": moment, "actor": actor, "event": event, "release": release}


def _chain(previous: str, row: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{previous}\n{canonical(row)}".encode()).hexdigest()


def examine_record(events: Iterable[AuditEvent], heads: Iterable[Head] = ()) -> RecordExamination:
    """Look at the whole record, in the order of ``seq``, and at the ``heads`` that were told to somebody else before.

    The rows by themselves show a change, a gap and a wrong order. That rows are missing at the end, or that all were written
    anew, only a head from elsewhere can show.
    """
    heads_elsewhere = list(heads)
    by_seq = {head.seq: head for head in heads_elsewhere if head.seq is not None}
    missing_hashes = {head.hash for head in heads_elsewhere}
    rest = iter(events)
    previous, rows, contradiction = GENESIS, 0, None
    for event in rest:
        row_break = _fault_of(event, previous, rows + 1, rest)
        if row_break is not None:
            return RecordExamination(rows, previous, row_break)
        previous, rows = event.hash, event.seq
        missing_hashes.discard(event.hash)
        head = by_seq.get(event.seq)
        if head is not None and head.hash != event.hash and contradiction is None:
            contradiction = RecordBreak(event.seq, Clue.OTHER_HASH)
    return RecordExamination(rows, previous, contradiction or _cut_off(heads_elsewhere, missing_hashes, rows))


def find_break(events: Iterable[AuditEvent]) -> RecordBreak | None:
    """Return the first break that the rows show by themselves, or None when the chain holds."""
    return examine_record(events).first_break


def _fault_of(event: AuditEvent, previous: str, expected_seq: int, rest: Iterator[AuditEvent]) -> RecordBreak | None:
    """Return what is wrong with one row, or None. ``rest``: the rows behind it, which the search for the reason consumes."""
    if event.seq != expected_seq:
        if event.seq < expected_seq or any(later.seq == expected_seq for later in rest):
            return RecordBreak(expected_seq, Clue.OTHER_ROW, event.seq)
        return RecordBreak(expected_seq, Clue.GAP, event.seq)
    if event.previous != previous:
        if any(later.previous == previous for later in rest):
            return RecordBreak(expected_seq, Clue.LATER_ROW)
        if any(_fits(event, seq) for seq in range(expected_seq + 1, expected_seq + 1 + _MAX_RENUMBERING)):
            return RecordBreak(expected_seq, Clue.RENUMBERED)
        return RecordBreak(expected_seq, Clue.NOT_CHAINED)
    if not _fits(event, event.seq):
        return RecordBreak(event.seq, Clue.WRONG_HASH)
    return None


def _fits(event: AuditEvent, seq: int) -> bool:
    now = chain_hash(event.previous, seq, event.at, event.actor, event.event, event.release, event.body)
    return event.hash == now or event.hash == first_form_hash(event, seq)


def _cut_off(heads: list[Head], missing_hashes: set[str], rows: int) -> RecordBreak | None:
    """A head that was announced and is not there: the rows up to it are missing."""
    beyond = [head.seq for head in heads if head.seq is not None and head.seq > rows]
    if beyond:
        return RecordBreak(rows + 1, Clue.END_MISSING, max(beyond))
    missing_hash = next((head.hash for head in heads if head.seq is None and head.hash in missing_hashes), None)
    if missing_hash is not None:
        return RecordBreak(rows + 1, Clue.HEAD_MISSING, missing_hash)
    return None
