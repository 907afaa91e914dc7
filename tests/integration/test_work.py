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
    """Ask for a key of the queue."""
    with store.transaction() as tx:
        work.enqueue(tx, "q", key, due_at)


def claim(store: Store) -> Claim | None:
    """Take what is due."""
    with store.transaction() as tx:
        return work.claim(tx, "q", store.instance)


def claimed(store: Store) -> Claim:
    """Take what is due; there must be something."""
    found = claim(store)
    assert found is not None
    return found


def finish(store: Store, held: Claim) -> None:
    """Say that it is done."""
    with store.transaction() as tx:
        work.finish(tx, held, datetime.now(UTC))


def keys(store: Store) -> list[str]:
    """What can be taken now, one after another."""
    found = []
    while (held := claim(store)) is not None:
        found.append(held.key)
        finish(store, held)
    return found


def test_asked_twice_is_done_once(store: Store) -> None:
    """One row a queue and key."""
    ask(store, "a")
    ask(store, "a")
    ask(store, "b")
    assert keys(store) == ["a", "b"]


def test_asked_again_while_under_way_is_done_once_more(store: Store) -> None:
    """What changed after the work had looked is not lost."""
    ask(store, "a")
    held = claimed(store)
    ask(store, "a")
    ask(store, "a")
    assert claim(store) is None
    finish(store, held)
    assert keys(store) == ["a"]


def test_asked_again_while_under_way_is_due_at_once_even_if_put_back_for_later(store: Store) -> None:
    """A watch that would look again in an hour looks now when somebody has acknowledged its alarm meanwhile."""
    ask(store, "a")
    held = claimed(store)
    ask(store, "a")
    with store.transaction() as tx:
        work.reschedule(tx, held, datetime.now(UTC) + timedelta(hours=1))
    assert keys(store) == ["a"]


def test_put_back_is_due_later(store: Store) -> None:
    """Not before its time; the timers hear when that is."""
    ask(store, "a")
    later = datetime.now(UTC) + timedelta(hours=1)
    with store.transaction() as tx:
        work.reschedule(tx, claimed(store), later)
    assert claim(store) is None
    with store.transaction() as tx:
        assert work.next_due(tx) == later


def test_earlier_wins(store: Store) -> None:
    """Asked for later and then for now, it is due now."""
    ask(store, "a", datetime.now(UTC) + timedelta(hours=1))
    assert claim(store) is None
    ask(store, "a")
    assert keys(store) == ["a"]


def test_attempts_count_failures_only(store: Store) -> None:
    """A poll that is due again is no failure."""
    ask(store, "a")
    attempts = []
    for error in ("OSError", "OSError", None, "OSError"):
        held = claimed(store)
        attempts.append(held.attempts)
        with store.transaction() as tx:
            work.reschedule(tx, held, datetime.now(UTC) - timedelta(seconds=1), error=error)
    assert attempts == [1, 2, 3, 1]


def test_a_dead_owner_is_followed_at_once(store: Store, another_process: Callable[[], Store]) -> None:
    """Its session holds a lock; when that ends, however it ends, the work is free without waiting for the lease."""
    ask(store, "a")
    other = another_process()
    first = claimed(other)
    assert claim(store) is None
    die(other, store)
    second = claimed(store)
    assert (second.key, second.token) == ("a", first.token + 1)


def test_a_lease_that_is_over_is_taken_over(store: Store) -> None:
    """A process that lives but hangs does not hold work for ever."""
    ask(store, "a")
    first = claimed(store)
    with store.transaction() as tx:
        tx.execute("UPDATE work SET lease_until = now() - interval '1 second'")
    assert claimed(store).token == first.token + 1
    with store.transaction() as tx:
        assert not work.renew(tx, first)


def test_a_renewed_lease_is_kept(store: Store) -> None:
    """Work that takes long stays with its owner."""
    ask(store, "a")
    held = claimed(store)
    with store.transaction() as tx:
        tx.execute("UPDATE work SET lease_until = now() - interval '1 second'")
        assert work.renew(tx, held)
    assert claim(store) is None


def test_a_stale_claim_cannot_commit(store: Store, another_process: Callable[[], Store]) -> None:
    """The effect of who was taken over is rolled back with its transaction."""
    other = another_process()
    ask(store, "a")
    stale = claimed(other)
    die(other, store)
    claimed(store)

    def take_effect() -> None:
        with store.transaction() as tx:
            work.enqueue(tx, "q", "effect")
            work.ensure_claim(tx, stale)

    with pytest.raises(Superseded):
        take_effect()
    assert keys(store) == []


def test_a_stale_claim_neither_finishes_nor_puts_back(store: Store) -> None:
    """Only the newest token may end the work."""
    ask(store, "a")
    stale = claimed(store)
    with store.transaction() as tx:
        tx.execute("UPDATE work SET lease_until = now() - interval '1 second'")
    held = claimed(store)
    finish(store, stale)
    with store.transaction() as tx:
        work.reschedule(tx, stale, datetime.now(UTC))
        work.ensure_claim(tx, held)
    assert claim(store) is None


def test_dropped_is_lost(store: Store) -> None:
    """What is no longer wanted can neither be renewed nor have an effect, and a new request is new work."""
    ask(store, "a")
    held = claimed(store)
    with store.transaction() as tx:
        work.drop(tx, "q", "a")
        assert not work.renew(tx, held)
    with pytest.raises(Superseded), store.transaction() as tx:
        work.ensure_claim(tx, held)
    ask(store, "a")
    assert claimed(store).id != held.id


def test_hold_says_whether_it_was_asked_for_again(store: Store) -> None:
    """So that the effect can tell people that one more is to come."""
    ask(store, "a")
    held = claimed(store)
    with store.transaction() as tx:
        assert not work.ensure_claim(tx, held)
    ask(store, "a")
    with store.transaction() as tx:
        assert work.ensure_claim(tx, held)


def test_an_instance_of_another_database_does_not_count(store: Store, store_of_another_database: Store) -> None:
    """Databases on one server number their processes alike; a dead owner here is dead whoever lives there."""
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


def test_eight_claimers_never_get_the_same_row(store: Store) -> None:
    """200 rows, eight threads: each row exactly once."""
    with store.transaction() as tx:
        for number in range(200):
            work.enqueue(tx, "q", number)
    taken: Counter[str] = Counter()
    guard = threading.Lock()

    def work_off() -> None:
        while (held := claim(store)) is not None:
            with guard:
                taken[held.key] += 1
            finish(store, held)

    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(work_off) for _ in range(8)]:
            future.result()
    assert taken == Counter({str(number): 1 for number in range(200)})


def test_a_locked_row_is_passed_by(store: Store) -> None:
    """Who writes an effect does not hold up those who look for other work."""
    ask(store, "a")
    ask(store, "b")
    with store.transaction() as busy:
        busy.execute("SELECT FROM work WHERE key = 'a' FOR UPDATE")
        with store.transaction() as tx:
            tx.execute("SET LOCAL lock_timeout = '2s'")
            found = work.claim(tx, "q", store.instance)
    assert found is not None
    assert found.key == "b"


def test_backlog_counts_what_is_due(store: Store) -> None:
    """For the metrics: how much waits, and for how long."""
    ask(store, "a")
    ask(store, "b", datetime.now(UTC) - timedelta(minutes=1))
    ask(store, "later", datetime.now(UTC) + timedelta(minutes=1))
    with store.transaction() as tx:
        waiting, oldest = work.backlog(tx)["q"]
    assert waiting == 2
    assert 60 <= oldest < 90
