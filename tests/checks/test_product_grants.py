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
from tests.fix_checks import changed, production_target, run, staging_target

DEPLOY = Path(__file__).parents[2] / "deploy"
REGISTRY = Registry.load()
CHECKLIST = load_checklist("solvereign", REGISTRY)
PASSWORD = "sandbox"
SQL_KINDS = ("sql_verify", "billing_gate", "stripe_webhook")
ON_STAGING = [check.id for check in CHECKLIST.checks if check.kind in SQL_KINDS and check.same_as is None]


@dataclass
class Side:
    """One environment: its Target with the role of the checks, and its owner."""

    target: Target
    owner: str
    role: str

    def tries(self, statement: str) -> int:
        """Rows that the role gets or changes with a statement; what it did is rolled back."""
        with psycopg.connect(self.role) as connection:
            done = connection.execute(statement.encode()).rowcount
            connection.rollback()
        return done


def _granted(facts: Any, target: Target, *files: str) -> Side:
    owner = facts["database_owner_url"]
    with psycopg.connect(owner, autocommit=True) as connection:
        for file in (*files, *files):  # twice is once
            text = (DEPLOY / file).read_text(encoding="utf-8")
            connection.execute(re.sub(r":tenant\b", str(facts["tenant_id"]), text).encode())
    role = url(owner, user="release_bot_checks", password=PASSWORD)
    return Side(changed(target, database_url=SecretStr(role)), owner, role)


@pytest.fixture(scope="module")
def sides(running_sandbox: Any) -> Iterator[dict[str, Side]]:
    """Staging with both files, production with the first alone."""
    facts = running_sandbox.facts
    owners = [facts[name]["database_owner_url"] for name in ("staging", "production")]
    with psycopg.connect(owners[0], autocommit=True) as connection:
        connection.execute(f"CREATE ROLE release_bot_checks LOGIN PASSWORD '{PASSWORD}'")
    yield {
        "staging": _granted(
            facts["staging"], staging_target(running_sandbox), "product-grants.sql", "product-grants-staging.sql"
        ),
        "production": _granted(facts["production"], production_target(running_sandbox), "product-grants.sql"),
    }
    for owner in owners:
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute("DROP OWNED BY release_bot_checks")
    with psycopg.connect(owners[0], autocommit=True) as connection:
        connection.execute("DROP ROLE release_bot_checks")


@pytest.mark.parametrize("check_id", ON_STAGING)
def test_the_checks_work_with_it(sandbox: Any, sides: dict[str, Side], check_id: str) -> None:
    """Each check of the shipped checklist that uses the product's database passes, and puts back what it changes."""
    check = next(check for check in CHECKLIST.checks if check.id == check_id)
    answer = run(check.kind, check.params, sides["staging"].target).answer
    assert (answer.outcome, answer.hint) == (Outcome.PASS, "")


@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_doctor_finds_nothing_missing(sides: dict[str, Side], name: str) -> None:
    """All that the checklist declares to need of the database is granted."""
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
def test_it_may_not(sides: dict[str, Side], name: str, statement: str) -> None:
    """Neither personal data nor anything that a check has not to change."""
    with pytest.raises(errors.InsufficientPrivilege):
        sides[name].tries(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tenants SET billing_status = 'past_due'",
        "DELETE FROM billing.webhook_events",
        "DELETE FROM billing.invoices",
    ],
)
def test_on_production_nothing_can_be_changed(sides: dict[str, Side], statement: str) -> None:
    """What the second file grants is not granted there."""
    with pytest.raises(errors.InsufficientPrivilege):
        sides["production"].tries(statement)


def test_on_staging_only_what_is_its_own(sides: dict[str, Side]) -> None:
    """Of the tenants the test tenant alone, of the events and invoices its own; other rows are there and not to be seen."""
    staging = sides["staging"]
    with psycopg.connect(staging.owner, autocommit=True) as connection:
        (tenants,) = connection.execute("SELECT count(*) FROM tenants").fetchone() or (0,)
        connection.execute(
            "INSERT INTO billing.webhook_events (stripe_event_id, event_type)"
            " VALUES ('evt_customer', 'invoice.paid'), ('evt_releasebot_1', 'invoice.paid')"
        )
        try:
            assert tenants > 1
            assert staging.tries("UPDATE tenants SET billing_status = 'past_due'") == 1
            assert staging.tries("DELETE FROM billing.webhook_events") == 1
        finally:
            connection.execute(
                "DELETE FROM billing.webhook_events WHERE stripe_event_id IN ('evt_customer', 'evt_releasebot_1')"
            )
