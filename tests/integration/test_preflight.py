"""What the preflight of a deploy asks beside the cluster: the role that migrates, and whether GitHub takes a tag of ours."""

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr

from bot.domain.ids import StepId
from bot.errors import NoAnswer, StepError
from bot.flows.deploying.preflight import preflight
from bot.flows.deps import TargetDeps
from bot.flows.step_inspection import inspect_step
from bot.steps.contract import ReleaseReference
from checks.registry import Registry
from clients.settings import GitHubSettings
from clients.target import Target
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.fix_bot import MovableClock, checklist
from tests.fix_postgres import poor_role

TAG, MIGRATIONS = StepId("deploy.tag"), StepId("deploy.migrations")
PLAN = checklist(
    deploy=(
        {"id": TAG, "title": "Tag", "by_hand": True, "action": {"do": "tag"}},
        {"id": MIGRATIONS, "title": "Migrate", "by_hand": True, "action": {"do": "migrate", "files": "db"}},
    ),
)
SHIPMENT = ReleaseReference("v4.8.0", "4.8.0", "c0ffee" * 6 + "c0ff", "ghcr.io/solvereign/api@sha256:" + "ab" * 32)
REPOSITORY = "GET /repos/o/r"
REPOSITORY_BODY = {"default_branch": "main", "private": True}
TABLE = "CREATE TABLE schema_migrations (version text)"


@pytest.fixture
def github() -> Iterator[Replies]:
    """A repository to which the owner of the token may push, according to GitHub."""
    with Replies({REPOSITORY: Reply(200, {**REPOSITORY_BODY, "permissions": {"push": True}})}) as server:
        yield server


def ask(url: str, github_url: str, *, token: str = "github_pat_1", finished_steps: tuple[StepId, ...] = ()) -> None:
    """Run the preflight of PLAN with this database and this GitHub."""
    repository = GitHubSettings(url=github_url, repository="o/r", token=SecretStr(token))
    target = Target(name="production", migrate_database_url=SecretStr(url), github=repository)
    target_deps = TargetDeps(clock=MovableClock(), targets={"production": target}, registry=Registry.load(), redact=str)
    with inspect_step(target_deps, PLAN.deploy[0], SHIPMENT, None, cancelled=threading.Event()) as look:
        preflight(target_deps, PLAN, finished_steps, look)


def test_each_missing_grant_of_the_migrating_role_is_named(database_url: str, github: Replies) -> None:
    """The error has table, schema and right with the statement that grants it."""
    with psycopg.connect(database_url, autocommit=True) as owner, poor_role(database_url) as url:
        role = urlsplit(url).username
        owner.execute(TABLE)
        owner.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        grants = {
            "USAGE ON SCHEMA public": "use the schema public",
            "CREATE ON SCHEMA public": "CREATE in the schema public",
            "SELECT ON schema_migrations": "SELECT schema_migrations",
            "INSERT ON schema_migrations": "INSERT schema_migrations",
        }
        for grant in grants:
            owner.execute(f"GRANT {grant} TO {role}".encode())
        ask(url, github.url)
        for grant, words in grants.items():
            owner.execute(f"REVOKE {grant} FROM {role}".encode())
            with pytest.raises(StepError) as error:
                ask(url, github.url)
            whom = f"Database for migrations of production: the role {role} isn't allowed to {words}"
            assert set(error.value.user_message.split("; ")) == {whom}
            todo = f"Run this there as the owner: GRANT {grant} TO {role};"
            assert error.value.hint == f"Nothing was changed. {todo} Then press Retry."
            owner.execute(f"GRANT {grant} TO {role}".encode())


@pytest.mark.parametrize(
    ("permissions", "token", "is_refused"),
    [
        ({"permissions": {"push": True}}, "github_pat_1", False),
        ({"permissions": {"push": False}}, "github_pat_1", True),
        ({}, "github_pat_1", False),
        ({"permissions": {"push": False}}, "ghs_1", False),
        ({"permissions": {"push": True}}, "", True),
    ],
    ids=["may", "may not", "not told", "an App, of which GitHub always says no", "no token"],
)
def test_a_token_that_may_not_push_is_refused(
    permissions: dict[str, Any], token: str, is_refused: bool, github: Replies
) -> None:
    """Only what GitHub clearly says counts against the token, and a tag by hand needs no right."""
    github.routes[REPOSITORY] = Reply(200, {**REPOSITORY_BODY, **permissions})
    nowhere = f"postgresql://u:p@{urlsplit(closed_port_url()).netloc}/x"
    if is_refused:
        with pytest.raises(StepError, match=r"^GitHub: .*contents: write") as error:
            ask(nowhere, github.url, token=token, finished_steps=(MIGRATIONS,))
        assert error.value.hint.startswith("Nothing was changed. ")
        ask(nowhere, github.url, token=token, finished_steps=(TAG, MIGRATIONS))
    else:
        ask(nowhere, github.url, token=token, finished_steps=(MIGRATIONS,))


def test_an_unreachable_database_is_no_missing_right(github: Replies) -> None:
    """The error says that the database does not answer."""
    nowhere = f"postgresql://u:p@{urlsplit(closed_port_url()).netloc}/x"
    with pytest.raises(NoAnswer, match=r"^Database for migrations of production: "):
        ask(nowhere, github.url)
