"""Fixtures: a Kubernetes API server, simulated and (where RELEASE_BOT_KUBE_TESTBED names its program) real.

A test that takes `kube` runs on both, so the simulator is held to what the real server does.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kubernetes import client, config

TESTBED = os.environ.get("RELEASE_BOT_KUBE_TESTBED", "")
Json = dict[str, Any]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Kube:
    """An API server by its kubeconfig, a fresh namespace on it, and typed clients (which hand out plain dicts)."""

    backend: str
    kubeconfig: Path
    namespace: str
    api: Any
    others: list[str] = field(default_factory=list)

    @property
    def core(self) -> Any:
        """Pods, logs, ConfigMaps, Secrets, namespaces."""
        return client.CoreV1Api(self.api)

    @property
    def apps(self) -> Any:
        """Deployments and ReplicaSets."""
        return client.AppsV1Api(self.api)

    @property
    def batch(self) -> Any:
        """Jobs and CronJobs."""
        return client.BatchV1Api(self.api)

    def another_namespace(self) -> str:
        """One more fresh namespace for this test."""
        name = new_namespace(self.api)
        self.others.append(name)
        return name

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the namespace of the test; skips the test where there is no kubectl."""
        program = shutil.which("kubectl")
        if program is None:
            pytest.skip("kubectl is not installed")
        command = [program, "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace]
        command += ["--cache-dir", str(self.kubeconfig.parent / "kubectl-cache")]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=60)


def eventually(what: str, probe: Callable[[], Found], seconds: float = 20) -> Found:
    """What the probe finds as soon as it finds something; the test fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.03)
    return found


def new_namespace(api: Any) -> str:
    """A fresh namespace in which pods can be created at once."""
    core: Any = client.CoreV1Api(api)
    name = f"test-{uuid.uuid4().hex[:10]}"
    core.create_namespace({"metadata": {"name": name}})

    def account() -> bool:
        found = core.list_namespaced_service_account(name).items
        return "default" in [account.metadata.name for account in found]

    eventually("the service account", account)
    return name


@contextlib.contextmanager
def simulator(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The simulator as a process of its own, with its state in `folder`: (process, kubeconfig)."""
    command = [sys.executable, "-W", "error", "-m", "sandbox.kube", "--data-dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        try:
            assert process.stdout is not None
            yield process, Path(json.loads(process.stdout.readline())["kubeconfig"])
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextlib.contextmanager
def api_client(kubeconfig: Path) -> Iterator[Any]:
    """The official client for a kubeconfig; no proxy, no retries."""
    settings = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=settings)
    settings.proxy, settings.retries = None, False
    with client.ApiClient(settings) as api:
        yield api


@pytest.fixture(scope="session")
def kube_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """(kubeconfig, client) of the simulator."""
    with simulator(tmp_path_factory.mktemp("simulator")) as (_, kubeconfig), api_client(kubeconfig) as api:
        yield kubeconfig, api


@pytest.fixture(scope="session")
def kube_testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """(kubeconfig, client) of a real API server; skips the test where there is none."""
    if not TESTBED:
        pytest.skip("RELEASE_BOT_KUBE_TESTBED is not set")
    folder = str(tmp_path_factory.mktemp("testbed"))
    command = [TESTBED, "up", "--dir", folder, "--json", "--until-exit", str(os.getpid())]
    facts = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)
    kubeconfig = Path(facts["KUBECONFIG"])
    with api_client(kubeconfig) as api:
        yield kubeconfig, api
    subprocess.run([TESTBED, "down", "--dir", folder], check=True, timeout=60)


@pytest.fixture(params=["simulator", pytest.param("testbed", marks=pytest.mark.kube)])
def kube(request: pytest.FixtureRequest) -> Iterator[Kube]:
    """An API server, simulated and real, with a fresh namespace, which is deleted (without waiting) after the test."""
    kubeconfig, api = request.getfixturevalue(f"kube_{request.param}")
    found = Kube(request.param, kubeconfig, new_namespace(api), api)
    yield found
    for name in (found.namespace, *found.others):
        found.core.delete_namespace(name)
