"""Release, its states and the table of allowed transitions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from bot.domain.ids import ReleaseId, UserId


class ReleaseState(StrEnum):
    """Where a Release stands. "Ready" is no state: it is what the gate says now."""

    OPEN = "OPEN"
    DEPLOYING = "DEPLOYING"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    WATCHING = "WATCHING"
    DONE = "DONE"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    ABORTED = "ABORTED"


TRANSITIONS: dict[ReleaseState, frozenset[ReleaseState]] = {
    ReleaseState.OPEN: frozenset({ReleaseState.DEPLOYING, ReleaseState.ABORTED}),
    ReleaseState.DEPLOYING: frozenset(
        {ReleaseState.WATCHING, ReleaseState.DEPLOY_FAILED, ReleaseState.ROLLING_BACK, ReleaseState.ABORTED}
    ),
    ReleaseState.DEPLOY_FAILED: frozenset({ReleaseState.DEPLOYING, ReleaseState.ROLLING_BACK, ReleaseState.ABORTED}),
    ReleaseState.WATCHING: frozenset({ReleaseState.DONE, ReleaseState.ROLLING_BACK}),
    ReleaseState.DONE: frozenset({ReleaseState.ROLLING_BACK}),
    ReleaseState.ROLLING_BACK: frozenset({ReleaseState.ROLLED_BACK, ReleaseState.ROLLBACK_FAILED}),
    ReleaseState.ROLLBACK_FAILED: frozenset({ReleaseState.ROLLING_BACK}),
    ReleaseState.ROLLED_BACK: frozenset(),
    ReleaseState.ABORTED: frozenset(),
}

# Holds the environment: the same list stands in the unique index one_active_release.
ACTIVE = frozenset(
    {
        ReleaseState.OPEN,
        ReleaseState.DEPLOYING,
        ReleaseState.DEPLOY_FAILED,
        ReleaseState.WATCHING,
        ReleaseState.ROLLING_BACK,
        ReleaseState.ROLLBACK_FAILED,
    }
)

MAY_ROLL_BACK = frozenset(state for state, after in TRANSITIONS.items() if ReleaseState.ROLLING_BACK in after)


@dataclass(frozen=True)
class Release:
    """One version on its way to production."""

    id: ReleaseId
    environment: str
    version: str
    state: ReleaseState
    manager: UserId  # the release manager: who started it
    notes_url: str
    commit: str  # 40 hex digits
    image: str  # repository without tag: ghcr.io/solvereign/api
    digest: str  # sha256:…
    checklist_digest: str
    policy_digest: str
    channel: str
    started_at: datetime
    deployer: UserId | None = None
    deployed_at: datetime | None = None  # when the rollout was complete
    closed_at: datetime | None = None  # when it was over; None: it is not, or a mitigation of it stands
    reason: str = ""  # why it was aborted, failed or rolled back
    is_tagged: bool = True  # whether the commit is that of a tag of the version; else of the branch at that moment
    pinned_at: datetime | None = None  # since when it means this commit and digest
    results_valid_after: int = 0  # id of the last result that is about what it meant before
    confirmed_at: datetime | None = None  # when GitHub and the registry last said the same
    repeat_reason: str = ""  # why an image that was rolled back once, or runs already, is released again
    source_problem: str = ""  # why they do not say the same now: the tag or the image is gone

    @property
    def pinned_image(self) -> str:
        """The image by digest, as the cluster gets it."""
        return f"{self.image}@{self.digest}"

    @property
    def is_active(self) -> bool:
        """Whether the release holds its environment, so that no other can start."""
        return self.state in ACTIVE

    @property
    def is_closed(self) -> bool:
        """Whether the release is over and none of its mitigations is open (promise P7)."""
        return self.closed_at is not None
