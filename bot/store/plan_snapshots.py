"""Plan snapshots: the plan of a release that people saw last."""

from __future__ import annotations

from datetime import datetime

from psycopg.types.json import Jsonb

from bot.domain.ids import ReleaseId
from bot.domain.plan_snapshot import PlanSnapshot, from_body, plan_digest, to_body
from bot.store.pool import Tx
from bot.store.queries import queries

_SQL = queries("plan_snapshots")


def store(tx: Tx, release_id: ReleaseId, plan: PlanSnapshot, at: datetime, viewer: str) -> None:
    """Store that ``viewer`` saw ``plan`` at ``at``, in place of the snapshot before."""
    values = {"plan": Jsonb(to_body(plan)), "digest": plan_digest(plan), "at": at, "viewer": viewer}
    tx.execute(_SQL["store"], {"release_id": release_id, **values})


def get(tx: Tx, release_id: ReleaseId) -> PlanSnapshot | None:
    """Return the snapshot of a release; None when nobody has seen a plan of it."""
    row = tx.execute(_SQL["get"], {"release_id": release_id}).fetchone()
    return None if row is None else from_body(row["plan"])
