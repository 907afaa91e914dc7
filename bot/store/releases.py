"""Releases: the row that everything hangs on, its states, and the view of all that belongs to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from bot.domain.checklist import Checklist
from bot.domain.ids import SYSTEM, CheckId, ReleaseId, UserId
from bot.domain.plan_progress import PlanProgress
from bot.domain.policy import Policy
from bot.domain.release import ACTIVE, TRANSITIONS, Release, ReleaseState
from bot.domain.results import CheckView
from bot.domain.view import Freeze, ReleaseView
from bot.errors import ActiveReleaseExists, Superseded
from bot.store import break_glass, checks, files, freezes, mitigations, signoffs, steps, watches
from bot.store.pool import Tx, require_row
from bot.store.queries import queries

_SQL = queries("releases")

# By digest: what a digest names never changes, so it is read once. There is one more after each edit of the file.
_checklists: dict[str, Checklist] = {}
_policies: dict[str, Policy] = {}


def _from_row(row: DictRow) -> Release:
    return Release(**{**row, "state": ReleaseState(row["state"])})


def insert(tx: Tx, values: dict[str, Any], checklist: Checklist, policy: Policy) -> ReleaseId:
    """Open a release (environment, version, manager, notes_url, commit, image, digest, tagged, channel, at).

    Raises ActiveReleaseExists when another one holds the environment; the constraint decides, so two at once cannot both win.
    """
    tx.execute(_SQL["keep_checklist"], {"digest": checklist.digest, "body": Jsonb(checklist.body)})
    _keep_policy(tx, policy)
    digests = {"checklist_digest": checklist.digest, "policy_digest": policy.digest}
    try:
        with tx.transaction():
            return ReleaseId(require_row(tx.execute(_SQL["insert"], {**values, **digests}).fetchone())["id"])
    except UniqueViolation as error:
        if error.diag.constraint_name != "one_active_release":
            raise
        other = active(tx, values["environment"])
        name = f"{other.version} ({other.state})" if other else "Another release"
        raise ActiveReleaseExists(
            f"{name} holds {values['environment']}.", hint="Finish it or `/release abort` it first."
        ) from error


def _keep_policy(tx: Tx, policy: Policy) -> None:
    tx.execute(_SQL["keep_policy"], {"digest": policy.digest, "body": Jsonb(policy.model_dump(mode="json"))})


def get(tx: Tx, release_id: ReleaseId, *, lock: bool = False) -> Release | None:
    """Return one release; with ``lock`` nobody else changes it until the commit."""
    if not lock:
        return _find(tx, "id", id=release_id)
    row = tx.execute(_SQL["lock"], {"id": release_id}).fetchone()
    return None if row is None else _from_row(row)


def active(tx: Tx, environment: str) -> Release | None:
    """Return the release that holds the environment, or None."""
    return _find(tx, "active", environment=environment)


def latest(tx: Tx, environment: str, version: str | None = None) -> Release | None:
    """Return the newest release of the environment, or of a version in it; None when there is none."""
    return _find(tx, "latest", environment=environment, version=version)


def latest_begun(tx: Tx, environment: str) -> Release | None:
    """Return the newest release whose deploy was begun, even if it was rolled back; None when there is none."""
    return _find(tx, "latest_begun", environment=environment)


def latest_deployed(tx: Tx, environment: str) -> Release | None:
    """Return the newest release that has changed the environment, or has begun to, and was not rolled back, or None."""
    return _find(tx, "latest_deployed", environment=environment)


def _find(tx: Tx, which: str, **values: Any) -> Release | None:
    row = tx.execute(
        _SQL["find"], {"which": which, "id": None, "environment": None, "version": None} | values
    ).fetchone()
    return None if row is None else _from_row(row)


def running(tx: Tx, environment: str, image: str, digest: str, *, but: ReleaseId | None = None) -> str:
    """Return the version that an environment runs, as far as the bot knows, if it has this image; else an empty text.

    ``but``: the release that asks.
    """
    values = {"environment": environment, "image": image, "digest": digest, "id": but or 0}
    row = tx.execute(_SQL["running"], values).fetchone()
    return "" if row is None else str(row["version"])


def known_bad(tx: Tx, environment: str, image: str, digest: str, *, but: ReleaseId | None = None) -> str:
    """Return when and why an image was rolled back the last time that it was deployed; an empty text when it was not.

    The image that the environment runs is never known as bad. ``but``: the release that asks.
    """
    values = {"environment": environment, "image": image, "digest": digest, "id": but or 0}
    row = tx.execute(_SQL["known_bad"], values).fetchone()
    if row is None or running(tx, environment, image, digest, but=but):
        return ""
    when = f" on {row['at']:%Y-%m-%d}" if row["at"] else ""
    return f"{row['version']} was rolled back{when} with this image" + (f": {row['reason']}" if row["reason"] else "")


def history(tx: Tx, environment: str, limit: int = 20) -> list[Release]:
    """Return the releases of an environment, the newest first, at most ``limit``."""
    return [
        _from_row(row) for row in tx.execute(_SQL["history"], {"environment": environment, "limit": limit}).fetchall()
    ]


def move(
    tx: Tx,
    release: Release,
    to: ReleaseState,
    at: datetime,
    *,
    deployer: UserId | None = None,
    deployed_at: datetime | None = None,
    reason: str | None = None,
    stays_open: bool = False,
) -> None:
    """Take a release to another state. Raises Superseded when it is no longer in the state that the caller saw.

    One that ends by it is closed, unless something of it stands that is to be put back: see `close`.
    """
    if to not in TRANSITIONS[release.state]:
        raise Superseded(f"a release can't go from {release.state} to {to}")
    values = {
        "id": release.id,
        "from": release.state,
        "to": to,
        "closed_at": None if to in ACTIVE or stays_open else at,
        "deployer": deployer,
        "deployed_at": deployed_at,
    }
    try:
        with tx.transaction():
            row = tx.execute(_SQL["move"], {**values, "reason": reason}).fetchone()
    except UniqueViolation as error:
        other = active(tx, release.environment)
        name = f"{other.version} ({other.state})" if other else "another release"
        raise ActiveReleaseExists(
            f"{name} holds {release.environment} now.", hint="`/release abort` that one, or roll it back, first."
        ) from error
    if row is None:
        raise Superseded


def close(tx: Tx, release_id: ReleaseId, at: datetime) -> None:
    """Record that a release is over since ``at`` and that none of its mitigations is open."""
    tx.execute(_SQL["close"], {"id": release_id, "at": at})


def reopen(tx: Tx, release_id: ReleaseId) -> None:
    """Record that a closed release is open again, because one of its mitigations is."""
    tx.execute(_SQL["close"], {"id": release_id, "at": None})


def confirm(tx: Tx, release_id: ReleaseId, at: datetime, source_problem: str = "") -> None:
    """Record that GitHub and the registry were asked at ``at``.

    ``source_problem``: why they do not name the commit and image that the release is pinned to; empty when they do.
    """
    tx.execute(_SQL["confirm"], {"id": release_id, "at": at, "source_problem": source_problem})


def repin(tx: Tx, release_id: ReleaseId, at: datetime, *, commit: str, digest: str, is_tagged: bool) -> None:
    """Pin a release to the commit and image that its version means since ``at``; earlier results do not count any more.

    Needs the lock of the release, as whoever stores a result does: what is stored later has a higher id.
    """
    values = {"id": release_id, "at": at, "commit": commit, "digest": digest, "tagged": is_tagged}
    tx.execute(_SQL["repin"], values)


def adopt(tx: Tx, release_id: ReleaseId, policy: Policy) -> None:
    """Have the release judged by ``policy`` from now on."""
    _keep_policy(tx, policy)
    tx.execute(_SQL["adopt"], {"id": release_id, "digest": policy.digest})


def checklist(tx: Tx, release: Release) -> Checklist:
    """Return the checklist that the release began with, whatever the file says now."""
    if (value := _checklists.get(release.checklist_digest)) is None:
        row = require_row(tx.execute(_SQL["checklist"], {"digest": release.checklist_digest}).fetchone())
        value = _checklists[release.checklist_digest] = Checklist.model_validate_json(row["body"])
    return value


def policy(tx: Tx, release: Release) -> Policy:
    """Return the policy that the release is judged by."""
    if (value := _policies.get(release.policy_digest)) is None:
        row = require_row(tx.execute(_SQL["policy"], {"digest": release.policy_digest}).fetchone())
        value = _policies[release.policy_digest] = Policy.model_validate_json(row["body"])
    return value


def view(tx: Tx, release_id: ReleaseId, now: datetime, *, lock: bool = False) -> ReleaseView | None:
    """Everything that is known of a release at ``now``; with ``lock`` it stays true until the commit."""
    release = get(tx, release_id, lock=lock)
    if release is None:
        return None
    lines, rules = checklist(tx, release), policy(tx, release)
    check_views = _without_outdated_results(checks.views(tx, release_id), release.results_valid_after)
    is_open = release.state is ReleaseState.OPEN  # of what follows a deploy there is nothing yet
    return ReleaseView(
        release=release,
        checklist=lines,
        policy=rules,
        checks={line.id: check_views[line.canonical_id] for line in lines.checks},
        signoffs=signoffs.list_active(tx, release_id),
        steps=() if is_open else steps.plan(tx, release_id),
        watch=None if is_open else watches.get(tx, release_id),
        freeze=freezes.current(tx, release.environment, now) or _on_the_calendar(rules, now),
        now=now,
        mitigations=() if is_open else mitigations.of_release(tx, release_id),
        environment_mitigations=mitigations.list_open(tx, release.environment) if is_open else (),
        known_bad=known_bad(tx, release.environment, release.image, release.digest, but=release.id) if is_open else "",
        break_glass=None if is_open else break_glass.get(tx, release_id),
        pictures={} if is_open else files.pictures(tx, release_id),
    )


def locked_progress(tx: Tx, release_id: ReleaseId, now: datetime) -> PlanProgress | None:
    """How far the plans of a release are at ``now``; it stays true until the commit."""
    release = get(tx, release_id, lock=True)
    return None if release is None else PlanProgress(release, checklist(tx, release), steps.plan(tx, release_id), now)


def _without_outdated_results(views: dict[CheckId, CheckView], results_valid_after: int) -> dict[CheckId, CheckView]:
    """Return the checks without the results up to the id ``results_valid_after``, which are about another commit or image."""
    return {
        check: replace(view, result=None) if view.result and view.result.id <= results_valid_after else view
        for check, view in views.items()
    }


def _on_the_calendar(policy: Policy, now: datetime) -> Freeze | None:
    window = policy.active_freeze(now)
    return None if window is None else Freeze(SYSTEM, *window)
