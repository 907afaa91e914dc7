"""What a step gets and gives: StepContext, Journal, and the release as a step sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bot.errors import StepError, Superseded
from checks.clients import Clients
from checks.contract import UndoLog
from checks.registry import Registry
from checks.target import Target


class Journal(Protocol):
    """Where a step writes down what it is about to do, what it saw and what it did (promise P5).

    Every call raises Superseded when the step is no longer this process's to carry out, so nothing is done after that.
    """

    def intent(self, **body: object) -> None:
        """What it is about to change; stored before it acts."""

    def observed(self, **body: object) -> None:
        """What it saw in the world."""

    def acted(self, **body: object) -> None:
        """What it has changed."""

    def before(self, **body: object) -> None:
        """What stood there before the first change; later calls change nothing."""

    def progress(self, line: str) -> None:
        """How far it is, for the person who waits."""


@dataclass(frozen=True)
class Shipment:
    """The release as a step sees it."""

    version: str  # v4.8.0
    bare_version: str  # 4.8.0
    commit: str
    image: str  # repository@sha256:…


@dataclass(frozen=True)
class StepContext:
    """All that a step may use."""

    id: str  # step id
    shipment: Shipment
    target: Target
    clients: Clients
    registry: Registry
    redact: Callable[[str], str]
    undo: UndoLog
    journal: Journal
    rollback_target: Mapping[str, Any] | None  # what was recorded before the deploy; None until then
    record_target: Callable[[Mapping[str, Any]], None]
    deadline: float  # time.monotonic()
    cancelled: threading.Event  # the step is to stop: it is no longer ours, or the process ends

    def pause(self, seconds: float, waiting_for: str) -> None:
        """Wait between two looks. Raises StepError once the deadline has come, Superseded when the step is to stop."""
        if time.monotonic() + seconds > self.deadline:
            raise StepError(f"gave up waiting for {waiting_for}", hint="Look at the cluster, then retry or roll back.")
        if self.cancelled.wait(seconds):
            raise Superseded
