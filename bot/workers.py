"""Workers: threads that claim due work and carry it out. NOTIFY wakes them, and one thread renews their leases."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import Clock
from bot.errors import BotError, DatabaseError, Superseded
from bot.flows.deps import Job
from bot.logs import about_release
from bot.store import work
from bot.store.pool import Store
from bot.store.work import Claim

logger = logging.getLogger(__name__)

RENEW = 2.0  # seconds between two renewals; also how fast a dropped job notices
IDLE = 5.0  # seconds after which a worker looks by itself: NOTIFY makes it fast, the sweep makes it sure
LISTEN_WITHIN = 2.0  # seconds for the listener to be there; without it the workers look by themselves
DEAF = timedelta(seconds=15)  # without a sign of life, after which a listener is taken for lost
RETRY = (1.0, 2.0, 5.0, 15.0, 60.0)  # seconds before the next attempt; the last one stays

Handler = Callable[[Job], datetime | None]


@dataclass(frozen=True)
class Queue:
    """One kind of work: the number of threads, its handler, and what to do when a job is given up."""

    name: str
    threads: int
    handler: Handler  # returns when it is due again; None: done
    give_up_after: int = 0  # attempts; 0: never
    of_release: bool = False  # whether its keys begin with the id of a release, which log lines then name
    on_give_up: Callable[[Job, Exception], None] | None = None

    def about(self, key: str) -> AbstractContextManager[None]:
        """Return a context that puts the release of ``key`` on every log line, if the work is of a release."""
        return about_release(re.split("[:/]", key, maxsplit=1)[0]) if self.of_release else nullcontext()


class Workers:
    """All worker threads of this process. ``next_due`` tells the timers when to wake them.

    ``beat`` is called every two seconds, before the leases are renewed.
    """

    def __init__(
        self, store: Store, clock: Clock, queues: list[Queue], *, beat: Callable[[], object] = lambda: None
    ) -> None:
        self._store, self._clock, self._queues, self._beat = store, clock, queues, beat
        self._stopping = threading.Event()
        self._wake = {queue.name: threading.Condition() for queue in queues}
        self._wake_counts = dict.fromkeys(self._wake, 0)
        self._jobs: dict[Claim, Job] = {}
        self._jobs_lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener_ready = threading.Event()
        self._last_heartbeat: datetime | None = None  # last sign of life of the listener

    def start(self) -> None:
        """Start all threads. Returns once the listener is connected, or after two seconds without it."""
        plan = [(self._listen, "listen", ()), (self._renew, "renew", ())]
        for queue in self._queues:
            plan += [(self._work, f"{queue.name}-{number}", (queue,)) for number in range(queue.threads)]  # type: ignore[misc]
        for target, name, args in plan:
            thread = threading.Thread(target=target, name=name, args=args, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._listener_ready.wait(LISTEN_WITHIN)

    def stop(self, timeout: float = 5.0) -> None:
        """Claim no more work, cancel the jobs that run, and wait at most ``timeout`` seconds for all threads together."""
        self._stopping.set()
        with self._jobs_lock:
            for job in self._jobs.values():
                job.cancelled.set()
        self.wake()
        self._end_listening()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _end_listening(self) -> None:
        """Wake the listener so that it ends; without a database it ends by itself."""
        try:
            with self._store.transaction() as tx:
                work.wake(tx)
        except DatabaseError as error:
            logger.info("cannot wake the listener: %s", error)

    def wake(self, queue: str | None = None) -> None:
        """Have the workers of a queue (default: of all) look for work now."""
        for name in [queue] if queue in self._wake else self._wake:
            condition = self._wake[name]
            with condition:
                self._wake_counts[name] += 1
                condition.notify_all()

    @property
    def listening(self) -> bool:
        """Whether the listener works: then new work of every replica is taken at once."""
        return self._last_heartbeat is not None and self._clock.now() - self._last_heartbeat < DEAF

    def next_due(self) -> datetime | None:
        """Return when the next unclaimed work is due; None if there is none."""
        with self._store.transaction() as tx:
            return work.next_due(tx)

    def _work(self, queue: Queue) -> None:
        condition = self._wake[queue.name]
        while not self._stopping.is_set():
            wake_count = self._wake_counts[queue.name]
            try:
                with self._store.transaction() as tx:
                    claim = work.claim(tx, queue.name, self._store.instance)
            except Exception as error:  # noqa: BLE001  the seam of the thread
                self._survive("cannot look for work", error)
                continue
            if claim is not None:
                with queue.about(claim.key):
                    self._carry_out(queue, Job(claim, threading.Event()))
                continue
            with condition:
                if self._wake_counts[queue.name] == wake_count and not self._stopping.is_set():
                    condition.wait(IDLE * random.uniform(0.8, 1.2))  # noqa: S311  spreads the sweeps, no secret

    def _carry_out(self, queue: Queue, job: Job) -> None:
        with self._jobs_lock:
            self._jobs[job.claim] = job
        try:
            due = queue.handler(job)
            with self._store.transaction() as tx:
                if due is None:
                    work.finish(tx, job.claim, self._clock.now())
                else:
                    work.reschedule(tx, job.claim, due)
        except Superseded:
            logger.info("%s %s is no longer ours", queue.name, job.claim.key)
        # The seam of the workers: one job that fails must not end the thread; it is tried again, visibly, never dropped.
        except Exception as error:  # noqa: BLE001  see above
            self._handle_failure(queue, job, error)
        finally:
            with self._jobs_lock:
                self._jobs.pop(job.claim, None)

    def _handle_failure(self, queue: Queue, job: Job, error: Exception) -> None:
        claim = job.claim
        is_expected = isinstance(error, BotError)
        logger.log(
            logging.WARNING if is_expected else logging.ERROR,
            "%s %s failed at attempt %d: %s",
            queue.name,
            claim.key,
            claim.attempts,
            error,
            exc_info=not is_expected,
        )
        try:
            if queue.give_up_after and claim.attempts >= queue.give_up_after:
                if queue.on_give_up is not None:
                    queue.on_give_up(job, error)
                with self._store.transaction() as tx:
                    work.finish(tx, claim, self._clock.now())
                return
            delay = RETRY[min(claim.attempts, len(RETRY)) - 1]
            with self._store.transaction() as tx:
                work.reschedule(tx, claim, self._clock.now() + timedelta(seconds=delay), error=type(error).__name__)
        # The same seam: an on_give_up that fails must not end the thread either; the lease ends and it is taken again.
        except Exception as second:
            logger.log(
                logging.WARNING if isinstance(second, BotError) else logging.ERROR,
                "cannot put %s %s back: %s; its lease ends by itself",
                queue.name,
                claim.key,
                second,
                exc_info=not isinstance(second, BotError),
            )

    def _renew(self) -> None:
        while not self._stopping.wait(RENEW):
            with self._jobs_lock:
                jobs = list(self._jobs.values())
            try:
                self._store.keep_alive()
                self._beat()
                for job in jobs:
                    with self._store.transaction() as tx:
                        if not work.renew(tx, job.claim):
                            job.cancelled.set()
            except Exception as error:  # noqa: BLE001  the seam of the thread
                self._survive("cannot renew leases", error)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._store.listening("work") as connection:
                    self.wake()  # what was asked for while nobody listened
                    while not self._stopping.is_set():
                        self._last_heartbeat = self._clock.now()
                        self._listener_ready.set()
                        for notice in connection.notifies(timeout=1.0, stop_after=1):
                            self.wake(notice.payload)
            except Exception as error:  # noqa: BLE001  the seam of the thread
                self._survive("lost the connection that listens for work", error)

    def _survive(self, trouble: str, error: Exception) -> None:
        """Log what went wrong in a thread of the workers, and pause: no thread ends by an exception, whatever the database says."""
        is_expected = isinstance(error, DatabaseError)
        level = logging.WARNING if is_expected else logging.ERROR
        logger.log(level, "%s: %s", trouble, error, exc_info=error if not is_expected else None)
        self._stopping.wait(1.0)
