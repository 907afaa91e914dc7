"""Declared: what the user of a client, a kind or a step, has said to need; the client refuses the rest."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from clients.errors import ClientError
from clients.needs import Changes, ClusterRight, Need, Setting, Spends, VendorRight

if TYPE_CHECKING:
    pass

READING = frozenset({"get", "list"})  # verbs of Kubernetes that change nothing


class NotDeclared(ClientError):
    """A kind or a step asked for something that it has not declared: a fault of its own, and nothing was sent."""


@dataclass(frozen=True)
class NeedGuard:
    """The needs of one user, such as ``kind sql_verify``; None: of the bot itself, which may ask for everything."""

    user: str = ""
    needs: tuple[Need, ...] | None = None

    def retry_read(self, need: Setting | ClusterRight | Spends) -> None:
        """Raise NotDeclared unless the user has declared ``need``, in a cluster also that it changes something."""
        if not self.covers(need):
            raise self._refusal(_words(need), repr(need))
        if isinstance(need, ClusterRight) and need.verb not in READING:
            self.insist_on_change(_words(need))

    def covers(self, need: Setting | ClusterRight | Spends) -> bool:
        """Whether the user has declared ``need``."""
        return self.needs is None or any(_covers(declared, need) for declared in self.needs)

    @property
    def may_change(self) -> bool:
        """Whether the user has declared that it changes something."""
        return self.needs is None or any(isinstance(declared, Changes) for declared in self.needs)

    def insist_on_change(self, what: str) -> None:
        """Raise NotDeclared unless the user has declared that it changes something; ``what`` completes "may not …"."""
        if not self.may_change:
            raise self._refusal(what, "Changes(…)")

    def _refusal(self, what: str, missing: str) -> NotDeclared:
        return NotDeclared(
            f"{self.user} isn't allowed to {what}: it doesn't declare that",
            hint=f"Its needs() must return {missing} too.",
        )


class Guarded:
    """Base of the clients: each method insists on what it takes before anything is sent."""

    _declared = NeedGuard()

    def bound_to(self, declared: NeedGuard) -> Self:
        """The same client, with the same connections, for a user that has declared its needs."""
        if declared.needs is None:
            return self
        bound = copy.copy(self)
        bound._declared = declared  # noqa: SLF001  of its own class
        return bound


def _covers(own: Need, need: Need) -> bool:
    match own, need:
        case ClusterRight(), ClusterRight():
            return (own.verb, own.group, own.resource) == (need.verb, need.group, need.resource)
        case Spends(), Spends():
            return own.name == need.name
        case VendorRight(), VendorRight():
            return (own.setting, own.right) == (need.setting, need.right)
        case Setting(), Setting() if not isinstance(need, VendorRight):
            return own.setting == need.setting or own.setting.startswith(f"{need.setting}.")
    return False


def _words(need: Setting | ClusterRight | Spends) -> str:
    match need:
        case ClusterRight():
            return f"{need.verb} {need.resource}{f'.{need.group}' if need.group else ''} in the cluster"
        case Spends():
            return f"use up {need.title}"
        case VendorRight():
            return f"use {need.right} of {need.setting}"
        case Setting():
            return f"use {need.setting}"
