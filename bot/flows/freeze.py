"""Freeze: stop the line for everybody. A deploy is refused, a rollback is not."""

from __future__ import annotations

from datetime import datetime

from bot.domain.actor import Actor
from bot.domain.events import FreezeBegun, FreezeLifted
from bot.domain.ids import SYSTEM
from bot.domain.policy import Action
from bot.domain.posts import FrozenNotice
from bot.domain.release import Release
from bot.domain.signoff import Purpose
from bot.domain.view import Freeze, ReleaseView
from bot.errors import InvalidInput
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, require
from bot.store import freezes, posts, releases
from bot.store.pool import Tx
from bot.texts.gate import freeze_exemption_text


def freeze(tx: Tx, deps: Deps, actor: Actor, until: datetime | None, reason: str) -> str:
    """Stop the line until ``until`` (None: until it is lifted)."""
    require(deps.policy, actor, Action.FREEZE)
    if not reason.strip():
        raise InvalidInput("A freeze needs a reason.", hint="`/release freeze 2h database maintenance`")
    now = deps.clock.now()
    current = _locked(tx, deps)
    reason = deps.clean(reason.strip())
    freezes.begin(tx, deps.environment, Freeze(actor.user, reason, until, now), now)
    shown = current or releases.latest(tx, deps.environment)
    if shown is not None:  # before the first release there is nobody to tell, and nothing to deploy
        posts.enqueue_posts(tx, shown.id, [FrozenNotice(second=round(now.timestamp()))])
    posts.mark_freezes_stale(tx, deps.environment)
    begun = FreezeBegun(reason=reason, until=str(until or ""))
    commit_change(tx, current.id if current else None, begun, at=now, by=actor.user)
    end = f"until {_written(until)}" if until else "until somebody types `/release unfreeze`"
    said = f"Deploys to {deps.environment} are frozen {end}. A rollback still works."
    held = deps.policy.active_freeze(now)
    if held is not None and until is not None and held[1] > until:
        said += f" After that the calendar keeps them frozen until {_written(held[1])}: {held[0]}."
    under_way = freeze_exemption_text(current, current.version) if current is not None else ""
    return f"{said}\n{under_way}".rstrip()


def unfreeze(tx: Tx, deps: Deps, actor: Actor) -> str:
    """Lift the freeze. A window of the calendar holds on, and the answer says so."""
    require(deps.policy, actor, Action.FREEZE)
    now = deps.clock.now()
    current = _locked(tx, deps)
    lifted = freezes.finish(tx, deps.environment, actor.user, now)
    held = deps.policy.active_freeze(now)
    calendar = f"frozen by the calendar until {_written(held[1])}: {held[0]}." if held is not None else ""
    if not lifted:
        if calendar:
            return f"Deploys to {deps.environment} are {calendar} Nobody can lift that."
        return f"Deploys to {deps.environment} are not frozen."
    posts.mark_freezes_stale(tx, deps.environment)
    shown = current or releases.latest(tx, deps.environment)
    if shown is not None:
        posts.mark_stale(tx, shown.id)
    commit_change(tx, current.id if current else None, FreezeLifted(), at=now, by=actor.user)
    if calendar:
        return f"The freeze is lifted, but deploys to {deps.environment} are still {calendar}"
    return f"Deploys to {deps.environment} are possible again."


def _locked(tx: Tx, deps: Deps) -> Release | None:
    """The release that holds the environment: a deploy of it that is being decided commits first, or sees what is changed here."""
    current = releases.active(tx, deps.environment)
    return None if current is None else releases.get(tx, current.id, lock=True)


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def freeze_after_rollback(tx: Tx, view: ReleaseView) -> None:
    """Nothing is deployed after a rollback until somebody says so: a freeze that would end by itself becomes one that does not."""
    release = view.release
    active_freeze = freezes.current(tx, release.environment, view.now)
    if active_freeze is not None and active_freeze.until is None:
        return
    by = next((signed.by for signed in view.signoffs if signed.purpose is Purpose.ROLLBACK), release.manager)
    reason = f"{release.version} was rolled back" + (f": {release.reason}" if release.reason else "")
    freezes.begin(tx, release.environment, Freeze(by, reason, None, view.now), view.now)
    posts.mark_freezes_stale(tx, release.environment)
    commit_change(tx, release.id, FreezeBegun(reason=reason, until=""), at=view.now, by=SYSTEM)
