"""Events: every kind of row that the record can have, as a class with the fields that its body tells.

The union is closed: all classes are in this module, `EVENTS` lists them by the name that is stored, and `commit_change` takes
nothing else. A name stays for ever, as old rows have it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from bot.domain.ids import CheckId, StepId, UserId
from bot.domain.model import Model

EVENTS: dict[str, type[Event]] = {}


class Event(Model):
    """A change that the record tells. A subclass gives its ``name``, as it is stored, and says in its docstring what has happened.

    ``version`` goes up when the fields change; a row without one is of version 1. A field that is not given is not stored.
    ``changes_messages``: whether messages of the release tell of it, so that they are rendered again.
    """

    event_name: ClassVar[str]
    event_version: ClassVar[int]
    changes_messages: ClassVar[bool]

    def __init_subclass__(cls, *, name: str, version: int = 1, changes_messages: bool = True) -> None:
        if name in EVENTS:
            raise TypeError(f"two events are called {name}")
        cls.event_name, cls.event_version, cls.changes_messages = name, version, changes_messages
        EVENTS[name] = cls

    @property
    def body(self) -> dict[str, Any]:
        """What the row tells: each field that was given, and the version."""
        return {**self.model_dump(exclude_unset=True), "event_version": self.event_version}


class ReleaseStarted(Event, name="release.started"):
    """A release was opened."""

    version: str
    commit: str
    image: str  # with its digest
    tagged: bool
    checklist: str  # digest
    policy: str  # digest
    environment: str
    channel: str
    notes_url: str
    known_bad: str
    runs: str
    again_because: str


class SourceMoved(Event, name="release.rebound"):
    """The version now means another commit or image."""

    commit_before: str
    commit: str
    digest_before: str
    digest: str
    tagged: bool
    again_because: str


class SourceMissing(Event, name="release.unbound"):
    """The tag or the image of the version is gone."""

    why: str


class SourceResolved(Event, name="release.bound"):
    """The tag and the image of the version are there again."""

    was: str


class ReleaseReminded(Event, name="release.reminded"):
    """People were reminded that a release waits: the channel of ``what``, or each of ``people`` directly."""

    what: str = ""
    people: tuple[str, ...] = ()
    round: int


class ReleaseDone(Event, name="release.done"):
    """The watch is over and the release is done."""

    polls: int
    watch: str


class ReleaseAborted(Event, name="release.aborted"):
    """A release ended before anything was changed."""

    reason: str


class ReleaseClosed(Event, name="release.closed"):
    """A release that was over is closed, as its last mitigation was put back."""

    after: str


class PolicyAdopted(Event, name="policy.adopted"):
    """The release is judged by another policy."""

    before: str
    policy: str


class CheckRequested(Event, name="check.requested"):
    """Somebody asked for checks to be run again."""

    checks: list[CheckId]


class CheckCancelled(Event, name="check.cancelled"):
    """Somebody stopped checks."""

    checks: list[CheckId]


class CheckAnswered(Event, name="check.answered"):
    """A check was answered by the bot."""

    check: CheckId
    outcome: str
    summary: str
    evidence: str  # digest
    started_at: datetime


class CheckAttested(Event, name="check.attested"):
    """A check was answered by a person."""

    check: CheckId
    note: str
    evidence: str  # digest


class CheckWaived(Event, name="check.waived"):
    """A check was let go for this release."""

    check: CheckId
    reason: str


class SignoffApproved(Event, name="signoff.approved"):
    """Somebody approved in a role."""

    role: str
    reason: str
    fingerprint: str
    permalink: str


class SignoffDeclined(Event, name="signoff.declined"):
    """Somebody declined in a role."""

    role: str
    reason: str
    fingerprint: str
    permalink: str


class SignoffRevoked(Event, name="signoff.revoked"):
    """A sign-off was withdrawn."""

    role: str
    signed_by: UserId
    verdict: str


class SignoffVoided(Event, name="signoff.voided"):
    """A sign-off counts no more, though nobody withdrew it."""

    role: str
    signed_by: UserId
    why: str


class SignoffRollback(Event, name="signoff.rollback"):
    """The signature for a rollback."""

    role: str
    reason: str
    fingerprint: str


class PlanShown(Event, name="plan.shown", changes_messages=False):
    """Somebody who may deploy saw the plan."""

    plan: str  # digest


class DeployPlanned(Event, name="deploy.planned"):
    """The bot planned what the deploy changes."""

    plan: str  # digest
    shown: bool


class NotPassedLine(Model):
    """A line of the checklist that does not block and has not passed."""

    check: CheckId
    standing: str


class DeployStarted(Event, name="deploy.started"):
    """A deploy began."""

    image: str  # with its digest
    commit: str
    fingerprint: str
    plan_shown: str | None  # digest
    results: dict[CheckId, int]
    signoffs: list[int]
    not_passed: list[NotPassedLine]


class DeployComplete(Event, name="deploy.complete"):
    """All steps of the deploy are done and the watch begins."""

    image: str
    ends_at: datetime


class PassedReason(Model):
    """A reason against a deploy that break-glass passed over."""

    cause: str
    about: str
    text: str


class BreakGlassUsed(Event, name="break_glass.used"):
    """A deploy began past the gate."""

    reason: str
    passed: list[PassedReason]


class BreakGlassReviewed(Event, name="break_glass.reviewed"):
    """A second person reviewed a break-glass."""

    finding: str
    broken_by: UserId


class StepWaits(Event, name="step.waits"):
    """The plan has come to a step that a person does."""

    step: StepId
    started_at: datetime


class StepDone(Event, name="step.done"):
    """A step is done."""

    step: StepId
    summary: str
    started_at: datetime | None


class StepFailed(Event, name="step.failed"):
    """A step failed, and its plan with it."""

    step: StepId
    summary: str
    started_at: datetime | None
    release_state: str
    reason: str


class StepCancelled(Event, name="step.cancelled"):
    """Somebody stopped a step that ran."""

    step: StepId
    summary: str
    reason: str
    started_at: datetime | None
    release_state: str


class StepRetried(Event, name="step.retried"):
    """A failed step is tried again."""

    step: StepId
    attempt: int
    release_state: str


class StepAttested(Event, name="step.attested"):
    """A person has done a step."""

    step: StepId
    note: str
    saw: str
    release_state: str


class RollbackStarted(Event, name="rollback.started"):
    """A rollback began."""

    reason: str
    was: str
    polls: int
    aborted: str = ""  # version of the open release that gave way


class RollbackComplete(Event, name="rollback.complete"):
    """All steps of the rollback are done."""

    reason: str
    closed_at: datetime | None  # None: a mitigation is still to be put back


class RaisedAlarm(Model):
    """An alarm of the watch."""

    id: int
    probe: str
    issue: str
    short_id: str
    title: str
    permalink: str
    kind: str


class WatchPolled(Event, name="watch.polled"):
    """The watch says something else than before, or alarms were raised."""

    seen: str
    probes: dict[str, str]
    raised: list[RaisedAlarm]


class WatchAcknowledged(Event, name="watch.acknowledged"):
    """An alarm of the watch was acknowledged."""

    alarm: int
    note: str


class WatchClockSet(Event, name="watch.clock_set"):
    """The clock was set during the watch: its end moved along."""

    seconds: int
    started_at: datetime
    ends_at: datetime


class WatchNotWatched(Event, name="watch.not_watched"):
    """Nobody polled for a while: the end of the watch moved along."""

    seconds: int
    started_at: datetime
    ends_at: datetime


class MitigationBegun(Event, name="mitigation.begun"):
    """Somebody has a variable set for a while."""

    what: str
    reason: str
    mitigation: int


class MitigationSet(Event, name="mitigation.set"):
    """The variable of a mitigation is set."""

    mitigation: int
    step: str  # empty: the step was done before
    run: int
    by: UserId
    summary: str


class MitigationStuck(Event, name="mitigation.stuck"):
    """A mitigation could not be set or put back."""

    mitigation: int
    why: str


class MitigationReminded(Event, name="mitigation.reminded"):
    """The owner of a mitigation was reminded."""

    mitigation: int
    round: int


class MitigationResolving(Event, name="mitigation.resolving"):
    """Somebody has a mitigation put back."""

    mitigation: int


class MitigationLifted(Event, name="mitigation.lifted"):
    """The bot put a mitigation back."""

    mitigation: int
    by: UserId | None
    note: str


class MitigationAttested(Event, name="mitigation.attested"):
    """A person put a mitigation back."""

    mitigation: int
    by: UserId
    note: str


class FreezeBegun(Event, name="freeze.begun"):
    """Deploys are frozen."""

    reason: str
    until: str  # empty: until it is lifted


class FreezeLifted(Event, name="freeze.lifted"):
    """Deploys are not frozen any more."""


class UndoSettled(Event, name="undo.settled", changes_messages=False):
    """What a check had changed was put back."""

    what: str
    check: str


class EvidenceExported(Event, name="evidence.exported", changes_messages=False):
    """The evidence of the release was handed out."""

    sha256: str
    bytes: int


class CommandRefused(Event, name="command.refused", changes_messages=False):
    """A command was refused."""

    what: str
    why: str
    reason: str


class ClickRefused(Event, name="click.refused", changes_messages=False):
    """A click was refused."""

    what: str
    why: str
    reason: str


def closes_release(event: Event) -> bool:
    """Whether a release is closed by ``event``, so that the channel is told the head of its record."""
    if isinstance(event, RollbackComplete):
        return event.closed_at is not None
    return isinstance(event, (ReleaseDone, ReleaseAborted, ReleaseClosed))
