"""Call: runs a function in a thread of its own, so that it can be given up. What it has in use is let go when it ends."""

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
_LOOK = 0.1  # seconds between two looks at whether it was cancelled; its end is heard of at once


class DidNotStop(Exception):
    """A call did not end in time. It goes on in its thread, and nobody hears its answer."""


class Call(Generic[T]):
    """One call. ``name``: of its thread, and what the log says of it.

    ``held``: what it has in use, such as clients and locks. Whoever makes the call lets that go as ever; once it is given
    up, its thread does, when it ends. The thread never keeps the process from ending.
    """

    def __init__(self, name: str, held: ExitStack) -> None:
        self.given_up = threading.Event()
        self._name, self._held = name, held
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
                self._answer.exception(_LOOK)
            except TimeoutError:
                if cancelled is not None and cancelled.is_set():
                    deadline = min(deadline, time.monotonic())
                if time.monotonic() >= deadline + grace and self._give_up():
                    raise DidNotStop from None
            else:
                return self._answer.result()

    def _give_up(self) -> bool:
        """Leave all to the thread; False when it has just ended."""
        with self._hand_over:
            if self._answer.done():
                return False
            self._held = self._held.pop_all()
            self.given_up.set()
        logger.warning("%s did not stop in time; what it has in use stays so until it does", self._name)
        return True

    def _carry_out(self, function: Callable[[], T]) -> None:
        ended: Future[T] = Future()
        try:
            ended.set_result(function())
        # Whatever it is, it is raised where the answer is waited for.
        except BaseException as raised:  # noqa: BLE001
            ended.set_exception(raised)
        error = ended.exception()
        with self._hand_over:
            if not self.given_up.is_set():
                if error is not None:
                    self._answer.set_exception(error)
                else:
                    self._answer.set_result(ended.result())
                return
        self._end_late(error)

    def _end_late(self, error: BaseException | None) -> None:
        said = f"it raised {type(error).__name__}: {error}" if error is not None else "its answer is dropped"
        logger.warning("%s has stopped after it was given up; %s", self._name, said)
        try:
            self._held.close()
        # The end of a thread that nobody waits for: what fails here can only be told.
        except Exception:
            logger.exception("%s: cannot let go of what it had in use", self._name)
