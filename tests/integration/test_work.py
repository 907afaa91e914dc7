"""The queue of work on a real PostgreSQL: once, leases, fencing."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from bot.errors import Superseded
from bot.store import work
from bot.store.migrate import migrate
from bot.store.pool import Store
from bot.store.work import Claim
from tests.fix_bot import die


def ask(store: Store, key: str, due_at: datetime | None = None) -> None:
    """Request work for a key of the queue."""
    with store.transaction() as tx:
        work.enqueue(tx, "q", key, due_at)


def claim(store: Store) -> Claim | None:
    """Claim due work, if there is any."""
    with store.transaction() as tx:
        return work.claim(tx, "q", store.instance)


def claim_one(store: Store) -> Claim:
    """Claim due work, which must exist."""
    job = claim(store)
    assert job is not None
    return job


def finish(store: Store, job: Claim) -> None:
    """Finish a claim."""
    with store.transaction() as tx:
        work.finish(tx, job, datetime.now(UTC))


def keys(store: Store) -> list[str]:
    """The keys that can be claimed now, one after the other."""
    all_keys = []
    while (job := claim(store)) is not None:
        all_keys.append(job.key)
        finish(store, job)
    return all_keys


def test_work_that_is_requested_twice_is_done_once(store: Store) -> None:
    """There is one row for each queue and key."""
    ask(store, "a")
    ask(store, "a")
    ask(store, "b")
    assert keys(store) == ["a", "b"]


def test_work_that_is_requested_during_a_run_is_done_once_more(store: Store) -> None:
    """A change after the work has looked is not lost."""
    ask(store, "a")
    job = claim_one(store)
    ask(store, "a")
    ask(store, "a")
    assert claim(store) is None
    finish(store, job)
    assert keys(store) == ["a"]


def test_a_request_during_a_run_overrides_a_later_time(store: Store) -> None:
    """A watch that would poll in an hour polls now if somebody acknowledged its alarm meanwhile."""
    ask(store, "a")
    job = claim_one(store)
    ask(store, "a")
    with store.transaction() as tx:
        work.reschedule(tx, job, datetime.now(UTC) + timedelta(hours=1))
    assert keys(store) == ["a"]


def test_work_that_is_put_back_is_due_later(store: Store) -> None:
    """It is not due before its time, which the timers know."""
    ask(store, "a")
    later = datetime.now(UTC) + timedelta(hours=1)
    with store.transaction() as tx:
        work.reschedule(tx, claim_one(store), later)
    assert claim(store) is None
    with store.transaction() as tx:
        assert work.next_due(tx) == later


def test_the_earlier_request_counts(store: Store) -> None:
    """Work that was requested for later and then for now is due now."""
    ask(store, "a", datetime.now(UTC) + timedelta(hours=1))
    assert claim(store) is None
    ask(store, "a")
    assert keys(store) == ["a"]


def test_attempts_count_failures_only(store: Store) -> None:
    """A poll that is due again is no failure."""
    ask(store, "a")
    attempts = []
    for error in ("OSError", "OSError", None, "OSError"):
        job = claim_one(store)
        attempts.append(job.attempts)
        with store.transaction() as tx:
            work.reschedule(tx, job, datetime.now(UTC) - timedelta(seconds=1), error=error)
    assert attempts == [1, 2, 3, 1]


def test_the_work_of_a_dead_process_is_free_at_once(store: Store, another_process: Callable[[], Store]) -> None:
    """Its session holds a lock, so that nobody waits for the lease."""
    ask(store, "a")
    other = another_process()
    first = claim_one(other)
    assert claim(store) is None
    die(other, store)
    second = claim_one(store)
    assert (second.key, second.token) == ("a", first.token + 1)


def test_an_expired_lease_is_taken_over(store: Store) -> None:
    """A process that hangs does not keep its work for ever."""
    ask(store, "a")
    first = claim_one(store)
    with store.transaction() as tx:
        tx.execute("UPDATE work SET lease_until = now() - interval '1 second'")
    assert claim_one(store).token == first.token + 1
    with store.transaction() as tx:
        assert not work.renew(tx, first)


def test_a_renewed_lease_is_kept(store: Store) -> None:
    """Work that takes long stays with its process."""
    ask(store, "a")
    job = claim_one(store)
    with store.transaction() as tx:
        tx.execute("UPDATE work SET lease_until = now() - interval '1 second'")
        assert work.renew(tx, job)
    assert claim(store) is None


def test_a_stale_claim_cannot_commit(store: Store, another_process: Callable[[], Store]) -> None:
    """The effect of a process that lost its claim is rolled back."""
    other = another_process()
    ask(store, "a")
    stale = claim_one(other)
    die(other, store)
    claim_one(store)

    def take_effect() -> None:
        with store.transaction() as tx:
            work.enqueue(tx, "q", "effect")
            work.ensure_claim(tx, stale)

    with pytest.raises(Superseded):
        take_effect()
    assert keys(store) == []


def test_a_stale_claim_cannot_end_the_work(store: Store) -> None:
    """Only the newest token may finish work or put it back."""
    ask(store, "a")
    stale = claim_one(store)
    with store.transaction() as tx:
        tx.execute("UPDATE work SET lease_until = now() - interval '1 second'")
    job = claim_one(store)
    finish(store, stale)
    with store.transaction() as tx:
        work.reschedule(tx, stale, datetime.now(UTC))
        work.ensure_claim(tx, job)
    assert claim(store) is None


def test_dropped_work_has_no_effect(store: Store) -> None:
    """It can be neither renewed nor committed, and a new request is new work."""
    ask(store, "a")
    job = claim_one(store)
    with store.transaction() as tx:
        work.drop(tx, "q", "a")
        assert not work.renew(tx, job)
    with pytest.raises(Superseded), store.transaction() as tx:
        work.ensure_claim(tx, job)
    ask(store, "a")
    assert claim_one(store).id != job.id


def test_the_claim_knows_of_another_request(store: Store) -> None:
    """The effect can then announce that one more run follows."""
    ask(store, "a")
    job = claim_one(store)
    with store.transaction() as tx:
        assert not work.ensure_claim(tx, job)
    ask(store, "a")
    with store.transaction() as tx:
        assert work.ensure_claim(tx, job)


def test_a_process_of_another_database_does_not_count(store: Store, store_of_another_database: Store) -> None:
    """Databases on one server number their processes alike."""
    with store.transaction() as tx:
        tx.execute("INSERT INTO work (queue, key, owner, lease_until) VALUES ('q', 'a', %s, now() + interval '1 hour')",
                   [store_of_another_database.instance])  # fmt: skip
    assert keys(store) == ["a"]


@pytest.fixture
def store_of_another_database(database_url: str) -> Iterator[Store]:
    """A living process on another database of the server, with a number that nobody has here."""
    other = Store(database_url)
    other.open()
    migrate(other)
    with other.transaction() as tx:
        tx.execute("SELECT setval(pg_get_serial_sequence('instances', 'id'), 4711)")
    other.join()
    yield other
    other.close()


def test_eight_workers_never_claim_the_same_row(store: Store) -> None:
    """Each of 200 rows is claimed exactly once."""
    with store.transaction() as tx:
        for number in range(200):
            work.enqueue(tx, "q", number)
    claim_counts: Counter[str] = Counter()
    guard = threading.Lock()

    def work_off() -> None:
        while (job := claim(store)) is not None:
            with guard:
                claim_counts[job.key] += 1
            finish(store, job)

    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(work_off) for _ in range(8)]:
            future.result()
    assert claim_counts == Counter({str(number): 1 for number in range(200)})


def test_a_locked_row_is_skipped(store: Store) -> None:
    """A worker that commits does not hold up those that look for other work."""
    ask(store, "a")
    ask(store, "b")
    with store.transaction() as busy:
        busy.execute("SELECT FROM work WHERE key = 'a' FOR UPDATE")
        with store.transaction() as tx:
            tx.execute("SET LOCAL lock_timeout = '2s'")
            job = work.claim(tx, "q", store.instance)
    assert job is not None
    assert job.key == "b"


def test_the_backlog_counts_due_work(store: Store) -> None:
    """The metrics have the number of due rows and the age of the oldest."""
    ask(store, "a")
    ask(store, "b", datetime.now(UTC) - timedelta(minutes=1))
    ask(store, "later", datetime.now(UTC) + timedelta(minutes=1))
    with store.transaction() as tx:
        due_rows, oldest = work.backlog(tx)["q"]
    assert due_rows == 2
    assert 60 <= oldest < 90
