"""sql_verify: call a verify function of the product's database; every row must say PASS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psycopg import errors
from pydantic import Field

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params
from checks.kit import verification
from clients.needs import Need, execute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.contract import CheckContext


class SqlVerifyParams(Params):
    """Which function, and what counts as good."""

    function: str = Field(pattern=verification.FUNCTION.pattern, description="Verify function, with its schema.")
    rows: tuple[int, ...] = Field(default=(), description="Row counts that are right; empty: any but 0.")
    allow: tuple[str, ...] = Field(default=("PASS",), min_length=1, description="Status words that pass.")


class SqlVerify(Kind):
    """Asks as the role of ``database_url``. Where every bad row is about a table on which that role has no right at all, the
    function has taken it for missing: that is ERROR with the grant, and no verdict.
    """

    name: ClassVar[str] = "sql_verify"
    summary: ClassVar[str] = "Calls a verify function of the database; every row must pass"
    params: ClassVar[type[Params]] = SqlVerifyParams
    example: ClassVar[Mapping[str, Any]] = {"function": "billing.verify_billing_schema"}
    timeout: ClassVar[float] = 45.0

    def needs(self, params: SqlVerifyParams) -> tuple[Need, ...]:
        """To call the function."""
        return (execute(params.function),)

    def run(self, params: SqlVerifyParams, ctx: CheckContext) -> Answer:
        """FAIL for a row that does not pass, for a wrong number of rows, and when the function is not there."""
        question = f"SELECT * FROM {params.function}() on {ctx.target.name}"  # noqa: S608  for people to read, not run
        row_counts = " or ".join(str(number) for number in params.rows) or "some"
        expectation = f"{row_counts} rows, each {' or '.join(params.allow)}"
        with ctx.clients.postgres(statement_timeout=max(1.0, ctx.remaining())) as connection:
            role = connection.info.user
            try:
                result = verification.call(connection, params.function)
            except (errors.UndefinedFunction, errors.InvalidSchemaName) as exc:
                return Answer(
                    Outcome.FAIL,
                    f"function {params.function}() is missing: migration not applied",
                    Evidence(question, expectation, f"{exc.sqlstate} {exc.diag.message_primary}"),
                    hint=f"Apply the migration that creates it to {ctx.target.name}.",
                )
            except errors.InsufficientPrivilege as exc:
                raise CheckError(
                    f"role {role} isn't allowed to run {params.function}(): {exc.diag.message_primary}",
                    hint=f"Grant that right to {role}, as the owner of the object.",
                ) from exc
            verification.refuse_blind_verdict(connection, params.function, result.refused(params.allow))
        return _judge(params, result, Evidence(question, expectation, result.counts(), result.table, "rows.txt"))


def _judge(params: SqlVerifyParams, result: verification.Verification, evidence: Evidence) -> Answer:
    number = len(result.rows)
    bad_rows = result.refused(params.allow)
    if number == 0:
        return Answer(Outcome.FAIL, "0 rows: nothing was verified", evidence, hint="Check the function's body.")
    if bad_rows:
        names = ", ".join(f"{row.name} {row.status}" for row in bad_rows)
        hint = "The attached rows say what each checked. Apply the missing migration."
        return Answer(Outcome.FAIL, f"{len(bad_rows)} of {number} rows don't pass: {names}", evidence, hint=hint)
    if params.rows and number not in params.rows:
        row_counts = " or ".join(str(count) for count in params.rows)
        hint = "A check was added or removed. See the rows, then set `rows` in the checklist."
        return Answer(Outcome.FAIL, f"{number} rows instead of {row_counts}, {result.counts()}", evidence, hint=hint)
    return Answer(Outcome.PASS, f"{number} rows, {result.counts()}", evidence)
