"""Source resolution: which commit and image the version of an OPEN release means now (promise P4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.domain.events import Event, SourceMissing, SourceMoved, SourceResolved
from bot.domain.ids import SYSTEM, ReleaseId
from bot.domain.posts import MovedNotice, PostSubject, SourceProblemNotice
from bot.domain.release import Release, ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import InvalidInput
from bot.flows import check, sign
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view
from bot.steps.sources import ResolvedSource
from bot.store import releases
from bot.store.pool import Tx


@dataclass(frozen=True)
class Resolution:
    """What the version of a release means at a moment."""

    asked_at: datetime
    source: ResolvedSource | None  # None: there is no such image
    problem: str = ""  # why the version does not mean anything that could be deployed

    def confirms(self, release: Release) -> bool:
        """Whether the release means exactly this already, and nothing of it was missing before."""
        return not (self.problem or release.source_problem) and not self.is_move(release)

    def is_move(self, release: Release) -> bool:
        """Whether the version means another image, or its tag another commit.

        The commit of a branch, where there is no tag yet, stays the one of the start.
        """
        if self.source is None:
            return False
        has_other_commit = self.source.is_tagged and self.source.commit != release.commit
        return has_other_commit or self.source.digest != release.digest


def resolve_source(deps: Deps, release: Release) -> Resolution:
    """Ask GitHub and the registry what the version of ``release`` means now. Raises VendorError when they do not answer."""
    asked_at = deps.clock.now()
    try:
        source = deps.sources.resolve(release.version)
    except InvalidInput as error:
        return Resolution(asked_at, None, deps.clean(error.user_message))
    is_tag_gone = release.is_tagged and not source.is_tagged
    return Resolution(asked_at, source, f"The tag {release.version} no longer exists." if is_tag_gone else "")


def store_resolution(deps: Deps, release_id: ReleaseId, resolution: Resolution) -> None:
    """Store what the version of an OPEN release means now.

    If its tag or image has moved, the new one is taken, the checks run again and the sign-offs are void. If one is gone, the
    gate is closed until it is back.
    """
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, release_id)
        release = view.release
        if release.state is not ReleaseState.OPEN or (
            release.confirmed_at and release.confirmed_at > resolution.asked_at
        ):
            return  # it is over, or a newer resolution is stored
        if resolution.problem or resolution.source is None:
            _store_missing(tx, view, resolution.problem)
        elif resolution.is_move(release):
            _store_move(tx, deps, view, resolution.source)
        else:
            releases.confirm(tx, release_id, resolution.asked_at)
            if release.source_problem:
                _commit(tx, view, SourceResolved(was=release.source_problem), SourceProblemNotice())


def _store_missing(tx: Tx, view: ReleaseView, why: str) -> None:
    releases.confirm(tx, view.release.id, view.now, why)
    if view.release.source_problem != why:
        _commit(tx, view, SourceMissing(why=why), SourceProblemNotice())


def _store_move(tx: Tx, deps: Deps, view: ReleaseView, source: ResolvedSource) -> None:
    """Pin the new commit and image, void the sign-offs, and run all checks again."""
    release_id, release = view.release.id, view.release
    commit = source.commit if source.is_tagged else release.commit
    releases.repin(tx, release_id, view.now, commit=commit, digest=source.digest, is_tagged=source.is_tagged)
    sign.void_outdated(tx, deps, release_id, f"{release.version} now means another commit or image")
    check.cancel_all(tx, release_id, view.checklist)
    check.request_runs(
        tx, locked_view(tx, deps, release_id), [entry.id for entry in view.checklist.distinct_checks], SYSTEM
    )
    event = SourceMoved(
        commit_before=release.commit, commit=commit, digest_before=release.digest, digest=source.digest,
        tagged=source.is_tagged, again_because=release.repeat_reason if source.digest == release.digest else "",
    )  # fmt: skip
    _commit(tx, view, event, MovedNotice(second=round(view.now.timestamp())))


def _commit(tx: Tx, view: ReleaseView, event: Event, notice: PostSubject) -> None:
    commit_change(tx, view.release.id, event, at=view.now, by=SYSTEM, new_posts=[notice])
