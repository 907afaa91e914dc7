"""What a button carries: typed payloads with ids of rows only, never a fact that could be out of date."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bot.domain.ids import CheckId, ReleaseId
from bot.domain.policy import Role

REASON = "reason"  # block_id and action_id of the one input that a form has

RowId = Annotated[int, Field(gt=0, lt=2**63)]  # a bigint of PostgreSQL


class Payload(BaseModel):
    """The value of a button and the private_metadata of its modal: the Release it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    release: RowId

    @property
    def release_id(self) -> ReleaseId:
        """The Release as the flows take it."""
        return ReleaseId(self.release)

    def dump(self) -> str:
        """The payload as the JSON that `clicks.read_click` reads back."""
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
