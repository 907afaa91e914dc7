"""What the author of a kind imports: Kind, CheckContext, Answer, Outcome, Evidence, CheckError. No vendor client lives here."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from checks.outcome import Answer, Evidence, Outcome
from clients.declared import NeedGuard
from clients.errors import ClientError
from clients.needs import Changes, Effect, Need, Reads, Spends

if TYPE_CHECKING:
    import threading
    from datetime import datetime

    from clients.connections import Clients
    from clients.target import Target

__all__ = [
    "Answer",
    "Change",
    "CheckContext",
    "CheckError",
    "Evidence",
    "Kind",
    "Outcome",
    "Params",
    "Subject",
    "UndoLedger",
]


class CheckError(ClientError):
    """A check could not find out: no rights, no answer, a reply that makes no sense. Becomes ERROR, never FAIL.

    The clients raise a ClientError, which becomes ERROR as well.
    """


class UndoLedger(Protocol):
    """Where a kind writes down what it is about to change, so that it is undone even if the process dies (P7)."""

    def record(self, what: str, payload: Mapping[str, Any]) -> str:
        """Store the undo durably and return its id. ``what`` names it for a person; ``payload`` is for Kind.undo."""

    def settle(self, undo_id: str) -> None:
        """Mark the undo as done."""


@dataclass
class Change:
    """What a check changes inside of `Kind.undo_after`, and what is known of it so far.

    ``payload`` is for Kind.undo. What is added to it inside the block is not written down: it only spares questions.
    """

    payload: dict[str, Any]
    outcome_unknown: bool = False  # a request for it was sent and not answered, so it may take effect later


@dataclass(frozen=True)
class Subject:
    """The release that the check is run for; empty strings when it is run from a terminal without one."""

    version: str = ""
    commit: str = ""
    image: str = ""  # repository@sha256:… once resolved
    deploy_began: datetime | None = None  # None before the deploy
    previous: str = ""  # the version that was deployed before it, as far as the bot has seen it
    announced: str = ""  # where the message stands that announced it in the channel; empty: it does not


UNDO_ATTEMPTS = 3  # times that the undo of a request without an answer looks for what that may have made
UNDO_PAUSE = 1.0  # seconds between two of them


@dataclass(frozen=True)
class CheckContext:
    """All that a running check may use."""

    check: str  # check id
    target: Target
    clients: Clients
    undo: UndoLedger
    subject: Subject
    needs: Mapping[str, Mapping[str, Any]]  # check id -> Answer.data of the checks it needs; all of them passed
    deadline: float  # time.monotonic() at which it must end; the kind's grace later the runner gives up
    cancelled: threading.Event
    progress: Callable[[str], None]  # one short line for the person who waits
    outcome_unknown: bool = True  # for an undo: the request for the change may take effect later (`Change`)

    def remaining(self) -> float:
        """Seconds left until the deadline, never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def wait(self, seconds: float) -> None:
        """Wait between two polls. Raises CheckError when the check was cancelled or the deadline has come."""
        if self.cancelled.wait(min(seconds, self.remaining())):
            raise CheckError("cancelled", hint="Run the check again when you are ready.")
        if self.remaining() <= 0:
            raise CheckError("gave up waiting: the time for this check was up")

    def undo_attempts(self) -> Iterator[None]:
        """For the loop of an undo: one round, or three, a second apart, where a request may take effect late; also after the deadline.

        A request that got no answer may be carried out a moment later, when nothing was found at first. So it is for the
        undo of a run that was killed. Raises CheckError when the check is cancelled meanwhile: then the undo stays open, and
        is attempted anew.
        """
        yield
        for _ in range(UNDO_ATTEMPTS - 1 if self.outcome_unknown else 0):
            if self.cancelled.wait(UNDO_PAUSE):
                raise CheckError("cancelled while it still watched for a late effect")
            yield


class Params(BaseModel):
    """Base of every kind's parameters: unknown keys are refused, so that a typo in a checklist is found at load."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Kind(abc.ABC):
    """The code that answers one ``kind:`` of a checklist. One file a kind, named like the kind.

    A kind answers, it does not throw: known trouble is a CheckError, anything else is turned into ERROR by the runner.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for the reference
    params: ClassVar[type[Params]]
    example: ClassVar[Mapping[str, Any]] = {}  # the smallest parameters with which it may be asked
    timeout: ClassVar[float] = 60.0  # seconds; a checklist may set another
    grace: ClassVar[float] = 15.0  # seconds after that to put back what it changed; then the bot waits no longer

    @abc.abstractmethod
    def run(self, params: Any, ctx: CheckContext) -> Answer:
        """Ask, and say what was seen. Raises CheckError when it could not find out."""

    def needs(self, params: Any) -> tuple[Need, ...]:  # noqa: ARG002  for those that override it
        """All that it needs with these parameters: what it changes, reads and uses up, settings, and rights at whom they name.

        The clients refuse what is not among it, `release-bot doctor` asks for it. What it changes, reads and uses up is taken
        of ``example``, so that it holds for every check of the kind.
        """
        return ()

    def declared(self, params: Any) -> NeedGuard:
        """The same for the clients."""
        others = (need for need in self.needs(params) if not isinstance(need, Effect))
        return NeedGuard(f"kind {self.name}", (*self.effects, *others))

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """What it changes, reads and uses up."""
        return tuple(need for need in self.needs(self.params.model_validate(self.example)) if isinstance(need, Effect))

    @property
    def mutates(self) -> bool:
        """Whether it changes data or sends test events: refused unless the target allows it (P11)."""
        return any(isinstance(effect, Changes) and effect.data for effect in self.effects)

    @property
    def touches(self) -> tuple[str, ...]:
        """What nobody else may use or look at meanwhile, such as ``tenant``."""
        return tuple(effect.what for effect in self.effects if isinstance(effect, Changes))

    @property
    def reads(self) -> tuple[str, ...]:
        """What it only looks at."""
        return tuple(effect.what for effect in self.effects if isinstance(effect, Reads))

    @property
    def spends(self) -> tuple[Spends, ...]:
        """What one run uses up of a target, in order of the names, so that two that use up the same lock it in one order."""
        return tuple(sorted((need for need in self.effects if isinstance(need, Spends)), key=lambda need: need.name))

    @contextmanager
    def undo_after(self, what: str, payload: dict[str, Any], ctx: CheckContext, *, late: str = "") -> Iterator[Change]:
        """Write down what the block is about to change, and undo it at its end, whatever happens in it (P7).

        ``what`` names it for a person; ``payload`` is for ``undo``. Where the undo fails it stays open; an error of the
        block is then told first, since it is what went wrong first. ``late``: what to say where the outcome of a request is
        unknown, and it may be carried out when nobody looks any more.
        """
        undo_id = ctx.undo.record(what, payload)
        change = Change(payload)
        error: ClientError | None = None
        try:
            yield change
        except ClientError as exc:
            error = _with_late_hint(exc, late) if late and change.outcome_unknown else exc
            raise error from exc.__cause__
        finally:
            try:
                self.undo(change.payload, replace(ctx, outcome_unknown=change.outcome_unknown))
            except ClientError as exc:
                if error is None:
                    raise
                raise CheckError(f"{error.summary}; then {exc.summary}", hint=exc.hint, seen=error.seen) from exc
            ctx.undo.settle(undo_id)

    def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
        """Put back what ``payload`` says was changed. Safe to call twice. Only kinds that mutate have it."""
        raise NotImplementedError(f"{self.name} recorded an undo but can't run it")


def _with_late_hint(error: ClientError, late: str) -> CheckError:
    """The error of a request that got no answer, with a word on what nobody can know."""
    hint = f"{error.hint} The request may still take effect. The bot checked for {(UNDO_ATTEMPTS - 1) * UNDO_PAUSE:.0f} s. {late}"
    return CheckError(
        error.summary, hint=hint.strip(), seen=error.seen, retry_after=error.retry_after, status=error.status
    )
