"""migrations_applied: files in a repository against records in a database, as either may be."""

import base64
import hashlib

import psycopg
import pytest

from checks.contract import Answer, Outcome, Subject
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, Route, closed_port_url
from tests.fix_checks import run, staging_target, with_changes

FOLDER = "/repos/o/r/contents/backend_py/db/migrations"
FILES = {"001_one.sql": b"one", "002_two.sql": b"two", "003_three.sql": b"three"}
TABLE = (
    "CREATE TABLE schema_migrations (version varchar(50) PRIMARY KEY, description text, checksum varchar(64),"
    " file_name varchar(100))"
)


def sha(data: bytes) -> str:
    """The checksum as the product writes it."""
    return hashlib.sha256(data).hexdigest()


def repository(commit: str = "c0ffee", **files: bytes):
    """A GitHub that has these files in the folder at one commit."""
    files = files or FILES

    def listing(request: Request) -> Reply:
        if request.query.get("ref", ["main"]) != [commit]:
            return Reply(404, {"message": "No commit found for the ref"})
        more = [{"name": "README.md", "type": "file", "sha": "1"}, {"name": "old.sql", "type": "dir", "sha": "2"}]
        return Reply(
            200, [*more, *({"name": name, "type": "file", "sha": sha(files[name])} for name in reversed(files))]
        )

    routes: dict[str, Route] = {f"GET {FOLDER}": listing}
    for name, data in files.items():
        body = {"encoding": "base64", "content": base64.encodebytes(data).decode()}
        routes[f"GET {FOLDER}/{name}"] = Reply(200, body)
    return routes


@pytest.fixture
def ask(database_url):
    """A function that runs the check after these SQL statements, with a repository; it returns the answer."""

    def ask(*statements: str, routes=None, commit: str = "c0ffee", **params: object) -> Answer:
        with psycopg.connect(database_url) as connection:
            for statement in statements:
                connection.execute(statement.encode())
        with Replies(routes or repository()) as server:
            part = {"url": server.url, "repository": "o/r"}
            target = Target.model_validate({"name": "staging", "database_url": database_url, "github": part})
            return run("migrations_applied", params, target, subject=Subject("v1.0.0", commit)).answer

    return ask


def record(name: str, data: bytes | None) -> str:
    """An SQL statement that records a file as applied, as the product does."""
    checksum = "NULL" if data is None else f"'{sha(data)}'"
    return f"INSERT INTO schema_migrations (version, checksum, file_name) VALUES ('file:{name}', {checksum}, '{name}')"


RECORDS = [record(name, data) for name, data in FILES.items()]


def test_a_database_with_all_files_passes(ask):
    """If each file of the commit is recorded with its checksum the answer is PASS with the list of files."""
    answer = ask(TABLE, *RECORDS)

    assert (answer.outcome, answer.summary) == (Outcome.PASS, "3 of 3 files are applied, by name and checksum")
    assert answer.evidence.attachment.splitlines() == [f"{name} is applied" for name in FILES]
    assert "c0ffee" in answer.evidence.asked


@pytest.mark.parametrize(
    ("records", "summary"),
    [
        (RECORDS[:-1], "1 of 3 files: 003_three.sql is not applied"),
        (
            [*RECORDS[:-1], record("003_three.sql", b"3")],
            "1 of 3 files: 003_three.sql had another content when it was applied",
        ),
        ([*RECORDS[:-1], record("003_three.sql", None)], "1 of 3 files: 003_three.sql is recorded without a checksum"),
        (
            [record("000_none.sql", b"")],
            "3 of 3 files: 001_one.sql is not applied; 002_two.sql is not applied; 003_three.sql",
        ),
    ],
    ids=["missing", "changed", "no checksum", "all missing"],
)
def test_a_file_that_is_not_applied_is_named(ask, records, summary):
    """A file that is missing or has another checksum is named, although its version number is recorded."""
    answer = ask(TABLE, *records)

    assert answer.outcome is Outcome.FAIL
    assert answer.summary.startswith(summary)


def test_known_gaps_and_additional_records_are_counted(ask):
    """Files that may be missing, and records of files that the release does not have, are counted and shown."""
    more = record("900_other.sql", b"other")
    answer = ask(TABLE, *RECORDS[:-1], more, may_be_missing=["003_three.sql"])

    assert answer.outcome is Outcome.PASS
    assert answer.summary == (
        "2 of 3 files are applied, by name and checksum; 1 known to be missing; 1 more than in the release"
    )
    assert "003_three.sql is not applied" in answer.evidence.attachment
    assert "900_other.sql is recorded, but not in the release" in answer.evidence.attachment


VERIFY = "CREATE FUNCTION verify() RETURNS TABLE (check_name text, status text) LANGUAGE sql AS $$ SELECT 'tables', '{}' {} $$"
NUMBERS = "INSERT INTO schema_migrations (version) VALUES ('001')"
OLD_TABLE = "CREATE TABLE schema_migrations (version varchar(50) PRIMARY KEY, description text)"


@pytest.mark.parametrize("table", [[TABLE, NUMBERS], [OLD_TABLE, NUMBERS]], ids=["numbers only", "before 059"])
@pytest.mark.parametrize(
    ("function", "outcome", "summary"),
    [
        (VERIFY.format("PASS", ""), Outcome.PASS, "no files are recorded; 1 verify functions say PASS"),
        (VERIFY.format("FAIL", ""), Outcome.FAIL, "no files are recorded, and verify(): tables FAIL"),
        (VERIFY.format("PASS", "WHERE false"), Outcome.FAIL, "no files are recorded, and verify(): 0 rows"),
        ("SELECT 1", Outcome.FAIL, "no files are recorded, and verify() is missing: migration not applied"),
    ],
    ids=["pass", "fail", "no rows", "no function"],
)
def test_a_database_without_file_records_uses_the_verify_functions(ask, table, function, outcome, summary):
    """If no files are recorded the verify functions decide, and the answer says so."""
    answer = ask(*table, function, functions=["verify"])

    assert (answer.outcome, answer.summary) == (outcome, summary)


def test_a_missing_table_fails(ask):
    """Without the table no migration is applied: FAIL."""
    answer = ask()

    assert (answer.outcome, answer.summary) == (
        Outcome.FAIL,
        "there is no table schema_migrations: no migration is applied",
    )


def test_without_a_release_the_default_branch_counts(ask):
    """Without a release the files of the default branch are compared, and the evidence says so."""
    answer = ask(TABLE, *RECORDS, commit="", routes=repository("main"))

    assert answer.outcome is Outcome.PASS
    assert answer.evidence.asked.endswith("at the default branch")


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        (repository("another"), "GitHub has no contents/backend_py/db/migrations"),
        ({f"GET {FOLDER}": Reply(200, {"type": "file"})}, "isn't a folder"),
        ({f"GET {FOLDER}": Reply(200, [])}, "holds no .sql files"),
        (
            {**repository(), f"GET {FOLDER}/002_two.sql": Reply(200, {"encoding": "none", "size": 2**21})},
            "larger than 1 MB",
        ),
        ({f"GET {FOLDER}": Reply(403, {"message": "rate limit"})}, "403"),
    ],
    ids=["no commit", "no folder", "empty", "large", "refused"],
)
def test_a_repository_that_cannot_be_read_is_an_error(ask, routes, message):
    """If the files cannot be read nothing is known: ERROR."""
    answer = ask(TABLE, *RECORDS, routes=routes)

    assert answer.outcome is Outcome.ERROR
    assert message in answer.summary


def test_a_missing_right_on_the_table_is_an_error(ask, database_url):
    """A table that the role may not read is told from a table that does not exist."""
    role = (
        "DO $$ BEGIN CREATE ROLE migrations_poor LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$"
    )
    with psycopg.connect(database_url) as connection:
        connection.execute(TABLE.encode())
        connection.execute(role.encode())
    poor = psycopg.conninfo.make_conninfo(database_url, user="migrations_poor")
    part = {"url": closed_port_url(), "repository": "o/r"}
    target = Target.model_validate({"name": "staging", "database_url": poor, "github": part})
    answer = run("migrations_applied", {}, target).answer

    assert answer.outcome is Outcome.ERROR
    assert "permission denied for table schema_migrations" in answer.summary


def test_the_sandbox_has_all_migrations(sandbox):
    """Staging has the migrations of the candidate, and without GitHub the answer is ERROR."""
    assert run("migrations_applied", {}, staging_target(sandbox)).outcome is Outcome.PASS
    down = with_changes(staging_target(sandbox), github={"url": closed_port_url()})
    assert run("migrations_applied", {}, down).outcome is Outcome.ERROR
