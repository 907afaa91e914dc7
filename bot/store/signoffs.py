"""SignOffs: who said yes or no, in which role, to exactly what."""

from __future__ import annotations

from datetime import datetime

from psycopg.rows import DictRow

from bot.domain.ids import ReleaseId, UserId
from bot.domain.policy import Role
from bot.domain.signoff import Purpose, SignOff, Verdict
from bot.store.pool import Tx, require_row
from bot.store.queries import queries

_SQL = queries("signoffs")


def _from_row(row: DictRow) -> SignOff:
    kinds = {"role": Role(row["role"]), "verdict": Verdict(row["verdict"]), "purpose": Purpose(row["purpose"])}
    return SignOff(**{**row, **kinds})


def list_active(tx: Tx, release_id: ReleaseId) -> list[SignOff]:
    """Return the sign-offs of a release that have not been revoked, superseded or voided."""
    return [_from_row(row) for row in tx.execute(_SQL["standing"], {"release_id": release_id}).fetchall()]


def get(tx: Tx, signoff_id: int) -> SignOff | None:
    """Return the sign-off of that id, even if it has ended; or None."""
    row = tx.execute(_SQL["get"], {"id": signoff_id}).fetchone()
    return None if row is None else _from_row(row)


def sign(
    tx: Tx,
    release_id: ReleaseId,
    by: UserId,
    *,
    role: Role,
    verdict: Verdict,
    purpose: Purpose,
    reason: str,
    fingerprint: str,
    permalink: str,
    at: datetime,
) -> int:
    """Record a signature. The caller has ended the one that stood for this role before, under the release's lock."""
    values = {
        "release_id": release_id,
        "by": by,
        "role": role,
        "verdict": verdict,
        "purpose": purpose,
        "reason": reason,
        "fingerprint": fingerprint,
        "permalink": permalink,
        "at": at,
    }
    return int(require_row(tx.execute(_SQL["sign"], values).fetchone())["id"])


def finish(tx: Tx, signoff_id: int, *, by: UserId, why: str, at: datetime) -> None:
    """Say that it no longer holds and why: revoked, superseded or void."""
    tx.execute(_SQL["finish"], {"id": signoff_id, "by": by, "why": why, "at": at})
