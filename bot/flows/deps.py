"""Deps: what the flows need, built once by the composition root; and Job: something that a worker does now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from bot.clock import Clock
from bot.domain.actor import Actor
from bot.domain.checklist import Checklist
from bot.domain.deploy_findings import ChannelAccess
from bot.domain.gate import permits
from bot.domain.ids import ReleaseId, UserId
from bot.domain.plan_progress import PlanProgress
from bot.domain.policy import Action, Policy, Role
from bot.domain.view import ReleaseView
from bot.domain.watch import WatchTimes
from bot.errors import NotAllowed, UnknownThing
from bot.flows.doctor import Examination
from bot.steps.sources import Sources
from bot.store import releases
from bot.store.pool import Store, Tx
from bot.store.work import Claim
from checks.registry import Registry
from clients.target import Target

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TargetDeps:
    """What it takes to run checks against targets and to inspect them."""

    clock: Clock
    targets: Mapping[str, Target]
    registry: Registry
    redact: Callable[[str], str]
    environment: str = "production"  # name of the target that is deployed to

    def clean(self, text: str, most: int | None = None) -> str:
        """Return a text from outside without secrets and without what PostgreSQL refuses (NUL, half characters).

        ``most``: number of characters to keep. Do not cut before: half of a secret is not recognised any more.
        """
        return self.redact(text).replace("\0", "\N{SYMBOL FOR NULL}").encode(errors="replace").decode()[:most]


@dataclass(frozen=True, kw_only=True)
class StoreDeps(TargetDeps):
    """TargetDeps with the bot's database, which has the undo ledger, the locks and the counts of allowances."""

    store: Store


@dataclass(frozen=True, kw_only=True)
class Deps(StoreDeps):
    """All that flows need from outside."""

    channel: str  # id of #releases
    checklist: Checklist  # for releases that begin now; a running one keeps its own
    policy: Policy
    sources: Sources
    watch: WatchTimes
    examination: Callable[[], Examination] = Examination  # what the doctor asks; nobody by default
    # The next three ask Slack, and raise VendorError: roles of people, whether a release may begin in a channel, who has a role.
    roles_of: Callable[[Iterable[UserId]], Mapping[UserId, frozenset[Role]]] = lambda _: {}
    channel_access: Callable[[str], ChannelAccess] = lambda _: ChannelAccess("Slack was not asked about the channel")
    people: Callable[[Role], Iterable[UserId]] = lambda _: ()


@dataclass(frozen=True)
class Job:
    """A claim, and the event that is set when its worker is to stop: another one took it over, or it was dropped."""

    claim: Claim
    cancelled: threading.Event


def locked_view(tx: Tx, deps: Deps, release_id: ReleaseId) -> ReleaseView:
    """Read a whole release and lock it until the commit. Raises UnknownThing."""
    return _existing(releases.view(tx, release_id, deps.clock.now(), lock=True))


def locked_progress(tx: Tx, deps: Deps, release_id: ReleaseId) -> PlanProgress:
    """Read how far the plans of a release are, and lock it until the commit. Raises UnknownThing."""
    return _existing(releases.locked_progress(tx, release_id, deps.clock.now()))


def _existing(release: T | None) -> T:
    if release is None:
        raise UnknownThing("There is no such release.", hint="`/release history` lists them.")
    return release


def require(policy: Policy, actor: Actor, action: Action, *lines: str) -> None:
    """Raise NotAllowed, with the roles that may, if the roles of ``actor`` do not cover ``action`` (on the check of ``lines``)."""
    if permits(policy, action, actor.roles, *lines):
        return
    names = policy.who_may(action, *lines)
    if not names:
        raise NotAllowed("The policy allows nobody to do that.", hint="Your platform team can change the policy.")
    raise not_allowed(names, actor)


def not_allowed(names: str, actor: Actor) -> NotAllowed:
    """Return the refusal of somebody who has none of the roles ``names``, as people read them."""
    own = ", ".join(sorted(role.title for role in actor.roles))
    yours = f"your role is {own}" if own else "you have no role"
    return NotAllowed(f"Only {names} can do that; {yours}.", hint="Ask one of them, or have the roles changed.")
