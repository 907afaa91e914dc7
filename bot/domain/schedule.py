"""Schedule: what a check that waits for its turn may do now. The same rule for a release and for a run from the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bot.domain.results import RunState
from checks.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from bot.domain.checklist import Check
    from bot.domain.ids import CheckId
    from clients.needs import Spends


@dataclass(frozen=True)
class Requirements:
    """What one run of a check takes, as its kind declares it."""

    exclusive: frozenset[str] = frozenset()  # target/name: what nobody else may use or look at meanwhile
    shared: frozenset[str] = frozenset()  # target/name: what it only looks at, beside others that do
    allowances: tuple[Spends, ...] = ()  # what it uses up of its target
    mutates: bool = False
    seconds: float = 0.0  # that a run may take

    @property
    def resources(self) -> frozenset[str]:
        """All that a run uses, alone or with others."""
        return self.exclusive | self.shared

    def conflict_with(self, other: Requirements) -> bool:
        """Return whether the two runs must not overlap."""
        return bool(self.exclusive & other.resources or self.shared & other.exclusive)


class CheckState(Protocol):
    """How far a check of a run is."""

    @property
    def run_state(self) -> RunState:
        """Whether the check waits, runs, or does neither."""

    @property
    def outcome(self) -> Outcome | None:
        """The outcome of its latest answer, or None."""


@dataclass(frozen=True)
class Turn:
    """What a check may do now: begin, unless one of these says otherwise."""

    pending_needs: tuple[CheckId, ...] = ()  # checks that it needs, and that wait or run
    failed_need: CheckId | None = None  # a check that it needs, and that has ended without a PASS: it is skipped
    conflicts: tuple[CheckId, ...] = ()  # checks that run now and must not run beside it

    @property
    def may_begin(self) -> bool:
        """Whether the check need not wait and is not skipped."""
        return not self.pending_needs and self.failed_need is None and not self.conflicts


def decide_turn(
    check: Check,
    states: Mapping[CheckId, CheckState],
    checks: Iterable[Check],
    requirements: Callable[[Check], Requirements],
) -> Turn:
    """What ``check`` may do now. ``states``: of all ``checks`` of the run, it among them, and of all that it needs."""
    pending = tuple(need for need in check.needs if states[need].run_state is not RunState.IDLE)
    failure = next((need for need in check.needs if states[need].outcome is not Outcome.PASS), None)
    if pending or failure is not None:
        return Turn(pending_needs=pending, failed_need=None if pending else failure)
    own = requirements(check)
    running = [other for other in checks if other.id != check.id and states[other.id].run_state is RunState.RUNNING]
    return Turn(conflicts=tuple(other.id for other in running if own.conflict_with(requirements(other))))


def find_woken(
    finished_check: Check,
    states: Mapping[CheckId, CheckState],
    checks: Iterable[Check],
    requirements: Callable[[Check], Requirements],
) -> Iterator[CheckId]:
    """Yield the waiting ``checks`` whose turn may have come because ``finished_check`` has ended."""
    finished_requirements = requirements(finished_check)
    for check in checks:
        if states[check.id].run_state is RunState.WAITING and (
            finished_check.id in check.needs or finished_requirements.conflict_with(requirements(check))
        ):
            yield check.id
