"""The chain of the audit rows: whatever is done to them afterwards is found, and where."""

import json
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.audit import GENESIS, AuditEvent, Fault, Head, chain_hash, examine, first_break, first_form, plain
from bot.domain.model import canonical
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


def found(events: list[AuditEvent], *heads: Head) -> tuple[int, Fault] | None:
    """Row and nature of the first fault."""
    broken = examine(events, heads).broken
    return None if broken is None else (broken.seq, broken.fault)


def test_it_holds() -> None:
    """Also when it is empty, and where it was begun with rows of the first form."""
    assert first_break(chain()) is None
    old = replace(chain()[0], hash=first_form(chain()[0]))
    body = {"n": 2}
    new = chain_hash(old.hash, 2, NOW, "U0RITA0001", "test.event", 12, body)
    begun = [old, AuditEvent(2, NOW, "U0RITA0001", "test.event", 12, body, old.hash, new)]
    assert first_break(begun) is None
    assert found([replace(old, actor="U0RITA0002"), *begun[1:]]) == (1, Fault.CHANGED)
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
    assert found(events) == (3, Fault.CHANGED)


def test_a_changed_row_with_a_hash_made_to_fit_breaks_the_next() -> None:
    """Who changes one must change all that follow."""
    events = chain()
    forged = replace(events[2], body={})
    mark = chain_hash(forged.previous, 3, NOW, forged.actor, forged.event, 12, {})
    events[2] = replace(forged, hash=mark)
    assert found(events) == (4, Fault.CHANGED)


def test_a_missing_row_is_named() -> None:
    """In the middle and at the beginning."""
    events = chain()
    assert found(events[:2] + events[3:]) == (3, Fault.MISSING)
    assert found(events[1:]) == (1, Fault.MISSING)


def test_reordered_rows_are_named() -> None:
    """By the first that is out of place."""
    events = chain()
    events[1], events[2] = events[2], events[1]
    assert found(events) == (2, Fault.REORDERED)


def test_a_row_put_in_is_found() -> None:
    """Twice the same, or a new one."""
    events = chain()
    assert found([*events[:3], events[2], *events[3:]]) == (4, Fault.REORDERED)


def test_rows_cut_off_show_only_against_a_head() -> None:
    """By themselves the rows that are left hold; a head that was told to somebody else does not let them."""
    events = chain()
    assert found(events[:3]) is None
    assert found(events[:3], Head(5, events[4].hash)) == (4, Fault.TRUNCATED)
    assert found(events[:3], Head(None, events[4].hash)) == (4, Fault.TRUNCATED)
    assert found([], Head(5, events[4].hash)) == (1, Fault.TRUNCATED)
    assert found(events, Head(5, events[4].hash), Head(3, events[2].hash), Head(None, events[0].hash)) is None


def test_another_head_of_the_same_row_is_a_change() -> None:
    """A chain that was written anew fits by itself."""
    assert found(chain(), Head(3, "0" * 64)) == (3, Fault.CHANGED)


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
def test_the_canonical_text_survives_the_way_through_json(value: Any) -> None:
    """What is read back has the text that was hashed, in whatever order and notation it was kept."""
    kept = plain(value)
    assert canonical(plain(json.loads(json.dumps(kept)))) == canonical(kept)


def test_the_zone_of_a_time_does_not_count() -> None:
    """A row that is read back in another zone is the same row."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))
    assert chain_hash(GENESIS, 1, elsewhere, "a", "b", None, {}) == chain_hash(GENESIS, 1, NOW, "a", "b", None, {})
