"""The worker threads on a real PostgreSQL."""

import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bot import logs
from bot.clock import SystemClock
from bot.errors import VendorError
from bot.flows.deps import Job
from bot.redact import Redactor
from bot.store import work
from bot.store.pool import Store
from bot.timers import Timers
from bot.workers import Queue, Workers
from tests.fix_kube import eventually


class SetClock(SystemClock):
    """The machine's clock, set forward by a test."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def begin(store: Store) -> Iterator[Callable[[Queue], Workers]]:
    """A function that starts workers, which are stopped after the test."""
    running: list[Workers] = []

    def start(queue: Queue) -> Workers:
        workers = Workers(store, SystemClock(), [queue])
        running.append(workers)
        workers.start()
        eventually("the listener", lambda: workers.listening)
        return workers

    yield start
    for workers in running:
        workers.stop()


def ask(store: Store, key: str = "a") -> None:
    """Request work for a key of the queue."""
    with store.transaction() as tx:
        work.enqueue(tx, "q", key)


def count_rows(store: Store) -> int:
    """The number of rows in the queue."""
    with store.transaction() as tx:
        return tx.execute("SELECT FROM work").rowcount


def test_work_begins_at_once(store: Store, begin: Callable[[Queue], Workers]) -> None:
    """NOTIFY wakes an idle worker within 0.2 s."""
    start_times: list[float] = []

    def handle(job: Job) -> None:
        start_times.append(time.monotonic())

    begin(Queue("q", 1, handle))
    delays: list[float] = []
    for number in range(5):
        request_time = time.monotonic()
        ask(store, str(number))
        eventually("the work", lambda: len(start_times) > len(delays))
        delays.append(start_times[-1] - request_time)
    assert sorted(delays)[2] < 0.2
    eventually("the end", lambda: count_rows(store) == 0)


def test_failed_work_is_tried_again(store: Store, begin: Callable[[Queue], Workers]) -> None:
    """The first retry comes a second later, and the error is stored."""
    attempts: list[tuple[int, float]] = []

    def handle(job: Job) -> None:
        attempts.append((job.claim.attempts, time.monotonic()))
        if job.claim.attempts == 1:
            raise VendorError("the vendor is away")

    workers = begin(Queue("q", 1, handle))
    timers = Timers([], wake=workers.wake, next_due=workers.next_due, clock=SystemClock(), look_every=0.1)
    timers.start()
    ask(store)
    eventually("the second attempt", lambda: len(attempts) == 2)
    timers.stop()
    assert [number for number, _ in attempts] == [1, 2]
    assert 0.9 <= attempts[1][1] - attempts[0][1] < 3


def test_the_pauses_between_attempts_grow(store: Store, begin: Callable[[Queue], Workers]) -> None:
    """A vendor that does not answer is asked less and less often."""
    with store.transaction() as tx:
        work.enqueue(tx, "q", "a")
        tx.execute("UPDATE work SET attempts = 4")

    def handle(job: Job) -> None:
        raise VendorError("the vendor is away")

    begin(Queue("q", 1, handle))

    def put_back() -> datetime | None:
        with store.transaction() as tx:
            row = tx.execute("SELECT due_at FROM work WHERE last_error = 'VendorError' AND owner IS NULL").fetchone()
        return row["due_at"] if row else None

    due = eventually("the failure", put_back)
    assert due is not None
    pause = due - datetime.now(UTC)
    assert timedelta(seconds=55) < pause < timedelta(seconds=65)


def test_work_is_given_up_after_the_last_attempt(store: Store, begin: Callable[[Queue], Workers]) -> None:
    """Whoever waits for an answer gets one, and the row is deleted."""
    given_up: list[tuple[str, str]] = []

    def handle(job: Job) -> None:
        raise ZeroDivisionError("a fault of ours")

    def give_up(job: Job, error: Exception) -> None:
        given_up.append((job.claim.key, str(error)))

    begin(Queue("q", 1, handle, give_up_after=1, on_give_up=give_up))
    ask(store)
    eventually("the end", lambda: count_rows(store) == 0)
    assert given_up == [("a", "a fault of ours")]


def test_a_failing_give_up_does_not_end_the_thread(store: Store, begin: Callable[[Queue], Workers]) -> None:
    """The only thread of the queue continues with the next work."""
    finished_keys: list[str] = []

    def handle(job: Job) -> None:
        if job.claim.key == "bad":
            raise ZeroDivisionError("a fault of ours")
        finished_keys.append(job.claim.key)

    def give_up(job: Job, error: Exception) -> None:
        raise KeyError("another one")

    begin(Queue("q", 1, handle, give_up_after=1, on_give_up=give_up))
    ask(store, "bad")
    ask(store, "good")
    eventually("the other work", lambda: finished_keys == ["good"])


def test_a_worker_learns_that_its_work_was_dropped(store: Store, begin: Callable[[Queue], Workers]) -> None:
    """A check of an aborted release is told that nobody needs it."""
    was_told = threading.Event()
    is_running = threading.Event()

    def handle(job: Job) -> None:
        is_running.set()
        if job.cancelled.wait(10):
            was_told.set()

    begin(Queue("q", 1, handle))
    ask(store)
    assert is_running.wait(10)
    with store.transaction() as tx:
        work.drop(tx, "q", "a")
    assert was_told.wait(5)


def test_a_long_job_keeps_its_lease(store: Store, begin: Callable[[Queue], Workers]) -> None:
    """The lease is renewed while the work goes on."""
    is_running, end = threading.Event(), threading.Event()

    def handle(job: Job) -> None:
        is_running.set()
        end.wait(10)

    begin(Queue("q", 1, handle))
    ask(store)
    assert is_running.wait(10)
    with store.transaction() as tx:
        tx.execute("UPDATE work SET lease_until = now() + interval '3 seconds'")

    def is_renewed() -> bool:
        with store.transaction() as tx:
            return tx.execute("SELECT FROM work WHERE lease_until > now() + interval '10 seconds'").rowcount == 1

    eventually("the renewal", is_renewed)
    end.set()


def test_stop_ends_running_work_and_begins_nothing(store: Store, begin: Callable[[Queue], Workers]) -> None:
    """Running work is put back when it ends in time, and later work waits for another process."""
    is_running = threading.Event()
    lost_flags: list[bool] = []

    def handle(job: Job) -> datetime | None:
        is_running.set()
        lost_flags.append(job.cancelled.wait(10))
        return datetime.now(UTC)

    workers = begin(Queue("q", 1, handle))
    ask(store)
    assert is_running.wait(10)
    workers.stop()
    assert lost_flags == [True]
    ask(store, "b")
    with store.transaction() as tx:
        rows = tx.execute("SELECT key FROM work WHERE owner IS NULL ORDER BY key").fetchall()
    assert [row["key"] for row in rows] == ["a", "b"]


def test_log_lines_name_the_release(store: Store, begin: Callable[[Queue], Workers]) -> None:
    """The lines of the work and of its failure name the release in the key."""
    stream = io.StringIO()
    root, level = list(logging.getLogger().handlers), logging.getLogger().level
    logs.setup("info", as_json=True, redactor=Redactor(), stream=stream)

    def handle(job: Job) -> None:
        logging.getLogger("bot.test").info("at work")
        raise VendorError("no answer")

    try:
        begin(Queue("q", 1, handle, of_release=True))
        ask(store, "7/go.backup")
        eventually("the failure", lambda: "no answer" in stream.getvalue())
    finally:
        logging.basicConfig(level=level, handlers=root, force=True)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["message"], line["release"]) for line in lines if "release" in line] == [
        ("at work", "7"),
        ("q 7/go.backup failed at attempt 1: no answer", "7"),
    ]


def test_a_lost_listener_is_noticed(store: Store) -> None:
    """Without a sign of life every second the workers no longer count as listening."""
    clock = SetClock()
    workers = Workers(store, clock, [])
    assert not workers.listening
    workers.start()
    eventually("the listener", lambda: workers.listening)
    workers.stop()
    clock.ahead = timedelta(seconds=20)
    assert not workers.listening
