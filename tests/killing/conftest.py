"""Fixtures of the productions in which processes are killed or receive bad answers."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fix_bot import database
from tests.fix_kube import Kube
from tests.killing.production import Make, Phase, ReferenceRun, prepare_deploy, production
from tests.killing.worker import ProcessServer, process_server


@pytest.fixture(scope="package")
def template(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """A database in which a release is about to be deployed."""
    with database(postgres_url, migrated_template) as name:
        prepare_deploy(postgres_url, name)
        yield name


@pytest.fixture(scope="package")
def processes() -> Iterator[ProcessServer]:
    """The server that starts the processes."""
    with process_server() as server:
        yield server


@pytest.fixture
def simulator(kube_simulator: tuple[Path, Any]) -> Kube:
    """The simulated cluster; each production makes a namespace of its own there."""
    kubeconfig, api = kube_simulator
    return Kube("simulator", kubeconfig, "", api)


@pytest.fixture
def make(postgres_url: str, template: str, processes: ProcessServer, tmp_path: Path) -> Make:
    """A function that makes a production on a cluster, for the length of a block."""
    numbers = itertools.count()
    return lambda kube: production(kube, postgres_url, template, tmp_path / str(next(numbers)), processes)


@pytest.fixture(scope="module")
def reference_runs() -> dict[tuple[str, Phase], ReferenceRun]:
    """The reference run of each cluster and phase, once it has been made."""
    return {}
