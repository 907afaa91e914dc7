"""The watch after a deploy: clean, alarms, and what cannot be told."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.domain.ids import ReleaseId
from bot.domain.release import ReleaseState
from bot.domain.watch import AlarmKind, ProbeStatus, Watch, WatchState
from bot.errors import NotAllowed, StaleButton, Superseded, UnknownThing
from bot.flows import reminders, watch
from bot.store import work
from bot.store.pool import Store
from checks.contract import CheckError, Outcome
from tests.fix_bot import GUEST, QA, Outside, World, checklist, die, hang_at
from tests.unit.factories import QUINN


def watch_of(world: World, release_id: ReleaseId) -> Watch:
    """The watch of a release as it is now."""
    current_watch = world.view(release_id).watch
    assert current_watch is not None
    return current_watch


def state(world: World, release_id: ReleaseId) -> ReleaseState:
    """The state of a release."""
    return world.view(release_id).release.state


def test_a_clean_watch_closes_the_release(world: World) -> None:
    """The release is closed at the end of the watch and not before."""
    release_id = world.run_to_watch()
    start_time = world.clock.now()
    for _ in range(3):
        due = world.poll()
        assert due == world.clock.now() + timedelta(seconds=30)
        world.clock.advance(seconds=30)
    world.clock.advance(minutes=13, seconds=20)
    assert world.poll() == start_time + timedelta(minutes=15, seconds=20)
    world.clock.advance(seconds=50)
    assert world.poll() == start_time + timedelta(minutes=16), "late events are waited for"
    assert state(world, release_id) is ReleaseState.WATCHING
    world.clock.advance(seconds=20)
    assert world.poll() is None
    assert state(world, release_id) is ReleaseState.DONE
    assert (watch_of(world, release_id).state, watch_of(world, release_id).polls) == (WatchState.CLEAN, 6)
    assert world.last_event().event == "release.done"
    assert {row["kind"] for row in world.rows("SELECT kind FROM posts")} >= {"watch", "closeout", "notice"}


def test_only_changes_of_a_watch_are_recorded(world: World) -> None:
    """Many clean polls are one row of the record."""
    world.run_to_watch()
    for _ in range(3):
        world.poll()
    assert [event for _, event in world.recorded_events()].count("watch.polled") == 1


def test_an_open_alarm_keeps_the_watch_running(world: World, outside: Outside) -> None:
    """The watch continues until somebody acknowledges it, and each issue has one alarm."""
    release_id = world.run_to_watch()
    outside.issues = ["API-1"]
    world.poll()
    outside.issues = ["API-1", "API-2"]
    world.poll()
    world.poll()
    assert [alarm.short_id for alarm in watch_of(world, release_id).alarms] == ["API-1", "API-2"]
    assert len(world.rows("SELECT FROM posts WHERE kind = 'alarm'")) == 2
    world.clock.advance(hours=5)
    assert world.poll() == world.clock.now() + timedelta(seconds=30)
    assert state(world, release_id) is ReleaseState.WATCHING


def test_an_alarm_and_the_end_have_pictures(world: World, outside: Outside) -> None:
    """Each picture is drawn once, and none without data."""
    release_id = world.run_to_watch()
    outside.issues = ["API-1"]
    world.poll()
    world.run("picture")
    assert world.rows("SELECT FROM files") == [], "the error rate is not known"
    began = world.clock.now().timestamp()
    points = [[began - 60, 1], [began, 7]]
    outside.series = {"began": began, "interval": 60, "points": points, "baseline": 1, "limit": 2, "rose": True}
    outside.issues = ["API-1", "API-2"]
    world.poll()
    for alarm in watch_of(world, release_id).alarms:
        world.act(watch.acknowledge, QA, alarm.id, "known")
    world.clock.advance(minutes=16)
    world.poll()
    world.run("picture")
    files = world.rows("SELECT kind, subject, name, alt_text, content FROM files ORDER BY id")
    (_, second) = watch_of(world, release_id).alarms
    assert [(row["kind"], row["subject"], row["name"]) for row in files] == [
        ("rate", str(second.id), "errors-v4.8.0.png"),
        ("timeline", "DONE", "timeline-v4.8.0.png"),
    ]
    assert files[0]["alt_text"] == "Errors after the deploy of Small v4.8.0: 7 since then; before it 1 a minute."
    assert all(bytes(row["content"]).startswith(b"\x89PNG") for row in files)


def test_a_watch_with_acknowledged_alarms_closes(world: World, outside: Outside) -> None:
    """Once all alarms are acknowledged by name, the next clean poll closes the watch."""
    release_id = world.run_to_watch()
    outside.issues = ["API-1"]
    world.poll()
    world.clock.advance(minutes=16)
    world.poll()
    (alarm,) = watch_of(world, release_id).alarms
    world.act(watch.acknowledge, QA, alarm.id, "known")
    assert world.act(watch.acknowledge, QA, alarm.id, "again") == "That alarm is already acknowledged."
    (acknowledged_alarm,) = watch_of(world, release_id).alarms
    assert (acknowledged_alarm.acknowledged_by, acknowledged_alarm.note) == (QUINN, "known")
    world.poll()
    assert state(world, release_id) is ReleaseState.DONE
    assert watch_of(world, release_id).state is WatchState.ACCEPTED


def test_an_acknowledgement_polls_at_once(world: World, outside: Outside) -> None:
    """Nobody has to wait for the next poll."""
    release_id = world.run_to_watch()
    outside.issues = ["API-1"]
    world.poll()
    (alarm,) = watch_of(world, release_id).alarms
    with world.store.transaction() as tx:
        tx.execute("UPDATE work SET due_at = now() + interval '1 hour' WHERE queue = 'watch'")
    world.act(watch.acknowledge, QA, alarm.id, "")
    assert world.rows("SELECT FROM work WHERE queue = 'watch' AND due_at <= now()") != []


def test_an_unknown_reading_never_closes_the_watch(world: World, outside: Outside) -> None:
    """The watch continues after its end until every probe answers (promise P2)."""
    probe = {"id": "watch.issues", "title": "Issues", "kind": "quiet", "timeout": 0.5}
    world.change(checklist=checklist(watch={"probes": (probe,)}))
    release_id = world.run_to_watch()
    world.poll()
    outside.sentry = Outcome.ERROR
    world.clock.advance(minutes=16)
    for summary in ("0 new", "0 new", "didn't finish within 1 s"):
        outside.during = hang_at(outside, "watch") if summary.startswith("did") else outside.during
        assert world.poll() == world.clock.now() + timedelta(seconds=30)
        world.clock.advance(seconds=30)
        assert [reading.summary for reading in watch_of(world, release_id).readings] == [summary]
    assert watch_of(world, release_id).verdict is ProbeStatus.CANNOT_TELL
    assert state(world, release_id) is ReleaseState.WATCHING
    outside.sentry = None
    world.poll()
    assert state(world, release_id) is ReleaseState.DONE


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE])
def test_only_a_clean_reading_closes_the_watch(world: World, outside: Outside, outcome: Outcome) -> None:
    """A reading that is not PASS does not close it, even if it names no issue."""
    release_id = world.run_to_watch()
    outside.sentry = outcome
    world.clock.advance(minutes=16)
    assert world.poll() is not None
    assert state(world, release_id) is ReleaseState.WATCHING


def test_a_missing_target_is_an_unknown_reading(world: World) -> None:
    """A gap in the configuration is no clean watch."""
    release_id = world.run_to_watch()
    world.change(targets={})
    world.poll()
    (reading,) = watch_of(world, release_id).readings
    assert (reading.status, reading.summary) == (ProbeStatus.CANNOT_TELL, "there is no target production")


def test_an_acknowledgement_needs_a_role_an_alarm_and_a_running_watch(world: World, outside: Outside) -> None:
    """Without one of them it is refused."""
    release_id = world.run_to_watch()
    outside.issues = ["API-1"]
    world.poll()
    (alarm,) = watch_of(world, release_id).alarms
    with pytest.raises(NotAllowed):
        world.act(watch.acknowledge, GUEST, alarm.id, "")
    with pytest.raises(UnknownThing):
        world.act(watch.acknowledge, QA, 4711, "")
    world.act(watch.acknowledge, QA, alarm.id, "")
    world.clock.advance(minutes=16)
    world.poll()
    with pytest.raises(StaleButton):
        world.act(watch.acknowledge, QA, alarm.id, "")


def test_a_poll_that_is_stopped_has_no_reading(world: World, outside: Outside) -> None:
    """The end of the process does not make the watch unknown."""
    release_id = world.run_to_watch()
    job = world.claim("watch")
    assert job is not None

    def stop(name: str) -> None:
        job.cancelled.set()

    outside.during = stop
    with pytest.raises(Superseded):
        world.carry_out(job)
    assert watch_of(world, release_id).polls == 0


def test_people_are_reminded_of_an_open_alarm(world: World, outside: Outside) -> None:
    """One reminder a round is sent until somebody acknowledges the alarm."""
    release_id = world.run_to_watch()
    outside.issues = ["API-1"]
    world.poll()

    def count_reminders() -> int:
        reminders.remind_if_due(world.deps)
        reminders.remind_if_due(world.deps)
        return len(world.rows("SELECT FROM posts WHERE subject LIKE 'waiting:%%'"))

    counts = [count_reminders()]
    for minutes in (9, 1, 19, 1):
        world.clock.advance(minutes=minutes)
        counts.append(count_reminders())
    assert counts == [0, 0, 1, 1, 2]
    (alarm,) = watch_of(world, release_id).alarms
    world.act(watch.acknowledge, QA, alarm.id, "")
    world.clock.advance(hours=3)
    assert count_reminders() == 2
    assert [event for _, event in world.recorded_events()].count("release.reminded") == 2


def test_nobody_is_reminded_of_what_needs_nobody(world: World) -> None:
    """No reminder is sent without a release, before the deploy, or during a clean watch."""
    reminders.remind_if_due(world.deps)
    world.run_to_approval()
    world.clock.advance(hours=3)
    reminders.remind_if_due(world.deps)
    assert world.rows("SELECT FROM posts WHERE subject LIKE 'waiting:%%'") == []


class TestTime:
    """Kills, replicas and changed clocks."""

    def test_another_process_takes_over_after_a_kill(
        self, world: World, another_process: Callable[[], Store], outside: Outside
    ) -> None:
        """Killed in minute seven, the watch is polled by another process at once, and ends on time."""
        release_id = world.run_to_watch()
        ends_at = watch_of(world, release_id).ends_at
        for _ in range(7):
            world.poll()
            world.clock.advance(minutes=1)
        other_store = another_process()
        stale_claim = claim(other_store, "watch")
        assert stale_claim is not None
        assert claim(world.store, "watch") is None, "one poll, one process"
        die(other_store, world.store)
        world.clock.advance(minutes=3)  # the time until it is up again
        world.poll()
        current_watch = watch_of(world, release_id)
        assert (current_watch.ends_at, current_watch.remaining(world.clock.now())) == (ends_at, timedelta(minutes=5))
        with pytest.raises(Superseded), world.store.transaction() as tx:
            work.ensure_claim(tx, stale_claim)
        world.clock.advance(minutes=6)
        world.poll()
        assert state(world, release_id) is ReleaseState.DONE
        assert current_watch.polls == 8

    def test_two_replicas_share_the_polls(self, world: World, another_process: Callable[[], Store]) -> None:
        """Each poll belongs to one process, and each alarm is raised once."""
        release_id = world.run_to_watch()
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
        assert (watch_of(world, release_id).polls, len(watch_of(world, release_id).alarms)) == (6, 1)
        assert len(world.rows("SELECT FROM posts WHERE kind IN ('watch', 'alarm')")) == 2

    @pytest.mark.parametrize("hours", [-2, 2], ids=["back", "forward"])
    def test_a_changed_clock_does_not_shorten_the_watch(self, world: World, hours: int) -> None:
        """The watch lasts as long as before, and does not end early as clean."""
        release_id = world.run_to_watch()
        world.poll()
        world.clock.advance(minutes=7)
        world.poll()
        world.clock.set(hours=hours)
        world.clock.advance(seconds=30)
        world.poll()
        current_watch = watch_of(world, release_id)
        assert state(world, release_id) is ReleaseState.WATCHING
        assert abs(current_watch.remaining(world.clock.now()) - timedelta(minutes=7.5)) < timedelta(seconds=1)
        assert current_watch.ends_at - current_watch.started_at == timedelta(minutes=15)
        assert ("system", "watch.clock_set") in world.recorded_events()
        for _ in range(8):
            world.clock.advance(minutes=1)
            world.poll()
        assert state(world, release_id) is ReleaseState.WATCHING
        world.clock.advance(minutes=1)
        world.poll()
        assert state(world, release_id) is ReleaseState.DONE

    @pytest.mark.parametrize(("polls", "hours"), [(1, 2), (2, -2)], ids=["forward", "back"])
    def test_a_changed_clock_is_recorded_once_by_two_replicas(
        self, replicas: "Replicas", polls: int, hours: int
    ) -> None:
        """Whoever polls next notices it, however often one of them polls before the other."""
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
        ("away", "hours", "minutes_left"),
        [(1, 0, 13), (10, 0, 12.5), (1, 2, 12.5), (1, -2, 14)],
        ids=["as it was", "away for long", "forward", "back"],
    )
    def test_a_new_process_counts_no_more_than_one_interval(
        self, replicas: "Replicas", away: int, hours: int, minutes_left: float
    ) -> None:
        """It does not know how much time passed, so only the interval between polls counts."""
        for _ in range(2):
            replicas.poll(0)
            replicas.advance(minutes=1)
        replicas.advance(minutes=away - 1)
        replicas.set(hours=hours)
        for later in (0, 1):  # what passes from then on it can say
            replicas.poll(1)
            assert replicas.remaining() == timedelta(minutes=minutes_left - later)
            replicas.advance(minutes=1)
        assert replicas.recorded_events().count("watch.not_watched") == (minutes_left != 13)

    def test_a_poll_that_a_changed_clock_postponed_is_made_now(self, world: World) -> None:
        """After the database's clock was set back, the next poll is not an hour late."""
        release_id = world.run_to_watch()
        world.poll()
        with world.store.transaction() as tx:
            tx.execute("UPDATE work SET due_at = now() + interval '1 hour' WHERE queue IN ('watch', 'upkeep')")
        watch.hasten(world.deps)
        due = world.rows("SELECT queue FROM work WHERE due_at <= now() AND queue IN ('watch', 'upkeep')")
        assert [row["queue"] for row in due] == ["watch"]
        world.poll()
        watch.hasten(world.deps)
        assert world.rows("SELECT FROM work WHERE due_at <= now() AND queue = 'watch'") == []
        assert watch_of(world, release_id).polls == 2

    def test_a_vendor_that_asks_to_wait_is_not_polled(self, world: World, outside: Outside) -> None:
        """A probe without an answer stays unknown meanwhile."""
        release_id = world.run_to_watch()
        outside.sentry = CheckError("too many requests", retry_after=90)
        run_counts = [world.poll() and outside.runs.count("watch.issues")]
        for seconds in (30, 30, 29, 1):
            world.clock.advance(seconds=seconds)
            world.poll()
            run_counts.append(outside.runs.count("watch.issues"))
        assert run_counts == [1, 1, 1, 1, 2]
        assert watch_of(world, release_id).verdict is ProbeStatus.CANNOT_TELL
        outside.sentry = CheckError("too many requests", retry_after=24 * 3600)
        world.clock.advance(seconds=90)
        world.poll()
        assert watch_of(world, release_id).alarms == ()
        world.clock.advance(minutes=4)
        world.poll()
        (alarm,) = watch_of(world, release_id).alarms  # people hear of it while it is left alone, and can end the watch
        assert (alarm.kind, outside.runs.count("watch.issues")) == (AlarmKind.SILENT, 3)


class Replicas:
    """Two processes that watch one release, each with its own steady clock and the same time of day."""

    def __init__(self, world: World, other: World) -> None:
        self.release_id = world.run_to_watch()
        other.clock = world.clock.on_another_machine()
        other.change(clock=other.clock, checklist=world.deps.checklist)
        self.both = (world, other)

    def poll(self, replica: int) -> None:
        """Poll with the first (0) or the second (1) process, unless the watch is over."""
        job = self.both[replica].claim("watch")
        if job is not None:
            self.both[replica].carry_out(job)

    def advance(self, **duration: float) -> None:
        """Let time pass for both processes."""
        for world in self.both:
            world.clock.advance(**duration)

    def set(self, **by: float) -> None:
        """Change the clock of both processes."""
        for world in self.both:
            world.clock.set(**by)

    def remaining(self) -> timedelta:
        """The remaining time of the watch."""
        return watch_of(self.both[0], self.release_id).remaining(self.both[0].clock.now())

    def state(self) -> ReleaseState:
        """The state of the release."""
        return state(self.both[0], self.release_id)

    def recorded_events(self) -> list[str]:
        """What is on record."""
        return [event for _, event in self.both[0].recorded_events()]


@pytest.fixture
def replicas(world: World, another_process: Callable[[], Store]) -> Replicas:
    """A release that two processes watch."""
    return Replicas(world, World(another_process(), world.outside))


def claim(process: Store, queue: str) -> work.Claim | None:
    """Claim the work of a queue for that process."""
    with process.transaction() as tx:
        tx.execute("UPDATE work SET due_at = now() WHERE queue = %s AND owner IS NULL", [queue])
        return work.claim(tx, queue, process.instance)
