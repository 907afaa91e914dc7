"""Fixtures: one real PostgreSQL for the whole run, and an empty database for each test that asks."""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from bot.store.embedded import EmbeddedPostgres

DATA_DIR = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the data directory that all processes of this run share; it is not created before it is needed."""
    worker_input: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker_input is not None:
        config.stash[DATA_DIR] = Path(worker_input["postgres_data_dir"])
    else:
        config.stash[DATA_DIR] = Path(tempfile.gettempdir()) / f"release-bot-tests-{uuid.uuid4().hex}"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each process of pytest-xdist which data directory that is."""
    node.workerinput["postgres_data_dir"] = str(node.config.stash[DATA_DIR])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the data directory, and stop the server if a process was killed before it could."""
    if not hasattr(config, "workerinput"):
        EmbeddedPostgres(config.stash[DATA_DIR]).destroy()
        shutil.rmtree(config.stash[DATA_DIR], ignore_errors=True)  # most runs of a few tests never made it


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """URL of a superuser on the run's PostgreSQL (no fsync); all processes of pytest-xdist share the server."""
    with EmbeddedPostgres(pytestconfig.stash[DATA_DIR], durable=False) as url:
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """URL of a new, empty database, which is dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def poor_role(url: str, *statements: str) -> Iterator[str]:
    """A new role with exactly these grants; yields its URL of the database. ``{}`` in a statement stands for the role."""
    role = f"poor_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'p'").format(sql.Identifier(role)))
        try:
            for statement in statements:
                owner.execute(statement.replace("{}", role).encode())
            parts = urlsplit(url)
            yield parts._replace(netloc=f"{role}:p@{parts.netloc.rpartition('@')[2]}").geturl()
        finally:
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())
