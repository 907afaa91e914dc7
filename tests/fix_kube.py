"""Fixtures: a Kubernetes API server, simulated and (where RELEASE_BOT_KUBE_TESTBED names its program) real.

A test that takes `kube` runs on both, so the simulator is held to what the real server does.
"""

import base64
import contextlib
import fcntl
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from kubernetes import client, config

from sandbox.kube.client import current

TESTBED = os.environ.get("RELEASE_BOT_KUBE_TESTBED", "")
STARTS = 3  # one that reads kube-apiserver's certificate while it is being written ends, and leaves nothing behind
Json = dict[str, Any]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Kube:
    """An API server by its kubeconfig, a fresh namespace on it, and typed clients, which return plain dicts."""

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

    @property
    def rbac(self) -> Any:
        """Roles and RoleBindings."""
        return client.RbacAuthorizationV1Api(self.api)

    def another_namespace(self) -> str:
        """One more fresh namespace for this test."""
        name = new_namespace(self.api)
        self.others.append(name)
        return name

    def request(self, method: str, path: str, body: object = None, kind: str = "application/json") -> httpx.Response:
        """Send what no client would, as the administrator: the answer, whatever it is. ``body`` is JSON, or text as it is."""
        cluster, user = current(self.kubeconfig)
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return httpx.request(
            method,
            f"{cluster['server']}{path}",
            content=body if isinstance(body, str) else json.dumps(body),
            headers={"Authorization": f"Bearer {user['token']}", "Content-Type": kind},
            verify=ssl.create_default_context(cadata=authority),
            trust_env=False,
        )

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the namespace of the test; skips the test where there is no kubectl."""
        program = shutil.which("kubectl")
        if program is None:
            pytest.skip("kubectl is not installed")
        command = [program, "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace]
        command += ["--cache-dir", str(self.kubeconfig.parent / "kubectl-cache")]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=60)


def eventually(what: str, probe: Callable[[], Result], seconds: float = 20) -> Result:
    """Call the probe until its result is true, and return that; the test fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not (result := probe()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.03)
    return result


def new_namespace(api: Any) -> str:
    """Create a namespace and wait until pods can be created in it."""
    core: Any = client.CoreV1Api(api)
    name = f"test-{uuid.uuid4().hex[:10]}"
    core.create_namespace({"metadata": {"name": name}})

    def has_account() -> bool:
        accounts = core.list_namespaced_service_account(name).items
        return "default" in [has_account.metadata.name for has_account in accounts]

    eventually("the service account", has_account)
    return name


@dataclass(frozen=True)
class SharedTestbed:
    """A real API server in a folder, started by the first process that needs it."""

    folder: Path
    until_exit: int  # the process that it does not outlive

    def up(self) -> Path:
        """Start the server unless it is running, and return its kubeconfig."""
        self.folder.mkdir(exist_ok=True)
        command = [TESTBED, "up", "--dir", str(self.folder), "--json", "--until-exit", str(self.until_exit)]
        with (self.folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            errors = ""
            for _ in range(STARTS):
                process = subprocess.run(command, check=False, capture_output=True, text=True, timeout=110)
                if process.returncode == 0:
                    return Path(json.loads(process.stdout)["KUBECONFIG"])
                errors += process.stderr
        raise AssertionError(errors)


SHARED_TESTBED = pytest.StashKey[SharedTestbed]()


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
    """The official client for a kubeconfig, without proxy and without retries."""
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


def pytest_configure(config: pytest.Config) -> None:
    """Choose the testbed's folder, which all processes of this run share, and whose end is the testbed's end."""
    worker_input: dict[str, Any] = getattr(config, "workerinput", {})
    folder = worker_input.get("testbed") or str(Path(tempfile.gettempdir()) / f"release-bot-testbed-{uuid.uuid4().hex}")
    config.stash[SHARED_TESTBED] = SharedTestbed(Path(folder), worker_input.get("testbed_until_exit") or os.getpid())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each process of pytest-xdist which folder that is."""
    testbed = node.config.stash[SHARED_TESTBED]
    node.workerinput.update(testbed=str(testbed.folder), testbed_until_exit=testbed.until_exit)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the testbed if a test has started it."""
    testbed = config.stash[SHARED_TESTBED]
    if not hasattr(config, "workerinput") and testbed.folder.exists():
        subprocess.run([TESTBED, "down", "--dir", str(testbed.folder)], check=True, timeout=60)
        shutil.rmtree(testbed.folder)


@pytest.fixture(scope="session")
def kube_testbed(pytestconfig: pytest.Config) -> Iterator[tuple[Path, Any]]:
    """(kubeconfig, client) of a real API server, one for the whole run; skips the test where there is none."""
    if not TESTBED:
        pytest.skip("RELEASE_BOT_KUBE_TESTBED is not set")
    kubeconfig = pytestconfig.stash[SHARED_TESTBED].up()
    with api_client(kubeconfig) as api:
        yield kubeconfig, api


@pytest.fixture(params=["simulator", pytest.param("testbed", marks=pytest.mark.kube)])
def kube(request: pytest.FixtureRequest) -> Iterator[Kube]:
    """An API server, simulated and real, with a fresh namespace, which is deleted (without waiting) after the test."""
    kubeconfig, api = request.getfixturevalue(f"kube_{request.param}")
    server = Kube(request.param, kubeconfig, new_namespace(api), api)
    yield server
    for name in (server.namespace, *server.others):
        server.core.delete_namespace(name)
