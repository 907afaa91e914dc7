"""Actor: the person who caused something, with the roles that Slack confirmed at that moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.domain.ids import UserId
    from bot.domain.policy import Role


@dataclass(frozen=True)
class Actor:
    """Somebody whose identity was read at the click. No roles: may look, may change nothing."""

    user: UserId
    roles: frozenset[Role] = frozenset()
