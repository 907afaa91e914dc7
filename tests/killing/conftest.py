"""Fixtures of the productions that processes are killed in, and in which they get bad answers."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fix_bot import database
from tests.fix_kube import Kube
from tests.killing.production import Make, Phase, Recorded, go, production
from tests.killing.worker import Nursery, nursery


@pytest.fixture(scope="package")
def template(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """A database in which a release is about to be deployed."""
    with database(postgres_url, migrated_template) as name:
        go(postgres_url, name)
        yield name


@pytest.fixture(scope="package")
def processes() -> Iterator[Nursery]:
    """What starts the processes."""
    with nursery() as started:
        yield started


@pytest.fixture
def simulator(kube_simulator: tuple[Path, Any]) -> Kube:
    """The simulated cluster; each production makes a namespace of its own there."""
    kubeconfig, api = kube_simulator
    return Kube("simulator", kubeconfig, "", api)


@pytest.fixture
def make(postgres_url: str, template: str, processes: Nursery, tmp_path: Path) -> Make:
    """Makes a production on a cluster, for the length of a block."""
    numbers = itertools.count()
    return lambda kube: production(kube, postgres_url, template, tmp_path / str(next(numbers)), processes)


@pytest.fixture(scope="module")
def recorded() -> dict[tuple[str, Phase], Recorded]:
    """By cluster and plan, once it has been recorded."""
    return {}
