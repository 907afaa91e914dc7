"""Policy: which sign-offs a deploy needs, who may do what, and when nothing is deployed. Data, with a digest."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from bot.domain.calendar import FreezeWindow, always_frozen
from bot.domain.model import Model, digest_of, read_duration
from bot.renamed_keys import DocumentModel, RenamedKeys


class Role(StrEnum):
    """What an Actor may sign as."""

    RELEASE_MANAGER = "release_manager"
    QA = "qa"
    PRODUCT = "product"

    @property
    def title(self) -> str:  # type: ignore[override]  # str.title has no meaning for a role
        """The role as people write it."""
        return {"release_manager": "Release Manager", "qa": "QA", "product": "Product"}[self.value]


class Action(StrEnum):
    """What an Actor may do; each command and button is one of these, or a sign-off in a role."""

    START = "start"
    CHECK = "check"
    WAIVE = "waive"
    ATTEST = "attest"
    DEPLOY = "deploy"
    RETRY = "retry"
    ROLLBACK = "rollback"
    ABORT = "abort"
    ACKNOWLEDGE = "acknowledge"
    FREEZE = "freeze"
    BREAK_GLASS = "break_glass"
    REVIEW = "review"


ANY_ROLE = tuple(Role)
_BY_DEFAULT: dict[Action, tuple[Role, ...]] = {
    Action.START: (Role.RELEASE_MANAGER,),
    Action.WAIVE: (Role.RELEASE_MANAGER,),
    Action.FREEZE: (Role.RELEASE_MANAGER,),
    Action.BREAK_GLASS: (Role.RELEASE_MANAGER,),
}


class LineRule(Model):
    """Who may waive or attest the checks of one line or section, or attest a step; unset: as ``permissions`` say. Empty: nobody."""

    waive: tuple[Role, ...] | None = None
    attest: Annotated[tuple[Role, ...], Field(min_length=1)] | None = None


class BreakGlassRule(Model):
    """Whether somebody may deploy past missing sign-offs and checks in need, and past what else."""

    allowed: bool = False
    in_freeze: bool = False  # past a freeze too
    never_waivable: bool = False  # past checks that can never be waived too


class Policy(Model, DocumentModel):
    """The rules of a team. The defaults are the template's: Release Manager required, QA and Product optional."""

    renamed_keys: ClassVar[RenamedKeys] = {("people",): "min_approvers", ("may",): "permissions"}

    required: tuple[Role, ...] = (Role.RELEASE_MANAGER,)
    optional: tuple[Role, ...] = (Role.QA, Role.PRODUCT)
    quorum: dict[Role, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)  # people of a required role; else one
    min_approvers: int = Field(default=1, ge=1)  # how many different people must have approved, whatever their roles
    four_eyes: bool = True  # somebody other than the person who deploys must have approved
    signoff_max_age: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))  # an older approval has expired
    lines: dict[str, LineRule] = Field(default_factory=dict)  # by the id of a check, of a section or of a step
    freeze_windows: tuple[FreezeWindow, ...] = ()
    break_glass: BreakGlassRule = BreakGlassRule()
    remind_after: timedelta = Field(default=timedelta(hours=4), gt=timedelta(0))  # of waiting for sign-offs; then again
    expire_after: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))  # of being open; then it is aborted
    permissions: dict[Action, tuple[Role, ...]] = Field(default_factory=dict)  # overrides of the defaults

    _read_durations = field_validator("signoff_max_age", "remind_after", "expire_after", mode="before")(read_duration)

    @model_validator(mode="before")
    @classmethod
    def _others_may_sign(cls, values: Any) -> Any:
        """Where only ``required`` is given, the roles that it does not name are the optional ones."""
        if isinstance(values, dict) and "required" in values and "optional" not in values:
            required_roles = values["required"] if isinstance(values["required"], (list, tuple)) else ()
            return {**values, "optional": [role for role in Role if role not in required_roles]}
        return values

    @model_validator(mode="after")
    def _can_be_met(self) -> Policy:
        """Refuse a policy under which nothing could ever be deployed, whoever holds the roles."""
        if not self.required:
            raise ValueError("required names no role: a deploy needs at least one sign-off")
        if twice := [role for role in self.roles if self.required.count(role) > 1 or self.optional.count(role) > 1]:
            raise ValueError(f"{twice[0]} is named twice")
        if both := set(self.required) & set(self.optional):
            raise ValueError(f"{min(both)} is both required and optional")
        if stray := [role for role in self.quorum if role not in self.required]:
            raise ValueError(f"quorum.{stray[0]} is for a role that isn't required")
        if nobody := [action for action, roles in self.permissions.items() if not roles]:
            raise ValueError(f"permissions.{nobody[0]} names no role, so nobody could ever do it")
        if self.remind_after >= self.expire_after:
            raise ValueError("remind_after isn't before expire_after, so nobody would be reminded")
        if always_frozen(self.freeze_windows):
            raise ValueError("freeze_windows leave no minute of the week free, so nothing could ever be deployed")
        if not self.break_glass.allowed and (self.break_glass.in_freeze or self.break_glass.never_waivable):
            raise ValueError("break_glass needs allowed: true for its other keys")
        return self

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that sign, required ones first."""
        return (*self.required, *self.optional)

    def min_approvals(self, role: Role) -> int:
        """How many people of ``role`` must have approved; none of an optional one."""
        return self.quorum.get(role, 1) if role in self.required else 0

    def roles_for(self, action: Action, *lines: str) -> tuple[Role, ...]:
        """The roles that may do ``action``. A rollback is never harder than a deploy (promise P6).

        ``lines``: of a waiver or an attestation, the id of the check and that of its section, or that of the step; the first with a
        rule counts.
        """
        if action is Action.ROLLBACK:
            return tuple(dict.fromkeys((*self._may(Action.ROLLBACK), *self._may(Action.DEPLOY))))
        for rule in (self.lines[line] for line in lines if line in self.lines):
            roles = rule.waive if action is Action.WAIVE else rule.attest if action is Action.ATTEST else None
            if roles is not None:
                return roles
        return self._may(action)

    def who_may(self, action: Action, *lines: str) -> str:
        """The roles that `roles_for` returns, as people read them: ``Release Manager or QA``."""
        return " or ".join(role.title for role in self.roles_for(action, *lines))

    def _may(self, action: Action) -> tuple[Role, ...]:
        return self.permissions.get(action, _BY_DEFAULT.get(action, ANY_ROLE))

    def active_freeze(self, now: datetime) -> tuple[str, datetime] | None:
        """Reason and end of the calendar's freeze at ``now``; of several the one that ends last. None: deploys may go."""
        active_windows = [
            (window.reason, end) for window in self.freeze_windows if (end := window.holds_until(now)) is not None
        ]
        return max(active_windows, key=lambda one: one[1], default=None)

    @cached_property
    def digest(self) -> str:
        """sha256 over the canonical JSON of the policy."""
        return digest_of(self.model_dump(mode="json"))
