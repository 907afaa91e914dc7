"""Status: reads releases and mitigations for whoever asks."""

from __future__ import annotations

from bot.domain.ids import ReleaseId
from bot.domain.mitigation import Mitigation
from bot.domain.release import Release, ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import UnknownThing
from bot.flows.deps import Deps
from bot.store import mitigations, releases
from bot.store.pool import Tx


def release_of(tx: Tx, deps: Deps, version: str | None = None) -> Release:
    """Return the newest release of a version; without one the active release, or else the newest. Raises UnknownThing."""
    release = releases.latest(tx, deps.environment, version) if version else None
    if version is None:
        release = releases.active(tx, deps.environment) or releases.latest(tx, deps.environment)
    if release is None:
        name = f"no release {version}" if version else "no release yet"
        raise UnknownThing(f"There is {name}.", hint="`/release start vX.Y.Z` starts one.")
    return release


def to_roll_back(tx: Tx, deps: Deps) -> Release:
    """Return the release that `/release rollback` means: the newest one whose deploy has begun, even if another one is OPEN.

    It stays the same after its rollback, so that the command typed twice does not roll back two. Where nothing was deployed
    yet, it is the release of `release_of`, whose gate says so. Raises UnknownThing.
    """
    active = releases.active(tx, deps.environment)
    if active is not None and active.state is not ReleaseState.OPEN:
        return active
    return releases.latest_begun(tx, deps.environment) or release_of(tx, deps)


def gives_way(tx: Tx, release: Release) -> Release | None:
    """Return the OPEN release that a rollback of ``release`` aborts, if there is one."""
    active = releases.active(tx, release.environment)
    return active if active is not None and active.id != release.id and active.state is ReleaseState.OPEN else None


def view(tx: Tx, deps: Deps, release_id: ReleaseId) -> ReleaseView:
    """Read everything of a release, without a lock. Raises UnknownThing."""
    release_view = releases.view(tx, release_id, deps.clock.now())
    if release_view is None:
        raise UnknownThing("There is no such release.")
    return release_view


def history(tx: Tx, deps: Deps) -> list[Release]:
    """Return the releases of the environment, the newest first."""
    return releases.history(tx, deps.environment)


def list_open_mitigations(tx: Tx, deps: Deps) -> list[Mitigation]:
    """Return the mitigations that are still to be put back, of any release."""
    return mitigations.list_open(tx, deps.environment)
