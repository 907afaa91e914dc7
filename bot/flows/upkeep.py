"""Upkeep: the periodic look at a release that waits for people: what its version means, who is late, when it expires."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from bot.domain.events import PolicyAdopted, ReleaseReminded
from bot.domain.gate import missing_approvals
from bot.domain.ids import SYSTEM, ReleaseId, UserId
from bot.domain.policy import Role
from bot.domain.posts import PolicyNotice, ReminderPost
from bot.domain.release import ReleaseState
from bot.domain.view import ReleaseView
from bot.errors import VendorError
from bot.flows import abort, sign, status
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, Job, locked_view
from bot.flows.source_resolution import resolve_source, store_resolution
from bot.store import posts, releases, work
from bot.store.pool import Tx

logger = logging.getLogger(__name__)

QUEUE = "upkeep"
INTERVAL = timedelta(minutes=5)  # between two looks at the tag and the image
_MOMENT = timedelta(seconds=1)  # an approval still counts at the very end of its age


def schedule(tx: Tx, release_id: ReleaseId, at: datetime) -> None:
    """Have the upkeep of a release begin at ``at``."""
    work.enqueue(tx, QUEUE, release_id, due_at=at)


def adopt_policy(tx: Tx, deps: Deps) -> None:
    """Put the OPEN release under the policy of this configuration; sign-offs given under another one are void.

    Called once at the start of a process. A release that is being deployed or watched keeps its policy.
    """
    release = releases.active(tx, deps.environment)
    if release is None:
        return
    view = locked_view(tx, deps, release.id)
    if view.release.state is not ReleaseState.OPEN or view.policy.digest == deps.policy.digest:
        return
    releases.adopt(tx, release.id, deps.policy)
    sign.void_outdated(tx, deps, release.id, "the policy was changed")
    event = PolicyAdopted(before=release.policy_digest, policy=deps.policy.digest)
    commit_change(tx, release.id, event, at=view.now, by=SYSTEM, new_posts=[PolicyNotice()])


def resume(tx: Tx, deps: Deps) -> None:
    """Have the OPEN release looked after from the start of a process on, under the policy of this configuration."""
    adopt_policy(tx, deps)
    release = releases.active(tx, deps.environment)
    if release is not None and release.state is ReleaseState.OPEN:
        schedule(tx, release.id, deps.clock.now())


def execute(deps: Deps, job: Job) -> datetime | None:
    """Look after one release (key: its id). Returns when to look again; None once it does not wait any more."""
    release_id = ReleaseId(int(job.claim.key))
    with deps.store.transaction() as tx:
        view = status.view(tx, deps, release_id)
    if view.release.state is not ReleaseState.OPEN:
        return None
    try:
        store_resolution(deps, release_id, resolve_source(deps, view.release))
    except VendorError as error:
        logger.warning("cannot look up %s again: %s", view.release.version, error)  # a deploy asks once more
    people = _people_to_remind(deps, view)
    with deps.store.transaction() as tx:
        view = locked_view(tx, deps, release_id)
        work.ensure_claim(tx, job.claim)
        if view.release.state is not ReleaseState.OPEN:
            return None
        if view.now >= view.release.started_at + view.policy.expire_after:
            abort.expire(tx, view)
            return None
        sign.void_expired(tx, view)
        _remind(tx, view, people)
        posts.mark_stale(tx, release_id)  # a freeze has begun or ended, an approval has grown old
    return _next_look(view)


def _reminder_round(view: ReleaseView) -> int:
    """Return how many reminder intervals have passed; 0: it is not time to remind yet."""
    return (view.now - (view.release.pinned_at or view.release.started_at)) // view.policy.remind_after


def _people_to_remind(deps: Deps, view: ReleaseView) -> Mapping[Role, Iterable[UserId]]:
    """Return the people of each role whose approval is missing, as Slack says; none before it is time, or if Slack fails."""
    if _reminder_round(view) < 1:
        return {}
    try:
        return {role: deps.people(role) for role, _ in missing_approvals(view)}
    except VendorError as error:
        logger.warning("cannot remind anybody: %s", error)
        return {}


def _remind(tx: Tx, view: ReleaseView, people: Mapping[Role, Iterable[UserId]]) -> None:
    """Enqueue one direct message per round to each of ``people``; to the release manager if no approval is missing."""
    number, release = _reminder_round(view), view.release
    if number < 1:
        return
    missing_roles = {role for role, _ in missing_approvals(view)}
    recipients = [(str(role), user) for role, users in people.items() if role in missing_roles for user in users]
    if not missing_roles:
        recipients = [("manager", release.manager)]
    reminders = [ReminderPost(role=role, user=user, round=number) for role, user in recipients]
    if new := [post for post in reminders if posts.find(tx, release.id, post) is None]:
        event = ReleaseReminded(people=tuple(f"{post.role}:{post.user}" for post in new), round=number)
        commit_change(tx, release.id, event, at=view.now, by=SYSTEM, new_posts=new)


def _next_look(view: ReleaseView) -> datetime:
    """The next moment at which something of the release may have changed by itself."""
    release, policy = view.release, view.policy
    moments = [
        view.now + INTERVAL,
        release.started_at + policy.expire_after,
        (release.pinned_at or release.started_at) + (_reminder_round(view) + 1) * policy.remind_after,
        *(signoff.at + policy.signoff_max_age + _MOMENT for signoff in view.signoffs),
    ]
    if view.freeze is not None and view.freeze.until is not None:
        moments.append(view.freeze.until)
    return min(moment for moment in moments if moment > view.now)
