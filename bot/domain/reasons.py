"""Reasons: why the gate is closed, each a class with its facts. Their words are in `bot/texts/gate.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from bot.domain.release import ReleaseState
from bot.domain.results import CheckStatus

if TYPE_CHECKING:
    from bot.domain.ids import CheckId, UserId
    from bot.domain.plan import PlanDifference
    from bot.domain.policy import Role


class Cause(StrEnum):
    """Why the gate is closed; the word that tests and audit rows use."""

    STATE = "state"
    CHANNEL = "channel"
    SOURCE = "source"
    FREEZE = "freeze"
    MITIGATION = "mitigation"
    KNOWN_BAD = "known_bad"
    CHECK = "check"
    SIGNOFF_MISSING = "signoff_missing"
    SIGNOFF_DECLINED = "signoff_declined"
    SIGNOFF_VOID = "signoff_void"
    PEOPLE = "people"
    FOUR_EYES = "four_eyes"
    PLAN = "plan"


@dataclass(frozen=True)
class Reason:
    """One reason against a deploy or a rollback."""

    cause: ClassVar[Cause]
    about: str  # the check, role, freeze or else: tells reasons of one cause apart


@dataclass(frozen=True)
class NotOpen(Reason):
    """The release is past the state from which it is deployed."""

    cause = Cause.STATE
    about: ReleaseState


@dataclass(frozen=True)
class NothingToRollBack(Reason):
    """The release is in a state in which nothing of it is deployed."""

    cause = Cause.STATE
    about: ReleaseState


@dataclass(frozen=True)
class NewerRollingBack(Reason):
    """A newer release is being rolled back; it is about its state."""

    cause = Cause.STATE
    version: str


@dataclass(frozen=True)
class NewerDeployed(Reason):
    """A newer release was deployed, or begins to be, after ``older``; it is about its state."""

    cause = Cause.STATE
    version: str
    older: str


@dataclass(frozen=True)
class ChannelClosed(Reason):
    """Nothing may begin in the channel, which it is about."""

    cause = Cause.CHANNEL
    refusal: str  # as the beginning of a sentence


@dataclass(frozen=True)
class SourceUnresolved(Reason):
    """The tag or the image of the version is gone."""

    cause = Cause.SOURCE
    problem: str


@dataclass(frozen=True)
class SourceUnconfirmed(Reason):
    """Nobody looked up just now whether the version, which it is about, still means the same commit and image."""

    cause = Cause.SOURCE


@dataclass(frozen=True)
class DeploysFrozen(Reason):
    """A freeze is in force; it is about its key."""

    cause = Cause.FREEZE
    reason: str


@dataclass(frozen=True)
class MitigationInForce(Reason):
    """A temporary change of the environment is not put back; it is about the row."""

    cause = Cause.MITIGATION
    what: str


@dataclass(frozen=True)
class RolledBackBefore(Reason):
    """The image, whose digest it is about, was rolled back once, and nobody said why it is deployed again."""

    cause = Cause.KNOWN_BAD
    history: str


@dataclass(frozen=True)
class RolledBackUnapproved(RolledBackBefore):
    """Somebody said why, and nobody else has approved that."""


@dataclass(frozen=True)
class CheckNotPassed(Reason):
    """A check has not passed and is not waived."""

    cause = Cause.CHECK
    about: CheckId
    title: str
    section: str  # its title; empty for a check of the Go/No-Go table
    status: CheckStatus
    attested_by: str  # who may attest it, where only people answer it; else empty


@dataclass(frozen=True)
class SignoffMissing(Reason):
    """Not enough people of a role have approved."""

    cause = Cause.SIGNOFF_MISSING
    about: Role
    approvals: int
    min_approvals: int


@dataclass(frozen=True)
class RoleDeclined(Reason):
    """Somebody declined for a role."""

    cause = Cause.SIGNOFF_DECLINED
    about: Role
    reason: str


@dataclass(frozen=True)
class SignoffVoid(Reason):
    """Somebody approved for a role what the release no longer is."""

    cause = Cause.SIGNOFF_VOID
    about: Role


@dataclass(frozen=True)
class TooFewPeople(Reason):
    """Every role has approved, but too few different people."""

    cause = Cause.PEOPLE
    approvers: int
    min_approvers: int


@dataclass(frozen=True)
class OnlyDeployerApproved(Reason):
    """Nobody but the person who deploys, whom it is about, has approved."""

    cause = Cause.FOUR_EYES
    about: UserId


@dataclass(frozen=True)
class PlanChanged(Reason):
    """The plan is not the one that people saw."""

    cause = Cause.PLAN
    changes: tuple[PlanDifference, ...]
