"""Migrations of the product on a real PostgreSQL: each once, together with its row, whatever dies in between."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from pydantic import AnyHttpUrl, SecretStr

from bot.domain.actions import Migrate
from bot.domain.plan import Way
from bot.errors import Contradicted, NoAnswer, StepError, Superseded
from bot.steps import migrate
from bot.steps.contract import ReleaseReference
from clients.settings import GitHubSettings
from clients.target import Target
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.clients.test_clients import kube_target
from tests.fix_checks import with_changes
from tests.fix_kube import eventually
from tests.fix_steps import COMMIT, Repository, StepHarness, sha256
from tests.killing.links import DatabaseLink
from tests.killing.points import Fault, Moment, Point, Trace

FOLDER = "db/migrations"
SPEC = Migrate(do="migrate", files=FOLDER)
OLD = {"001_init.sql": "CREATE TABLE notes (id integer);"}
ADD = "-- migration: additive\nBEGIN;\nALTER TABLE notes ADD COLUMN text text;\nCOMMIT;\n"
BREAK = "-- migration: breaking\nALTER TABLE notes DROP COLUMN id;\n"


@pytest.fixture
def repository() -> Iterator[Repository]:
    """The repository on a server."""
    with Repository(FOLDER, last=OLD, now=OLD, others={}) as running:
        yield running


def target_of(database_url: str, repository_url: str) -> Target:
    """Production with a database and a repository."""
    github = GitHubSettings(url=AnyHttpUrl(repository_url), repository="o/r")
    return Target(name="production", migrate_database_url=SecretStr(database_url), github=github)


@pytest.fixture
def step(repository: Repository, database_url: str) -> StepHarness:
    """The step on a product that has the released migrations."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "CREATE TABLE schema_migrations (version varchar(50) PRIMARY KEY, description text,"
            " applied_at timestamptz NOT NULL DEFAULT now(), checksum varchar(64), file_name varchar(100))"
        )
        connection.execute(OLD["001_init.sql"].encode())
    target = target_of(database_url, repository.url)
    ship = ReleaseReference("v4.8.0", "4.8.0", COMMIT, "image@sha256:1", previous="v4.7.0")
    return StepHarness(target, ship)


def applied_files(url: str) -> list[tuple[str, str]]:
    """Name and checksum of the applied files in the product's table, in order."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT file_name, checksum FROM schema_migrations ORDER BY applied_at").fetchall()


def columns(url: str) -> list[str]:
    """The columns of the table that the migrations change."""
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = 'notes' ORDER BY 1"
    with psycopg.connect(url) as connection:
        return [name for (name,) in connection.execute(query)]


def test_migrations_are_applied_in_order_and_once(step: StepHarness, repository: Repository, database_url: str) -> None:
    """Exactly the shown files are applied, and a second run does nothing."""
    repository.now |= {"9_c.sql": BREAK, "002_a.sql": ADD, "010_b.sql": "-- migration: reversible\nSELECT 1;"}
    changes = step.inspect(migrate.preview, SPEC)
    assert [(change.what, change.way) for change in changes] == [
        ("migration 002_a.sql on production", Way.COMPATIBLE),
        ("migration 010_b.sql on production", Way.COMPATIBLE),
        ("migration 9_c.sql on production", Way.FINAL),
    ]
    assert applied_files(database_url) == []
    message = "schema_migrations of production does not have 002_a.sql, 010_b.sql, 9_c.sql"
    assert step.contradiction_of(migrate.confirm, SPEC) == message
    assert step.perform(migrate.apply, SPEC) == "applied 002_a.sql, 010_b.sql, 9_c.sql"
    assert step.inspect(migrate.confirm, SPEC) == "production has 002_a.sql, 010_b.sql, 9_c.sql"
    assert step.notes.intents() == changes
    assert applied_files(database_url) == [
        (name, sha256(repository.now[name])) for name in ("002_a.sql", "010_b.sql", "9_c.sql")
    ]
    assert columns(database_url) == ["text"]
    assert step.inspect(migrate.preview, SPEC) == []
    assert step.perform(migrate.apply, SPEC) == "nothing to apply"


def test_a_failed_file_stops_the_migrations(step: StepHarness, repository: Repository, database_url: str) -> None:
    """Nothing of that file stays, earlier files do, and a retry continues there."""
    bad = "-- migration: additive\nALTER TABLE notes ADD COLUMN more text; SELECT 1/0;"
    repository.now |= {"002_a.sql": ADD, "010_b.sql": bad, "9_c.sql": BREAK}
    with pytest.raises(StepError, match=r"010_b\.sql is not applied: division by zero"):
        step.perform(migrate.apply, SPEC)
    assert columns(database_url) == ["id", "text"]
    assert [name for name, _ in applied_files(database_url)] == ["002_a.sql"]
    first, second = step.notes.intents()
    journal_lines = [(kind, body["changes"]) for kind, body in step.notes.lines if kind in {"acted", "unmade"}]
    assert journal_lines == [("acted", [first.body]), ("unmade", [second])]
    repository.now["010_b.sql"] = bad.replace("1/0", "1")
    step.perform(migrate.apply, SPEC)
    assert columns(database_url) == ["more", "text"]


def test_migrations_continue_after_a_kill(step: StepHarness, repository: Repository, database_url: str) -> None:
    """A process killed between two files leaves the first one applied, and the next continues."""
    repository.now |= {"002_a.sql": ADD, "9_c.sql": BREAK}

    def second() -> None:
        if len(step.notes.intents()) == 2:
            raise Superseded

    step.notes.on_intent = second
    with pytest.raises(Superseded):
        step.perform(migrate.apply, SPEC)
    assert [name for name, _ in applied_files(database_url)] == ["002_a.sql"]
    step.notes.on_intent = lambda: None
    assert step.perform(migrate.apply, SPEC) == "applied 9_c.sql"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"002_a.sql": "SELECT 1;"}, r"002_a\.sql doesn't declare its effect on the running version"),
        (
            {"002_a.sql": ADD, "9_c.sql": "-- migration: additive\nVACUUM;"},
            r"9_c\.sql can't be applied in one transaction",
        ),
        (
            {"001_init.sql": "CREATE TABLE notes ();"},
            r"001_init\.sql was changed after its release with v4\.7\.0",
        ),
    ],
)
def test_unfit_files_are_refused_before_any_change(
    step: StepHarness, repository: Repository, database_url: str, files: dict[str, str], message: str
) -> None:
    """They are refused already when the plan is shown."""
    repository.now |= files
    for act in (lambda: step.inspect(migrate.preview, SPEC), lambda: step.perform(migrate.apply, SPEC)):
        with pytest.raises(StepError, match=message):
            act()
    assert (applied_files(database_url), step.notes.lines) == ([], [])


def test_a_file_applied_with_another_content_is_refused(
    step: StepHarness, repository: Repository, database_url: str
) -> None:
    """The same name is not enough."""
    repository.now["002_a.sql"] = ADD
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO schema_migrations (version, checksum, file_name) VALUES ('file:002_a.sql', 'x', '002_a.sql')"
        )
    with pytest.raises(StepError, match=r"production has 002_a\.sql with another content"):
        step.inspect(migrate.preview, SPEC)


def test_migrations_by_hand_are_confirmed_in_the_table(
    step: StepHarness, repository: Repository, database_url: str, tmp_path: Path
) -> None:
    """Without a complete Job the product's table confirms them, if it names files."""
    repository.now["002_a.sql"] = ADD
    spec = Migrate(do="migrate", files=FOLDER, job={"spec": {"containers": []}})
    no_pods = {"GET /api/v1/namespaces/solvereign/pods": Reply(200, {"items": []})}
    with Replies(no_pods) as empty, psycopg.connect(database_url, autocommit=True) as connection:
        cluster = kube_target(tmp_path, empty.url).kubernetes
        step.target = with_changes(
            step.target, kubernetes=cluster, database_url=SecretStr(database_url), migrate_database_url=None
        )
        with pytest.raises(StepError, match="is complete, and production doesn't record its files") as unseen:
            step.inspect(migrate.confirm, spec)
        assert not isinstance(unseen.value, Contradicted)
        row = "INSERT INTO schema_migrations (version, checksum, file_name) VALUES (%s, %s, %s)"
        connection.execute(row, ["file:001_init.sql", sha256(OLD["001_init.sql"]), "001_init.sql"])
        assert step.contradiction_of(migrate.confirm, spec).endswith("of production does not have 002_a.sql")
        connection.execute(row, ["file:002_a.sql", sha256(ADD), "002_a.sql"])
        assert step.inspect(migrate.confirm, spec) == "production has 002_a.sql"
    repository.now.pop("002_a.sql")
    assert step.inspect(migrate.confirm, spec) == "nothing to apply"


def test_a_lock_is_waited_for_briefly(step: StepHarness, repository: Repository, database_url: str) -> None:
    """The product's requests would queue behind the migration."""
    repository.now["002_a.sql"] = ADD
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE notes")
        with pytest.raises(StepError, match=r"002_a\.sql waited 0.2 s for a lock and was stopped; it is not applied"):
            step.perform(migrate.apply, Migrate(do="migrate", files=FOLDER, lock_timeout=0.2))
    assert applied_files(database_url) == []


def test_a_silent_server_is_left_at_the_deadline(step: StepHarness, repository: Repository, database_url: str) -> None:
    """Then the step looks whether the file is applied."""
    repository.now["002_a.sql"] = ADD
    commit = Point("product: INSERT INTO schema_migrations", 1, Moment.AFTER)
    trace = Trace({commit}, lambda point: Fault.LATE)
    with closing(DatabaseLink(trace, database_url, "product")) as link:
        step.target = with_changes(step.target, migrate_database_url=SecretStr(link.url))
        assert step.perform(migrate.apply, SPEC, seconds=1) == "applied 002_a.sql"
    assert (trace.missing, trace.endless_waits) == (set(), [])
    assert len(applied_files(database_url)) == 1


SLEEPY = "-- migration: additive\nALTER TABLE notes ADD COLUMN text text; SELECT pg_sleep(30);"


def is_sleeping(url: str) -> bool:
    """Whether a migration is running on the server."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        ).fetchone()
    return row is not None


def test_a_kill_stops_the_statement_on_the_server(step: StepHarness, repository: Repository, database_url: str) -> None:
    """The server releases its locks, so that the next process need not wait."""
    repository.now["002_a.sql"] = SLEEPY
    code = (
        "import sys; from tests.integration.test_steps_migrate import *\n"
        "target = target_of(*sys.argv[1:])\n"
        "ship = ReleaseReference('v4.8.0', '4.8.0', COMMIT, 'image@sha256:1', previous='v4.7.0')\n"
        "StepHarness(target, ship).perform(migrate.apply, SPEC, seconds=60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, database_url, repository.url]) as process:
        try:
            eventually("the migration", lambda: is_sleeping(database_url))
        finally:
            process.kill()
    repository.now["002_a.sql"] = ADD
    assert step.perform(migrate.apply, SPEC) == "applied 002_a.sql"


def test_a_cancelled_migration_is_rolled_back(step: StepHarness, repository: Repository, database_url: str) -> None:
    """The running statement is cancelled, and nothing of its file stays."""
    repository.now["002_a.sql"] = SLEEPY
    error_types: list[type[BaseException]] = []

    def act() -> None:
        try:
            step.perform(migrate.apply, SPEC)
        except StepError as error:
            error_types.append(type(error))

    thread = threading.Thread(target=act)
    thread.start()
    eventually("the migration", lambda: is_sleeping(database_url))
    step.cancelled.set()
    thread.join(20)
    assert error_types == [Superseded]
    assert columns(database_url) == ["id"]


def test_a_database_without_the_table_is_refused(step: StepHarness, repository: Repository, database_url: str) -> None:
    """It is another database, or one from before the table."""
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TABLE schema_migrations")
    with pytest.raises(StepError, match="production has no table schema_migrations"):
        step.inspect(migrate.preview, SPEC)


def test_a_table_of_another_form_is_refused(step: StepHarness, repository: Repository, database_url: str) -> None:
    """The step fails visibly, instead of being repeated for ever."""
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE schema_migrations DROP COLUMN checksum")
    with pytest.raises(StepError, match='production doesn\'t show what is applied: column "checksum" does not exist'):
        step.perform(migrate.apply, SPEC)


def test_an_unreachable_server_is_an_error(step: StepHarness, repository: Repository) -> None:
    """It is asked a few times, and the error contains no password."""
    port = closed_port_url().rpartition(":")[2]
    step.target = with_changes(step.target, migrate_database_url=SecretStr(f"postgresql://u:hush@127.0.0.1:{port}/x"))
    with pytest.raises(NoAnswer, match="the database of production does not answer") as error:
        step.inspect(migrate.preview, SPEC)
    assert "hush" not in error.value.user_message


def test_a_missing_role_is_an_error(step: StepHarness, repository: Repository) -> None:
    """The error names the setting."""
    step.target = with_changes(step.target, migrate_database_url=None)
    with pytest.raises(StepError) as error:
        step.inspect(migrate.preview, SPEC)
    assert error.value.hint == "Set targets.production.migrate_database_url in release-bot.yml."
