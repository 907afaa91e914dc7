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
from clients.github import GitHubSettings
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
SHOWN = {"default_branch": "main", "private": True}
TABLE = "CREATE TABLE schema_migrations (version text)"


@pytest.fixture
def github() -> Iterator[Replies]:
    """A repository of which GitHub says that the owner of the token may push."""
    with Replies({REPOSITORY: Reply(200, {**SHOWN, "permissions": {"push": True}})}) as server:
        yield server


def ask(url: str, github_url: str, *, token: str = "github_pat_1", done: tuple[StepId, ...] = ()) -> None:
    """The preflight of PLAN with this database and this GitHub."""
    repository = GitHubSettings(url=github_url, repository="o/r", token=SecretStr(token))
    target = Target(name="production", migrate_database_url=SecretStr(url), github=repository)
    asking = TargetDeps(clock=MovableClock(), targets={"production": target}, registry=Registry.load(), redact=str)
    with inspect_step(asking, PLAN.deploy[0], SHIPMENT, None, cancelled=threading.Event()) as look:
        preflight(asking, PLAN, done, look)


def test_each_grant_of_the_role_that_migrates_is_missed_beforehand(database_url: str, github: Replies) -> None:
    """By table, schema and right, with the statement that grants it; with all of them it goes on."""
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
            with pytest.raises(StepError) as said:
                ask(url, github.url)
            whom = f"Database for migrations of production: the role {role} may not {words}"
            assert set(said.value.user_message.split("; ")) == {whom}
            todo = f"Run this there as the owner: GRANT {grant} TO {role};"
            assert said.value.hint == f"Nothing was changed. {todo} Then press Retry."
            owner.execute(f"GRANT {grant} TO {role}".encode())


@pytest.mark.parametrize(
    ("permissions", "token", "refused"),
    [
        ({"permissions": {"push": True}}, "github_pat_1", False),
        ({"permissions": {"push": False}}, "github_pat_1", True),
        ({}, "github_pat_1", False),
        ({"permissions": {"push": False}}, "ghs_1", False),
        ({"permissions": {"push": True}}, "", True),
    ],
    ids=["may", "may not", "not told", "an App, of which GitHub always says no", "no token"],
)
def test_whether_the_repository_may_be_written(
    permissions: dict[str, Any], token: str, refused: bool, github: Replies
) -> None:
    """Only what GitHub surely says is held against the token; a tag that a person has made needs no right."""
    github.routes[REPOSITORY] = Reply(200, {**SHOWN, **permissions})
    nowhere = f"postgresql://u:p@{urlsplit(closed_port_url()).netloc}/x"
    if refused:
        with pytest.raises(StepError, match=r"^GitHub: .*contents: write") as said:
            ask(nowhere, github.url, token=token, done=(MIGRATIONS,))
        assert said.value.hint.startswith("Nothing was changed. ")
        ask(nowhere, github.url, token=token, done=(TAG, MIGRATIONS))
    else:
        ask(nowhere, github.url, token=token, done=(MIGRATIONS,))


def test_a_database_that_does_not_answer_is_no_missing_right(github: Replies) -> None:
    """It is asked again, then it is said who does not answer; nothing is granted or refused."""
    nowhere = f"postgresql://u:p@{urlsplit(closed_port_url()).netloc}/x"
    with pytest.raises(NoAnswer, match=r"^Database for migrations of production: "):
        ask(nowhere, github.url)
