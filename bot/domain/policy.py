"""Policy: which sign-offs a deploy and a rollback need, and who may do what. Data, with a digest."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field, model_validator

from bot.domain.model import Model, digest_of


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
    """What an Actor may do; each command and button is one of these."""

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


ANY_ROLE = tuple(Role)


class Policy(Model):
    """The rules of a team. The defaults are the template's: Release Manager required, QA and Product optional."""

    required: tuple[Role, ...] = (Role.RELEASE_MANAGER,)
    optional: tuple[Role, ...] = (Role.QA, Role.PRODUCT)
    four_eyes: bool = True  # somebody other than the person who deploys must have approved
    may: dict[Action, tuple[Role, ...]] = Field(default_factory=dict)  # overrides of the defaults below

    @model_validator(mode="before")
    @classmethod
    def _others_may_sign(cls, values: Any) -> Any:
        """Where only ``required`` is given, the roles that it does not name are the optional ones."""
        if isinstance(values, dict) and "required" in values and "optional" not in values:
            required = values["required"] if isinstance(values["required"], (list, tuple)) else ()
            return {**values, "optional": [role for role in Role if role not in required]}
        return values

    @model_validator(mode="after")
    def _can_be_met(self) -> Policy:
        """Refuse a policy under which nothing could ever be deployed."""
        if not self.required:
            raise ValueError("required names no role: a deploy needs at least one sign-off")
        if both := set(self.required) & set(self.optional):
            raise ValueError(f"{min(both)} is both required and optional")
        if nobody := [action for action, roles in self.may.items() if not roles]:
            raise ValueError(f"may.{nobody[0]} names no role, so nobody could ever do it")
        return self

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that sign, required ones first."""
        return (*self.required, *self.optional)

    def allowed(self, action: Action) -> tuple[Role, ...]:
        """The roles that may do ``action``. A rollback is never harder than a deploy (promise P6)."""
        if action is Action.ROLLBACK:
            return tuple(dict.fromkeys((*self._may(Action.ROLLBACK), *self._may(Action.DEPLOY))))
        return self._may(action)

    def _may(self, action: Action) -> tuple[Role, ...]:
        default = (Role.RELEASE_MANAGER,) if action in {Action.START, Action.WAIVE, Action.FREEZE} else ANY_ROLE
        return self.may.get(action, default)

    @property
    def digest(self) -> str:
        """sha256 over the canonical JSON of the policy."""
        return digest_of(self.model_dump(mode="json"))
