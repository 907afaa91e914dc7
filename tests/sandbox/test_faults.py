"""The switches and the snapshot files of the sandbox."""

import asyncio
from pathlib import Path

import pytest

from sandbox.faults import Faults, UnknownFault
from sandbox.persist import Snapshot


def test_a_switch_is_off_until_it_is_set() -> None:
    """Nothing is broken in a fresh world."""
    faults = Faults()
    assert [fault.name for fault in faults.catalogue() if faults.on(fault.name)] == []


def test_listeners_hear_every_move_also_a_repeated_one() -> None:
    """Some switches act again each time they are switched on."""
    faults = Faults()
    events: list[tuple[str, bool]] = []
    faults.subscribe(lambda name, on: events.append((name, on)))
    faults.set("sentry_new_issue", True)
    faults.set("sentry_new_issue", True)
    faults.set("sentry_new_issue", False)
    assert events == [("sentry_new_issue", True), ("sentry_new_issue", True), ("sentry_new_issue", False)]


def test_an_unknown_switch_is_refused() -> None:
    """A typing error must not pass for a switch that is off."""
    faults = Faults()
    with pytest.raises(UnknownFault):
        faults.on("sentry_donw")


def test_switches_outlive_the_process(tmp_path: Path) -> None:
    """A second start on the same directory finds the switches where they were."""
    Faults(Snapshot(tmp_path / "faults.json")).set("backup_fails", True)
    assert Faults(Snapshot(tmp_path / "faults.json")).on("backup_fails")


def test_saves_are_put_together_and_flushed(tmp_path: Path) -> None:
    """Many changes in a row become one write, and a stop loses none of them."""
    path = tmp_path / "state.json"

    async def change_often() -> bool:
        snapshot = Snapshot(path, interval_seconds=60)
        for number in range(100):
            snapshot.save({"number": number})
        written_early = path.exists()
        snapshot.flush()
        return written_early

    assert not asyncio.run(change_often())
    assert Snapshot(path).load() == {"number": 99}


def test_a_damaged_snapshot_stops_the_start(tmp_path: Path) -> None:
    """A state that cannot be read is named, not silently replaced."""
    path = tmp_path / "state.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"state\.json is not valid JSON"):
        Snapshot(path).load()
