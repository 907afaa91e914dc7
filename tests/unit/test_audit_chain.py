"""The chain of the audit rows: whatever is done to them afterwards is found, and where."""

import json
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.audit import (
    GENESIS,
    AuditEvent,
    Head,
    RecordFault,
    as_stored,
    chain_hash,
    examine_record,
    find_break,
    first_form_hash,
)
from bot.domain.model import canonical
from tests.unit.factories import NOW


def chain(length: int = 5) -> list[AuditEvent]:
    """A valid chain of that many rows."""
    events: list[AuditEvent] = []
    previous = GENESIS
    for seq in range(1, length + 1):
        body = {"n": seq, "reason": "ü", "list": [1, None, True]}
        mark = chain_hash(previous, seq, NOW, "U0RITA0001", "test.event", 12, body)
        events.append(AuditEvent(seq, NOW, "U0RITA0001", "test.event", 12, body, previous, mark))
        previous = mark
    return events


def first_fault(events: list[AuditEvent], *heads: Head) -> tuple[int, RecordFault] | None:
    """The number and the kind of the first fault in the chain, or None."""
    fault = examine_record(events, heads).first_break
    return None if fault is None else (fault.seq, fault.fault)


def test_a_valid_chain_has_no_fault() -> None:
    """A chain without a fault is accepted when it is empty, and when its first row has the older form of hash."""
    assert find_break(chain()) is None
    old = replace(chain()[0], hash=first_form_hash(chain()[0]))
    body = {"n": 2}
    new = chain_hash(old.hash, 2, NOW, "U0RITA0001", "test.event", 12, body)
    mixed_chain = [old, AuditEvent(2, NOW, "U0RITA0001", "test.event", 12, body, old.hash, new)]
    assert find_break(mixed_chain) is None
    assert first_fault([replace(old, actor="U0RITA0002"), *mixed_chain[1:]]) == (1, RecordFault.CHANGED)
    assert find_break([]) is None


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
    """A change in any column of a row is reported for that row."""
    events = chain()
    events[2] = replace(events[2], **change)
    assert first_fault(events) == (3, RecordFault.CHANGED)


def test_a_changed_row_with_a_recomputed_hash_breaks_the_next_row() -> None:
    """Whoever changes one row and its hash would have to change all later rows too."""
    events = chain()
    forgery = replace(events[2], body={})
    mark = chain_hash(forgery.previous, 3, NOW, forgery.actor, forgery.event, 12, {})
    events[2] = replace(forgery, hash=mark)
    assert first_fault(events) == (4, RecordFault.CHANGED)


def test_a_missing_row_is_named() -> None:
    """A missing row is reported by its number, in the middle and at the beginning."""
    events = chain()
    assert first_fault(events[:2] + events[3:]) == (3, RecordFault.MISSING)
    assert first_fault(events[1:]) == (1, RecordFault.MISSING)


def test_reordered_rows_are_named() -> None:
    """Reordered rows are reported by the first one that is out of place."""
    events = chain()
    events[1], events[2] = events[2], events[1]
    assert first_fault(events) == (2, RecordFault.REORDERED)


def test_an_inserted_row_is_found() -> None:
    """A row that occurs twice is reported."""
    events = chain()
    assert first_fault([*events[:3], events[2], *events[3:]]) == (4, RecordFault.REORDERED)


def test_rows_cut_off_at_the_end_are_found_with_an_announced_head() -> None:
    """A shortened chain is valid by itself; a head that was announced elsewhere shows that rows are missing."""
    events = chain()
    assert first_fault(events[:3]) is None
    assert first_fault(events[:3], Head(5, events[4].hash)) == (4, RecordFault.TRUNCATED)
    assert first_fault(events[:3], Head(None, events[4].hash)) == (4, RecordFault.TRUNCATED)
    assert first_fault([], Head(5, events[4].hash)) == (1, RecordFault.TRUNCATED)
    assert first_fault(events, Head(5, events[4].hash), Head(3, events[2].hash), Head(None, events[0].hash)) is None


def test_a_rewritten_chain_is_found_with_an_announced_head() -> None:
    """A chain that was rewritten completely is valid by itself, but its row differs from the announced head."""
    assert first_fault(chain(), Head(3, "0" * 64)) == (3, RecordFault.CHANGED)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_the_canonical_text_is_the_same_after_a_round_trip_through_json(value: Any) -> None:
    """A body that is stored as JSON and read back has the same canonical text as the one that was hashed."""
    body = as_stored(value)
    assert canonical(as_stored(json.loads(json.dumps(body)))) == canonical(body)


def test_the_time_zone_of_a_row_does_not_change_its_hash() -> None:
    """A row that is read back in another time zone has the same hash."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))
    assert chain_hash(GENESIS, 1, elsewhere, "a", "b", None, {}) == chain_hash(GENESIS, 1, NOW, "a", "b", None, {})
