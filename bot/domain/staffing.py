"""Staffing: whether the people who hold the roles are enough for what a policy asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from bot.domain.policy import Action, Policy, Role

Holders = Mapping[Role, Collection[str]]  # ids of people and of user groups (S…) by the role that they hold
_ESSENTIAL_ACTIONS = (Action.START, Action.DEPLOY)  # what somebody must be able to do, or no release ever ends


class Lack(StrEnum):
    """What nobody could do. Its words are in `bot/texts/staffing.py`."""

    SIGN = "sign"  # too few people hold a role that has to sign
    APPROVE = "approve"  # too few different people hold any role that signs
    ACT = "act"  # nobody may do something without which no release ends
    FOUR_EYES = "four eyes"  # the same person would approve and deploy
    BREAK_GLASS = "break glass"
    REVIEW = "review"  # nobody could review a break-glass but who broke the glass


@dataclass(frozen=True)
class Shortage:
    """What a policy asks for and nobody could do."""

    lack: Lack
    subject: Role | Action | None = None  # the role that has to sign, or what nobody may do
    minimum: int = 0  # people
    present: int = 0


def find_shortage(policy: Policy, holders: Holders) -> Shortage | None:
    """Why no release could ever be deployed when ``holders`` have the roles; None when it could.

    How many people are in a user group is not known here, so it counts as enough.
    """
    for role in policy.required:
        minimum = policy.quorum.get(role, 1)
        if (present := _count(holders, (role,))) < minimum:
            return Shortage(Lack.SIGN, role, minimum, int(present))
    if (present := _count(holders, policy.roles)) < policy.min_approvers:
        return Shortage(Lack.APPROVE, None, policy.min_approvers, int(present))
    for action in _ESSENTIAL_ACTIONS:
        if not _count(holders, policy.roles_for(action)):
            return Shortage(Lack.ACT, action)
    if policy.four_eyes and _count(holders, (*policy.roles, *policy.roles_for(Action.DEPLOY))) == 1:
        return Shortage(Lack.FOUR_EYES)
    return None


def find_review_shortage(policy: Policy, holders: Holders) -> Shortage | None:
    """Why nobody could break the glass, or no second person review it, when ``holders`` have the roles; None: they could."""
    breakers, reviewers = policy.roles_for(Action.BREAK_GLASS), policy.roles_for(Action.REVIEW)
    if not policy.break_glass.allowed:
        return None
    if not _count(holders, breakers):
        return Shortage(Lack.BREAK_GLASS)
    others = _people(holders, reviewers) - _people(holders, breakers)
    if _count(holders, reviewers) > 1 or (others and _count(holders, breakers) != inf):
        return None
    return Shortage(Lack.REVIEW)


def _people(holders: Holders, roles: Collection[Role]) -> set[str]:
    """The different people and groups that hold one of ``roles``."""
    return {name for role in roles for name in holders.get(role, ())}


def _count(holders: Holders, roles: Collection[Role]) -> float:
    """How many different people hold one of ``roles``: infinitely many where a user group makes them uncountable."""
    names = _people(holders, roles)
    return inf if any(name.startswith("S") for name in names) else len(names)
