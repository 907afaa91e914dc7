"""Steps: the plans of a release as they are carried out, their journal, and where a rollback goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from bot.domain.ids import ReleaseId, StepId, UserId
from bot.domain.plan import PlanKind, Step, StepState
from bot.store.pool import Tx, only
from bot.store.queries import queries

_SQL = queries("steps")


def _from_row(row: DictRow) -> Step:
    return Step(**{**row, "plan": PlanKind(row["plan"]), "state": StepState(row["state"])})


def plan(tx: Tx, release_id: ReleaseId) -> list[Step]:
    """The steps of the latest deploy and the latest rollback of a release."""
    return [_from_row(row) for row in tx.execute(_SQL["plan"], {"release_id": release_id}).fetchall()]


def get(tx: Tx, row: int) -> tuple[ReleaseId, Step] | None:
    """One step with the release that it belongs to."""
    found = tx.execute(_SQL["get"], {"row": row}).fetchone()
    if found is None:
        return None
    return ReleaseId(found.pop("release_id")), _from_row(found)


def add_plan(tx: Tx, release_id: ReleaseId, kind: PlanKind, steps: Iterable[tuple[StepId, StepState]]) -> None:
    """Write down a new run of a plan."""
    key = {"release_id": release_id, "plan": kind}
    run = only(tx.execute(_SQL["next_run"], key).fetchone())["run"]
    for ordinal, (step_id, state) in enumerate(steps, start=1):
        tx.execute(_SQL["add"], {**key, "run": run, "ordinal": ordinal, "step_id": step_id, "state": state})


def start(tx: Tx, row: int, at: datetime) -> bool:
    """Mark a step as under way; False when it is not to be carried out any more."""
    return tx.execute(_SQL["start"], {"row": row, "at": at}).fetchone() is not None


def progress(tx: Tx, row: int, line: str) -> bool:
    """Say how far a step is; False when nothing changed."""
    return tx.execute(_SQL["progress"], {"row": row, "progress": line}).fetchone() is not None


def before(tx: Tx, row: int, body: Mapping[str, Any]) -> None:
    """Keep what stood there before the step acted."""
    tx.execute(_SQL["before"], {"row": row, "before": Jsonb(dict(body))})


def finish(tx: Tx, row: int, state: StepState, summary: str, at: datetime) -> bool:
    """End a running step; False when it was cancelled meanwhile."""
    return tx.execute(_SQL["finish"], {"row": row, "state": state, "summary": summary, "at": at}).fetchone() is not None


def retry(tx: Tx, row: int) -> bool:
    """Make a failed step pending again; False when it is not failed."""
    return tx.execute(_SQL["retry"], {"row": row}).fetchone() is not None


def attest(tx: Tx, row: int, *, by: UserId, note: str, at: datetime) -> bool:
    """Write down that a person has done it; False when it does not wait for that."""
    return tx.execute(_SQL["attest"], {"row": row, "by": by, "note": note, "at": at}).fetchone() is not None


def cancel(tx: Tx, release_id: ReleaseId, kind: PlanKind, at: datetime) -> None:
    """Stop a plan where it is."""
    tx.execute(_SQL["cancel"], {"release_id": release_id, "plan": kind, "at": at})


def write_journal(tx: Tx, row: int, token: int, entry: str, body: Mapping[str, Any]) -> None:
    """Append to the journal of a step: intent, observed, acted or result."""
    tx.execute(_SQL["journal"], {"row": row, "token": token, "entry": entry, "body": Jsonb(dict(body))})


def journal(tx: Tx, row: int) -> list[DictRow]:
    """What a step did so far, in order."""
    return tx.execute(_SQL["journal_of"], {"row": row}).fetchall()


def record_target(tx: Tx, release_id: ReleaseId, body: Mapping[str, Any], at: datetime) -> None:
    """Keep where a rollback goes; only the first record counts, so a retried deploy cannot overwrite it (promise P6)."""
    tx.execute(_SQL["record_target"], {"release_id": release_id, "body": Jsonb(dict(body)), "at": at})


def rollback_target(tx: Tx, release_id: ReleaseId) -> dict[str, Any] | None:
    """Where a rollback of this release goes, or None when nothing was deployed."""
    row = tx.execute(_SQL["target"], {"release_id": release_id}).fetchone()
    return None if row is None else dict(row["body"])
