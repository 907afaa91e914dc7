"""Call: runs a function in a thread of its own, so that it can be given up. What it has in use is released when it ends."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

logger = logging.getLogger(__name__)

T = TypeVar("T")
_CANCEL_POLL = 0.1  # seconds between two looks at whether it was cancelled; its end is heard of at once


class DidNotStop(Exception):
    """A call did not end in time. It goes on in its thread, and nobody hears its answer."""


class ThreadCall(Generic[T]):
    """One call. ``name``: of its thread, and what the log says of it.

    ``resources``: what it has in use, such as clients and locks. Whoever makes the call releases them; once it is given
    up, its thread does, when it ends. The thread never keeps the process from ending.
    """

    def __init__(self, name: str, resources: ExitStack) -> None:
        self.given_up = threading.Event()
        self._name, self._resources = name, resources
        self._hand_over = threading.Lock()
        self._answer: Future[T] = Future()

    def result(
        self, function: Callable[[], T], *, deadline: float, grace: float, cancelled: threading.Event | None = None
    ) -> T:
        """What ``function`` returns, or raises.

        Raises DidNotStop ``grace`` seconds after ``deadline`` (time.monotonic()), or after ``cancelled`` was set.
        """
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=[self._carry_out, function], name=self._name, daemon=True).start()
        while True:
            try:
                self._answer.exception(_CANCEL_POLL)
            except TimeoutError:
                if cancelled is not None and cancelled.is_set():
                    deadline = min(deadline, time.monotonic())
                if time.monotonic() >= deadline + grace and self._give_up():
                    raise DidNotStop from None
            else:
                return self._answer.result()

    def _give_up(self) -> bool:
        """Leave its resources to the thread; False when it has just ended."""
        with self._hand_over:
            if self._answer.done():
                return False
            self._resources = self._resources.pop_all()
            self.given_up.set()
        logger.warning("%s did not stop in time; what it has in use stays so until it does", self._name)
        return True

    def _carry_out(self, function: Callable[[], T]) -> None:
        outcome: Future[T] = Future()
        try:
            outcome.set_result(function())
        # Whatever it is, it is raised where the answer is waited for.
        except BaseException as raised:  # noqa: BLE001
            outcome.set_exception(raised)
        error = outcome.exception()
        with self._hand_over:
            if not self.given_up.is_set():
                if error is not None:
                    self._answer.set_exception(error)
                else:
                    self._answer.set_result(outcome.result())
                return
        self._end_late(error)

    def _end_late(self, error: BaseException | None) -> None:
        ending = f"it raised {type(error).__name__}: {error}" if error is not None else "its answer is dropped"
        logger.warning("%s has stopped after it was given up; %s", self._name, ending)
        try:
            self._resources.close()
        # The end of a thread that nobody waits for: what fails here can only be told.
        except Exception:
            logger.exception("%s: cannot release what it had in use", self._name)
