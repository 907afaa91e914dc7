"""restore_drill: real dumps of real databases, restored by the real pg_restore."""

import re
import subprocess
import threading
import time
import uuid

import psycopg
import pytest

from checks.contract import CheckError, Outcome
from checks.kinds.restore_drill import pg_tools
from checks.kit.backups import handed_on
from checks.registry import Registry
from checks.runner import redact_values
from clients.connections import Clients
from clients.target import Target
from tests.fix_checks import Pauses, RecordingUndo, context, production_target, run, staging_target, with_changes

PATIENCE = 20.0  # seconds after which a scratch database counts as left behind


@pytest.fixture(scope="module")
def backup(running_sandbox):
    """A dump of the sandbox's staging as backup_job hands it on, under a name of its own."""
    target = staging_target(running_sandbox)
    answer = run("backup_job", {}, target).answer
    assert answer.outcome is Outcome.PASS, answer.summary
    with Clients(target) as clients:
        item = clients.s3().get_object(Bucket=answer.data["bucket"], Key=answer.data["key"])
        return upload(running_sandbox, item["Body"].read())


def drill(sandbox, data, target=None, *, undo=None, seconds=60, **params):
    """Run the drill on that backup."""
    target = target or staging_target(sandbox)
    return run("restore_drill", params, target, undo=undo, seconds=seconds, needs={"go.backup": data}).answer


def databases(sandbox):
    """The scratch databases that stay on the restore server; those of other tests disappear within moments."""
    deadline = time.monotonic() + PATIENCE
    with Clients(staging_target(sandbox)) as clients, clients.scratch_server() as server:

        def there():
            rows = server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'restore_drill_%'").fetchall()
            return {name for (name,) in rows}

        staying = there()
        while staying and time.monotonic() < deadline:
            time.sleep(0.05)
            staying &= there()
    return staying


def upload(sandbox, body, **metadata):
    """Put an object beside the backups, with ``metadata``, and return what backup_job would hand on for it."""
    key = f"{sandbox.facts['s3']['prefix']}{uuid.uuid4().hex}.dump"
    with Clients(staging_target(sandbox)) as clients:
        about = {"environment": "staging", **metadata}
        clients.s3().put_object(Bucket=sandbox.facts["s3"]["bucket"], Key=key, Body=body, Metadata=about)
    return {"bucket": sandbox.facts["s3"]["bucket"], "key": key}


def dump_of(url):
    """A dump of a database in pg_dump's custom format."""
    program = pg_tools.find("pg_dump")
    return subprocess.run([program, "--format=custom", "--dbname", url], capture_output=True, check=True).stdout


def test_a_backup_is_restored_and_verified(sandbox, backup):
    """The backup passes, and afterwards the scratch database is gone and its undo record closed."""
    undo = RecordingUndo()
    answer = drill(sandbox, backup, undo=undo)

    assert answer.outcome is Outcome.PASS, answer.summary
    assert "billing.verify_billing_schema() 5 rows, all PASS" in answer.summary
    assert "tenants " in answer.summary
    assert databases(sandbox) == set()
    assert (len(undo.records), undo.open) == (1, [])


def test_a_backup_whose_key_was_redacted_is_found(sandbox, database_url):
    """A key with something like a credential is stored redacted, and exactly its object is found by the digest."""
    upload(sandbox, b"another one")
    upload_data = upload(sandbox, dump_of(database_url))
    data = handed_on(upload_data["bucket"], upload_data["key"], 1)
    stored_data = redact_values(data, lambda text: text.replace(upload_data["key"][-20:], "[redacted]"))
    answer = drill(sandbox, stored_data, functions=[], counts={})
    no_object = drill(sandbox, {**stored_data, "name_sha256": "0" * 64})

    assert stored_data["key"] != data["key"]
    assert answer.outcome is Outcome.PASS, answer.summary
    assert (no_object.outcome, no_object.summary) == (
        Outcome.ERROR,
        f"the backup {stored_data['key']} no longer exists",
    )
    assert no_object.hint.endswith("Run the check that finds the backup again.")


def test_a_truncated_dump_fails(sandbox, backup):
    """A truncated dump is no valid backup."""
    with sandbox.fault("backup_truncated"):
        data = run("backup_job", {}, staging_target(sandbox)).answer.data
    answer = drill(sandbox, data)

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.startswith("cannot ")
    assert databases(sandbox) == set()


def test_a_file_that_is_no_dump_fails(sandbox):
    """Another file under that name is a FAIL before any database is created."""
    undo = RecordingUndo()
    answer = drill(sandbox, upload(sandbox, b"PGDMP, but not really a dump" * 20), undo=undo)

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.startswith("cannot read the dump's table of contents: pg_restore: error:")
    assert undo.records == {}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"environment": "production"}, ": metadata environment is production, not staging, so it is not restored"),
        ({"environment": ""}, ": metadata environment is not set, not staging, so it is not restored"),
        ({"created-at": "2026-01-11T02:00:00"}, r" is \d+ hours old; at most 24 are allowed"),
    ],
)
def test_a_backup_of_another_environment_or_age_fails(sandbox, metadata, reason):
    """A backup of another environment, or an old one, is a FAIL without a database."""
    undo = RecordingUndo()
    data = upload(sandbox, b"PGDMP" + b"x" * 200, **metadata)
    answer = drill(sandbox, data, undo=undo)

    assert answer.outcome is Outcome.FAIL
    assert re.fullmatch(re.escape(data["key"]) + reason, answer.summary)
    assert undo.records == {}


def test_a_missing_role_is_named(sandbox, database_url):
    """A policy in the dump that names an unknown role is a FAIL that names the role."""
    role = f"drill_{uuid.uuid4().hex}"
    with psycopg.connect(database_url) as connection:
        connection.execute(f"CREATE ROLE {role}")
        connection.execute("CREATE TABLE t (i int)")
        connection.execute(f"CREATE POLICY p ON t TO {role} USING (true)")
    data = upload(sandbox, dump_of(database_url))
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TABLE t")
        connection.execute(f"DROP ROLE {role}")
    answer = drill(sandbox, data)

    assert (Outcome.FAIL, f"cannot restore: role {role} is missing on the restore server") == (
        answer.outcome,
        answer.summary,
    )
    assert databases(sandbox) == set()


def test_a_backup_of_another_product_fails(sandbox, database_url):
    """A dump without the product's functions can be restored, but is a FAIL."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE t (i int)")
    answer = drill(sandbox, upload(sandbox, dump_of(database_url)))

    assert answer.outcome is Outcome.FAIL
    assert answer.summary == "auth.verify_legal_acceptance_integrity() is not in the backup"


@pytest.mark.parametrize(
    ("counts", "summary"),
    [
        ({"tenants": 10_000}, "rows after the restore, at least 10000 expected"),
        ({"no_such_table": 0}, "table no_such_table is not in the backup"),
    ],
)
def test_too_few_rows_fail(sandbox, backup, counts, summary):
    """A table with fewer rows than expected, or one that does not exist, is a FAIL."""
    answer = drill(sandbox, backup, functions=[], counts=counts)

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.endswith(summary)


def test_a_failing_verification_fails(sandbox):
    """A backup fails like the database that it was made of."""
    with sandbox.fault("verify_fails"):
        data = run("backup_job", {}, staging_target(sandbox)).answer.data
    answer = drill(sandbox, data)

    assert answer.outcome is Outcome.FAIL
    assert answer.summary == "after the restore billing.verify_billing_schema() says helper_functions FAIL"


def test_a_missing_backup_is_an_error(sandbox):
    """If the backup check hands nothing on, the error says what to add."""
    answer = run("restore_drill", {}, staging_target(sandbox)).answer

    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "no backup from go.backup to restore")


def test_a_deleted_object_is_an_error(sandbox, backup):
    """If the object was deleted meanwhile nothing is known."""
    answer = drill(sandbox, handed_on(backup["bucket"], "postgresql/gone.dump", 1))

    assert answer.outcome is Outcome.ERROR
    assert "NoSuchKey" in answer.summary


def test_a_role_that_may_not_create_databases_is_an_error(sandbox, backup):
    """The error says how to grant CREATEDB, and no undo record stays open."""
    poor = sandbox.facts["staging"]["database_url"]
    undo = RecordingUndo()
    answer = drill(sandbox, backup, with_changes(staging_target(sandbox), restore_database_url=secret(poor)), undo=undo)

    assert answer.outcome is Outcome.ERROR
    assert "can't create a scratch database" in answer.summary
    assert "CREATEDB" in answer.hint
    assert undo.open == []


def secret(url):
    """The URL as a target stores it."""
    return Target(name="x", database_url=url).database_url


def test_undo_drops_the_database_of_a_killed_run(sandbox):
    """Undo drops the scratch database of a killed run, also one that is created late."""
    name = f"restore_drill_1700000000_{uuid.uuid4().hex[:8]}"
    target = staging_target(sandbox)
    row_counts: list[int] = []
    with Clients(target) as clients:

        def make() -> None:
            with clients.scratch_server() as server:
                server.execute(f"CREATE DATABASE {name}")
                row_counts.append(server.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).rowcount)

        for pauses in (Pauses(make), Pauses()):
            Registry.load().get("restore_drill").undo({"database": name}, context(target, clients, cancelled=pauses))
    assert row_counts == [1]
    assert databases(sandbox) == set()


def test_undo_drops_no_other_database(sandbox):
    """Undo drops only scratch databases, whatever its record names."""
    target = staging_target(sandbox)
    with Clients(target) as clients, pytest.raises(CheckError, match="isn't a scratch database"):
        Registry.load().get("restore_drill").undo({"database": "postgres"}, context(target, clients))


def test_a_cancelled_drill_stops_at_once(sandbox, database_url):
    """A cancelled drill stops pg_restore, drops its database and closes its undo record."""
    with psycopg.connect(database_url) as connection:
        function = "CREATE OR REPLACE FUNCTION slow() RETURNS boolean LANGUAGE sql AS $$ SELECT {} $$"
        connection.execute(function.format("true"))
        connection.execute("CREATE TABLE t (i int CHECK (public.slow()))")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute(function.format("pg_sleep(60) IS NOT NULL"))
    cancelled, undo = threading.Event(), RecordingUndo()
    answer = run(
        "restore_drill",
        {},
        staging_target(sandbox),
        undo=undo,
        needs={"go.backup": upload(sandbox, dump_of(database_url))},
        cancelled=cancelled,
        progress=lambda line: cancelled.set() if line.startswith("restoring") else None,
    ).answer

    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "cancelled")
    assert (len(undo.records), undo.open) == (1, [])
    assert databases(sandbox) == set()


def test_the_check_is_refused_on_production(sandbox, backup):
    """The kind creates a database, so it is refused on production."""
    assert drill(sandbox, backup, production_target(sandbox)).outcome is Outcome.ERROR
