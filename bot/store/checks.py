"""Checks of a release: what runs, what was answered, what was waived. Results are never changed."""

from __future__ import annotations

from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from bot.domain.ids import CheckId, ReleaseId, UserId
from bot.domain.model import digest_of
from bot.domain.results import EXCERPT, CheckView, Result, RunState, Waiver
from bot.store.pool import Tx, require_row
from bot.store.queries import queries
from checks.contract import Answer, Outcome

_SQL = queries("checks")

# What the record binds of a result, by its digest (bot/evidence/FORMAT.md).
BOUND_COLUMNS = ("outcome", "summary", "asked", "expected", "seen", "attachment", "attachment_name", "hint")


def _from_row(row: DictRow) -> CheckView:
    check = CheckId(row["check_id"])
    result = waiver = None
    if row["id"] is not None:
        result = Result(
            id=row["id"],
            check=check,
            outcome=Outcome(row["outcome"]),
            summary=row["summary"],
            asked=row["asked"],
            expected=row["expected"],
            seen=row["seen"],
            attachment=row["attachment"],
            attachment_name=row["attachment_name"],
            attachment_length=row["attachment_length"],
            hint=row["hint"],
            started_at=row["started_at"],
            finished_at=row["finished_at"],
            by=UserId(row["by_whom"]),
            is_attested=row["attested"],
            data=row["data"],
        )
    if row["waived_by"] is not None:
        waiver = Waiver(check, UserId(row["waived_by"]), row["waiver_reason"], row["waived_at"])
    return CheckView(check, RunState(row["state"]), row["progress"], result, waiver)


def views(tx: Tx, release_id: ReleaseId) -> dict[CheckId, CheckView]:
    """Every check of a release with its latest result and waiver."""
    rows = tx.execute(_SQL["views"], {"release_id": release_id, "excerpt": EXCERPT}).fetchall()
    return {CheckId(row["check_id"]): _from_row(row) for row in rows}


def attachment(tx: Tx, result_id: int) -> str:
    """Return the whole attachment of a result."""
    return str(require_row(tx.execute(_SQL["attachment"], {"id": result_id}).fetchone())["attachment"])


def add(tx: Tx, release_id: ReleaseId, check: CheckId, by: UserId, at: datetime) -> None:
    """Make a check of the checklist part of a release."""
    tx.execute(_SQL["add"], {"release_id": release_id, "check_id": check, "by": by, "at": at})


def request(tx: Tx, release_id: ReleaseId, check: CheckId, by: UserId, at: datetime) -> None:
    """Mark a check as waiting to run, on behalf of ``by``; one that runs just now stays marked as running."""
    tx.execute(_SQL["request"], {"release_id": release_id, "check_id": check, "by": by, "at": at})


def mark_running(tx: Tx, release_id: ReleaseId, check: CheckId) -> None:
    """Mark a check as running."""
    tx.execute(_SQL["mark_running"], {"release_id": release_id, "check_id": check})


def request_of(tx: Tx, release_id: ReleaseId, check: CheckId) -> tuple[UserId, datetime]:
    """Return who requested the run of a check, and when."""
    row = require_row(tx.execute(_SQL["request_of"], {"release_id": release_id, "check_id": check}).fetchone())
    return UserId(row["requested_by"]), row["requested_at"]


def set_progress(tx: Tx, release_id: ReleaseId, check: CheckId, line: str) -> bool:
    """Show ``line`` for a running check; False when nothing changed."""
    return (
        tx.execute(_SQL["set_progress"], {"release_id": release_id, "check_id": check, "progress": line}).fetchone()
        is not None
    )


def mark_waiting(tx: Tx, release_id: ReleaseId, check: CheckId, line: str) -> bool:
    """Mark a check as waiting, and show ``line`` for it; False when nothing changed."""
    values = {"release_id": release_id, "check_id": check, "progress": line}
    return tx.execute(_SQL["mark_waiting"], values).fetchone() is not None


def mark_ended(tx: Tx, release_id: ReleaseId, check: CheckId, *, again: bool = False) -> None:
    """Mark a check as neither waiting nor running, or, with ``again``, as waiting for one more run."""
    state = RunState.WAITING if again else RunState.IDLE
    tx.execute(_SQL["mark_ended"], {"release_id": release_id, "check_id": check, "state": state})


def mark_all_idle(tx: Tx, release_id: ReleaseId) -> None:
    """Mark all checks of a release as neither waiting nor running."""
    tx.execute(_SQL["mark_all_idle"], {"release_id": release_id})


def record(
    tx: Tx,
    release_id: ReleaseId,
    check: CheckId,
    answer: Answer,
    *,
    by: UserId,
    started_at: datetime,
    finished_at: datetime,
    is_attested: bool = False,
) -> str:
    """Store one result, and return the digest by which the record binds it (bot/evidence/FORMAT.md)."""
    evidence = answer.evidence
    answer_values = {
        "outcome": answer.outcome,
        "summary": answer.summary,
        "asked": evidence.asked,
        "expected": evidence.expected,
        "seen": evidence.seen,
        "attachment": evidence.attachment,
        "attachment_name": evidence.attachment_name,
        "hint": answer.hint,
    }
    values = {
        **answer_values,
        "release_id": release_id,
        "check_id": check,
        "data": Jsonb(dict(answer.data)),
        "started_at": started_at,
        "finished_at": finished_at,
        "by": by,
        "attested": is_attested,
    }
    tx.execute(_SQL["record"], values)
    return digest_of({key: answer_values[key] for key in BOUND_COLUMNS})


def waive(tx: Tx, release_id: ReleaseId, waiver: Waiver) -> bool:
    """Store a waiver; False when the check has one already."""
    values = {
        "release_id": release_id,
        "check_id": waiver.check,
        "by": waiver.by,
        "reason": waiver.reason,
        "at": waiver.at,
    }
    return tx.execute(_SQL["waive"], values).fetchone() is not None
