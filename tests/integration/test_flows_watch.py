"""The watch after a deploy: clean, alarms, and what cannot be told."""

from datetime import datetime, timedelta

import pytest

from bot.domain.ids import ReleaseId
from bot.domain.release import ReleaseState
from bot.domain.watch import Seen, Watch, WatchState
from bot.errors import NotAllowed, StaleButton, Superseded, UnknownThing
from bot.flows import watch
from checks.contract import Outcome
from tests.fix_bot import GUEST, QA, Outside, World
from tests.unit.factories import QUINN


def seen(world: World, release_id: ReleaseId) -> Watch:
    """The watch as it stands."""
    found = world.view(release_id).watch
    assert found is not None
    return found


def state(world: World, release_id: ReleaseId) -> ReleaseState:
    """Where the release stands."""
    return world.view(release_id).release.state


def test_a_clean_watch_closes_the_release(world: World) -> None:
    """Not before its time is over."""
    release_id = world.deployed()
    begun = world.clock.now()
    for _ in range(3):
        due = world.poll()
        assert due == world.clock.now() + timedelta(seconds=30)
        world.clock.advance(seconds=30)
    world.clock.advance(minutes=13, seconds=20)
    assert world.poll() == begun + timedelta(minutes=15, seconds=20)
    world.clock.advance(seconds=50)
    assert world.poll() == begun + timedelta(minutes=16), "late events are waited for"
    assert state(world, release_id) is ReleaseState.WATCHING
    world.clock.advance(seconds=20)
    assert world.poll() is None
    assert state(world, release_id) is ReleaseState.DONE
    assert (seen(world, release_id).state, seen(world, release_id).polls) == (WatchState.CLEAN, 6)
    assert world.last().event == "release.done"
    assert {row["kind"] for row in world.rows("SELECT kind FROM posts")} >= {"watch", "closeout", "notice"}


def test_only_what_changes_is_on_record(world: World) -> None:
    """Thirty clean polls are one row of audit."""
    world.deployed()
    for _ in range(3):
        world.poll()
    assert [event for _, event in world.told()].count("watch.polled") == 1


def test_an_alarm_holds_it_open(world: World, outside: Outside) -> None:
    """However long, until somebody has looked; each issue is one alarm."""
    release_id = world.deployed()
    outside.issues = ["API-1"]
    world.poll()
    outside.issues = ["API-1", "API-2"]
    world.poll()
    world.poll()
    assert [alarm.short_id for alarm in seen(world, release_id).alarms] == ["API-1", "API-2"]
    assert len(world.rows("SELECT FROM posts WHERE kind = 'alarm'")) == 2
    world.clock.advance(hours=5)
    assert world.poll() == world.clock.now() + timedelta(seconds=30)
    assert state(world, release_id) is ReleaseState.WATCHING


def test_an_alarm_and_the_end_have_pictures(world: World, outside: Outside) -> None:
    """Of the error rate as it was known at the alarm, and of what happened; each once, and none of what is not known."""
    release_id = world.deployed()
    outside.issues = ["API-1"]
    world.poll()
    world.run("picture")
    assert world.rows("SELECT FROM files") == [], "the error rate is not known"
    began = world.clock.now().timestamp()
    points = [[began - 60, 1], [began, 7]]
    outside.series = {"began": began, "interval": 60, "points": points, "baseline": 1, "limit": 2, "rose": True}
    outside.issues = ["API-1", "API-2"]
    world.poll()
    for alarm in seen(world, release_id).alarms:
        world.act(watch.acknowledge, QA, alarm.id, "known")
    world.clock.advance(minutes=16)
    world.poll()
    world.run("picture")
    found = world.rows("SELECT kind, subject, name, alt_text, content FROM files ORDER BY id")
    (_, second) = seen(world, release_id).alarms
    assert [(row["kind"], row["subject"], row["name"]) for row in found] == [
        ("rate", str(second.id), "errors-v4.8.0.png"),
        ("timeline", "DONE", "timeline-v4.8.0.png"),
    ]
    assert found[0]["alt_text"] == "Errors after the deploy of Small v4.8.0: 7 since then; before it 1 a minute."
    assert all(bytes(row["content"]).startswith(b"\x89PNG") for row in found)


def test_acknowledged_it_closes(world: World, outside: Outside) -> None:
    """By name; once all are, the next clean poll closes it."""
    release_id = world.deployed()
    outside.issues = ["API-1"]
    world.poll()
    world.clock.advance(minutes=16)
    world.poll()
    (alarm,) = seen(world, release_id).alarms
    world.act(watch.acknowledge, QA, alarm.id, "known")
    assert world.act(watch.acknowledge, QA, alarm.id, "again") == "That alarm was acknowledged already."
    (looked,) = seen(world, release_id).alarms
    assert (looked.acknowledged_by, looked.note) == (QUINN, "known")
    world.poll()
    assert state(world, release_id) is ReleaseState.DONE
    assert seen(world, release_id).state is WatchState.ACCEPTED


def test_acknowledging_asks_at_once(world: World, outside: Outside) -> None:
    """Nobody waits for the next poll."""
    release_id = world.deployed()
    outside.issues = ["API-1"]
    world.poll()
    (alarm,) = seen(world, release_id).alarms
    with world.store.transaction() as tx:
        tx.execute("UPDATE work SET due_at = now() + interval '1 hour' WHERE queue = 'watch'")
    world.act(watch.acknowledge, QA, alarm.id, "")
    assert world.rows("SELECT FROM work WHERE queue = 'watch' AND due_at <= now()") != []


def test_what_cannot_be_told_never_closes_it(world: World, outside: Outside) -> None:
    """At the end of its time it goes on until Sentry has answered (promise P2)."""
    release_id = world.deployed()
    world.poll()
    outside.sentry = Outcome.ERROR
    world.clock.advance(minutes=16)
    for _ in range(3):
        assert world.poll() == world.clock.now() + timedelta(seconds=30)
        world.clock.advance(seconds=30)
    assert seen(world, release_id).verdict is Seen.CANNOT_TELL
    assert state(world, release_id) is ReleaseState.WATCHING
    outside.sentry = None
    world.poll()
    assert state(world, release_id) is ReleaseState.DONE


@pytest.mark.parametrize("said", [Outcome.FAIL, Outcome.INCONCLUSIVE])
def test_only_clean_is_clean(world: World, outside: Outside, said: Outcome) -> None:
    """A kind that says no without naming an issue does not close it either."""
    release_id = world.deployed()
    outside.sentry = said
    world.clock.advance(minutes=16)
    assert world.poll() is not None
    assert state(world, release_id) is ReleaseState.WATCHING


def test_without_its_target_it_cannot_tell(world: World) -> None:
    """A gap in the configuration is no clean watch."""
    release_id = world.deployed()
    world.change(targets={})
    world.poll()
    (reading,) = seen(world, release_id).readings
    assert (reading.seen, reading.summary) == (Seen.CANNOT_TELL, "there is no target production")


def test_refused(world: World, outside: Outside) -> None:
    """Without a role, for an alarm that is not there, or once the watch is over."""
    release_id = world.deployed()
    outside.issues = ["API-1"]
    world.poll()
    (alarm,) = seen(world, release_id).alarms
    with pytest.raises(NotAllowed):
        world.act(watch.acknowledge, GUEST, alarm.id, "")
    with pytest.raises(UnknownThing):
        world.act(watch.acknowledge, QA, 4711, "")
    world.act(watch.acknowledge, QA, alarm.id, "")
    world.clock.advance(minutes=16)
    world.poll()
    with pytest.raises(StaleButton):
        world.act(watch.acknowledge, QA, alarm.id, "")


def test_a_poll_told_to_stop_has_seen_nothing(world: World, outside: Outside) -> None:
    """The end of the process does not make the watch doubtful."""
    release_id = world.deployed()
    job = world.claim("watch")
    assert job is not None

    def stop(name: str) -> None:
        job.lost.set()

    outside.during = stop
    with pytest.raises(Superseded):
        world.carry_out(job)
    assert seen(world, release_id).polls == 0


def test_people_are_reminded_of_an_alarm(world: World, outside: Outside) -> None:
    """Once a round, until somebody has looked at it."""
    release_id = world.deployed()
    outside.issues = ["API-1"]
    world.poll()
    begun = world.clock.now()

    def look() -> datetime | None:
        job = world.claim("remind")
        assert job is not None
        return world.carry_out(job)

    def reminded() -> int:
        return len(world.rows("SELECT FROM posts WHERE subject LIKE 'waiting:%%'"))

    assert (look(), reminded()) == (begun + timedelta(minutes=10), 0)
    world.clock.advance(minutes=10)
    assert (look(), look(), reminded()) == (*[begun + timedelta(minutes=30)] * 2, 1)
    world.clock.advance(minutes=20)
    assert (look(), reminded()) == (begun + timedelta(hours=1), 2)
    (alarm,) = seen(world, release_id).alarms
    world.act(watch.acknowledge, QA, alarm.id, "")
    assert (look(), reminded()) == (None, 2)
    assert world.claim("remind") is None
