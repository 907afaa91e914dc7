"""The watch after a deploy: clean, alarms, and what cannot be told."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.domain.ids import ReleaseId
from bot.domain.release import ReleaseState
from bot.domain.watch import Kind, Seen, Watch, WatchState
from bot.errors import NotAllowed, StaleButton, Superseded, UnknownThing
from bot.flows import remind, watch
from bot.store import work
from bot.store.pool import Store
from checks.contract import CheckError, Outcome
from tests.fix_bot import GUEST, QA, Outside, World, checklist, die, hanging
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
    assert [event for _, event in world.recorded_events()].count("watch.polled") == 1


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
    """At the end of its time it goes on until Sentry has answered (promise P2), and until a probe that hangs is heard."""
    probe = {"id": "watch.issues", "title": "Issues", "kind": "quiet", "timeout": 0.5}
    world.change(checklist=checklist(watch={"probes": (probe,)}))
    release_id = world.deployed()
    world.poll()
    outside.sentry = Outcome.ERROR
    world.clock.advance(minutes=16)
    for told in ("0 new", "0 new", "did not stop within 1 s"):
        outside.during = hanging(outside, "watch") if told.startswith("did") else outside.during
        assert world.poll() == world.clock.now() + timedelta(seconds=30)
        world.clock.advance(seconds=30)
        assert [reading.summary for reading in seen(world, release_id).readings] == [told]
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
    """Once a round, however often and by whom it is looked, until somebody has acknowledged it."""
    release_id = world.deployed()
    outside.issues = ["API-1"]
    world.poll()

    def reminded() -> int:
        remind.remind_if_due(world.deps)
        remind.remind_if_due(world.deps)
        return len(world.rows("SELECT FROM posts WHERE subject LIKE 'waiting:%%'"))

    found = [reminded()]
    for minutes in (9, 1, 19, 1):
        world.clock.advance(minutes=minutes)
        found.append(reminded())
    assert found == [0, 0, 1, 1, 2]
    (alarm,) = seen(world, release_id).alarms
    world.act(watch.acknowledge, QA, alarm.id, "")
    world.clock.advance(hours=3)
    assert reminded() == 2
    assert [event for _, event in world.recorded_events()].count("release.reminded") == 2


def test_nobody_is_reminded_of_what_goes_on_by_itself(world: World) -> None:
    """No release, one that waits for signatures (others look after it), one that is watched in peace."""
    remind.remind_if_due(world.deps)
    world.ready()
    world.clock.advance(hours=3)
    remind.remind_if_due(world.deps)
    assert world.rows("SELECT FROM posts WHERE subject LIKE 'waiting:%%'") == []


class TestTime:
    """Kills, replicas and clocks that somebody sets."""

    def test_killed_in_minute_seven(self, world: World, another_process: Callable[[], Store], outside: Outside) -> None:
        """Another process takes the poll over at once, and the watch ends when it was to end."""
        release_id = world.deployed()
        ends_at = seen(world, release_id).ends_at
        for _ in range(7):
            world.poll()
            world.clock.advance(minutes=1)
        killed = another_process()
        held = claim(killed, "watch")
        assert held is not None
        assert claim(world.store, "watch") is None, "one poll, one process"
        die(killed, world.store)
        world.clock.advance(minutes=3)  # the time until it is up again
        world.poll()
        watched = seen(world, release_id)
        assert (watched.ends_at, watched.remaining(world.clock.now())) == (ends_at, timedelta(minutes=5))
        with pytest.raises(Superseded), world.store.transaction() as tx:
            work.ensure_claim(tx, held)
        world.clock.advance(minutes=6)
        world.poll()
        assert state(world, release_id) is ReleaseState.DONE
        assert watched.polls == 8

    def test_two_replicas_share_the_polls(self, world: World, another_process: Callable[[], Store]) -> None:
        """Each poll is one process's, and each alarm is raised once."""
        release_id = world.deployed()
        other = World(another_process(), world.outside)
        other.clock = world.clock
        other.change(clock=world.clock, checklist=world.deps.checklist)
        world.outside.issues = ["API-1"]
        for number in range(6):
            job = (other if number % 2 else world).claim("watch")
            assert job is not None
            assert claim(world.store, "watch") is None
            (other if number % 2 else world).carry_out(job)
            world.clock.advance(seconds=30)
        assert (seen(world, release_id).polls, len(seen(world, release_id).alarms)) == (6, 1)
        assert len(world.rows("SELECT FROM posts WHERE kind IN ('watch', 'alarm')")) == 2

    @pytest.mark.parametrize("hours", [-2, 2], ids=["back", "forward"])
    def test_somebody_sets_the_clock(self, world: World, hours: int) -> None:
        """In minute seven: the watch lasts as long as before, and does not end early as clean."""
        release_id = world.deployed()
        world.poll()
        world.clock.advance(minutes=7)
        world.poll()
        world.clock.set(hours=hours)
        world.clock.advance(seconds=30)
        world.poll()
        watched = seen(world, release_id)
        assert state(world, release_id) is ReleaseState.WATCHING
        assert abs(watched.remaining(world.clock.now()) - timedelta(minutes=7.5)) < timedelta(seconds=1)
        assert watched.ends_at - watched.started_at == timedelta(minutes=15)
        assert ("system", "watch.clock_set") in world.recorded_events()
        for _ in range(8):
            world.clock.advance(minutes=1)
            world.poll()
        assert state(world, release_id) is ReleaseState.WATCHING
        world.clock.advance(minutes=1)
        world.poll()
        assert state(world, release_id) is ReleaseState.DONE

    @pytest.mark.parametrize(("polls", "hours"), [(1, 2), (2, -2)], ids=["forward", "back"])
    def test_somebody_sets_the_clock_of_two_replicas(self, replicas: "Replicas", polls: int, hours: int) -> None:
        """Whoever polls next sees it, and it is seen once, however often a replica polls before the other does."""
        for number in range(7):
            replicas.poll((number // polls) % 2)
            replicas.advance(minutes=1)
        replicas.set(hours=hours)
        for number in range(7, 16):
            replicas.poll((number // polls) % 2)
            assert replicas.remaining() == timedelta(minutes=15 - number)
            assert replicas.state() is ReleaseState.WATCHING
            replicas.advance(minutes=1)
        replicas.poll(0)
        assert replicas.state() is ReleaseState.DONE
        assert replicas.recorded_events().count("watch.clock_set") == 1

    @pytest.mark.parametrize(
        ("away", "hours", "left"),
        [(1, 0, 13), (10, 0, 12.5), (1, 2, 12.5), (1, -2, 14)],
        ids=["as it was", "away for long", "forward", "back"],
    )
    def test_another_process_takes_over(self, replicas: "Replicas", away: int, hours: int, left: float) -> None:
        """It cannot say what has passed: what polls may be apart counts, and no more."""
        for _ in range(2):
            replicas.poll(0)
            replicas.advance(minutes=1)
        replicas.advance(minutes=away - 1)
        replicas.set(hours=hours)
        for later in (0, 1):  # what passes from then on it can say
            replicas.poll(1)
            assert replicas.remaining() == timedelta(minutes=left - later)
            replicas.advance(minutes=1)
        assert replicas.recorded_events().count("watch.not_watched") == (left != 13)

    def test_a_poll_that_a_set_clock_has_postponed_is_made_now(self, world: World) -> None:
        """The database's clock was set back by an hour: what was due in half a minute is not due in an hour and a half."""
        release_id = world.deployed()
        world.poll()
        with world.store.transaction() as tx:
            tx.execute("UPDATE work SET due_at = now() + interval '1 hour' WHERE queue IN ('watch', 'upkeep')")
        watch.hasten(world.deps)
        due = world.rows("SELECT queue FROM work WHERE due_at <= now() AND queue IN ('watch', 'upkeep')")
        assert [row["queue"] for row in due] == ["watch"]
        world.poll()
        watch.hasten(world.deps)
        assert world.rows("SELECT FROM work WHERE due_at <= now() AND queue = 'watch'") == []
        assert seen(world, release_id).polls == 2

    def test_a_vendor_that_asks_to_wait_is_left_alone(self, world: World, outside: Outside) -> None:
        """And what it has not said is no answer."""
        release_id = world.deployed()
        outside.sentry = CheckError("too many requests", retry_after=90)
        asked = [world.poll() and outside.runs.count("watch.issues")]
        for seconds in (30, 30, 29, 1):
            world.clock.advance(seconds=seconds)
            world.poll()
            asked.append(outside.runs.count("watch.issues"))
        assert asked == [1, 1, 1, 1, 2]
        assert seen(world, release_id).verdict is Seen.CANNOT_TELL
        outside.sentry = CheckError("too many requests", retry_after=24 * 3600)
        world.clock.advance(seconds=90)
        world.poll()
        assert seen(world, release_id).alarms == ()
        world.clock.advance(minutes=4)
        world.poll()
        (alarm,) = seen(world, release_id).alarms  # people hear of it while it is left alone, and can end the watch
        assert (alarm.kind, outside.runs.count("watch.issues")) == (Kind.SILENT, 3)


class Replicas:
    """Two processes that watch one release, each with a steady clock of its own; the time is the same for both."""

    def __init__(self, world: World, other: World) -> None:
        self.release_id = world.deployed()
        other.clock = world.clock.elsewhere()
        other.change(clock=other.clock, checklist=world.deps.checklist)
        self.both = (world, other)

    def poll(self, replica: int) -> None:
        """One poll by the first (0) or the second (1); none when the watch is over."""
        job = self.both[replica].claim("watch")
        if job is not None:
            self.both[replica].carry_out(job)

    def advance(self, **duration: float) -> None:
        """Let time pass for both."""
        for world in self.both:
            world.clock.advance(**duration)

    def set(self, **by: float) -> None:
        """Somebody sets the clock that both go by."""
        for world in self.both:
            world.clock.set(**by)

    def remaining(self) -> timedelta:
        """What is left of the watch."""
        return seen(self.both[0], self.release_id).remaining(self.both[0].clock.now())

    def state(self) -> ReleaseState:
        """Where the release stands."""
        return state(self.both[0], self.release_id)

    def recorded_events(self) -> list[str]:
        """What is on record."""
        return [event for _, event in self.both[0].recorded_events()]


@pytest.fixture
def replicas(world: World, another_process: Callable[[], Store]) -> Replicas:
    """A release that two processes watch."""
    return Replicas(world, World(another_process(), world.outside))


def claim(process: Store, queue: str) -> work.Claim | None:
    """What a worker of that process would take now."""
    with process.transaction() as tx:
        tx.execute("UPDATE work SET due_at = now() WHERE queue = %s AND owner IS NULL", [queue])
        return work.claim(tx, queue, process.instance)
