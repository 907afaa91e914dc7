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
from tests.fix_checks import Pauses, RecordingUndo, changed, context, production_target, run, staging_target

STAYS = 20.0  # seconds after which a scratch database counts as left behind


@pytest.fixture(scope="module")
def backup(running_sandbox):
    """What backup_job hands on: a dump of the sandbox's staging, under a name that no other backup of that second takes."""
    target = staging_target(running_sandbox)
    answer = run("backup_job", {}, target).answer
    assert answer.outcome is Outcome.PASS, answer.summary
    with Clients(target) as clients:
        found = clients.s3().get_object(Bucket=answer.data["bucket"], Key=answer.data["key"])
        return upload(running_sandbox, found["Body"].read())


def drill(sandbox, data, target=None, *, undo=None, seconds=60, **params):
    """The drill on that backup."""
    target = target or staging_target(sandbox)
    return run("restore_drill", params, target, undo=undo, seconds=seconds, needs={"go.backup": data}).answer


def databases(sandbox):
    """Scratch databases that stay on the restore server; those of other tests beside this one end within moments."""
    deadline = time.monotonic() + STAYS
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
    """Put an object beside the backups; returns what backup_job would hand on for it. ``metadata``: other than usual."""
    key = f"{sandbox.facts['s3']['prefix']}{uuid.uuid4().hex}.dump"
    with Clients(staging_target(sandbox)) as clients:
        about = {"environment": "staging", **metadata}
        clients.s3().put_object(Bucket=sandbox.facts["s3"]["bucket"], Key=key, Body=body, Metadata=about)
    return {"bucket": sandbox.facts["s3"]["bucket"], "key": key}


def dump_of(url):
    """A dump in pg_dump's custom format."""
    program = pg_tools.find("pg_dump")
    return subprocess.run([program, "--format=custom", "--dbname", url], capture_output=True, check=True).stdout


def test_restores(sandbox, backup):
    """The backup restores and verifies; the scratch database is gone afterwards and its debt is paid."""
    undo = RecordingUndo()
    answer = drill(sandbox, backup, undo=undo)

    assert answer.outcome is Outcome.PASS, answer.summary
    assert "billing.verify_billing_schema() 5 rows, all PASS" in answer.summary
    assert "tenants " in answer.summary
    assert databases(sandbox) == set()
    assert (len(undo.recorded), undo.open) == (1, [])


def test_a_key_that_holds_a_credential_elsewhere(sandbox, database_url):
    """Its name is redacted before it is stored; it is found by its digest, and nothing but that object is taken."""
    upload(sandbox, b"another one")
    named = upload(sandbox, dump_of(database_url))
    data = handed_on(named["bucket"], named["key"], 1)
    kept = redact_values(data, lambda text: text.replace(named["key"][-20:], "[redacted]"))
    answer = drill(sandbox, kept, functions=[], counts={})
    gone = drill(sandbox, {**kept, "name_sha256": "0" * 64})

    assert kept["key"] != data["key"]
    assert answer.outcome is Outcome.PASS, answer.summary
    assert (gone.outcome, gone.summary) == (Outcome.ERROR, f"the backup {kept['key']} is not found any more")
    assert gone.hint.endswith("Run the check that finds the backup again.")


def test_truncated(sandbox, backup):
    """A dump that is cut short does not pass for a backup."""
    with sandbox.fault("backup_truncated"):
        data = run("backup_job", {}, staging_target(sandbox)).answer.data
    answer = drill(sandbox, data)

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.startswith("cannot ")
    assert databases(sandbox) == set()


def test_no_dump_at_all(sandbox):
    """Something else under that name: FAIL before any database is made."""
    undo = RecordingUndo()
    answer = drill(sandbox, upload(sandbox, b"PGDMP, but not really a dump" * 20), undo=undo)

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.startswith("cannot read the dump's table of contents: pg_restore: error:")
    assert undo.recorded == {}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"environment": "production"}, ": metadata environment is production, not staging, so it is not restored"),
        ({"environment": ""}, ": metadata environment is not set, not staging, so it is not restored"),
        ({"created-at": "2026-01-11T02:00:00"}, r" is \d+ hours old, at most 24 are allowed"),
    ],
)
def test_a_backup_that_is_not_to_be_restored(sandbox, metadata, reason):
    """One of another environment, or an old one that was copied there: FAIL, and no database is made for it."""
    undo = RecordingUndo()
    data = upload(sandbox, b"PGDMP" + b"x" * 200, **metadata)
    answer = drill(sandbox, data, undo=undo)

    assert answer.outcome is Outcome.FAIL
    assert re.fullmatch(re.escape(data["key"]) + reason, answer.summary)
    assert undo.recorded == {}


def test_missing_role(sandbox, database_url):
    """A policy in the dump names a role that the server lacks: FAIL names the role."""
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


def test_backup_of_something_else(sandbox, database_url):
    """A dump without the product's functions restores, but is not what is wanted."""
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
def test_too_few_rows(sandbox, backup, counts, summary):
    """A table with fewer rows than expected, or none of that name."""
    answer = drill(sandbox, backup, functions=[], counts=counts)

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.endswith(summary)


def test_failing_verification(sandbox):
    """A backup of a database that does not verify fails as that database would."""
    with sandbox.fault("verify_fails"):
        data = run("backup_job", {}, staging_target(sandbox)).answer.data
    answer = drill(sandbox, data)

    assert answer.outcome is Outcome.FAIL
    assert answer.summary == "after the restore billing.verify_billing_schema() says helper_functions FAIL"


def test_no_backup_to_restore(sandbox):
    """Nothing handed on by the backup check: ERROR says what to add."""
    answer = run("restore_drill", {}, staging_target(sandbox)).answer

    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "no backup from go.backup to restore")


def test_object_is_gone(sandbox, backup):
    """The object was deleted meanwhile: nothing was found out."""
    answer = drill(sandbox, handed_on(backup["bucket"], "postgresql/gone.dump", 1))

    assert answer.outcome is Outcome.ERROR
    assert "NoSuchKey" in answer.summary


def test_role_may_not_create_databases(sandbox, backup):
    """The restore role lacks CREATEDB: ERROR says how to grant it, and no debt stays open."""
    poor = sandbox.facts["staging"]["database_url"]
    undo = RecordingUndo()
    answer = drill(sandbox, backup, changed(staging_target(sandbox), restore_database_url=secret(poor)), undo=undo)

    assert answer.outcome is Outcome.ERROR
    assert "may not create a scratch database" in answer.summary
    assert "CREATEDB" in answer.hint
    assert undo.open == []


def secret(url):
    """The URL as the Target holds it."""
    return Target(name="x", database_url=url).database_url


def test_undo_after_a_kill(sandbox):
    """A scratch database left behind by a run that was killed is dropped by undo(), also one that was not made yet."""
    name = f"restore_drill_1700000000_{uuid.uuid4().hex[:8]}"
    target = staging_target(sandbox)
    made: list[int] = []
    with Clients(target) as clients:

        def make() -> None:
            with clients.scratch_server() as server:
                server.execute(f"CREATE DATABASE {name}")
                made.append(server.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).rowcount)

        for pauses in (Pauses(make), Pauses()):
            Registry.load().get("restore_drill").undo({"database": name}, context(target, clients, cancelled=pauses))
    assert made == [1]
    assert databases(sandbox) == set()


def test_undo_drops_no_other_database(sandbox):
    """Whatever stands in a row of the Undo table: only scratch databases are dropped."""
    target = staging_target(sandbox)
    with Clients(target) as clients, pytest.raises(CheckError, match="is no scratch database"):
        Registry.load().get("restore_drill").undo({"database": "postgres"}, context(target, clients))


def test_cancelled_while_restoring(sandbox, database_url):
    """A drill that is cancelled stops pg_restore at once, drops its database and pays its debt."""
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
    assert (len(undo.recorded), undo.open) == (1, [])
    assert databases(sandbox) == set()


def test_not_on_production(sandbox, backup):
    """The kind makes a database, so it is refused on production."""
    assert drill(sandbox, backup, production_target(sandbox)).outcome is Outcome.ERROR
