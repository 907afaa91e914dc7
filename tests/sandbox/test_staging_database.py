"""The product's databases: what the verify functions say, to whom, and what the bot's role may do."""

import psycopg
import pytest
from psycopg import errors

from tests.fix_sandbox import Sandbox


def _status(url: str, function: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as connection, connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        rows = cursor.execute(f"SELECT * FROM {function}").fetchall()
    return [(row.get("check_name") or row["test_name"], row["status"]) for row in rows]


CHECKS = {
    "auth.verify_legal_acceptance_integrity()": [
        "legal_documents_table", "legal_acceptances_table", "initial_documents_seeded", "rls_enabled",
        "helper_functions",
    ],
    "billing.verify_billing_schema()": [
        "billing_schema", "core_tables", "rls_enabled", "helper_functions", "tenants_billing_columns",
    ],
    "consent.verify_consent_schema()": [
        "consent_schema", "core_tables", "default_purposes", "helper_functions", "rls_enabled",
    ],
}  # fmt: skip


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize("function", CHECKS)
def test_the_bots_role_sees_all_pass(sandbox: Sandbox, environment: str, function: str) -> None:
    """The least-privilege role has just the rights that these functions need of their caller."""
    checks = [(name, "PASS") for name in CHECKS[function]]
    assert _status(sandbox[environment]["database_url"], function) == checks


def test_final_hardening_has_twelve_rows_of_three_kinds(sandbox: Sandbox) -> None:
    """Its owner may not look into schema core, so tests 9 to 14 are one INFO row; one test is always WARN."""
    words = [status for _, status in _status(sandbox["staging"]["database_url"], "verify_final_hardening()")]
    assert sorted(words) == ["INFO", *["PASS"] * 10, "WARN"]


def test_the_pass_gate_lets_warnings_pass(sandbox: Sandbox) -> None:
    """Five gates, all passed, though the hardening has a WARN."""
    with psycopg.connect(sandbox["staging"]["database_url"]) as connection:
        rows = connection.execute("SELECT passed, non_pass_count FROM verify_pass_gate()").fetchall()
    assert rows == [(True, 0)] * 5


def test_a_poor_role_is_told_that_tables_are_missing(sandbox: Sandbox) -> None:
    """information_schema hides what a role has no right on: rights change the verdict."""
    with psycopg.connect(sandbox["staging"]["database_url"]) as connection:
        connection.execute("SET ROLE solvereign_platform")
        rows = connection.execute("SELECT check_name FROM billing.verify_billing_schema() WHERE status = 'FAIL'")
        assert rows.fetchall() == [("core_tables",)]


def test_verify_fails_is_a_real_fail(sandbox: Sandbox) -> None:
    """The switch takes away something that the function looks for, and puts it back."""
    url = sandbox["staging"]["database_url"]
    with sandbox.fault("verify_fails"):
        statuses = _status(url, "billing.verify_billing_schema()")
    assert [name for name, status in statuses if status == "FAIL"] == ["helper_functions"]
    assert {status for _, status in _status(url, "billing.verify_billing_schema()")} == {"PASS"}


def test_the_bot_may_change_the_test_tenant_on_staging(sandbox: Sandbox) -> None:
    """The gating check sets past_due; only known words are taken."""
    with psycopg.connect(sandbox["staging"]["database_url"]) as connection:
        tenant = (sandbox["staging"]["tenant_id"],)
        connection.execute("UPDATE tenants SET billing_status = 'past_due' WHERE id = %s", tenant)
        with pytest.raises(errors.CheckViolation), connection.transaction():
            connection.execute("UPDATE tenants SET billing_status = 'overdue' WHERE id = %s", tenant)
        connection.rollback()


@pytest.mark.parametrize(
    ("environment", "statement"),
    [
        ("production", "UPDATE tenants SET billing_status = 'past_due'"),
        ("production", "DELETE FROM billing.webhook_events"),
        ("production", "DELETE FROM billing.invoices"),
        ("staging", "INSERT INTO billing.webhook_events (stripe_event_id, event_type) VALUES ('x', 'y')"),
        ("staging", "SELECT * FROM auth.users"),
    ],
)
def test_the_bot_may_not(sandbox: Sandbox, environment: str, statement: str) -> None:
    """Nothing but reading on production, no personal data anywhere."""
    url = sandbox[environment]["database_url"]
    with psycopg.connect(url) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)
