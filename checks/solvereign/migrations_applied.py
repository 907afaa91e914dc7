"""Kind ``migrations_applied``: every migration file of the release is recorded in the database with its checksum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from psycopg import errors
from pydantic import Field

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params
from checks.kit import verification
from checks.solvereign.product import VERIFY_FUNCTIONS
from clients.needs import READ_CONTENTS, Need, on_table

if TYPE_CHECKING:
    import psycopg

    from checks.contract import CheckContext

_RECORDS = (
    "SELECT coalesce(file_name, substr(version, 6)), lower(coalesce(checksum, ''))"
    " FROM schema_migrations WHERE version LIKE 'file:%'"
)
_MAX_NAMES = 3  # files named in the summary; the evidence has all


class MigrationsAppliedParams(Params):
    """Where the files are, and what is asked of a database that does not record them."""

    path: str = Field(
        default="backend_py/db/migrations", min_length=1, description="Folder of the migrations in the repository."
    )
    suffix: str = Field(default=".sql", description="How the name of a migration ends.")
    may_be_missing: tuple[str, ...] = Field(default=(), description="Files that are deliberately not applied.")
    functions: tuple[str, ...] = Field(
        default=VERIFY_FUNCTIONS,
        description="Verify functions that decide where the database has no record by file.",
    )


@dataclass(frozen=True)
class _Comparison:
    """Files of the release against the records of the database."""

    good: list[str]
    bad: list[str]  # one phrase each
    left_out: list[str]
    more: list[str]  # recorded, but not in the release


class MigrationsApplied(Kind):
    """Compares file by file: name and sha256. Version numbers prove nothing: several files share one, others have none.

    A database without records of the form ``file:<name>`` is judged by the verify functions, and the answer says so.
    The files are those of the commit of the release; without a release, those of the default branch.
    """

    name: ClassVar[str] = "migrations_applied"
    summary: ClassVar[str] = "Every migration of the release is applied, by file and checksum"
    params: ClassVar[type[Params]] = MigrationsAppliedParams
    timeout: ClassVar[float] = 90.0

    def needs(self, params: MigrationsAppliedParams) -> tuple[Need, ...]:
        """To read what is applied, and the files."""
        return (*on_table("schema_migrations", "SELECT"), READ_CONTENTS)

    def run(self, params: MigrationsAppliedParams, ctx: CheckContext) -> Answer:
        """FAIL for a file that is missing or was another one. Raises CheckError when one of both cannot be read."""
        commit = ctx.subject.commit
        ctx.clients.github()  # refuses where there is none, also for a database that records no files
        with ctx.clients.postgres(statement_timeout=max(1.0, ctx.remaining())) as connection:
            question = (
                f"schema_migrations of {ctx.target.name}, and {params.path} at {commit[:12] or 'the default branch'}"
            )
            try:
                records = _records(connection)
            except errors.UndefinedTable as exc:
                return Answer(
                    Outcome.FAIL,
                    "there is no table schema_migrations: no migration is applied",
                    Evidence(question, "the table", f"{exc.sqlstate} {exc.diag.message_primary}"),
                    hint=f"Apply the migrations to {ctx.target.name}.",
                )
            if not records:
                return _by_functions(params, connection)
        files = _files(params, commit, ctx)
        return _judge(
            _compare(files, records, params), records, Evidence(question, "each file recorded with its sha256", "")
        )


def _records(connection: psycopg.Connection) -> dict[str, str]:
    """File name to checksum; empty where the table records no files, as before the product's migration 059."""
    try:
        with connection.transaction():
            return dict(connection.execute(_RECORDS).fetchall())
    except errors.UndefinedColumn:
        return {}


def _files(params: MigrationsAppliedParams, commit: str, ctx: CheckContext) -> dict[str, str]:
    """File name to sha256 of the migrations in the repository, in the order in which they are applied."""
    names = sorted(name for name in ctx.clients.github().folder(params.path, commit) if name.endswith(params.suffix))
    if not names:
        raise CheckError(f"{params.path} holds no {params.suffix} files", hint="Fix path in the checklist.")
    checksums = {}
    for number, name in enumerate(names, 1):
        ctx.wait(0)
        ctx.progress(f"reading migration {number} of {len(names)}")
        checksums[name] = hashlib.sha256(ctx.clients.github().content(f"{params.path}/{name}", commit)).hexdigest()
    return checksums


def _compare(files: dict[str, str], records: dict[str, str], params: MigrationsAppliedParams) -> _Comparison:
    good: list[str] = []
    bad: list[str] = []
    left_out: list[str] = []
    for name, checksum in files.items():
        if name not in records:
            (left_out if name in params.may_be_missing else bad).append(f"{name} is not applied")
        elif not records[name]:
            bad.append(f"{name} is recorded without a checksum")
        elif records[name] != checksum:
            bad.append(f"{name} had another content when it was applied")
        else:
            good.append(name)
    return _Comparison(good, bad, left_out, [name for name in records if name not in files])


def _judge(comparison: _Comparison, records: dict[str, str], evidence: Evidence) -> Answer:
    total = len(comparison.good) + len(comparison.bad) + len(comparison.left_out)
    more = [f"{name} is recorded, but not in the release" for name in comparison.more]
    details_line = f"{len(comparison.good)} of {total} files are recorded with their checksum; {len(records)} records"
    details = "\n".join(
        [*comparison.bad, *comparison.left_out, *more, *(f"{name} is applied" for name in comparison.good)]
    )
    evidence = Evidence(evidence.asked, evidence.expected, details_line, details, "migrations.txt")
    if comparison.bad:
        phrases = "; ".join(comparison.bad[:_MAX_NAMES])
        rest = f" and {len(comparison.bad) - _MAX_NAMES} more" if len(comparison.bad) > _MAX_NAMES else ""
        hint = "Apply it, or find out who changed an applied file."
        return Answer(Outcome.FAIL, f"{len(comparison.bad)} of {total} files: {phrases}{rest}", evidence, hint=hint)
    summary = f"{len(comparison.good)} of {total} files are applied, by name and checksum"
    if comparison.left_out:
        summary += f"; {len(comparison.left_out)} known to be missing"
    if more:
        summary += f"; {len(more)} more than in the release"
    return Answer(Outcome.PASS, summary, evidence)


def _by_functions(params: MigrationsAppliedParams, connection: psycopg.Connection) -> Answer:
    """The answer for a database that does not record files: what the product's own verify functions say."""
    question = f"schema_migrations, then {', '.join(f'{name}()' for name in params.functions)}"
    lines, bad = [], []
    for function in params.functions:
        try:
            rows = verification.call(connection, function)
        except (errors.UndefinedFunction, errors.InvalidSchemaName) as exc:
            summary = f"no files are recorded, and {function}() is missing: migration not applied"
            details = f"{exc.sqlstate} {exc.diag.message_primary}"
            return Answer(Outcome.FAIL, summary, Evidence(question, "all PASS", details), hint="Apply the migrations.")
        verification.refuse_blind_verdict(connection, function, rows.refused(("PASS",)))
        bad_rows = [f"{row.name} {row.status}" for row in rows.refused(("PASS",))] or ([] if rows.rows else ["0 rows"])
        bad += [f"{function}(): {line}" for line in bad_rows]
        lines.append(f"{function}(): {rows.counts() if rows.rows else '0 rows'}")
    evidence = Evidence(question, "no file records; each function all PASS", "\n".join(lines))
    if bad or not lines:
        words = "; ".join(bad) or "no verify function is configured"
        hint = "Apply the migrations, or record them by file."
        return Answer(Outcome.FAIL, f"no files are recorded, and {words}", evidence, hint=hint)
    summary = f"no files are recorded; {len(lines)} verify functions say PASS"
    return Answer(Outcome.PASS, summary, evidence)
