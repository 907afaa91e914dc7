"""The chain of the audit rows: whatever is done to them afterwards is found, and where."""

from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from bot.domain.audit import GENESIS, AuditEvent, chain_hash, first_break
from tests.unit.factories import NOW


def chain(length: int = 5) -> list[AuditEvent]:
    """Rows as they are written."""
    events: list[AuditEvent] = []
    previous = GENESIS
    for seq in range(1, length + 1):
        body = {"n": seq, "reason": "ü", "list": [1, None, True]}
        mark = chain_hash(previous, seq, NOW, "U0RITA0001", "test.event", 12, body)
        events.append(AuditEvent(seq, NOW, "U0RITA0001", "test.event", 12, body, previous, mark))
        previous = mark
    return events


def test_it_holds() -> None:
    """Also when it is empty."""
    assert first_break(chain()) is None
    assert first_break([]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"at": NOW + timedelta(microseconds=1)},
        {"actor": "U0RITA0002"},
        {"event": "test.evenT"},
        {"release": 13},
        {"release": None},
        {"body": {"n": 3, "reason": "u", "list": [1, None, True]}},
        {"body": {}},
        {"hash": "0" * 64},
    ],
)
def test_one_changed_byte_is_found(change: dict[str, Any]) -> None:
    """In any column."""
    events = chain()
    events[2] = replace(events[2], **change)
    assert first_break(events) == (3, "changed after it was written")


def test_a_changed_row_with_a_hash_made_to_fit_breaks_the_next() -> None:
    """Who changes one must change all that follow."""
    events = chain()
    forged = replace(events[2], body={})
    mark = chain_hash(forged.previous, 3, NOW, forged.actor, forged.event, 12, {})
    events[2] = replace(forged, hash=mark)
    assert first_break(events) == (4, "not chained to the row before it")


def test_a_missing_row_is_named() -> None:
    """In the middle and at the beginning."""
    events = chain()
    assert first_break(events[:2] + events[3:]) == (3, "missing or out of order")
    assert first_break(events[1:]) == (1, "missing or out of order")


def test_reordered_rows_are_named() -> None:
    """By the first that is out of place."""
    events = chain()
    events[1], events[2] = events[2], events[1]
    assert first_break(events) == (2, "missing or out of order")


def test_a_row_put_in_is_found() -> None:
    """Twice the same, or a new one."""
    events = chain()
    assert first_break([*events[:3], events[2], *events[3:]]) == (4, "missing or out of order")


def test_the_zone_of_a_time_does_not_count() -> None:
    """A row that is read back in another zone is the same row."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))
    assert chain_hash(GENESIS, 1, elsewhere, "a", "b", None, {}) == chain_hash(GENESIS, 1, NOW, "a", "b", None, {})
