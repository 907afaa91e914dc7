"""What a button carries: action ids and typed payloads. Ids of rows only, never a fact that could be out of date."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.domain.ids import CheckId
from bot.domain.policy import Role

REASON = "reason"  # block_id and action_id of the one input that a modal of ours has

RowId = Annotated[int, Field(gt=0, lt=2**63)]  # a bigint of PostgreSQL


class ActionId(StrEnum):
    """Every button of the bot; also the callback_id of the modal that a button opens."""

    CHECK_RERUN = "check.rerun"
    CHECK_CANCEL = "check.cancel"
    CHECK_DETAILS = "check.details"
    CHECK_WAIVE = "check.waive"
    CHECK_ATTEST = "check.attest"
    SECTION_RERUN = "section.rerun"
    SECTION_CANCEL = "section.cancel"
    SIGNOFF_APPROVE = "signoff.approve"
    SIGNOFF_DECLINE = "signoff.decline"
    SIGNOFF_REVOKE = "signoff.revoke"
    RELEASE_DEPLOY = "release.deploy"
    RELEASE_ROLLBACK = "release.rollback"
    RELEASE_ABORT = "release.abort"
    STEP_RETRY = "step.retry"
    STEP_CANCEL = "step.cancel"
    STEP_ATTEST = "step.attest"
    WATCH_ROLLBACK = "watch.rollback"
    WATCH_ACKNOWLEDGE = "watch.acknowledge"
    MITIGATION_APPLY = "mitigation.apply"
    MITIGATION_RESOLVE = "mitigation.resolve"
    MITIGATION_ATTEST = "mitigation.attest"
    BREAK_GLASS_REVIEW = "break_glass.review"


class Payload(BaseModel):
    """The value of a button and the private_metadata of its modal: the Release it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    release: RowId

    def dump(self) -> str:
        """The payload as the JSON that `parse` reads back."""
        return self.model_dump_json()


class ReleasePayload(Payload):
    """A button about the whole Release."""


class RolePayload(Payload):
    """A button about the SignOff of one Role."""

    role: Role


class CheckPayload(Payload):
    """A button about one Check."""

    check: Annotated[CheckId, Field(max_length=200, pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$")]


class SectionPayload(Payload):
    """A button about all checks of one Section."""

    section: Annotated[str, Field(max_length=200, pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$")]


class StepPayload(Payload):
    """A button about one Step, by the id of its row."""

    step: RowId


class AlarmPayload(Payload):
    """A button about one Alarm, by the id of its row."""

    alarm: RowId


class MitigationPayload(Payload):
    """A button about one Mitigation, by the id of its row."""

    mitigation: RowId


PAYLOADS: dict[ActionId, type[Payload]] = {
    ActionId.CHECK_RERUN: CheckPayload,
    ActionId.CHECK_CANCEL: CheckPayload,
    ActionId.CHECK_DETAILS: CheckPayload,
    ActionId.CHECK_WAIVE: CheckPayload,
    ActionId.CHECK_ATTEST: CheckPayload,
    ActionId.SECTION_RERUN: SectionPayload,
    ActionId.SECTION_CANCEL: SectionPayload,
    ActionId.SIGNOFF_APPROVE: RolePayload,
    ActionId.SIGNOFF_DECLINE: RolePayload,
    ActionId.SIGNOFF_REVOKE: RolePayload,
    ActionId.RELEASE_DEPLOY: ReleasePayload,
    ActionId.RELEASE_ROLLBACK: ReleasePayload,
    ActionId.RELEASE_ABORT: ReleasePayload,
    ActionId.STEP_RETRY: StepPayload,
    ActionId.STEP_CANCEL: StepPayload,
    ActionId.STEP_ATTEST: StepPayload,
    ActionId.WATCH_ROLLBACK: ReleasePayload,
    ActionId.WATCH_ACKNOWLEDGE: AlarmPayload,
    ActionId.MITIGATION_APPLY: StepPayload,
    ActionId.MITIGATION_RESOLVE: MitigationPayload,
    ActionId.MITIGATION_ATTEST: MitigationPayload,
    ActionId.BREAK_GLASS_REVIEW: ReleasePayload,
}

# These open a modal and act when it is submitted; all others act at the click.
OPENS_MODAL = frozenset(
    {
        ActionId.CHECK_DETAILS,
        ActionId.CHECK_WAIVE,
        ActionId.CHECK_ATTEST,
        ActionId.SIGNOFF_DECLINE,
        ActionId.STEP_ATTEST,
        ActionId.MITIGATION_APPLY,
        ActionId.MITIGATION_ATTEST,
        ActionId.WATCH_ACKNOWLEDGE,
        ActionId.WATCH_ROLLBACK,
        ActionId.RELEASE_ROLLBACK,
        ActionId.RELEASE_ABORT,
        ActionId.BREAK_GLASS_REVIEW,
    }
)


class MalformedClickError(ValueError):
    """A click or a modal that this bot never made. The text says what is wrong with it, without repeating it."""


@dataclass(frozen=True)
class Click:
    """What was pressed or submitted. Who pressed it and what it would act on is read elsewhere, at that moment."""

    action: ActionId
    payload: Payload


def parse(action_id: str, value: str | None) -> Click:
    """Read the action id and value of a button, or the callback id and private_metadata of a modal.

    Raises MalformedClickError for an unknown action and for everything but the exact payload of that action.
    """
    try:
        action = ActionId(action_id)
    except ValueError as error:
        raise MalformedClickError("unknown action id") from error
    try:
        return Click(action, PAYLOADS[action].model_validate_json(value or ""))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in wrong["loc"]) or "value"
        raise MalformedClickError(f"malformed value of {action}: {place}: {wrong['type']}") from error
