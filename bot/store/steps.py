"""Steps: the plans of a release as they are carried out, their journal, and where a rollback goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from bot.domain.ids import ReleaseId, StepId, UserId
from bot.domain.plan import Mutation, Plane, PlanKind, Step, StepState, changes_of_journal
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("steps")


def _from_row(row: DictRow) -> Step:
    journal = [(entry, _changes(bodies)) for entry, bodies in row["journal"] or ()]
    values = {
        **{key: value for key, value in row.items() if key not in {"release_id", "journal"}},
        **changes_of_journal(journal),
        "plan": PlanKind(row["plan"]),
        "state": StepState(row["state"]),
        "planned_changes": None if row["planned_changes"] is None else _changes(row["planned_changes"]),
        "unfinished_jobs": tuple(row["unfinished_jobs"] or ()),
    }
    return Step(**values)


def _changes(bodies: Iterable[Mapping[str, str]]) -> tuple[Mutation, ...]:
    return tuple(Mutation.of(body) for body in bodies)


def plan(tx: Tx, release_id: ReleaseId) -> list[Step]:
    """Return the steps of the latest deploy and the latest rollback of a release."""
    return [_from_row(row) for row in tx.execute(_SQL["some"], {"release_id": release_id, "row": None}).fetchall()]


def get(tx: Tx, row: int) -> tuple[ReleaseId, Step] | None:
    """Return one step with the release that it belongs to, or None."""
    record = tx.execute(_SQL["some"], {"release_id": None, "row": row}).fetchone()
    return None if record is None else (ReleaseId(record["release_id"]), _from_row(record))


def add_plan(tx: Tx, release_id: ReleaseId, kind: PlanKind, steps: Sequence[tuple[StepId, StepState]]) -> None:
    """Write down a new run of a plan."""
    step_ids, states = zip(*steps, strict=True) if steps else ((), ())
    values = {"release_id": release_id, "plan": kind, "step_ids": list(step_ids), "states": list(states)}
    tx.execute(_SQL["add_plan"], values)


def start(tx: Tx, row: int, at: datetime) -> bool:
    """Mark a step as under way; False when it is not to be carried out any more."""
    return tx.execute(_SQL["start"], {"row": row, "at": at}).fetchone() is not None


def mark_reached(tx: Tx, row: int, at: datetime) -> None:
    """Note since when the plan waits for a person's step."""
    tx.execute(_SQL["reach"], {"row": row, "at": at})


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


def attest(tx: Tx, row: int, *, by: UserId, note: str, saw: str, at: datetime) -> bool:
    """Write down that a person has done it, and what the bot saw of it; False when it does not wait for that."""
    return tx.execute(_SQL["attest"], {"row": row, "by": by, "note": note, "saw": saw, "at": at}).fetchone() is not None


def complete_for(tx: Tx, row: int, *, by: UserId, summary: str, at: datetime) -> tuple[StepId, int] | None:
    """Write down that the bot has done a step which was offered to a person, because that person wanted it.

    Returns the id and the run of the step; None when it did not wait for a person any more.
    """
    record = tx.execute(_SQL["done_for"], {"row": row, "by": by, "summary": summary, "at": at}).fetchone()
    return None if record is None else (StepId(record["step_id"]), int(record["run"]))


def mark_announced(tx: Tx, row: int, summary: str, at: datetime) -> bool:
    """Write down that the message which a step waits for stands in the channel, or stands there anew; False: as it was."""
    return tx.execute(_SQL["told"], {"row": row, "summary": summary, "at": at}).fetchone() is not None


def cancel(tx: Tx, release_id: ReleaseId, kind: PlanKind, at: datetime) -> None:
    """Stop a plan where it is."""
    tx.execute(_SQL["cancel"], {"release_id": release_id, "plan": kind, "at": at})


def write_journal(tx: Tx, row: int, token: int, entry: str, body: Mapping[str, Any]) -> None:
    """Append to the journal of a step: intent, observed, acted or result."""
    tx.execute(_SQL["journal"], {"row": row, "token": token, "entry": entry, "body": Jsonb(dict(body))})


def journal(tx: Tx, row: int) -> list[DictRow]:
    """Return the journal of a step, in order."""
    return tx.execute(_SQL["journal_of"], {"row": row}).fetchall()


def keep_planned(tx: Tx, row: int, changes: Sequence[Mutation]) -> None:
    """Keep what a step is to change, as it was seen before the plan began."""
    tx.execute(_SQL["planned"], {"row": row, "planned": Jsonb([change.body for change in changes])})


def record_target(tx: Tx, release_id: ReleaseId, plane: Plane, body: Mapping[str, Any], at: datetime) -> None:
    """Keep where a rollback of a plane goes; only the first record counts, see `forget_target` (P6)."""
    tx.execute(_SQL["record_target"], {"release_id": release_id, "plane": plane, "body": Jsonb(dict(body)), "at": at})


def forget_target(tx: Tx, release_id: ReleaseId, plane: Plane, step_ids: Sequence[StepId]) -> None:
    """Have where a rollback of a plane goes recorded anew, unless one of ``step_ids``, its steps, ever was about to act (P6)."""
    values = {"release_id": release_id, "plane": plane, "step_ids": list(step_ids)}
    tx.execute(_SQL["forget_target"], values)


def rollback_targets(tx: Tx, release_id: ReleaseId) -> dict[Plane, dict[str, Any]]:
    """Return where a rollback of this release goes, by plane; a plane that was not recorded was not changed."""
    rows = tx.execute(_SQL["targets"], {"release_id": release_id}).fetchall()
    return {Plane(row["plane"]): dict(row["body"]) for row in rows}


def previous_version(tx: Tx, release_id: ReleaseId) -> str:
    """Return the version that was deployed before a release and not rolled back; empty when the bot knows of none."""
    row = tx.execute(_SQL["previous"], {"release_id": release_id}).fetchone()
    return "" if row is None else str(row["version"])
