"""Status: what is known, for whoever asks. Reads only."""

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
    """The release that is meant: of that version, or the active one, or the newest. Raises UnknownThing."""
    found = releases.latest(tx, deps.environment, version) if version else None
    if version is None:
        found = releases.active(tx, deps.environment) or releases.latest(tx, deps.environment)
    if found is None:
        name = f"no release {version}" if version else "no release yet"
        raise UnknownThing(f"There is {name}.", hint="`/release start vX.Y.Z` begins one.")
    return found


def to_roll_back(tx: Tx, deps: Deps) -> Release:
    """The release that `/release rollback` means: the newest one whose deploy was begun, whatever is OPEN beside it.

    Not the one before it once it was taken back: a command that is typed twice must not take back two. Where nothing was
    deployed yet it is that of `release_of`, which says so. Raises UnknownThing.
    """
    active = releases.active(tx, deps.environment)
    if active is not None and active.state is not ReleaseState.OPEN:
        return active
    return releases.latest_begun(tx, deps.environment) or release_of(tx, deps)


def gives_way(tx: Tx, release: Release) -> Release | None:
    """The OPEN release that a rollback of ``release`` aborts, if there is one."""
    active = releases.active(tx, release.environment)
    return active if active is not None and active.id != release.id and active.state is ReleaseState.OPEN else None


def view(tx: Tx, deps: Deps, release_id: ReleaseId) -> ReleaseView:
    """Everything of a release at this moment. Raises UnknownThing."""
    found = releases.view(tx, release_id, deps.clock.now())
    if found is None:
        raise UnknownThing("There is no such release.")
    return found


def history(tx: Tx, deps: Deps) -> list[Release]:
    """The newest releases first."""
    return releases.history(tx, deps.environment)


def list_open_mitigations(tx: Tx, deps: Deps) -> list[Mitigation]:
    """What is still to be put back, whichever release it belongs to."""
    return mitigations.list_open(tx, deps.environment)
