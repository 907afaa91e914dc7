"""What the functions of a step work with: StepInspection, StepContext, Journal, and the release as a step sees it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bot.domain.actions import RunCheck
from bot.domain.plan import Mutation
from bot.errors import NoAnswer, StepError, Superseded
from checks.contract import Answer
from clients.connections import Clients
from clients.errors import ClientError
from clients.target import Target

T = TypeVar("T")
MAX_READS = 4  # attempts at a read while the vendor gives no answer
NOTHING_TO_RESTORE = "nothing was changed, so there is nothing to put back"  # says a rollback step without a target
LONGEST_PAUSE = 60.0  # seconds of pause that a vendor may ask for
FIRST_PAUSE = 0.3  # seconds before the first repetition; doubles


@contextmanager
def step_errors() -> Iterator[None]:
    """Turn errors of clients in the block into NoAnswer, when the same request may succeed in a moment, or else StepError."""
    try:
        yield
    except ClientError as error:
        if error.is_temporary:
            raise NoAnswer(error.summary, hint=error.hint, retry_after=error.retry_after) from error
        raise StepError(error.summary, hint=error.hint) from error


class Journal(Protocol):
    """Where a step records what it is about to do, what it saw and what it did (promise P5).

    Every method raises Superseded once another process may carry out the step, so that this one does nothing more.
    """

    def record_intent(self, changes: Sequence[Mutation]) -> None:
        """Record the changes that the step makes next, before it acts. Raises StepError for a change that was not planned."""

    def record_observation(self, **body: object) -> None:
        """Record what the step saw."""

    def record_refusal(self, changes: Sequence[Mutation]) -> None:
        """Record that the changes of an intent were refused, so that nothing of them was made."""

    def observations(self) -> Sequence[Mapping[str, Any]]:
        """Return what `record_observation` stored, in every attempt and by every process; the oldest first."""

    def has_intent(self) -> bool:
        """Whether an intent of this step was ever recorded: from then on the state that it finds may be its own doing."""

    def record_action(self, **body: object) -> None:
        """Record what the step has changed. ``changes``: the bodies of Mutations that are made, even if the step fails later."""

    def record_state_before(self, **body: object) -> None:
        """Record what was there before the first change; later calls change nothing."""

    def show_progress(self, line: str) -> None:
        """Show people how far the step is, in one line."""

    def attach_log(self, name: str, title: str, text: str) -> None:
        """Post the whole output of something as a file in the thread. Once for each ``name``."""


@dataclass(frozen=True)
class ReleaseReference:
    """The release as a step sees it."""

    version: str  # v4.8.0
    bare_version: str  # 4.8.0
    commit: str
    image: str  # repository@sha256:…
    previous: str = ""  # the version that was deployed before it, as far as the bot has seen it


@dataclass(frozen=True)
class StepInspection:
    """What a step may use to read the world and to say what it would change. Nothing here changes or stores anything."""

    id: str  # step id
    reference: ReleaseReference
    target: Target
    clients: Clients
    rollback_target: Mapping[str, Any] | None  # recorded of the step's plane before the deploy; None until then
    deadline: float  # time.monotonic()
    cancelled: threading.Event  # the step is to stop: it is no longer ours, or the process ends

    def pause(self, seconds: float, waiting_for: str) -> None:
        """Wait ``seconds`` between two looks. Raises StepError past the deadline, Superseded when the step is to stop."""
        if time.monotonic() + seconds > self.deadline:
            raise StepError(
                f"gave up waiting for {waiting_for}", hint="Check what it waits for, then retry or roll back."
            )
        self.rest(seconds)

    def rest(self, seconds: float) -> None:
        """Wait ``seconds``, even past the deadline. Raises Superseded when the step is to stop."""
        if self.cancelled.wait(seconds):
            raise Superseded

    @property
    def overdue(self) -> bool:
        """Whether the deadline of the step has passed."""
        return time.monotonic() > self.deadline

    def retry_read(self, read: Callable[[], T]) -> T:
        """Call ``read``, which changes nothing, and return its answer; repeated a few times while the vendor gives none.

        Raises StepError, and NoAnswer after the last attempt.
        """
        for attempt in range(MAX_READS - 1):
            try:
                with step_errors():
                    return read()
            except NoAnswer as error:
                self.wait_after_failure(error, FIRST_PAUSE * 2**attempt)
        with step_errors():
            return read()

    def wait_after_failure(self, error: NoAnswer, seconds: float) -> None:
        """Wait after a call without an answer: ``seconds``, or as long as the vendor asks for.

        Raises NoAnswer at once if the vendor asks for more than a step waits or has time for; else as `pause` does.
        """
        asked_pause = error.retry_after or 0.0
        if asked_pause and asked_pause > min(LONGEST_PAUSE, self.deadline - time.monotonic()):
            raise NoAnswer(
                f"{error.user_message}, and asks the bot to wait {math.ceil(asked_pause)} s", hint="Retry after that."
            ) from error
        self.pause(max(seconds, asked_pause), error.user_message)


@dataclass(frozen=True)
class StepContext(StepInspection):
    """What a step may use when it acts."""

    run_check: Callable[[RunCheck], Answer]  # with all that its kind declares
    redact: Callable[[str], str]
    journal: Journal
    attempt: int  # 1, and one more for each retry
