"""deploy/product-grants*.sql on the product's databases: the checks work with that role, and it can do no more."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors
from pydantic import SecretStr

from bot.app import load_checklist
from bot.steps.rights import of_checklist
from checks.checkup.databases import database
from checks.contract import Outcome
from checks.registry import Registry
from clients.target import Target
from sandbox.staging.database import url
from tests.fix_checks import production_target, run, staging_target, with_changes

DEPLOY = Path(__file__).parents[2] / "deploy"
REGISTRY = Registry.load()
CHECKLIST = load_checklist("solvereign", REGISTRY)
PASSWORD = "sandbox"
SQL_KINDS = ("sql_verify", "billing_gate", "stripe_webhook")
ON_STAGING = [check.id for check in CHECKLIST.checks if check.kind in SQL_KINDS and check.same_as is None]


@dataclass
class Side:
    """One environment: its target with the role of the checks, and its owner."""

    target: Target
    owner: str
    role: str

    def count_rows(self, statement: str) -> int:
        """The number of rows that the role reads or changes with a statement, which is rolled back."""
        with psycopg.connect(self.role) as connection:
            count = connection.execute(statement.encode()).rowcount
            connection.rollback()
        return count


def _grant(facts: Any, target: Target, *files: str) -> Side:
    owner = facts["database_owner_url"]
    with psycopg.connect(owner, autocommit=True) as connection:
        for file in (*files, *files):  # twice is once
            text = (DEPLOY / file).read_text(encoding="utf-8")
            connection.execute(re.sub(r":tenant\b", str(facts["tenant_id"]), text).encode())
    role = url(owner, user="release_bot_checks", password=PASSWORD)
    return Side(with_changes(target, database_url=SecretStr(role)), owner, role)


@pytest.fixture(scope="module")
def sides(running_sandbox: Any) -> Iterator[dict[str, Side]]:
    """Staging with the grants of both files, production with those of the first."""
    facts = running_sandbox.facts
    owners = [facts[name]["database_owner_url"] for name in ("staging", "production")]
    with psycopg.connect(owners[0], autocommit=True) as connection:
        connection.execute(f"CREATE ROLE release_bot_checks LOGIN PASSWORD '{PASSWORD}'")
    yield {
        "staging": _grant(
            facts["staging"], staging_target(running_sandbox), "product-grants.sql", "product-grants-staging.sql"
        ),
        "production": _grant(facts["production"], production_target(running_sandbox), "product-grants.sql"),
    }
    for owner in owners:
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute("DROP OWNED BY release_bot_checks")
    with psycopg.connect(owners[0], autocommit=True) as connection:
        connection.execute("DROP ROLE release_bot_checks")


@pytest.mark.parametrize("check_id", ON_STAGING)
def test_the_checks_work_with_the_granted_role(sandbox: Any, sides: dict[str, Side], check_id: str) -> None:
    """Each shipped check that uses the product's database passes and restores what it changes."""
    check = next(check for check in CHECKLIST.checks if check.id == check_id)
    answer = run(check.kind, check.params, sides["staging"].target).answer
    assert (answer.outcome, answer.hint) == (Outcome.PASS, "")


@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_doctor_finds_nothing_missing(sides: dict[str, Side], name: str) -> None:
    """Everything that the checklist declares to need of the database is granted."""
    needs = {
        use: (demand.line,)
        for demand in of_checklist(CHECKLIST, REGISTRY)
        if demand.target == name
        for use in demand.uses
        if use.setting == "database_url"
    }
    assert needs
    assert [finding.what for finding in database(sides[name].target, needs) if not finding.good] == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM auth.users",
        "SELECT name FROM tenants",
        "UPDATE tenants SET billing_plan = 'free'",
        "DELETE FROM tenants",
        "INSERT INTO billing.webhook_events (stripe_event_id) VALUES ('evt_1')",
        "UPDATE billing.invoices SET status = 'void'",
        "DELETE FROM billing.subscriptions",
        "UPDATE schema_migrations SET checksum = 'x'",
        "TRUNCATE consent.user_consents",
        "CREATE TABLE public.mine (id integer)",
    ],
)
@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_role_may_not_do_more(sides: dict[str, Side], name: str, statement: str) -> None:
    """The role may not read personal data or change anything that no check has to change."""
    with pytest.raises(errors.InsufficientPrivilege):
        sides[name].count_rows(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tenants SET billing_status = 'past_due'",
        "DELETE FROM billing.webhook_events",
        "DELETE FROM billing.invoices",
    ],
)
def test_the_role_may_change_nothing_on_production(sides: dict[str, Side], statement: str) -> None:
    """The grants of the second file are missing on production."""
    with pytest.raises(errors.InsufficientPrivilege):
        sides["production"].count_rows(statement)


def test_on_staging_the_role_changes_only_its_own_rows(sides: dict[str, Side]) -> None:
    """The role sees and changes only the test tenant and the test events, although other rows exist."""
    staging = sides["staging"]
    with psycopg.connect(staging.owner, autocommit=True) as connection:
        (tenants,) = connection.execute("SELECT count(*) FROM tenants").fetchone() or (0,)
        connection.execute(
            "INSERT INTO billing.webhook_events (stripe_event_id, event_type)"
            " VALUES ('evt_customer', 'invoice.paid'), ('evt_releasebot_1', 'invoice.paid')"
        )
        try:
            assert tenants > 1
            assert staging.count_rows("UPDATE tenants SET billing_status = 'past_due'") == 1
            assert staging.count_rows("DELETE FROM billing.webhook_events") == 1
        finally:
            connection.execute(
                "DELETE FROM billing.webhook_events WHERE stripe_event_id IN ('evt_customer', 'evt_releasebot_1')"
            )
