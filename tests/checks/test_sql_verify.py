"""sql_verify: the product's own verify functions in the sandbox, and odd ones on an empty database."""

import psycopg
import pytest

from checks.contract import Outcome
from clients.target import Target
from tests.checks.replies import closed_port_url
from tests.fix_checks import run, staging_target, with_changes

BILLING = {"function": "billing.verify_billing_schema", "rows": [5]}
HARDENING = {"function": "verify_final_hardening", "rows": [12, 17], "allow": ["PASS", "WARN", "INFO"]}


@pytest.mark.parametrize(
    "function",
    ["auth.verify_legal_acceptance_integrity", "billing.verify_billing_schema", "consent.verify_consent_schema"],
)
def test_all_verify_functions_pass(sandbox, function):
    """The three schema functions of the checklist pass with the bot's restricted role."""
    answer = run("sql_verify", {"function": function, "rows": [5]}, staging_target(sandbox)).answer

    assert (answer.outcome, answer.summary) == (Outcome.PASS, "5 rows, all PASS")
    assert answer.evidence.asked == f"SELECT * FROM {function}() on staging"
    assert answer.evidence.attachment.startswith("check_name | status | details\n")
    assert len(answer.evidence.attachment.splitlines()) == 6


def test_other_words_may_be_allowed(sandbox):
    """WARN and INFO pass if the checklist allows them."""
    answer = run("sql_verify", HARDENING, staging_target(sandbox)).answer

    assert (answer.outcome, answer.summary) == (Outcome.PASS, "12 rows, 10 PASS, 1 INFO, 1 WARN")


def test_other_words_fail_by_default(sandbox):
    """Without permission in the checklist a WARN is a FAIL."""
    answer = run("sql_verify", {"function": "verify_final_hardening"}, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.startswith("2 of 12 rows don't pass: ")


def test_a_boolean_column_is_understood(sandbox):
    """A function may return true and false instead of words."""
    answer = run("sql_verify", {"function": "verify_pass_gate", "rows": [5]}, staging_target(sandbox)).answer

    assert (answer.outcome, answer.summary) == (Outcome.PASS, "5 rows, all PASS")


def test_a_failing_row_is_named(sandbox):
    """A row that says FAIL is named in the summary."""
    with sandbox.fault("verify_fails"):
        answer = run("sql_verify", BILLING, staging_target(sandbox)).answer

    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "1 of 5 rows don't pass: helper_functions FAIL")
    assert "helper_functions | FAIL" in answer.evidence.attachment


def test_a_wrong_number_of_rows_fails(sandbox):
    """More or fewer rows than expected are a FAIL, even if each row passes."""
    answer = run("sql_verify", {**BILLING, "rows": [4, 6]}, staging_target(sandbox)).answer

    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "5 rows instead of 4 or 6, all PASS")


@pytest.mark.parametrize("function", ["billing.verify_nothing", "nowhere.verify_billing_schema"])
def test_a_missing_function_fails(sandbox, function):
    """A missing function or schema means that a migration was not applied."""
    answer = run("sql_verify", {"function": function}, staging_target(sandbox)).answer

    assert (Outcome.FAIL, f"function {function}() is missing: migration not applied") == (
        answer.outcome,
        answer.summary,
    )


def test_an_unreachable_database_is_an_error():
    """Without a database the answer is ERROR."""
    port = closed_port_url().rpartition(":")[2]
    target = Target(name="staging", database_url=f"postgresql://release_bot@127.0.0.1:{port}/solvereign")

    assert run("sql_verify", BILLING, target).outcome is Outcome.ERROR


def test_a_target_without_a_database_is_an_error(sandbox):
    """The error names the missing setting."""
    answer = run("sql_verify", BILLING, with_changes(staging_target(sandbox), database_url=None)).answer

    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "staging has no database_url")
    assert "targets.staging.database_url" in answer.hint


FUNCTION = "CREATE FUNCTION verify() RETURNS TABLE ({}) LANGUAGE sql AS $$ {} $$"


@pytest.fixture
def verify(database_url):
    """A function that creates a verify function with the given columns and rows, runs the check and returns the answer."""

    def verify(columns, rows, **params):
        with psycopg.connect(database_url) as connection:
            connection.execute(FUNCTION.format(columns, rows))
        target = Target(name="staging", database_url=database_url)
        return run("sql_verify", {"function": "verify", **params}, target).answer

    return verify


def test_a_function_without_rows_fails(verify):
    """A function that returns no rows has verified nothing."""
    answer = verify("check_name text, status text", "SELECT 'x', 'PASS' WHERE false")

    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "0 rows: nothing was verified")


@pytest.mark.parametrize("word", ["'OK'", "'pass'", "NULL"])
def test_an_unknown_word_fails(verify, word):
    """An unknown status word and NULL are no PASS."""
    answer = verify("check_name text, status text", f"SELECT 'a', 'PASS' UNION ALL SELECT 'b', {word}")

    assert answer.outcome is Outcome.FAIL
    assert answer.summary == f"1 of 2 rows don't pass: b {word.strip(chr(39))}"


def test_the_status_column_is_found_by_name(verify):
    """The status is read from the column of that name, and another column that says PASS does not count."""
    answer = verify("expected text, check_status text, gate_name text", "SELECT 'PASS', 'FAIL', 'rls'")

    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "1 of 1 rows don't pass: rls FAIL")


def test_a_function_without_a_status_column_is_an_error(verify):
    """A function without a status column is no verify function."""
    answer = verify("check_name text, result text", "SELECT 'rls', 'PASS'")

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "verify() has no column status, check_status or passed"


def test_a_missing_right_is_an_error(database_url):
    """The hint says to which role the right has to be granted."""
    with psycopg.connect(database_url) as connection:
        connection.execute(FUNCTION.format("check_name text, status text", "SELECT 'a', 'PASS'"))
        connection.execute("REVOKE EXECUTE ON FUNCTION verify() FROM PUBLIC")
        connection.execute(
            "DO $$ BEGIN CREATE ROLE verify_poor LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$"
        )
    poor = psycopg.conninfo.make_conninfo(database_url, user="verify_poor")
    answer = run("sql_verify", {"function": "verify"}, Target(name="staging", database_url=poor)).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "role verify_poor isn't allowed to run verify(): permission denied for function verify"
    assert "Grant that right to verify_poor" in answer.hint


def test_a_function_that_writes_is_an_error(database_url):
    """The connection is read-only, so that a function that writes fails and changes nothing."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE t (i int)")
        body = "INSERT INTO t VALUES (1); SELECT 'a', 'PASS'"
        connection.execute(FUNCTION.format("check_name text, status text", body))
    answer = run("sql_verify", {"function": "verify"}, Target(name="staging", database_url=database_url)).answer

    assert answer.outcome is Outcome.ERROR
    assert "read-only transaction" in answer.summary


@pytest.fixture
def ask_as_restricted_role(database_url):
    """A function that runs a verify function as a role without rights on the table t."""

    def ask(body: str, security: str = "INVOKER"):
        function = FUNCTION.format("check_name text, status text, details text", body)
        with psycopg.connect(database_url) as connection:
            connection.execute("CREATE TABLE t (id int, paid_until date)")
            connection.execute(function.replace("LANGUAGE", f"SECURITY {security} LANGUAGE"))
            connection.execute(
                "DO $$ BEGIN CREATE ROLE verify_poor LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$"
            )
        poor = psycopg.conninfo.make_conninfo(database_url, user="verify_poor")
        return run("sql_verify", {"function": "verify"}, Target(name="staging", database_url=poor)).answer

    return ask


TABLE_MISSING = "SELECT 'tables', 'FAIL', 'Missing tables: t'"
COLUMN_MISSING = "SELECT 'columns', 'FAIL', 'Missing columns: paid_until'"


@pytest.mark.parametrize("body", [TABLE_MISSING, COLUMN_MISSING], ids=["table", "column"])
def test_a_table_that_the_role_may_not_see_is_not_missing(ask_as_restricted_role, body):
    """If a missing right explains the FAIL, the answer is ERROR and says what to grant."""
    answer = ask_as_restricted_role(body)

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "role verify_poor has no right on public.t, so verify() reports them as missing"
    assert answer.hint.startswith("GRANT SELECT ON public.t TO verify_poor")


@pytest.mark.parametrize(
    ("body", "security"),
    [
        (f"{TABLE_MISSING} UNION ALL SELECT 'seed', 'FAIL', 'no rows'", "INVOKER"),
        (TABLE_MISSING, "DEFINER"),
        ("SELECT 'tables', 'FAIL', 'Missing tables: other'", "INVOKER"),
    ],
    ids=["another row too", "as its owner", "another table"],
)
def test_a_table_that_is_really_missing_fails(ask_as_restricted_role, body, security):
    """A missing right explains only rows about that table, and none of a function that runs as its owner."""
    assert ask_as_restricted_role(body, security).outcome is Outcome.FAIL
