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
    """Freeze deploys until ``until`` (None: until somebody lifts it), and return the answer for ``actor``.

    Raises NotAllowed, and InvalidInput without a reason.
    """
    require(deps.policy, actor, Action.FREEZE)
    if not reason.strip():
        raise InvalidInput("A freeze needs a reason.", hint="`/release freeze 2h database maintenance`")
    now = deps.clock.now()
    current = _lock_active_release(tx, deps)
    reason = deps.clean(reason.strip())
    freezes.begin(tx, deps.environment, Freeze(actor.user, reason, until, now), now)
    announced_on = current or releases.latest(tx, deps.environment)
    if announced_on is not None:  # before the first release there is nobody to tell, and nothing to deploy
        posts.enqueue_posts(tx, announced_on.id, [FrozenNotice(second=round(now.timestamp()))])
    posts.mark_freezes_stale(tx, deps.environment)
    event = FreezeBegun(reason=reason, until=str(until or ""))
    commit_change(tx, current.id if current else None, event, at=now, by=actor.user)
    end = f"until {_time_text(until)}" if until else "until someone types `/release unfreeze`"
    answer = f"Deploys to {deps.environment} are frozen {end}. A rollback still works."
    window = deps.policy.active_freeze(now)
    if window is not None and until is not None and window[1] > until:
        answer += f" After that the calendar keeps them frozen until {_time_text(window[1])}: {window[0]}."
    under_way = freeze_exemption_text(current, current.version) if current is not None else ""
    return f"{answer}\n{under_way}".rstrip()


def unfreeze(tx: Tx, deps: Deps, actor: Actor) -> str:
    """Lift the freeze, and return the answer for ``actor``, which names a window of the calendar that still freezes deploys."""
    require(deps.policy, actor, Action.FREEZE)
    now = deps.clock.now()
    current = _lock_active_release(tx, deps)
    was_frozen = freezes.finish(tx, deps.environment, actor.user, now)
    window = deps.policy.active_freeze(now)
    calendar = f"frozen by the calendar until {_time_text(window[1])}: {window[0]}." if window is not None else ""
    if not was_frozen:
        if calendar:
            return f"Deploys to {deps.environment} are {calendar} Nobody can lift a calendar freeze."
        return f"Deploys to {deps.environment} are not frozen."
    posts.mark_freezes_stale(tx, deps.environment)
    announced_on = current or releases.latest(tx, deps.environment)
    if announced_on is not None:
        posts.mark_stale(tx, announced_on.id)
    commit_change(tx, current.id if current else None, FreezeLifted(), at=now, by=actor.user)
    if calendar:
        return f"The freeze is lifted, but deploys to {deps.environment} are still {calendar}"
    return f"Deploys to {deps.environment} are possible again."


def _lock_active_release(tx: Tx, deps: Deps) -> Release | None:
    """Lock and return the active release, so that a deploy of it commits before this change or sees it; None without one."""
    current = releases.active(tx, deps.environment)
    return None if current is None else releases.get(tx, current.id, lock=True)


def _time_text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def freeze_after_rollback(tx: Tx, view: ReleaseView) -> None:
    """Freeze deploys after a rollback until somebody lifts that; a freeze with an end is replaced by one without."""
    release = view.release
    active_freeze = freezes.current(tx, release.environment, view.now)
    if active_freeze is not None and active_freeze.until is None:
        return
    by = next((signoff.by for signoff in view.signoffs if signoff.purpose is Purpose.ROLLBACK), release.manager)
    reason = f"{release.version} was rolled back" + (f": {release.reason}" if release.reason else "")
    freezes.begin(tx, release.environment, Freeze(by, reason, None, view.now), view.now)
    posts.mark_freezes_stale(tx, release.environment)
    commit_change(tx, release.id, FreezeBegun(reason=reason, until=""), at=view.now, by=SYSTEM)
